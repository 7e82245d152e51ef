"""Where in the query an alignment is seen, and how much of it that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array

STEP_S = 0.5
"""A step of this length is long enough for a dozen peaks of a track."""
MIN_AGREEING = 2
"""A step counts as explained when this many of the track's peaks are found in it: one in fifty steps would be by chance."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of the query in which a track is seen without a long break.

    first, last : frames of the query, [first, last).
    coverage : share of the query's time, 0 to 1, that is in the stretch and explained.
    """

    first: int
    last: int
    coverage: float


def find_stretch(frames: Array, agree: Array, n_frames: int, params: Params) -> Stretch:
    """Return the stretch of the query that an alignment explains: that with the greatest surplus of explained steps over others.

    Music that only shares its samples or its drum machine with a track agrees in scattered steps, so it has no stretch to speak of,
    while a track that starts or ends within the query has one that starts or ends there.

    Parameters
    ----------
    frames : int [n], the query's frames at which the track has peaks.
    agree : bool [n], whether the query agrees there.
    n_frames : length of the query.
    """
    step = max(1, round(STEP_S * params.frames_per_s))
    n_steps = max(1, n_frames // step)  # what is left over belongs to the last step
    step_of = np.minimum(frames // step, n_steps - 1)
    expected = np.bincount(step_of, minlength=n_steps)
    found = np.bincount(step_of[agree], minlength=n_steps)
    explained = found >= MIN_AGREEING
    surplus = np.where(explained, 1, -1)
    surplus[expected < MIN_AGREEING] = (
        0  # where the track itself is silent there is nothing to see, and nothing missing
    )
    sums = np.concatenate([[0], np.cumsum(surplus)])
    gain = sums - np.minimum.accumulate(sums)
    last = int(np.argmax(gain))
    first = last - 1 - int(np.argmin(sums[: last + 1][::-1][1:])) if last else 0
    n_explained = np.count_nonzero(surplus[first:last] >= 0)
    return Stretch(first * step, n_frames if last == n_steps else last * step, float(n_explained / n_steps))
