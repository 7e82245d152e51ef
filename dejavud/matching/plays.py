"""Trails to plays: of those that explain the same sound the best one, cut where it is not heard for too long."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.coverage import runs
from dejavud.matching.duplicates import MIN_SHARED, shared
from dejavud.matching.evidence import STEP_FRAMES
from dejavud.matching.trail import NEAR_FRAMES, SWITCH_NATS, Run, heard_runs, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.matching.trail import Trail

SAME_SOUND = 0.15
"""Two tracks that are heard at once and have so much in common are one sound, and the better one is named: other mixes of a piece
share a third of their peaks, tracks that have nothing to do with each other a thirtieth."""
STEP_ENOUGH_NATS = 8.0
"""Of two trails of one sound the better one explains more of the recording; only among equals does it matter how well: a
repeated bar may fit another better by half a frame."""
MOSTLY_TAKEN = 0.3
"""A trail of which a stronger one explains more than this is an echo of it, what is left of it too."""
MIN_GAP_STEPS = 4
"""A second: drums and words hide a track for less all the time."""
MOST_OF_A_TRACK = 0.8
GONE_NATS = 2 * SWITCH_NATS
"""What has so much against it since it was heard last has ended, or pauses; a passage that is too soft for the noise has next to nothing against it."""


@dataclass(frozen=True, slots=True)
class Play:
    """A track in a recording.

    first_frame, end_frame : where in the recording it is heard.
    track_first_frame, track_end_frame : where in the track these are.
    confidence : 0 to 1.
    coverage : share of the play in which the track is heard, 0 to 1.
    gaps : of the recording's frames, (first, end) each, in order; inside the play.
    twins : other tracks of the library that hold the same recording, in order.
    is_gone : what followed it speaks against its going on, and not just not for it.
    """

    track_id: int
    first_frame: int
    end_frame: int
    track_first_frame: int
    track_end_frame: int
    confidence: float
    coverage: float
    gaps: tuple[tuple[int, int], ...]
    twins: tuple[int, ...] = ()
    is_gone: bool = False

    @property
    def n_frames(self) -> int:
        """Return how long it is, in frames of the recording."""
        return self.end_frame - self.first_frame


class Heard:
    """A trail and where its track was heard, as far as it has been followed.

    ratios : float64 [n], of each step of the recording from `first_step` on.
    mask : bool [n], whether the track is heard in it.
    strength : for ranking.
    """

    def __init__(self, trail: Trail) -> None:
        steps = trail.steps()
        self.ratios = ratios = steps.log_ratios
        self.trail = trail
        self.first_step = trail.first_step
        self.deltas = steps.deltas
        self.mask = np.zeros(len(ratios), bool)
        for run in heard_runs(ratios):
            inside = heard_runs(steps.usual_ratios[run.first : run.end])
            self.mask[run.first : run.end] = True
            for before, after in pairwise(inside):
                self.mask[run.first + before.end : run.first + after.first] = False
        heard = ratios[self.mask]
        self.strength = float(np.minimum(heard, STEP_ENOUGH_NATS).sum() + 0.01 * heard.sum())

    @property
    def end_step(self) -> int:
        """Return the step after its last one."""
        return self.first_step + len(self.mask)

    def is_weaker_than(self, other: Heard) -> bool:
        """Tell which of two explains more; of equals the older track does."""
        return (self.strength, -self.trail.track_id) < (other.strength, -other.trail.track_id)


@dataclass(frozen=True, slots=True)
class Limits:
    """What makes a play, in steps.

    max_gap : the longest break in one; min_heard : the least that is reported, of a track that is long enough.
    """

    max_gap: int
    min_heard: int


def plays_of(one: Heard, others: Sequence[Heard], limits: Limits) -> list[Play]:
    """Return the plays that `one` is: what no stronger trail of the same sound explains, cut where the breaks are too long.

    others : what else was heard at the time; `one` itself may be among them.
    """
    taken, twins = np.zeros(len(one.mask), bool), set(one.trail.twins)
    for other in others:
        if other.trail is one.trail:
            continue
        for meeting in _meetings(one, other):
            if meeting.kinship >= SAME_SOUND and one.is_weaker_than(other):
                taken[meeting.first - one.first_step : meeting.end - one.first_step] = True
            elif meeting.kinship >= MIN_SHARED:
                twins.add(other.trail.track_id)
    if np.count_nonzero(taken & one.mask) > MOSTLY_TAKEN * np.count_nonzero(one.mask):
        return []
    heard = [Run(first, end) for first, end in runs(one.mask & ~taken)]
    n_enough = min(limits.min_heard, MOST_OF_A_TRACK * one.trail.track.n_frames / STEP_FRAMES)
    plays = []
    for span in joined(heard, limits.max_gap):
        inside = [run for run in heard if span.first <= run.first and run.end <= span.end]
        if sum(map(len, inside)) >= n_enough:
            plays.append(_play(one, joined(inside, MIN_GAP_STEPS), twins - {one.trail.track_id}, limits))
    return plays


def _play(one: Heard, runs: Sequence[Run], twins: set[int], limits: Limits) -> Play:
    """Return the play that is heard in these runs of the trail's steps."""
    trail, track = one.trail, one.trail.track
    first = (one.first_step + runs[0].first) * STEP_FRAMES
    end = min((one.first_step + runs[-1].end) * STEP_FRAMES, trail.end_frame)
    first_delta, end_delta = int(one.deltas[runs[0].first]), int(one.deltas[runs[-1].last])
    gaps = tuple(
        ((one.first_step + a.end) * STEP_FRAMES, (one.first_step + b.first) * STEP_FRAMES) for a, b in pairwise(runs)
    )
    # where only silence lies between what is heard and the track's own beginning or end, in the recording too, it is part of the play
    longest = limits.min_heard * STEP_FRAMES
    if not len(track.frames[: np.searchsorted(track.frames, first + first_delta)]):
        first = max(min(first, -first_delta), first - longest, 0)
    own_end = min(track.n_frames - end_delta, end + longest, trail.end_frame)
    after = one.ratios[runs[-1].end : max(0, own_end // STEP_FRAMES - one.first_step)]
    if end + end_delta > track.frames[-1] and not after.any():
        end = max(end, own_end)
    return Play(
        track_id=trail.track_id,
        first_frame=first,
        end_frame=end,
        track_first_frame=max(0, first + first_delta),
        track_end_frame=min(end + end_delta, track.n_frames),
        confidence=trail.confidence,
        coverage=1.0 - sum(b - a for a, b in gaps) / max(1, end - first),
        gaps=gaps,
        twins=tuple(sorted(twins)),
        is_gone=bool(one.ratios[runs[-1].end :].sum() <= -GONE_NATS),
    )


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Steps [first, end) of the recording in which two trails lie beside each other at one shift, and what they have in common there, 0 to 1."""

    first: int
    end: int
    kinship: float


def _meetings(one: Heard, other: Heard) -> list[_Meeting]:
    """Return where two trails are heard at once: kinship is 1 of one track laid twice, else the share of peaks that both tracks have."""
    low, high = max(one.first_step, other.first_step), min(one.end_step, other.end_step)
    if low >= high:
        return []
    mine = slice(low - one.first_step, high - one.first_step)
    theirs = slice(low - other.first_step, high - other.first_step)
    both = np.flatnonzero(one.mask[mine] & other.mask[theirs])
    if not len(both):
        return []
    shifts = (other.deltas[theirs] - one.deltas[mine])[both]
    meetings = []
    for steps in np.split(both, np.flatnonzero(np.abs(np.diff(shifts)) > NEAR_FRAMES) + 1):
        first, end = low + int(steps[0]), low + int(steps[-1]) + 1
        meetings.append(_Meeting(first, end, _kinship(one, other, first, end)))
    return meetings


def _kinship(one: Heard, other: Heard, first: int, end: int) -> float:
    if one.trail.track_id == other.trail.track_id:
        return 1.0
    own, others = int(one.deltas[first - one.first_step]), int(other.deltas[first - other.first_step])
    span = first * STEP_FRAMES + own, end * STEP_FRAMES + own
    return shared(one.trail.track, other.trail.track, others - own, *span)
