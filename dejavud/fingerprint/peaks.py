"""Levels to peaks: two-dimensional local maxima, as many a second as asked for, the most prominent first.

A uniform density beats a global threshold: quiet passages keep their landmarks and loud ones do not flood the index
(Wang 2003; Ellis, audfprint).  Prominence is how far a peak would stand out of its neighbourhood if pink noise, as loud as the loudest
tone around, lay over both: what a room or a voice takes first, the faint partials of the treble, comes last.  It does not change with gain.

How far two maxima must lie apart grows with the root of frequency, as a compromise between the partials of one note, which lie evenly, and the notes
of a scale, which lie in equal ratios: with one distance for all, the notes of a chord in the bass, where most of music's power is, hid each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from dejavud.fingerprint.spectrogram import DB_PER_NEPER
from dejavud.values import N_QUARTERS

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array

    Zone = tuple[int, int, int]

BAND_BINS = 32
"""Width of the bands in which the neighbourhood's level is averaged: 250 Hz, several partials of most music."""

SILENCE_DB = np.float32(-110.0)
"""Peaks below this are not heard, they are rounding: the quantization noise of 16-bit samples (-101 dB in all)
reaches about -116 dB in its highest bins, and music that a 16-bit file holds stands above it."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Local maxima before their competition, in order of (frame, bin).

    frames : int32 [n].  bins : int16 [n].  prominences : float32 [n], dB over the neighbourhood, noise lying over both.
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
        n_columns = self._columns.stop - self._columns.start
        self._band_bins = min(BAND_BINS, n_columns)
        self._zones = _zones(params, self._columns.start, self._columns.stop)
        bins = np.arange(self._columns.start, self._columns.stop)
        pink = 1.0 / np.maximum(1, bins)
        self._pink = (pink / pink.sum()).astype(np.float32)
        self._rows: Array = np.empty((0, n_columns), np.float32)
        self._powers: Array = np.empty(0, np.float32)  # of the loudest bin of each row
        self._first_row = 0  # the frame of self._rows[0]
        self._done = 0  # frames whose maxima have been given

    @property
    def n_done(self) -> int:
        """Frames whose maxima have been given."""
        return self._done

    def feed(self, levels: Array) -> Candidates:
        """Return the maxima of the frames that `levels` completes; levels as `Spectrogram.levels` gives them."""
        rows = levels[:, self._columns]
        self._rows = np.concatenate([self._rows, rows])
        self._powers = np.concatenate([self._powers, _power(rows.max(axis=1))])
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
        top = _max_over_frames(_max_over_bins(near, self._zones), self._radius_frames)
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
        prominences = self._prominences(first, last, frames, columns, levels)
        heard = levels > SILENCE_DB
        found = Candidates(
            (frames[heard] + self._done).astype(np.int32),
            (columns[heard] + self._columns.start).astype(np.int16),
            prominences[heard],
        )
        self._done = end
        keep = max(0, last - self._context)
        self._rows, self._powers, self._first_row = rows[keep:], self._powers[keep:], self._first_row + keep
        return found

    def _prominences(self, first: int, last: int, frames: Array, columns: Array, levels: Array) -> Array:
        """Return float32 [n], dB: how far each maximum stands out of the mean around it, a box in time, bands joined linearly in frequency."""
        start, stop = max(0, first - self._context), min(len(self._rows), last + self._context)
        bands = _band_sums(self._rows[start:stop], self._band_bins) / self._band_bins
        means = self._box_means(np.column_stack([bands, self._powers[start:stop]]), first - start, last - start)
        noise = means[frames, -1] * self._pink[columns]
        n_bands = bands.shape[1]
        place = np.clip(columns / self._band_bins - 0.5, 0, n_bands - 1)
        lower = place.astype(np.intp)
        upper = np.minimum(lower + 1, n_bands - 1)
        weight = (place - lower).astype(np.float32)
        around = means[frames, lower] * (1 - weight) + means[frames, upper] * weight
        ratios: Array = (_power(levels) + noise) / (_power(around) + noise)
        return DB_PER_NEPER * np.log(ratios)

    def _box_means(self, values: Array, first: int, last: int) -> Array:
        """Return float32 [last - first, n]: the means of each column of `values` over the rows within the context of each of these."""
        sums = np.zeros((len(values) + 1, values.shape[1]))
        np.cumsum(values, axis=0, out=sums[1:])
        centre = np.arange(first, last)
        begin, end = np.maximum(centre - self._context, 0), np.minimum(centre + self._context + 1, len(values))
        means: Array = ((sums[end] - sums[begin]) / (end - begin)[:, None]).astype(np.float32)
        return means


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


@cache
def _zones(params: Params, first_bin: int, end_bin: int) -> list[Zone]:
    """Return (begin, end, radius), counted from `first_bin`, of each run of bins in which peaks are maxima of as many bins to either side."""
    radii = [params.peak_radius_at(bin_) for bin_ in range(first_bin, end_bin)]
    borders = [0, *(place for place in range(1, len(radii)) if radii[place] != radii[place - 1]), len(radii)]
    return [(begin, end, radii[begin]) for begin, end in pairwise(borders)]


def _power(levels: Array) -> Array:
    """Return the powers of `levels` in dB."""
    power: Array = np.exp(levels / DB_PER_NEPER)
    return power


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


def _max_over_bins(levels: Array, zones: list[Zone]) -> Array:
    """Return the maximum over as many columns to either side as the zone of each column says, the edges counting as endless quiet.

    By doubling: a window of 2 k is the maximum of two windows of k, so the cost grows with the logarithm of the radius; any other length is
    the maximum of two that overlap.
    """
    n_columns, margin = levels.shape[1], max(radius for _, _, radius in zones)
    padded = np.full((len(levels), n_columns + 2 * margin), -np.inf, levels.dtype)
    padded[:, margin : margin + n_columns] = levels
    windows = [padded]  # of 1, 2, 4 … columns
    while 2 ** len(windows) <= 2 * margin + 1:
        half = 2 ** (len(windows) - 1)
        windows.append(np.maximum(windows[-1][:, :-half], windows[-1][:, half:]))
    top = np.empty_like(levels)
    for begin, end, radius in zones:
        width = 2 * radius + 1
        power = width.bit_length() - 1
        first, second = margin - radius, margin - radius + width - 2**power
        window = windows[power]
        np.maximum(
            window[:, begin + first : end + first], window[:, begin + second : end + second], out=top[:, begin:end]
        )
    return top


def _max_over_frames(levels: Array, radius: int) -> Array:
    """Return the maximum over `radius` rows to either side, the edges counting as endless quiet; by doubling."""
    n_frames, width = len(levels), 2 * radius + 1
    top = np.full((n_frames + 2 * radius, levels.shape[1]), -np.inf, levels.dtype)
    top[radius : radius + n_frames] = levels
    reach = 1
    while reach < width:
        step = min(reach, width - reach)
        top = np.maximum(top[:-step], top[step:])
        reach += step
    return top
