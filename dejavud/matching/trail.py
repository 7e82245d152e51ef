"""A track followed through a long recording: step by step, how much of it is there, and from that where it was heard.

Once an alignment is known, a play needs no votes any more: at the place of each of the track's peaks the recording either has a local
maximum or it does not.  The hits of a step, against what chance gives in those very bins, are its log-likelihood ratio, whichever part of the track
the noise has left; the likeliest course of "heard" and "not heard" through all steps then says where a play begins and ends and
where its gaps are, to about a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.logarithms import log_sum_exp
from dejavud.matching.verification import (
    AGREEING_CLASS,
    CHANCE_PRIOR_FRAMES,
    CHANCE_SPREAD_BINS,
    DEPTH_EDGES_DB,
    SILENT_DEPTH,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.values import Array, Constellation

STEP_FRAMES = 8
"""A quarter of a second: a dozen of a track's peaks, which is enough to tell music that is there from music that is not."""
STEPS_A_HOP = 20
HOP_FRAMES = STEP_FRAMES * STEPS_A_HOP
"""A recording is worked through in hops of about five seconds."""

AGREEING_DEPTH = int(4 * DEPTH_EDGES_DB[AGREEING_CLASS])
"""Quarters of a dB below the local maximum up to which a peak counts as found."""

FOUND_SHARES = np.array([0.95, 0.8, 0.6, 0.4, 0.25])
"""How much of a track is found where it is heard, from a clean copy to one under a voice; nobody knows which, so a step's ratio is their mean."""

SWITCH_NATS = 8.0
"""What a beginning or an end must be worth in evidence: else every beat under a snare drum would be a gap."""

NEAR_FRAMES = 3
"""Alignments of one track no further apart than this are one."""

