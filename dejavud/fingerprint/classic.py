"""dejavu's own fingerprint: the same (hash, offset) sets as its original code gives for the same int16 samples.

A database that dejavu made is asked with it.  The levels are computed by the very operations of matplotlib's ``specgram``,
in double precision, so that even ties between cells fall as they fell; what follows is arranged otherwise:

- dejavu looks for maxima with a footprint of hundreds of cells.  Here a square is two running maxima, a diamond three, each
  made by doubling.
- dejavu counts digital silence as 0 dB and takes flat silence out of the maxima by an erosion.  As a peak lies above
  `amp_min_db`, which is not negative, neither can change what is a peak, and neither is done.
- dejavu hashes every pair.  Here every *distinct* pair is hashed, once: half of them where two channels are alike, 84 to 98 %
  in one channel of music.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.fingerprint.classic_params import SQUARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.fingerprint.classic_params import ClassicParams
    from dejavud.values import Array

SEGMENT_FRAMES = 128
"""Frames computed at a time, whatever the length of the recording: 8 MB of spectra."""

_BIN_BITS, _DT_BITS = 17, 29
"""A pair as one int64: anchor bin, target bin, dt."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassicHashes:
    """A set of (hash, offset), in order of (hash, offset).

    values : uint8 [n, hash_digits / 2], the leading bytes of SHA-1s; read-only.
    offsets : int32 [n], the anchors' frames; read-only.
    """

    values: Array
    offsets: Array

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, np.uint8).view()
        offsets = np.ascontiguousarray(self.offsets, np.int32).view()
        if values.ndim != 2 or offsets.shape != values.shape[:1]:  # noqa: PLR2004 - rows of bytes
            msg = f"ClassicHashes: values of shape {values.shape} with offsets of shape {offsets.shape}"
            raise ValueError(msg)
        values.flags.writeable = offsets.flags.writeable = False
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "offsets", offsets)

    def __len__(self) -> int:
        return len(self.offsets)


def classic_fingerprint(channel_samples: Array, params: ClassicParams) -> ClassicHashes:
    """Return the hashes of one channel: int16 [n], as its file holds them, neither resampled nor scaled.

    Less than a frame is filled up with silence, as dejavu did.  Nothing, and silence, give an empty set.

    Raises
    ------
    ValueError
        The samples are not int16, or not of one channel.
    """
    return classic_fingerprint_channels([channel_samples], params)


def classic_fingerprint_channels(channels: Sequence[Array], params: ClassicParams) -> ClassicHashes:
    """Return the union of the channels' hashes, each fingerprinted by itself: what dejavu stores of a recording.

    Raises ValueError as `classic_fingerprint` does.
    """
    return classic_hashes([classic_peaks(samples, params) for samples in channels], params)


def classic_hashes(peaks_of_channels: Sequence[tuple[Array, Array]], params: ClassicParams) -> ClassicHashes:
    """Return the union of the hashes of channels whose peaks, (frames, bins), these are."""
    pairs, offsets = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for frames, bins in peaks_of_channels:
        of_channel = _pair(frames, bins, params)
        pairs.append(of_channel[0])
        offsets.append(of_channel[1])
    distinct, which = np.unique(np.concatenate(pairs), return_inverse=True)
    n_bytes = params.hash_digits // 2
    digests = _sha1(distinct)[:, :n_bytes]
    # The bytes as one fixed-length string a row: numpy sorts those, and as all are equally long their padding is no matter.
    names, rank = np.unique(np.ascontiguousarray(digests).view(f"S{n_bytes}").ravel(), return_inverse=True)
    both = np.sort(rank[which] << 32 | np.concatenate(offsets))  # np.unique would take ten times as long
    both = both[np.diff(both, prepend=-1) > 0]
    return ClassicHashes(names.view(np.uint8).reshape(-1, n_bytes)[both >> 32], both & 0xFFFFFFFF)


