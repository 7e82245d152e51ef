"""A track's peaks laid over a recording, step by step: how much likelier what is seen there is with the track than without it.

At the place of each of the track's peaks the recording has a local maximum, nearly one, or nothing of the kind.  A peak that the noise has not drowned
looks like the first, a drowned one like any other place of its bin.  How many are drowned nobody knows and changes from note to note, so a step's ratio
is a mean over shares; but which kinds of them are, low or high, prominent or faint, stays the same through a play, and is learnt from what has been heard
of it.  That is what tells a soft passage in noise, of which here and there a note is left where notes were left before, from one that does not sound.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from dejavud.values import N_QUARTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.values import Array, Constellation

STEP_FRAMES = 8
"""A quarter of a second: a dozen of a track's peaks, which is enough to tell music that is there from music that is not."""
STEPS_A_HOP = 20
HOP_FRAMES = STEP_FRAMES * STEPS_A_HOP
"""A recording is worked through in hops of about five seconds."""

FOUND_DEPTH, NEAR_DEPTH = (int(4 * DEPTH_EDGES_DB[depth_class]) for depth_class in (AGREEING_CLASS, AGREEING_CLASS + 2))
"""Quarters of a dB below the local maximum up to which a peak is found, and nearly found: the grades 0 and 1; what is deeper is of grade 2."""
AUDIBLE_GRADES = np.array([0.84, 0.12, 0.04])
"""How often a peak that the noise has not drowned is of each grade."""
AUDIBLE_SHARES = np.array([0.9, 0.6, 0.35, 0.2, 0.1, 0.05, 0.025])
"""How much of a track may be left where it is heard, from a clean copy to a soft passage under a voice.  Chance finds a fiftieth of a track's peaks."""
MOST_AUDIBLE = 0.95

BAND_EDGES_BINS = np.array([20, 38, 68, 108, 158, 218, 298, 388])
"""Noise and voices cover the low bands, codecs and telephones the high ones: from 100 Hz in the lowest to 700 Hz in the highest."""
DOUBTFUL_STEPS, LEARNT_STEPS = 3.0, 80.0
"""How much is left is learnt from the last twenty seconds or so; each share is taken to have been left in so many steps that nobody saw."""
LEARNT_PEAKS = 30.0
"""A kind of peaks is taken to be as audible as all are until about so many of it have been seen."""
QUIET_PLACES = 1.0
"""So few places of a frame are found where nothing sounds; in music, speech and noise they are five to ten."""
LEAST_SHARE = 0.01
LEAST_CHANCE = 0.003
"""So often any place is of any grade."""


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What is seen of a track in consecutive steps, each float64 [n].

    log_ratios : log P(what is seen | the track is heard) less that of chance; 0 where it has no peaks.
    usual_ratios : the same where as much of the track is left as was of late: what tells a gap from a soft passage, as after it the track is heard again.
    deltas : where the track was laid, track frame less recording frame.
    """

    log_ratios: Array
    usual_ratios: Array
    deltas: Array

    @classmethod
    def concatenate(cls, parts: Sequence[Steps]) -> Steps:
        """Return the steps of all `parts`, in order."""
        return cls(
            np.concatenate([p.log_ratios for p in parts]),
            np.concatenate([p.usual_ratios for p in parts]),
            np.concatenate([p.deltas for p in parts]),
        )

    def __getitem__(self, which: slice) -> Steps:
        return Steps(self.log_ratios[which], self.usual_ratios[which], self.deltas[which])

    def __len__(self) -> int:
        return len(self.deltas)


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A track's peaks in some consecutive steps of a recording.

    kinds : int [n_peaks], of `Audibility`.
    odds : float64 [n_peaks], how much likelier what is seen is of an audible peak than by chance.
    excess, room : float64 [n_peaks], whether it is found, less how often by chance; and what that would be of an audible one.
    borders : int [n_steps + 1], the first peak of each step.
    delta : where the track was laid.
    """

    kinds: Array
    odds: Array
    excess: Array
    room: Array
    borders: Array
    delta: int

    def steps(self, audibility: Audibility | None = None) -> Steps:
        """Return what the steps say, with what is known of the play's `audibility`."""
        audibility = audibility or Audibility()
        by_share = self.by_share(audibility.relative)
        ratios, usual_ratios = (
            log_sum_exp(by_share) - np.log(len(AUDIBLE_SHARES)),
            log_sum_exp(by_share + np.log(audibility.likely)),
        )
        usual_ratios[self.borders[1:] == self.borders[:-1]] = 0.0
        return Steps(ratios, usual_ratios, np.full(len(ratios), float(self.delta)))

    def by_share(self, relative: Array) -> Array:
        """Return float64 [n_steps, n_shares]: what each step says where such a share of the track is left, of each kind `relative` to it."""
        shares = np.minimum(np.outer(relative, AUDIBLE_SHARES), MOST_AUDIBLE)[self.kinds]
        by_share = np.log1p((self.odds - 1)[:, None] * shares)
        sums = np.concatenate([np.zeros((1, len(AUDIBLE_SHARES))), np.cumsum(by_share, axis=0)])
        return np.diff(sums[self.borders], axis=0)


