"""PCM as the decoders hand it out: brought to mono float32 at one rate, or to 16 bits a channel at its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]
    Mix = Callable[[Sequence[NDArray[Any]]], NDArray[Any]]

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 6_144_000
"""What a sample rate can be: below is no music, above no converter; a damaged header is likelier."""

_LOUDEST = 1e4
"""Float samples are nominally within 1; what is louder than 80 dB above that is damage."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of samples, float32 [n] from `mono` or int16 [n_channels, n] from `sixteen_bit`, at the rate that the file has there."""

    samples: NDArray[Any]
    rate_hz: int


def mono(channels: Sequence[NDArray[Any]]) -> Samples:
    """Return the mean of `channels`, float32 [n] nominally in [-1, 1].

    channels : at least one, all [n] and of one type: uint8, a signed integer, or float.

    Integers are scaled by their type's full range; a float that is no number, or far out of range, becomes silence.
    """
    kind = channels[0].dtype
    with np.errstate(over="ignore", invalid="ignore"):  # damage in floats, which is silenced below
        mixed = channels[0].astype(np.float32)
        for channel in channels[1:]:
            np.add(mixed, channel, out=mixed, casting="unsafe")
        if kind.kind == "f":
            mixed *= np.float32(1 / len(channels))
            # Sound audio pays one dot product, not a pass with a mask.
            if not math.isfinite(float(np.dot(mixed, mixed))):
                mixed[~(np.abs(mixed) < _LOUDEST)] = 0.0
            return mixed
    if kind.kind == "u":
        mixed -= np.float32(len(channels) * 2 ** (8 * kind.itemsize - 1))
    mixed *= np.float32(1 / (len(channels) * 2 ** (8 * kind.itemsize - 1)))
    return mixed


def sixteen_bit(channels: Sequence[NDArray[Any]]) -> NDArray[np.int16]:
    """Return `channels` as FFmpeg makes them 16-bit: int16 [n_channels, n], contiguous.

    channels : as for `mono`.

    Wider integers lose their low bits, narrower ones get zeros; floats are scaled to the full range, rounded and clipped, and what is no
    number becomes silence.
    """
    stacked = np.stack(channels)
    kind = stacked.dtype
    if kind.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.rint(stacked * kind.type(32768))
            return np.nan_to_num(np.clip(scaled, -32768, 32767), copy=False).astype(np.int16)
    if kind.kind == "u":
        stacked = stacked.astype(np.int64) - 2 ** (8 * kind.itemsize - 1)
    shift = 8 * (kind.itemsize - 2)
    return (stacked >> shift if shift > 0 else stacked.astype(np.int16) << -shift).astype(np.int16, copy=False)


class Resampler:
    """Brings chunks, whose rate may change on the way, to one rate; a stream in, a stream out.

    Where the rate stays, the output does not depend on how the input was cut into chunks.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._from_hz = rate_hz
        self._stream: soxr.ResampleStream | None = None

    def feed(self, chunk: Chunk) -> Samples:
        """Return what `chunk` completes, float32 [n] at the output's rate; may be empty."""
        if chunk.rate_hz == self._from_hz:
            return self._run(chunk.samples)
        tail = self.finish()
        self._from_hz = chunk.rate_hz
        if chunk.rate_hz != self._rate_hz:
            self._stream = soxr.ResampleStream(chunk.rate_hz, self._rate_hz, 1, dtype="float32", quality="HQ")
        head = self._run(chunk.samples)
        return np.concatenate([tail, head]) if len(tail) else head

    def finish(self) -> Samples:
        """Return what the filter still holds, float32 [n]; after it a new stream may begin."""
        if self._stream is None:
            return np.empty(0, np.float32)
        tail: Samples = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        self._stream, self._from_hz = None, self._rate_hz
        return tail

    def _run(self, samples: Samples) -> Samples:
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(samples)
        return resampled


def resampled(channel: NDArray[Any], rate_hz: int, wanted_hz: int) -> Samples:
    """Return one channel of PCM, of a type that `mono` takes, as float32 [n] at `wanted_hz`."""
    resampler = Resampler(wanted_hz)
    head = resampler.feed(Chunk(mono([channel]), rate_hz))
    return np.concatenate([head, resampler.finish()])
