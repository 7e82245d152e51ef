"""Candidates to evidence: how much of a track's constellation is really there in the query.

Votes count pairs of peaks that survived to the very bin and frame.  Verification asks more of the audio: at the place of each of
the track's peaks, how far below the local maximum is the query?  At a true alignment most places are at or near a maximum, even
under noise; at a chance one they are like any other place of the query.  The answer is a log-likelihood ratio

    sum over peaks of  log P(depth | the track sounds here) - log P(depth | it does not)

where the second is measured in the query itself, bin by bin, so a held note that makes every frame of its bin a near-maximum
proves little.  The first depends on how much of the track the noise has left, which nobody knows: the ratio is averaged over a ladder of
severities, for each frequency band on its own (a small loudspeaker has no bass, speech covers the middle), with prominent peaks
allowed to fare better than faint ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.logarithms import log_sum_exp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dejavud.matching.voting import Candidates
    from dejavud.values import Array, Constellation, Evidence

DEPTH_EDGES_DB = (0.0, 0.75, 1.5, 2.5, 4.0, 6.0, 9.0, 13.0)
"""Upper edges of the depth classes; a ninth class holds what is deeper."""
N_CLASSES = len(DEPTH_EDGES_DB) + 1

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
SLOPES = (0, 1)
"""How many rungs of the ladder a quarter less prominent may be worse off."""

CHANCE_SPREAD_BINS = 20
CHANCE_PRIOR_FRAMES = 60.0
"""The depths of a bin are counted together with this many frames' worth of its neighbours': a short query has few frames of its own."""

_LADDER = np.log(SEVERITIES / SEVERITIES.sum(axis=1, keepdims=True))
_N_QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Verified:
    """Candidates with their evidence, the strongest first.

    track_ids : int64 [n].
    deltas : float64 [n], frames, to a fraction by the sub-frame shift that fits best.
    log_ratios : float64 [n], log-likelihood ratio against chance, nats.
    """

    track_ids: Array
    deltas: Array
    log_ratios: Array

    def __len__(self) -> int:
        return len(self.track_ids)


class Verifier:
    """Holds constellations against one query's evidence."""

    def __init__(self, evidence: Evidence) -> None:
        self.n_frames = evidence.n_frames
        self._bin_min = evidence.bin_min
        self._classes = _class_of_depth()[evidence.depths]
        n_bins = evidence.depths.shape[2]
        self._band_of = np.arange(n_bins) * N_BANDS // max(1, n_bins)
        chance = _chance(self._classes)
        self._gains = (_LADDER[:, None, :] - np.log(chance)).astype(np.float32)  # [severity, bin, class]
        self._models = _models(len(_LADDER))

    def verify(self, candidates: Candidates, constellations: Mapping[int, Constellation], n_refined: int) -> Verified:
        """Return the `n_refined` best candidates with their evidence.

        All candidates are looked at where their votes put them; the best then at every sub-frame shift and one frame to
        either side.  Candidates whose track is not in `constellations` are left out.
        """
        known = np.isin(candidates.track_ids, np.fromiter(constellations, np.int64, len(constellations)))
        tracks, deltas = candidates.track_ids[known], candidates.deltas[known]
        n_shifts = len(self._classes)
        coarse = self._best_of(tracks, deltas, constellations, [(0, shift) for shift in range(0, n_shifts, 2)])[0]
        best = np.argsort(-coarse, kind="stable")[:n_refined]
        tracks, deltas = tracks[best], deltas[best]
        places = [(step, shift) for step in (-1, 0, 1) for shift in range(n_shifts)]
        ratios, moved = self._best_of(tracks, deltas, constellations, places)
        order = np.argsort(-ratios, kind="stable")
        return Verified(tracks[order], (deltas + moved)[order], ratios[order])

    def agreement(self, track: Constellation, delta: float) -> tuple[Array, Array]:
        """Return (frames, agree) for the track's peaks laid over the query: int [n] and bool [n], a maximum or nearly one."""
        whole, shift = self._place(delta)
        frames, bins, _ = self._peaks_under(track, whole)
        return frames, self._classes[shift][frames, bins] <= AGREEING_CLASS

    def log_ratio_within(self, track: Constellation, delta: float, first: int, last: int) -> float:
        """Return the log-likelihood ratio of one alignment from the query's frames [first, last) alone, nats."""
        whole, shift = self._place(delta)
        peaks = self._gather([(track, whole)])
        within = (peaks.frames >= first) & (peaks.frames < last)
        part = _Peaks(1, peaks.cells[within], peaks.frames[within], peaks.bins[within])
        return float(self._ratios(part, shift)[0])

    def _place(self, delta: float) -> tuple[int, int]:
        """Return the whole frame and the sub-frame shift that `delta` is made of."""
        n_shifts = len(self._classes)
        whole, shift = divmod(-round(delta * n_shifts), n_shifts)
        return -whole, shift

    def _peaks_under(self, track: Constellation, delta: int) -> tuple[Array, Array, Array]:
        """Return frames and columns of the query, and quarters, of the track's peaks that the query covers."""
        first, last = np.searchsorted(track.frames, (delta, delta + self.n_frames))
        return track.frames[first:last] - delta, track.bins[first:last] - self._bin_min, track.quarters[first:last]

    def _best_of(
        self, tracks: Array, deltas: Array, constellations: Mapping[int, Constellation], places: list[tuple[int, int]]
    ) -> tuple[Array, Array]:
        """Return for each candidate the highest ratio over (step in frames, shift) places, and how far from its delta that was."""
        ratios, moved = np.full(len(tracks), -np.inf), np.zeros(len(tracks))
        for step in dict.fromkeys(step for step, _ in places):
            peaks = self._gather([(constellations[int(t)], int(d) + step) for t, d in zip(tracks, deltas, strict=True)])
            for shift in (shift for of_step, shift in places if of_step == step):
                found = self._ratios(peaks, shift)
                higher = found > ratios
                ratios[higher], moved[higher] = found[higher], step - shift / len(self._classes)
        return ratios, moved

    def _gather(self, placed: list[tuple[Constellation, int]]) -> _Peaks:
        stretches = [self._peaks_under(track, delta) for track, delta in placed]
        owner = np.repeat(np.arange(len(placed)), [len(frames) for frames, _, _ in stretches])
        if not len(owner):
            return _Peaks(len(placed), owner, owner, owner)
        frames, bins, quarters = (np.concatenate(parts) for parts in zip(*stretches, strict=True))
        cells = (owner * N_BANDS + self._band_of[bins]) * _N_QUARTERS + quarters
        return _Peaks(len(placed), cells, frames, bins)

    def _ratios(self, peaks: _Peaks, shift: int) -> Array:
        """Return float64 [n_owners]: each owner's ratio, averaged over severities band by band."""
        classes = self._classes[shift][peaks.frames, peaks.bins]
        shape = (peaks.n_owners, N_BANDS, _N_QUARTERS)
        sums = np.zeros((*shape, len(self._gains) + 1))  # the last severity: nothing is left, ratio 1
        for severity, gains in enumerate(self._gains):
            sums[..., severity] = np.bincount(peaks.cells, gains[peaks.bins, classes], math.prod(shape)).reshape(shape)
        by_model = sum(sums[:, :, quarter, self._models[:, quarter]] for quarter in range(_N_QUARTERS))
        return (log_sum_exp(by_model) - np.log(len(self._models))).sum(axis=1)


@dataclass(frozen=True, slots=True)
class _Peaks:
    """The peaks of several owners laid over the query.

    cells : int [n], (owner, band, quarter) of each peak as one number.
    frames, bins : int [n], where in the query each falls.
    """

    n_owners: int
    cells: Array
    frames: Array
    bins: Array


def _models(n_severities: int) -> Array:
    """Return int [n_models, 4]: which rung each quarter stands on; the rung past the ladder says that nothing is left."""
    rungs = {
        tuple(min(first + slope * q, n_severities) for q in range(_N_QUARTERS))
        for slope in SLOPES
        for first in range(n_severities)
    }
    return np.array(sorted(rungs | {(n_severities,) * _N_QUARTERS}))


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
