"""Levels to peaks: two-dimensional local maxima, as many a second as asked for, the most prominent first.

A uniform density beats a global threshold: quiet passages keep their landmarks and loud ones do not flood the index
(Wang 2003; Ellis, audfprint).  Prominence is the height over the level of the neighbourhood, so it does not change with
gain or with a slow change of tone colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.values import N_QUARTERS

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array

BAND_BINS = 32
"""Width of the bands in which the neighbourhood's level is averaged: 250 Hz, several partials of most music."""

SILENCE_DB = np.float32(-110.0)
"""Peaks below this are not heard, they are rounding: the quantization noise of 16-bit samples (-101 dB in all)
reaches about -116 dB in its highest bins, and music that a 16-bit file holds stands above it."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Local maxima before their competition, in order of (frame, bin).

    frames : int32 [n].  bins : int16 [n].  prominences : float32 [n], dB over the neighbourhood.
    """

    frames: Array
    bins: Array
    prominences: Array

    @classmethod
    def none(cls) -> Candidates:
        """Return no candidates."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int16), np.empty(0, np.float32))

    @classmethod
    def concatenate(cls, parts: list[Candidates]) -> Candidates:
        """Return the candidates of all `parts`, in order."""
        return cls(
            np.concatenate([p.frames for p in parts]),
            np.concatenate([p.bins for p in parts]),
            np.concatenate([p.prominences for p in parts]),
        )

    def __getitem__(self, which: Array | slice) -> Candidates:
        return Candidates(self.frames[which], self.bins[which], self.prominences[which])


class PeakPicker:
    """Finds the local maxima of a spectrogram that arrives in segments.

    With `keep_depths`, `depths` collects how far each cell lies below the local maximum around it, as `values.Evidence` has it.
    """

    def __init__(self, params: Params, *, keep_depths: bool = False) -> None:
        self._params = params
        self._keep_depths = keep_depths
        self.depths: list[Array] = []
        self._radius_frames = params.peak_radius_frames
        self._context = max(params.density_window_frames, params.peak_radius_frames)
        low, high = params.bin_min - params.peak_radius_bins, params.bin_max + params.peak_radius_bins
        self._columns = slice(max(0, low), min(params.n_fft // 2, high))
        self._band_bins = min(BAND_BINS, self._columns.stop - self._columns.start)
        self._rows: Array = np.empty((0, self._columns.stop - self._columns.start), np.float32)
        self._first_row = 0  # the frame of self._rows[0]
        self._done = 0  # frames whose maxima have been given

    @property
    def n_done(self) -> int:
        """Frames whose maxima have been given."""
        return self._done

    def feed(self, levels: Array) -> Candidates:
        """Return the maxima of the frames that `levels` completes; levels as `Spectrogram.levels` gives them."""
        self._rows = np.concatenate([self._rows, levels[:, self._columns]])
        return self._pick(self._first_row + len(self._rows) - self._context)

    def finish(self) -> Candidates:
        """Return the maxima of the frames that were waiting for their neighbours."""
        return self._pick(self._first_row + len(self._rows))

    def _pick(self, end: int) -> Candidates:
        """Return the maxima of the frames from `self._done` to `end`, and drop the rows nobody needs any more."""
        if end <= self._done:
            return Candidates.none()
        rows, first, last = self._rows, self._done - self._first_row, end - self._first_row
        near = rows[max(0, first - self._radius_frames) : last + self._radius_frames]
        top = _running_max(_running_max(near, self._params.peak_radius_bins, axis=1), self._radius_frames, axis=0)
        skipped = first - max(0, first - self._radius_frames)
        top = top[skipped : skipped + last - first]
        low = self._params.bin_min - self._columns.start
        high = self._params.bin_max - self._columns.start
        centre, top = rows[first:last, low:high], top[:, low:high]
        if self._keep_depths:
            self.depths.append(_quarter_db(top - centre, centre))
        frames, columns = np.nonzero(centre == top)
        levels = centre[frames, columns]
        columns += low
        prominences = levels - self._neighbourhood(rows, first, last, frames, columns)
        heard = levels > SILENCE_DB
        found = Candidates(
            (frames[heard] + self._done).astype(np.int32),
            (columns[heard] + self._columns.start).astype(np.int16),
            prominences[heard],
        )
        self._done = end
        keep = max(0, last - self._context)
        self._rows, self._first_row = rows[keep:], self._first_row + keep
        return found

    def _neighbourhood(self, rows: Array, first: int, last: int, frames: Array, columns: Array) -> Array:
        """Return the mean level around each (frame, column): a box in time, bands joined linearly in frequency."""
        start, stop = max(0, first - self._context), min(len(rows), last + self._context)
        bands = _band_sums(rows[start:stop], self._band_bins) / self._band_bins
        sums = np.zeros((len(bands) + 1, bands.shape[1]))
        np.cumsum(bands, axis=0, out=sums[1:])
        centre = np.arange(first - start, last - start)
        begin, end = np.maximum(centre - self._context, 0), np.minimum(centre + self._context + 1, len(bands))
        means = ((sums[end] - sums[begin]) / (end - begin)[:, None]).astype(np.float32)
        place = np.clip(columns / self._band_bins - 0.5, 0, means.shape[1] - 1)
        lower = place.astype(np.intp)
        upper = np.minimum(lower + 1, means.shape[1] - 1)
        weight = (place - lower).astype(np.float32)
        return means[frames, lower] * (1 - weight) + means[frames, upper] * weight


MIN_RANKED = 4096
"""So many candidates are ranked at a time, half a minute's worth: ranked segment by segment, a track took a fifth longer."""