DRIFT_EVIDENCE = 1.05
"""A frame to the side so many times as much must be found for an alignment to move there, at most one frame a hop: enough for a
clock half a per cent off."""


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What is seen of a track in consecutive steps, each float64 [n].

    n_peaks, n_found : peaks that the track has in the step, and those of them that the recording has too.
    surprise : minus the log of the chance of just this, nats.
    deltas : where the track was laid, track frame less recording frame.
    """

    n_peaks: Array
    n_found: Array
    surprise: Array
    deltas: Array

    @classmethod
    def concatenate(cls, parts: Sequence[Steps]) -> Steps:
        """Return the steps of all `parts`, in order."""
        return cls(
            np.concatenate([p.n_peaks for p in parts]),
            np.concatenate([p.n_found for p in parts]),
            np.concatenate([p.surprise for p in parts]),
            np.concatenate([p.deltas for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.n_peaks)

    def log_ratios(self) -> Array:
        """Return float64 [n]: for each step, log P(what was found | the track is heard) less that of chance; 0 where it has no peaks."""
        missed = self.n_peaks - self.n_found
        by_share = np.outer(self.n_found, np.log(FOUND_SHARES)) + np.outer(missed, np.log1p(-FOUND_SHARES))
        ratios = log_sum_exp(by_share) - np.log(len(FOUND_SHARES)) + self.surprise
        return np.where(self.n_peaks > 0, ratios, 0.0)


class RecentEvidence:
    """The last minute or so of a recording's depths, and what chance gives in each of its bins."""

    def __init__(self, bin_min: int, n_bins: int, n_hops_kept: int) -> None:
        self.bin_min = bin_min
        self._n_kept = n_hops_kept * HOP_FRAMES
        self.first_frame = 0
        self._depths = np.empty((0, n_bins), np.uint8)
        self._shares: dict[int, Array] = {}  # by hop

    @property
    def end_frame(self) -> int:
        """Return the first frame that has not come yet."""
        return self.first_frame + len(self._depths)

    def append(self, depths: Array, needed_from: int) -> None:
        """Add the next frames' depths; keep what is recent and whatever is `needed_from` some frame on."""
        first = max(self.first_frame, min(needed_from, self.end_frame) - self._n_kept)
        first -= first % HOP_FRAMES
        self._depths = np.concatenate([self._depths[first - self.first_frame :], depths])
        self.first_frame = first
        self._shares = {hop: share for hop, share in self._shares.items() if (hop + 1) * HOP_FRAMES > first}

    def depths(self, first: int, end: int) -> Array:
        """Return uint8 [end - first, n_bins]: the depths of a stretch that is kept."""
        return self._depths[first - self.first_frame : end - self.first_frame]

    def lay(self, track: Constellation, delta: int, first: int, end: int) -> Steps:
        """Return what is seen of `track`, laid at `delta`, in the frames [first, end) of the recording, `first` at a step's start."""
        n_steps = -(-(end - first) // STEP_FRAMES)
        under = slice(*np.searchsorted(track.frames, (first + delta, end + delta)))
        frames = track.frames[under] - delta
        columns = track.bins[under].astype(np.intp) - self.bin_min
        found = self._depths[frames - self.first_frame, columns] <= AGREEING_DEPTH
        hops = frames // HOP_FRAMES
        chance = np.empty(len(frames))
        for hop in range(first // HOP_FRAMES, -(-end // HOP_FRAMES)):
            of_hop = slice(*np.searchsorted(hops, (hop, hop + 1)))
            chance[of_hop] = self._share(hop)[columns[of_hop]]
        steps = (frames - first) // STEP_FRAMES
        surprise = -np.log(np.where(found, chance, 1 - chance))
        return Steps(
            np.bincount(steps, minlength=n_steps).astype(float),
            np.bincount(steps[found], minlength=n_steps).astype(float),
            np.bincount(steps, surprise, n_steps),
            np.full(n_steps, float(delta)),
        )

    def count(self, track: Constellation, delta: int, first: int, end: int) -> int:
        """Return how many peaks of `track`, laid at `delta`, are found in the frames [first, end)."""
        under = slice(*np.searchsorted(track.frames, (first + delta, end + delta)))
        frames, columns = track.frames[under] - (delta + self.first_frame), track.bins[under] - self.bin_min
        return int(np.count_nonzero(self._depths[frames, columns] <= AGREEING_DEPTH))

    def _share(self, hop: int) -> Array:
        """Return float64 [n_bins]: which share of the frames of a hop and the one before, bin by bin, a peak would be found in by chance."""
        if hop not in self._shares:
            first = max(self.first_frame, (hop - 1) * HOP_FRAMES)
            depths = self.depths(first, (hop + 1) * HOP_FRAMES)
            agreeing = np.count_nonzero(depths <= AGREEING_DEPTH, axis=0)
            n_sounding = int(np.count_nonzero(depths.min(axis=1) < SILENT_DEPTH))  # silence says nothing of chance
            n_frames = max(1, n_sounding)
            sums = np.concatenate([[0.0], np.cumsum(agreeing + 1e-3 * n_frames)])
            bins = np.arange(len(agreeing))
            low, high = np.maximum(bins - CHANCE_SPREAD_BINS, 0), np.minimum(bins + CHANCE_SPREAD_BINS + 1, len(bins))
            around = (sums[high] - sums[low]) / (high - low) / n_frames
            share = (agreeing + CHANCE_PRIOR_FRAMES * around) / (n_frames + CHANCE_PRIOR_FRAMES)
            self._shares[hop] = np.minimum(share, 0.99)
        return self._shares[hop]


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
        self._seen = [recent.lay(track, delta, first, end)]
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
        self._seen.append(recent.lay(self.track, self.delta, self._end, end))
        self._end = end

    def jump(self, delta: int, recent: RecentEvidence, since: int) -> None:
        """Go on at `delta` from the frame `since` on: the track was held for a while, or a part of it left out."""
        kept = max(0, since // STEP_FRAMES - self.first_step)
        steps = self.steps()
        before = Steps(steps.n_peaks[:kept], steps.n_found[:kept], steps.surprise[:kept], steps.deltas[:kept])
        first = (self.first_step + kept) * STEP_FRAMES
        self._seen = [before, recent.lay(self.track, delta, first, self._end)]
        self.delta = delta

    def steps(self) -> Steps:
        """Return all steps so far."""
        if len(self._seen) > 1:
            self._seen = [Steps.concatenate(self._seen)]
        return self._seen[0]

    def last_heard(self, n_steps: int) -> int | None:
        """Return the last step in which the track was heard among the last `n_steps`, None where there is none."""
        ratios = self.steps().log_ratios()[-n_steps:]
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
