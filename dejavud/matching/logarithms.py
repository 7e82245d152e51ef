"""Sums of probabilities that are kept as logarithms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dejavud.values import Array


def log_sum_exp(logarithms: Array) -> Array:
    """Return log(sum(exp(x))) over the last axis, which must not be empty, without overflow.

    scipy.special has it too, at a quarter of the daemon's whole import time.
    """
    greatest = logarithms.max(axis=-1, keepdims=True)
    return np.log(np.exp(logarithms - greatest).sum(axis=-1)) + greatest[..., 0]