MAX_UNRANKED_FRAMES = 4096
"""Silence has no candidates; after so many frames without enough of them those that there are are ranked."""


@dataclass(frozen=True, slots=True)
class Winners:
    """Candidates that became peaks.  quarters : uint8 [n], as `values.Constellation` has them."""

    peaks: Candidates
    quarters: Array

    @classmethod
    def concatenate(cls, parts: list[Winners]) -> Winners:
        """Return the winners of all `parts`, in order."""
        return cls(Candidates.concatenate([p.peaks for p in parts]), np.concatenate([p.quarters for p in parts]))

    def __getitem__(self, which: slice) -> Winners:
        return Winners(self.peaks[which], self.quarters[which])


class PeakSelector:
    """Lets candidates compete: one stays when fewer than its share in the frames around it are more prominent.

    The window slides with the candidate, so which peaks stay does not depend on where a recording was cut, nor on `min_ranked`:
    so many new candidates are worth looking at.
    """

    def __init__(self, params: Params, peaks_per_s: float, *, min_ranked: int = MIN_RANKED) -> None:
        self._min_ranked = min_ranked
        self._window = params.density_window_frames
        self._n_places = round(peaks_per_s * params.frames_to_seconds(2 * self._window + 1))
        self._waiting: list[Candidates] = []
        self._n_fresh = 0
        self._done = 0

    @property
    def n_done(self) -> int:
        """Frames whose winners have been given."""
        return self._done

    def feed(self, candidates: Candidates, n_frames: int) -> Winners:
        """Return those that won, now that all candidates of the first `n_frames` frames are known; none until it is worth looking."""
        self._waiting.append(candidates)
        self._n_fresh += len(candidates.frames)
        if self._n_fresh < self._min_ranked and n_frames - self._done < MAX_UNRANKED_FRAMES:
            return Winners(Candidates.none(), np.empty(0, np.uint8))
        self._n_fresh = 0
        return self._select(n_frames - self._window)

    def finish(self) -> Winners:
        """Return those that won among the ones still waiting."""
        return self._select(np.iinfo(np.int32).max)

    def _select(self, end: int) -> Winners:
        known = Candidates.concatenate(self._waiting)
        first, last = np.searchsorted(known.frames, (self._done, end))
        rank = _ranks_within(known.frames, known.prominences, self._window)[first:last]
        won = rank < self._n_places
        self._done = max(self._done, end)
        self._waiting = [known[int(np.searchsorted(known.frames, self._done - self._window)) :]]
        return Winners(known[first:last][won], (rank[won] * N_QUARTERS // self._n_places).astype(np.uint8))


def _quarter_db(depths: Array, levels: Array) -> Array:
    """Return uint8 quarters of a dB, rounded up so that only a maximum is 0; silence counts as the greatest depth."""
    quarters = np.ceil(depths * 4)
    np.minimum(quarters, 255, out=quarters)
    quarters[levels <= SILENCE_DB] = 255
    return quarters.astype(np.uint8)


def _ranks_within(frames: Array, prominences: Array, window: int) -> Array:
    """Return for each candidate how many within `window` frames to either side are more prominent; the earlier wins a tie."""
    rank = np.zeros(len(frames), np.int32)
    for lag in range(1, len(frames)):
        near = frames[lag:] - frames[:-lag] <= window
        if not near.any():
            break
        later_wins = prominences[lag:] > prominences[:-lag]
        rank[:-lag] += near & later_wins
        rank[lag:] += near & ~later_wins
    return rank


def _band_sums(levels: Array, width: int) -> Array:
    """Return float32 [n_frames, n_columns // width]: the sums over bands of `width` columns; columns short of a band are left out.

    By einsum: as quick as a matrix product, and without the threads that BLAS would set spinning for it.
    """
    n_frames, n_columns = levels.shape
    n_bands = n_columns // width
    return np.einsum("nbk->nb", levels[:, : n_bands * width].reshape(n_frames, n_bands, width))


def _running_max(levels: Array, radius: int, axis: int) -> Array:
    """Return the maximum over 2 radius + 1 neighbours along `axis`, the edges counting as endless quiet.

    By doubling: a window of 2 k is the maximum of two windows of k, so the cost grows with the logarithm of the radius.
    """
    width = 2 * radius + 1
    padding = [(0, 0), (0, 0)]
    padding[axis] = (radius, radius)
    padded = np.pad(levels, padding, constant_values=-np.inf)
    length, reach = padded.shape[axis], 1
    while reach < width:
        step = min(reach, width - reach)
        length -= step
        if axis == 0:
            padded = np.maximum(padded[:length], padded[step : step + length])
        else:
            padded = np.maximum(padded[:, :length], padded[:, step : step + length])
        reach += step
    return padded
