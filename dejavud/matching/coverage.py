"""How much of the query an alignment explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array

STEP_S = 0.5
"""A stretch of this length counts as explained when it holds any agreement that chance would not: long enough for a dozen peaks."""
MIN_AGREEING = 2


def coverage(frames: Array, agree: Array, n_frames: int, params: Params) -> float:
    """Return the share of the query, 0 to 1, in which the track is seen.

    Parameters
    ----------
    frames : int [n], the query's frames at which the track has peaks.
    agree : bool [n], whether the query agrees there.
    n_frames : length of the query.
    """
    step = max(1, round(STEP_S * params.frames_per_s))
    n_steps = -(-n_frames // step)
    expected = np.bincount(frames // step, minlength=n_steps)
    found = np.bincount(frames[agree] // step, minlength=n_steps)
    # where the track itself is silent there is nothing to see, and nothing missing
    explained = (found >= MIN_AGREEING) | (expected < MIN_AGREEING)
    return float(np.count_nonzero(explained) / n_steps)
