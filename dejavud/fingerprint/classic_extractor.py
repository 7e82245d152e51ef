"""Channels of 16-bit samples to what a classic index stores of a track, and to what it is asked for a query."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dejavud.fingerprint.classic import ClassicPeakPicker, classic_hashes
from dejavud.values import ClassicQuery, Hashes

if TYPE_CHECKING:
    from dejavud.fingerprint.classic import ClassicHashes
    from dejavud.fingerprint.classic_params import ClassicParams
    from dejavud.values import Array

_PACKED_BYTES = 8


class ClassicExtractor:
    """The hashes of a recording that arrives in blocks of all its channels, at the recording's own rate.

    rate_hz : of the samples; dejavu goes by it wherever it reads a file.
    """

    def __init__(self, params: ClassicParams, rate_hz: int) -> None:
        self._params = replace(params, rate_hz=rate_hz)
        self._pickers: list[ClassicPeakPicker] = []
        self._n_samples = 0

    def feed(self, block: Array) -> None:
        """Take the next samples: int16 [n_channels, n], always of as many channels; not to be written to again."""
        self._pickers = self._pickers or [ClassicPeakPicker(self._params) for _ in block]
        for picker, samples in zip(self._pickers, block, strict=True):
            picker.feed(samples)
        self._n_samples += block.shape[1]

    @property
    def duration_s(self) -> float:
        """Return how much was fed."""
        return self._n_samples / self._params.rate_hz

    @property
    def n_frames(self) -> int:
        """Return how many frames that is."""
        return self._params.n_frames(self._n_samples)

    def track(self) -> Hashes:
        """Return what is stored of a track, the union of its channels; nothing may be fed after it."""
        return packed(classic_hashes([picker.finish() for picker in self._pickers], self._params))

    def query(self) -> ClassicQuery:
        """Return what the generation asks for a query; nothing may be fed after it."""
        params = self._params
        peaks = [picker.finish() for picker in self._pickers]
        if params.query_united:
            hashes = packed(classic_hashes(peaks, params))
        else:
            channels = [last_offsets(packed(classic_hashes([channel], params))) for channel in peaks]
            hashes = Hashes(
                np.concatenate([np.empty(0, np.uint64), *(channel.values for channel in channels)]),
                np.concatenate([np.empty(0, np.int32), *(channel.offsets for channel in channels)]),
            )
        return ClassicQuery(hashes, self.duration_s, params.frames_to_seconds(1, params.rate_hz))


def packed(hashes: ClassicHashes) -> Hashes:
    """Return the hashes by their first 64 bits, in order of (hash, offset).

    dejavu keeps 80.  There are 8.4e8 pairs of bins and of dt that a hash can be of, so of all hashes that exist at all two agree in
    64 bits with a chance of 2 %, and that they do would bring a few hits more that agree on nothing.
    """
    leading = np.ascontiguousarray(hashes.values[:, :_PACKED_BYTES])
    return Hashes(leading.view(">u8").ravel().astype(np.uint64), hashes.offsets)


def last_offsets(hashes: Hashes) -> Hashes:
    """Return of each value the last offset only; `hashes` are in order of (value, offset)."""
    is_last = np.diff(hashes.values, append=hashes.values[-1:]) != 0
    is_last[-1:] = True
    return Hashes(hashes.values[is_last], hashes.offsets[is_last])