def classic_peaks(channel_samples: Array, params: ClassicParams) -> tuple[Array, Array]:
    """Return (frames, bins), each int64 [n_peaks], in order of (frame, bin).  Raises ValueError as `classic_fingerprint` does."""
    picker = ClassicPeakPicker(params)
    picker.feed(channel_samples)
    return picker.finish()


class ClassicPeakPicker:
    """The peaks of one channel that arrives in blocks: the same ones for every way of cutting it into blocks."""

    def __init__(self, params: ClassicParams) -> None:
        self._params = params
        self._segment_samples = (SEGMENT_FRAMES - 1) * params.hop_samples + params.n_fft
        self._pending: list[Array] = []
        self._n_pending = 0
        reach = params.neighborhood_cells
        self._beyond = np.full((reach, params.n_fft // 2 + 1 + 2 * reach), -np.inf)
        # levels[reach] is of frame `n_done`; no cell outside the recording is ever a maximum
        self._levels, self._n_done = self._beyond, 0
        self._found: list[tuple[Array, Array]] = [(np.empty(0, np.intp), np.empty(0, np.intp))]

    def feed(self, samples: Array) -> None:
        """Take the next samples, int16 [n], which must not be written to again.  Raises ValueError as `classic_fingerprint` does."""
        _check(samples)
        self._pending.append(samples)
        self._n_pending += len(samples)
        if self._n_pending < self._segment_samples:
            return
        samples = np.concatenate(self._pending)
        start = 0
        while len(samples) - start >= self._segment_samples:
            self._pick(_levels(samples[start : start + self._segment_samples], self._params))
            start += SEGMENT_FRAMES * self._params.hop_samples
        self._pending, self._n_pending = [samples[start:].copy()], len(samples) - start

    def finish(self) -> tuple[Array, Array]:
        """Return (frames, bins), each int64 [n_peaks], in order of (frame, bin); nothing may be fed after it."""
        n_fft = self._params.n_fft
        samples = np.concatenate([np.empty(0, np.int16), *self._pending])
        is_short = not self._n_done and len(self._levels) == len(self._beyond) and 0 < len(samples) < n_fft
        if is_short:
            samples = np.pad(samples, (0, n_fft - len(samples)))
        last = [self._beyond]
        if len(samples) >= n_fft:
            last.insert(0, _levels(samples, self._params))
        self._pick(np.concatenate(last))
        return np.concatenate([frames for frames, _ in self._found]), np.concatenate([bins for _, bins in self._found])

    def _pick(self, levels: Array) -> None:
        """Find the peaks in those frames that have all their neighbours by now."""
        params, reach = self._params, self._params.neighborhood_cells
        levels = np.concatenate([self._levels, levels])
        n_ready = len(levels) - 2 * reach
        if n_ready > 0:
            centre = levels[reach:-reach, reach:-reach]
            maxima = (centre > params.amp_min_db) & (centre == _maximum_around(levels, reach, params.connectivity))
            frames, bins = np.nonzero(maxima)
            self._found.append((frames + self._n_done, bins))
            levels, self._n_done = levels[n_ready:], self._n_done + n_ready
        self._levels = levels


def _check(samples: Array) -> None:
    if samples.dtype != np.int16 or samples.ndim != 1:
        msg = (
            f"dejavu's fingerprint is of one channel of int16 samples, not of {samples.dtype} in "
            f"{samples.ndim} dimensions: pass each channel by itself, as its file holds it"
        )
        raise ValueError(msg)


def _levels(samples: Array, params: ClassicParams) -> Array:
    """Return float64 [n_frames, reach + n_fft // 2 + 1 + reach]: dB of the power density, -inf in silence and at the sides.

    Every operation is matplotlib's, with its rounding: a whole complex transform though the samples are real, a complex
    product for the power, and what looks like two divisions done as the products that numpy makes of a complex division.
    A real transform takes a third of the time, but of a steady tone it makes another set: 231 pairs where the original has 66.
    """
    window = np.hanning(params.n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(samples, params.n_fft)[:: params.hop_samples]
    spectra = np.fft.fft(frames * window, axis=1)[:, : params.n_fft // 2 + 1]
    power = (np.conj(spectra) * spectra).real
    power[:, 1:-1] *= 2.0  # one side stands for both, but for DC and Nyquist
    power *= 1.0 / params.rate_hz
    power *= 1.0 / (window**2).sum()
    reach = params.neighborhood_cells
    levels = np.full((len(power), power.shape[1] + 2 * reach), -np.inf)
    with np.errstate(divide="ignore"):  # digital silence has no level
        np.log10(power, out=levels[:, reach:-reach])
    levels *= 10.0
    return levels


def _maximum_around(levels: Array, reach: int, connectivity: int) -> Array:
    """Return the maximum around every cell that has `reach` neighbours on all sides: float64, 2 reach less in both directions.

    A diamond of radius r is the sum (in Minkowski's sense) of the cross of radius 1 and a diagonal of r cells each way.
    """
    if connectivity == SQUARE:
        return _running_maximum(_running_maximum(levels, 2 * reach + 1, 0, 1), 2 * reach + 1, 1, 0)
    rhomb = _running_maximum(_running_maximum(levels, reach, 1, 1), reach, 1, -1)
    top = np.maximum(rhomb[:-2, 1:-1], rhomb[2:, 1:-1])
    for neighbour in (rhomb[1:-1, :-2], rhomb[1:-1, 1:-1], rhomb[1:-1, 2:]):
        np.maximum(top, neighbour, out=top)
    return top


def _running_maximum(levels: Array, length: int, row_step: int, column_step: int) -> Array:
    """Return the maxima over `length` cells in a row, along a row (0, 1), a column (1, 0) or a diagonal (1, ±1).

    By doubling: a window of 2 k is the maximum of two windows of k.
    """
    done = 1
    while done < length:
        step = min(done, length - done)
        rows, columns = step * row_step, step * abs(column_step)
        height, width = levels.shape[0] - rows, levels.shape[1] - columns
        near, far = (columns, 0) if column_step < 0 else (0, columns)
        levels = np.maximum(levels[:height, near : near + width], levels[rows:, far : far + width])
        done += step
    return levels


def _pair(frames: Array, bins: Array, params: ClassicParams) -> tuple[Array, Array]:
    """Return (pairs, offsets), each int64 [n]: each peak with those that follow it, by the rules of `params`."""
    if not params.sorted_by_time:
        order = np.lexsort((frames, bins))
        frames, bins = frames[order], bins[order]
    longest = np.iinfo(np.int32).max if params.dt_max_frames is None else params.dt_max_frames
    pairs, offsets = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for lag in range(0 if params.pairs_with_itself else 1, min(params.fan_value, len(frames))):
        n_anchors = len(frames) - lag
        dt = frames[lag:] - frames[:n_anchors]
        near = (dt >= params.dt_min_frames) & (dt <= longest)
        pair = (bins[:n_anchors] << _BIN_BITS | bins[lag:]) << _DT_BITS | dt
        pairs.append(pair[near])
        offsets.append(frames[:n_anchors][near])
    return np.concatenate(pairs), np.concatenate(offsets)


def _sha1(pairs: Array) -> Array:
    """Return uint8 [n, 20]: the SHA-1 of each pair's text, "anchor bin|target bin|dt" in decimal digits."""
    anchors, targets = pairs >> _BIN_BITS + _DT_BITS, pairs >> _DT_BITS & (1 << _BIN_BITS) - 1
    triples = zip(anchors.tolist(), targets.tolist(), (pairs & (1 << _DT_BITS) - 1).tolist(), strict=True)
    digests = [hashlib.sha1(b"%d|%d|%d" % triple, usedforsecurity=False).digest() for triple in triples]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, hashlib.sha1(usedforsecurity=False).digest_size)
