"""A track followed through a long recording: step by step, how much of it is there, and from that where it was heard.

Once an alignment is known, a play needs no votes any more: what each step shows of the track's peaks is its log-likelihood ratio, whichever part of
the track the noise has left; the likeliest course of "heard" and "not heard" through all steps then says where a play begins and ends and where its
gaps are, to about a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.evidence import HOP_FRAMES, STEP_FRAMES, Audibility, Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.matching.evidence import Laid, RecentEvidence
    from dejavud.values import Array, Constellation

SWITCH_NATS = 8.0
"""What a beginning or an end must be worth in evidence: else every beat under a snare drum would be a gap."""

NEAR_FRAMES = 3
"""Alignments of one track no further apart than this are one."""

DRIFT_EVIDENCE = 1.05
"""A frame to the side so many times as much must be found for an alignment to move there, at most one frame a hop: enough for a
clock half a per cent off."""


class Trail:
    """One track at one place of the recording, followed until it is lost.

    Laid over the frames from `since`, or from as far back as there is evidence, to `end`.

    confidence : of the surest look at it, 0 to 1.
    twins : other tracks that were seen to hold the same recording.
    first_step : of the recording, of the first of its steps.
    """

    def __init__(
        self, track_id: int, track: Constellation, delta: int, recent: RecentEvidence, *, since: int, end: int
    ) -> None:
        self.track_id = track_id
        self.track = track
        self.delta = delta
        self.confidence = 0.0
        self.twins: set[int] = set()
        first = max(recent.first_frame, since, -delta)
        self.first_step = -(-first // STEP_FRAMES)
        first = min(self.first_step * STEP_FRAMES, end)
        self._audibility = Audibility()
        laid = recent.lay(track, delta, first, end)
        for run in heard_runs(laid.steps().log_ratios):
            self._audibility.learn(laid, run.first, run.end)
        self._seen = [self._steps(laid, recent, first, end)]
        self._end = end

    @property
    def end_step(self) -> int:
        """Return the step after the last one that was looked at."""
        return self.first_step + sum(map(len, self._seen))

    @property
    def end_frame(self) -> int:
        """Return the frame up to which it was followed."""
        return self._end

    def confirm(self, confidence: float, twins: Sequence[int]) -> None:
        """Take note of another look at it."""
        self.confidence = max(self.confidence, confidence)
        self.twins.update(twins)

    def follow(self, recent: RecentEvidence, end: int) -> None:
        """Look for the track up to the frame `end`, where it was before or, if more of it is found there, a frame to either side."""
        since = max(self._end - HOP_FRAMES, recent.first_frame)
        n_found = {drift: recent.count(self.track, self.delta + drift, since, end) for drift in (-1, 0, 1)}
        best = max(n_found, key=lambda drift: n_found[drift])
        if (
            n_found[best] > DRIFT_EVIDENCE * n_found[0] + 2
        ):  # not for a handful of peaks: where nothing is heard it would wander
            self.delta += best
        laid = recent.lay(self.track, self.delta, self._end, end)
        steps = self._steps(laid, recent, self._end, end)
        if steps.log_ratios.sum() > SWITCH_NATS:
            self._audibility.learn(laid, 0, len(steps))
        self._seen.append(steps)
        self._end = end

    def jump(self, delta: int, recent: RecentEvidence, since: int) -> None:
        """Go on at `delta` from the frame `since` on: the track was held for a while, or a part of it left out."""
        kept = max(0, since // STEP_FRAMES - self.first_step)
        first = (self.first_step + kept) * STEP_FRAMES
        self.delta = delta
        laid = recent.lay(self.track, delta, first, self._end)
        self._seen = [self.steps()[:kept], self._steps(laid, recent, first, self._end)]

    def steps(self) -> Steps:
        """Return all steps so far."""
        if len(self._seen) > 1:
            self._seen = [Steps.concatenate(self._seen)]
        return self._seen[0]

    def _steps(self, laid: Laid, recent: RecentEvidence, first: int, end: int) -> Steps:
        """Return what `laid` says of the frames [first, end); after the track's last note anything that sounds speaks against it."""
        steps = laid.steps(self._audibility)
        n_left = max(0, -(-(int(self.track.frames[-1]) + 1 - laid.delta - first) // STEP_FRAMES))
        if n_left < len(steps):
            since = first + n_left * STEP_FRAMES
            steps.log_ratios[n_left:] = np.where(recent.is_quiet(since, end), 0.0, -SWITCH_NATS)
        return steps

    def last_heard(self, n_steps: int) -> int | None:
        """Return the last step in which the track was heard among the last `n_steps`, None where there is none."""
        ratios = self.steps().log_ratios[-n_steps:]
        runs = heard_runs(ratios)
        return self.end_step - len(ratios) + runs[-1].last if runs else None


@dataclass(frozen=True, slots=True)
class Run:
    """Steps [first, end) in which a track is heard."""

    first: int
    end: int

    @property
    def last(self) -> int:
        """Return the last of them."""
        return self.end - 1

    def __len__(self) -> int:
        return self.end - self.first


def heard_runs(log_ratios: Array, switch_nats: float = SWITCH_NATS) -> list[Run]:
    """Return the likeliest runs of steps in which a track is heard, in order.

    Two states, heard and not; each step is worth its ratio where heard and nothing where not, each beginning and end costs
    `switch_nats` (Viterbi 1967).  Runs neither begin nor end with steps that say nothing.
    """
    silent, heard = 0.0, -switch_nats
    began: list[bool] = []  # at each step: is the best way to be heard here to begin here
    ended: list[bool] = []  # and the best way not to be heard to have been heard just before
    for ratio in log_ratios.tolist():
        began.append(silent - switch_nats > heard)
        ended.append(heard - switch_nats > silent)
        silent, heard = max(silent, heard - switch_nats), max(heard, silent - switch_nats) + ratio
    runs: list[Run] = []
    is_heard, end = heard > silent, len(began)
    for step in range(len(began) - 1, -1, -1):
        if is_heard and began[step]:
            runs.append(Run(step, end))
            is_heard = False
        elif not is_heard and ended[step]:
            is_heard, end = True, step
    if is_heard:
        runs.append(Run(0, end))
    return [trimmed for run in reversed(runs) if (trimmed := _trimmed(run, log_ratios)) is not None]


def _trimmed(run: Run, log_ratios: Array) -> Run | None:
    telling = np.flatnonzero(log_ratios[run.first : run.end] > 0)
    return Run(run.first + int(telling[0]), run.first + int(telling[-1]) + 1) if len(telling) else None


def joined(runs: Sequence[Run], n_steps: int) -> list[Run]:
    """Return `runs` with those joined that are less than `n_steps` apart."""
    if not runs:
        return []
    borders = [0, *(i for i, (a, b) in enumerate(pairwise(runs), 1) if b.first - a.end >= n_steps), len(runs)]
    return [Run(runs[i].first, runs[j - 1].end) for i, j in pairwise(borders)]