class Audibility:
    """How much of a track the noise leaves, and which kinds of its peaks, learnt from what has been heard of a play.

    A kind is a frequency band and a quarter of prominence; what each of the two does is taken to multiply.

    relative : float64 [n_kinds], how many times as often as peaks in general those of each kind are audible.
    likely : float64 [n_shares], how often each of `AUDIBLE_SHARES` was left of late.
    """

    def __init__(self) -> None:
        self._excess = np.zeros((len(BAND_EDGES_BINS) + 1, N_QUARTERS))
        self._room = np.zeros_like(self._excess)
        self._n_left = np.full(len(AUDIBLE_SHARES), DOUBTFUL_STEPS)
        self.relative = np.ones(self._excess.size)

    @property
    def likely(self) -> Array:
        """Return the probability of each share."""
        likely: Array = self._n_left / self._n_left.sum()
        return likely

    def learn(self, laid: Laid, first: int, end: int) -> None:
        """Take note of the steps [first, end) of `laid`, in which the track was heard."""
        left = laid.by_share(self.relative)[first:end] + np.log(self.likely)
        seen = np.exp(left - log_sum_exp(left)[:, None]).sum(axis=0)
        kept = min(1.0, LEARNT_STEPS / (self._n_left.sum() + seen.sum() - DOUBTFUL_STEPS * len(seen)))
        self._n_left = DOUBTFUL_STEPS + kept * (self._n_left - DOUBTFUL_STEPS + seen)
        which, shape = slice(laid.borders[first], laid.borders[end]), self._excess.shape
        self._excess += np.bincount(laid.kinds[which], laid.excess[which], self._excess.size).reshape(shape)
        self._room += np.bincount(laid.kinds[which], laid.room[which], self._room.size).reshape(shape)
        mean = max(LEAST_SHARE, self._excess.sum() / max(1.0, self._room.sum()))
        by_band, by_quarter = (
            (np.maximum(self._excess.sum(axis=axis), 0) / mean + LEARNT_PEAKS)
            / (self._room.sum(axis=axis) + LEARNT_PEAKS)
            for axis in (1, 0)
        )
        self.relative = np.outer(by_band, by_quarter).ravel()


