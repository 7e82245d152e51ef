"""Peaks of one constellation beside those of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dejavud.values import Array

_BIN_BITS = 10


def near(frames: Array, bins: Array, their_frames: Array, their_bins: Array) -> Array:
    """Return bool [n]: which of the first peaks have one of the others within a frame and a bin.

    All are integers; a bin is at most 1022.  By search in the sorted others: a set of all places near them took twenty times as long.
    """
    places = (frames.astype(np.int64) << _BIN_BITS) + bins
    others = np.append(np.sort((their_frames.astype(np.int64) << _BIN_BITS) + their_bins), np.iinfo(np.int64).max)
    found = np.zeros(len(places), bool)
    for frame in (-1, 0, 1):
        lowest = places + (frame << _BIN_BITS) - 1
        found |= others[np.searchsorted(others, lowest)] <= lowest + 2
    return found
