"""Samples in blocks of any length to STFT frames in segments of a fixed length.

Everything after this stage works on whole segments at fixed places of the recording, so what it computes cannot depend
on how the samples were handed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.fingerprint.params import Params
    from dejavud.values import Array

SEGMENT_FRAMES = 256
"""Frames computed at a time: 256 frames of 512 float32 levels are half a megabyte, which stays in a core's cache."""


class Framer:
    """Cuts a stream of samples into overlapping frames, `segment_frames` at a time."""

    def __init__(self, params: Params, segment_frames: int = SEGMENT_FRAMES) -> None:
        self._n_fft = params.n_fft
        self._hop = params.hop_samples
        self._segment_frames = segment_frames
        self._segment_samples = (segment_frames - 1) * params.hop_samples + params.n_fft
        self._pending: list[Array] = []
        self._n_pending = 0

    def feed(self, block: Array) -> Iterator[Array]:
        """Yield the segments that `block` completes.

        Parameters
        ----------
        block : float32 [n], samples; kept as it is until a segment is full, so it must not be written to again.

        Yields
        ------
        float32 [segment_frames, n_fft] : a read-only view of overlapping frames.
        """
        self._pending.append(block)
        self._n_pending += len(block)
        if self._n_pending < self._segment_samples:
            return
        samples = self._take_all()
        advance = self._segment_frames * self._hop
        start = 0
        while len(samples) - start >= self._segment_samples:
            yield self._frames(samples[start : start + self._segment_samples])
            start += advance
        self._pending, self._n_pending = [samples[start:].copy()], len(samples) - start

    def finish(self) -> Iterator[Array]:
        """Yield the last, shorter segment where whole frames are left; samples short of a frame are dropped."""
        samples = self._take_all()
        if len(samples) >= self._n_fft:
            yield self._frames(samples)

    def _take_all(self) -> Array:
        samples = np.concatenate(self._pending) if self._pending else np.empty(0, np.float32)
        self._pending, self._n_pending = [], 0
        return np.ascontiguousarray(samples, np.float32)

    def _frames(self, samples: Array) -> Array:
        return np.lib.stride_tricks.sliding_window_view(samples, self._n_fft)[:: self._hop]