class RecentEvidence:
    """The last minute or so of a recording's depths, and what chance gives in each of its bins."""

    def __init__(self, bin_min: int, n_bins: int, n_hops_kept: int) -> None:
        self.bin_min = bin_min
        self._bands = np.searchsorted(BAND_EDGES_BINS, np.arange(bin_min, bin_min + n_bins), "right")
        self._n_kept = n_hops_kept * HOP_FRAMES
        self.first_frame = 0
        self._depths = np.empty((0, n_bins), np.uint8)
        self._chances: dict[int, Array] = {}  # by hop

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
        self._chances = {hop: chance for hop, chance in self._chances.items() if (hop + 1) * HOP_FRAMES > first}

    def depths(self, first: int, end: int) -> Array:
        """Return uint8 [end - first, n_bins]: the depths of a stretch that is kept."""
        return self._depths[first - self.first_frame : end - self.first_frame]

    def lay(self, track: Constellation, delta: int, first: int, end: int) -> Laid:
        """Return what is seen of `track`, laid at `delta`, in the frames [first, end) of the recording, `first` at a step's start."""
        under = slice(*np.searchsorted(track.frames, (first + delta, end + delta)))
        frames = track.frames[under] - delta
        columns = track.bins[under].astype(np.intp) - self.bin_min
        depths = self._depths[frames - self.first_frame, columns]
        grades = (depths > FOUND_DEPTH).astype(np.intp) + (depths > NEAR_DEPTH)
        chances = np.empty((len(frames), len(AUDIBLE_GRADES)))
        for hop in range(first // HOP_FRAMES, -(-end // HOP_FRAMES)):
            of_hop = slice(*np.searchsorted(frames, (hop * HOP_FRAMES, (hop + 1) * HOP_FRAMES)))
            chances[of_hop] = self._chance(hop)[columns[of_hop]]
        n_steps = -(-(end - first) // STEP_FRAMES)
        return Laid(
            self._bands[columns] * N_QUARTERS + track.quarters[under],
            AUDIBLE_GRADES[grades] / chances[np.arange(len(frames)), grades],
            (grades == 0) - chances[:, 0],
            AUDIBLE_GRADES[0] - chances[:, 0],
            np.searchsorted(frames, first + STEP_FRAMES * np.arange(n_steps + 1)),
            delta,
        )

    def is_quiet(self, first: int, end: int) -> Array:
        """Return bool [n_steps]: whether next to nothing sounds in the steps of the frames [first, end), `first` at a step's start."""
        n_found = np.count_nonzero(self.depths(first, end) <= FOUND_DEPTH, axis=1)
        return np.add.reduceat(n_found, np.arange(0, end - first, STEP_FRAMES)) < QUIET_PLACES * STEP_FRAMES

    def count(self, track: Constellation, delta: int, first: int, end: int) -> int:
        """Return how many peaks of `track`, laid at `delta`, are found in the frames [first, end)."""
        under = slice(*np.searchsorted(track.frames, (first + delta, end + delta)))
        frames, columns = track.frames[under] - (delta + self.first_frame), track.bins[under] - self.bin_min
        return int(np.count_nonzero(self._depths[frames, columns] <= FOUND_DEPTH))

    def _chance(self, hop: int) -> Array:
        """Return float64 [n_bins, n_grades]: how often a place in each bin is of each grade in a hop and the one before."""
        if hop not in self._chances:
            depths = self.depths(max(self.first_frame, (hop - 1) * HOP_FRAMES), (hop + 1) * HOP_FRAMES)
            n_sounding = int(np.count_nonzero(depths.min(axis=1) < SILENT_DEPTH))  # silence says nothing of chance
            found, near = (
                _shares(np.count_nonzero(depths <= deepest, axis=0), max(1, n_sounding))
                for deepest in (FOUND_DEPTH, NEAR_DEPTH)
            )
            self._chances[hop] = np.maximum(np.stack([found, near - found, 1 - near], axis=1), LEAST_CHANCE)
        return self._chances[hop]


def _shares(counts: Array, n_frames: int) -> Array:
    """Return float64 [n_bins]: in which share of the frames something is so, from how often it is in each bin and in those around it."""
    sums = np.concatenate([[0.0], np.cumsum(counts + 1e-3 * n_frames)])
    bins = np.arange(len(counts))
    low, high = np.maximum(bins - CHANCE_SPREAD_BINS, 0), np.minimum(bins + CHANCE_SPREAD_BINS + 1, len(bins))
    around = (sums[high] - sums[low]) / (high - low) / n_frames
    return (counts + CHANCE_PRIOR_FRAMES * around) / (n_frames + CHANCE_PRIOR_FRAMES)
