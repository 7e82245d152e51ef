"""Where in the query an alignment is seen, and how much of it that is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array

STEP_S = 0.5
"""A step of this length is long enough for a dozen peaks of a track."""
MIN_AGREEING = 2
"""A step counts as explained when this many of the track's peaks are found in it: one in fifty steps would be by chance."""
MIN_GAP_STEPS = 2
"""Shorter breaks are a beat under a loud drum, not a gap."""
CHANCE_SHARE = 0.03
"""Of a track's peaks, so many agree with a query in which it does not sound."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of the query in which a track is seen without a long break.

    first, last : frames of the query, [first, last).
    coverage : share of the query's time, 0 to 1, that is in the stretch and explained.
    gaps : breaks within the stretch, each frames [first, last) of the query.
    """

    first: int
    last: int
    coverage: float
    gaps: tuple[tuple[int, int], ...] = ()


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
    surplus = np.where(found >= MIN_AGREEING, 1, -1)
    surplus[expected < MIN_AGREEING] = (
        0  # where the track itself is silent there is nothing to see, and nothing missing
    )
    begin, end = _best_run(surplus)
    borders = np.append(np.arange(n_steps) * step, n_frames)
    n_explained = np.count_nonzero(surplus[begin:end] >= 0)
    first, last = int(borders[begin]), int(borders[end])
    if n_explained:
        near = (step_of >= begin - 1) & (step_of <= end)
        seen_first, seen_last = _seen(frames[near], agree[near])
        first, last = seen_first if begin else 0, seen_last if end < n_steps else n_frames
    gaps = [(int(borders[begin + a]), int(borders[begin + b])) for a, b in runs(surplus[begin:end] < 0)]
    return Stretch(
        first,
        last,
        float(n_explained / n_steps),
        tuple((max(a, first), min(b, last)) for a, b in gaps if b - a >= MIN_GAP_STEPS * step),
    )


def _best_run(surplus: Array) -> tuple[int, int]:
    """Return [begin, end) of the run with the greatest sum, of equal ones the shortest of the first; empty where none is above 0."""
    sums = np.concatenate([[0], np.cumsum(surplus)])
    end = int(np.argmax(sums - np.minimum.accumulate(sums)))
    begin = end - 1 - int(np.argmin(sums[:end][::-1])) if end else 0
    return begin, end


def _seen(frames: Array, agree: Array) -> tuple[int, int]:
    """Return the frames [first, last) from the first to the last peak of the run that agrees best: steps are too coarse to say it."""
    share = min(0.95, max(2 * CHANCE_SHARE, float(agree.mean())))
    order = np.argsort(frames, kind="stable")
    gain, loss = np.log(share / CHANCE_SHARE), np.log((1 - share) / (1 - CHANCE_SHARE))
    begin, end = _best_run(np.array([loss, gain])[agree[order].astype(int)])
    return int(frames[order[begin]]), int(frames[order[end - 1]]) + 1


def runs(holds: Array) -> list[tuple[int, int]]:
    """Return the borders [begin, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]])))
    return list(pairwise(edges.tolist()))[::2]
