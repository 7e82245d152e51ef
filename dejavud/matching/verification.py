"""Candidates to evidence: how much of a track's constellation is really there in the query.

Votes count pairs of peaks that survived to the very bin and frame.  Verification asks more of the audio: at the place of each of
the track's peaks, how far below the local maximum is the query?  At a true alignment most places are at or near a maximum, even
under noise; at a chance one they are like any other place of the query.  The answer is a log-likelihood ratio

    sum over peaks of  log P(depth | the track sounds here) - log P(depth | it does not)

where the second is measured in the query itself, bin by bin, so a held note that makes every frame of its bin a near-maximum
proves little.  The first depends on how much of the track the noise has left, which nobody knows: the ratio is averaged over a ladder of
severities, for each frequency band on its own (a small loudspeaker has no bass, speech covers the middle), with prominent peaks
allowed to fare better than faint ones, and with what covers the track doing so all the time (noise) or by syllables (a voice).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.logarithms import log_sum_exp
from dejavud.matching.nearness import near
from dejavud.matching.voting import shared_out
from dejavud.values import N_QUARTERS, Evidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dejavud.matching.voting import Candidates
    from dejavud.values import Array, Constellation, Scale

DEPTH_EDGES_DB = (0.0, 0.75, 1.5, 2.5, 4.0, 6.0, 9.0, 13.0)
"""Upper edges of the depth classes; a ninth class holds what is deeper."""
N_CLASSES = len(DEPTH_EDGES_DB) + 1
_OUTSIDE, _SILENT = N_CLASSES, N_CLASSES + 1
"""Of no weight: peaks that fall outside the query, and those that fall where it is dead silent.  What nothing sounds in was cut out, or has not
begun: a track is no less there for it, and chance no worse."""
SILENT_DEPTH = 255

SEVERITIES = np.array(
    [
        [95, 4, 0.5, 0.2, 0.1, 0.05, 0.05, 0.05, 0.05],
        [83, 12, 2, 1, 0.6, 0.4, 0.4, 0.3, 0.3],
        [66, 15, 5, 3.5, 2.7, 2.4, 2, 1.9, 1.5],
        [47, 16, 9, 6.5, 5.5, 5.5, 5, 3.5, 2],
        [32, 15, 10, 8, 9, 8.5, 8, 5, 4.5],
        [21, 12, 10, 10, 11.5, 11, 10.5, 8, 6],
        [12, 8.5, 8, 10, 12.5, 14, 15, 11.5, 8.5],
        [6, 5, 5, 8, 12.2, 16, 20, 16, 11.8],
    ]
)
"""Per cent of a track's peaks in each depth class, one row a severity, from a clean copy to one nearly drowned.  Measured on music under
noise, rooms and codecs: the rows are typical of what is seen when everything from nothing to all but a few peaks is lost."""

AGREEING_CLASS = 1
"""Up to this class a peak counts as found when coverage is counted."""

N_BANDS = 4
"""Of equal ratios: what covers music, and what a loudspeaker leaves out, is told by octaves."""
BLOCK_FRAMES = 8
COVERED_SHARE = 0.4
"""What covers by syllables hides all of a band for so much of the time, a quarter of a second here and there: as likely as that nothing does."""

SLOPES = (0, 1)
"""How many rungs of the ladder a quarter less prominent may be worse off."""

CHANCE_SPREAD_BINS = 20
CHANCE_PRIOR_FRAMES = 60.0
"""The depths of a bin are counted together with this many frames' worth of its neighbours': a short query has few frames of its own."""

SCALE_STEPS = (-0.0025, -0.00125, 0.0, 0.00125, 0.0025)
"""Between two scales of the search, which lie half a per cent apart."""

MARGIN_FRAMES = 4

_LADDER = np.log(SEVERITIES / SEVERITIES.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class Verified:
    """Candidates with their evidence, the strongest first.

    track_ids : int64 [n].
    deltas : float64 [n], frames of the track at the query's start, to a fraction by the sub-frame shift that fits best.
    speeds, pitches : float64 [n], how many times as fast and as high as the track the query is.
    log_ratios : float64 [n], log-likelihood ratio against chance, nats.
    """

    track_ids: Array
    deltas: Array
    speeds: Array
    pitches: Array
    log_ratios: Array

    def __len__(self) -> int:
        return len(self.track_ids)

    def __getitem__(self, which: Array | slice) -> Verified:
        return Verified(
            self.track_ids[which], self.deltas[which], self.speeds[which], self.pitches[which], self.log_ratios[which]
        )


class Verifier:
    """Holds constellations against one query's evidence.

    relief : share of the query's spectrogram in the deepest class: little in noise, much in music.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.n_shifts, self.n_frames, self._n_bins = evidence.depths.shape
        self._bin_min = evidence.bin_min
        classes = _class_of_depth()[evidence.depths]
        silent = evidence.depths.min(axis=2, initial=SILENT_DEPTH) == SILENT_DEPTH
        classes[silent] = _SILENT
        self._classes = classes.ravel()
        borders = np.geomspace(max(1, self._bin_min), self._bin_min + self._n_bins, N_BANDS + 1)[1:-1]
        self._band_of = np.searchsorted(borders, np.arange(self._n_bins) + self._bin_min, "right")
        chance = _chance(classes[:, ~silent.any(axis=0)])
        self.relief = float(chance[:, -1].mean()) if self._n_bins else 0.0
        self._log_chance = np.pad(np.log(chance), ((0, 0), (0, 2)))  # [bin, class], those of no weight too
        self._models = _models(len(SEVERITIES))

    def within(self, first: int, last: int) -> Verifier:
        """Return what holds constellations against the query's frames [first, last) alone: chance is what it is there."""
        return Verifier(Evidence(self._evidence.depths[:, first:last], self._evidence.bin_min))

    def verify(
        self,
        candidates: Candidates,
        scales: Sequence[Scale],
        constellations: Mapping[int, Constellation],
        n_refined: int,
    ) -> Verified:
        """Return the `n_refined` best candidates with their evidence.

        All candidates are looked at where their votes put them; the best then at every sub-frame shift and one frame to
        either side, and those of another scale between the steps of the scales too.  Candidates whose track is not in
        `constellations` are left out.
        """
        known = np.isin(candidates.track_ids, np.fromiter(constellations, np.int64, len(constellations)))
        of_scale = candidates.scales[known]
        placed = Verified(
            candidates.track_ids[known],
            candidates.deltas[known].astype(float),
            np.array([scale.speed for scale in scales])[of_scale],
            np.array([scale.pitch for scale in scales])[of_scale],
            np.full(np.count_nonzero(known), -np.inf),
        )
        halves = -np.arange(0, self.n_shifts, 2) / self.n_shifts
        placed = self._best(placed, constellations, halves)
        placed = placed[shared_out(placed.track_ids, n_refined)]
        around = np.arange(-2 * self.n_shifts + 1, self.n_shifts + 1) / self.n_shifts
        if len(scales) > 1:
            placed = self._best(placed, constellations, around, SCALE_STEPS)
            placed = self._best(placed, constellations, around, [step / 8 for step in SCALE_STEPS])
        else:
            placed = self._best(placed, constellations, around)
        peaks = self._gather(placed, constellations)
        ratios = self.ratios(peaks, *self._look(peaks, placed))
        return replace(placed, log_ratios=ratios)[np.argsort(-ratios, kind="stable")]

    def sight(
        self, placed: Verified, constellations: Mapping[int, Constellation], others: Sequence[Verified] = ()
    ) -> Sight:
        """Return one alignment's peaks laid over the query, without those that the alignments `others` explain as well."""
        peaks = self._gather(placed, constellations)
        frames, columns, classes = self._look(peaks, placed)
        for other in others:
            theirs = self._gather(other, constellations)
            taken_frames, taken_columns, _ = self._look(theirs, other)
            classes[near(frames, columns, taken_frames, taken_columns)] = _OUTSIDE
        return Sight(self, peaks, frames, columns, classes)

    def explained(self, query: Constellation, placed: Verified, constellations: Mapping[int, Constellation]) -> float:
        """Return the share, 0 to 1, of the peaks of `query`, unshifted, that one alignment has too, within a frame and a bin."""
        if not len(query):
            return 0.0
        frames, columns, _ = self._look(self._gather(placed, constellations), placed)
        return float(
            np.mean(near(query.frames.astype(np.int64), query.bins.astype(np.int64) - self._bin_min, frames, columns))
        )

    def _best(
        self,
        placed: Verified,
        constellations: Mapping[int, Constellation],
        steps: Array,
        scale_steps: Sequence[float] = (0.0,),
    ) -> Verified:
        """Return `placed` moved to the best of all steps (frames) and scale steps (parts of the scale), the strongest first."""
        peaks = self._gather(placed, constellations)
        best = placed
        for scale_step in scale_steps:
            # where the tempo was kept only the pitch is in question, otherwise both change together
            speeds = np.where(placed.speeds == 1.0, 1.0, placed.speeds * (1 + scale_step))
            pitches = placed.pitches * (1 + scale_step)
            for step in steps:
                moved = Verified(placed.track_ids, placed.deltas + step, speeds, pitches, placed.log_ratios)
                _, columns, classes = self._look(peaks, moved)
                best = _the_better(best, moved, self._steady_ratios(peaks, columns, classes))
        return best[np.argsort(-best.log_ratios, kind="stable")]

    def _gather(self, placed: Verified, constellations: Mapping[int, Constellation]) -> _Peaks:
        """Return the peaks of every placed track that can fall into the query, wherever in a few frames it is moved."""
        frames, bins, quarters = [], [], []
        for track_id, delta, speed in zip(placed.track_ids.tolist(), placed.deltas, placed.speeds, strict=True):
            track = constellations[track_id]
            borders = (delta - MARGIN_FRAMES, delta + self.n_frames * speed + MARGIN_FRAMES)
            under = slice(*np.searchsorted(track.frames, borders))
            frames.append(track.frames[under])
            bins.append(track.bins[under])
            quarters.append(track.quarters[under])
        owners = np.repeat(np.arange(len(frames)), [len(of_one) for of_one in frames])
        if not len(owners):
            return _Peaks(len(placed), owners, owners, owners, owners)
        return _Peaks(len(placed), owners, np.concatenate(frames), np.concatenate(bins), np.concatenate(quarters))

    def _look(self, peaks: _Peaks, placed: Verified) -> tuple[Array, Array, Array]:
        """Return (frames, columns, classes) of the query, each int [n], where the peaks fall; the class is `_OUTSIDE` outside it."""
        moments = (peaks.frames - placed.deltas[peaks.owners]) / placed.speeds[peaks.owners]
        frames, shifts = np.divmod(np.rint(moments * self.n_shifts).astype(np.int64), self.n_shifts)
        columns = np.rint(peaks.bins * placed.pitches[peaks.owners]).astype(np.int64) - self._bin_min
        inside = (frames >= 0) & (frames < self.n_frames) & (columns >= 0) & (columns < self._n_bins)
        columns = np.where(inside, columns, 0)
        cells = (shifts * self.n_frames + np.where(inside, frames, 0)) * self._n_bins + columns
        return frames, columns, np.where(inside, self._classes[cells], _OUTSIDE)

    def ratios(self, peaks: _Peaks, frames: Array, columns: Array, classes: Array) -> Array:
        """Return float64 [n_owners]: each owner's log-likelihood ratio, averaged over severities band by band, and over what covers it.

        What covers it does so all the time, or in each block of time either wholly, so that nothing of it is said, or not at all.
        """
        n_blocks = max(1, -(-self.n_frames // BLOCK_FRAMES))
        blocks = np.clip(frames // BLOCK_FRAMES, 0, n_blocks - 1)
        by_block = self._by_model(peaks, columns, classes, blocks, n_blocks)
        steady = by_block.sum(axis=1)
        by_syllables = np.logaddexp(np.log1p(-COVERED_SHARE) + by_block, np.log(COVERED_SHARE)).sum(axis=1)
        return _mean_over_models(np.concatenate([steady, by_syllables], axis=-1))

    def _steady_ratios(self, peaks: _Peaks, columns: Array, classes: Array) -> Array:
        """Return float64 [n_owners]: `ratios` where what covers the track does so all the time; enough to compare places, for less."""
        return _mean_over_models(self._by_model(peaks, columns, classes, np.zeros_like(columns), 1)[:, 0])

    def _by_model(self, peaks: _Peaks, columns: Array, classes: Array, blocks: Array, n_blocks: int) -> Array:
        """Return float64 [n_owners, n_blocks, N_BANDS, n_models]: the ratio of each part under each model of what is left.

        The severities' part of the sum depends on how many peaks are in each class only, chance's on the bin as well.
        """
        shape = (peaks.n_owners, n_blocks, N_BANDS, N_QUARTERS)
        cells = ((peaks.owners * n_blocks + blocks) * N_BANDS + self._band_of[columns]) * N_QUARTERS + peaks.quarters
        n_cells, n_classes = math.prod(shape), N_CLASSES + 2
        counts = np.bincount(cells * n_classes + classes, minlength=n_cells * n_classes).reshape(n_cells, n_classes)
        chance = np.bincount(cells, self._log_chance[columns, classes], n_cells)
        by_severity = np.einsum("ck,sk->cs", counts[:, :N_CLASSES], _LADDER) - chance[:, None]
        # the last severity: nothing is left, ratio 1
        sums = np.pad(by_severity, ((0, 0), (0, 1))).reshape(*shape, len(SEVERITIES) + 1)
        by_model: Array = sums[..., np.arange(N_QUARTERS), self._models].sum(axis=-1)
        return by_model


@dataclass(frozen=True, slots=True)
class Sight:
    """One alignment's peaks as the query shows them; made by `Verifier.sight`."""

    _verifier: Verifier
    _peaks: _Peaks
    _frames: Array
    _columns: Array
    _classes: Array

    @property
    def frames(self) -> Array:
        """Int [n]: the frames of the query at which the track has peaks."""
        return self._frames[self._classes != _OUTSIDE]

    @property
    def agree(self) -> Array:
        """Bool [n]: whether the query has a maximum there, or nearly one."""
        return self._classes[self._classes != _OUTSIDE] <= AGREEING_CLASS

    def agreement_within(self, first: int, last: int) -> float:
        """Return the share, 0 to 1, of the track's peaks in the query's frames [first, last) that agree."""
        inside = (self._classes < N_CLASSES) & (self._frames >= first) & (self._frames < last)
        return float(np.mean(self._classes[inside] <= AGREEING_CLASS)) if inside.any() else 0.0

    def log_ratio_within(self, first: int, last: int) -> float:
        """Return the log-likelihood ratio from the query's frames [first, last) alone, nats."""
        inside = (self._frames >= first) & (self._frames < last)
        classes = np.where(inside, self._classes, _OUTSIDE)
        return float(self._verifier.ratios(self._peaks, self._frames, self._columns, classes)[0])


@dataclass(frozen=True, slots=True)
class _Peaks:
    """The peaks of several owners: int [n] each; frames and bins are the track's."""

    n_owners: int
    owners: Array
    frames: Array
    bins: Array
    quarters: Array


def _the_better(best: Verified, moved: Verified, ratios: Array) -> Verified:
    """Return `best` with those replaced that `moved` does better by its `ratios`."""
    better = ratios > best.log_ratios
    return Verified(
        best.track_ids,
        np.where(better, moved.deltas, best.deltas),
        np.where(better, moved.speeds, best.speeds),
        np.where(better, moved.pitches, best.pitches),
        np.where(better, ratios, best.log_ratios),
    )


def _mean_over_models(by_model: Array) -> Array:
    """Return float64 [n_owners]: the log of the mean likelihood ratio over the models of the last axis, for all bands, [n_owners, N_BANDS, n], together."""
    return (log_sum_exp(by_model) - np.log(by_model.shape[-1])).sum(axis=1)


def _models(n_severities: int) -> Array:
    """Return int [n_models, 4]: which rung each quarter stands on; the rung past the ladder says that nothing is left."""
    rungs = {
        tuple(min(first + slope * q, n_severities) for q in range(N_QUARTERS))
        for slope in SLOPES
        for first in range(n_severities)
    }
    return np.array(sorted(rungs | {(n_severities,) * N_QUARTERS}))


def _class_of_depth() -> Array:
    """Return uint8 [256]: the class of each depth in quarters of a dB."""
    return np.searchsorted(np.array(DEPTH_EDGES_DB) * 4, np.arange(256), "left").astype(np.uint8)


def _chance(classes: Array) -> Array:
    """Return float64 [n_bins, N_CLASSES]: how often a place in each bin of the query is in each class."""
    n_shifts, n_frames, n_bins = classes.shape
    cells = classes + N_CLASSES * np.arange(n_bins, dtype=np.uint16)
    counts = np.bincount(cells.ravel(), minlength=n_bins * N_CLASSES).reshape(n_bins, N_CLASSES) / n_shifts
    sums = np.zeros((n_bins + 1, N_CLASSES))
    np.cumsum(counts, axis=0, out=sums[1:])
    bins = np.arange(n_bins)
    around = sums[np.minimum(bins + CHANCE_SPREAD_BINS + 1, n_bins)] - sums[np.maximum(bins - CHANCE_SPREAD_BINS, 0)]
    around += 1e-3 * max(1, n_frames)  # no class is impossible
    around /= around.sum(axis=1, keepdims=True)
    return (counts + CHANCE_PRIOR_FRAMES * around) / (counts.sum(axis=1, keepdims=True) + CHANCE_PRIOR_FRAMES)
