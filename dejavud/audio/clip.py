"""Clips cut out of recordings, for the quick start and for evaluation."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.audio.decode import open_audio
from dejavud.errors import InvalidRequest

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A stretch of a recording: float32 [n] mono, nominally in [-1, 1]."""

    samples: NDArray[np.float32]
    rate_hz: int


def cut_clip(path: Path | str, start_s: float, duration_s: float, *, rate_hz: int | None = None) -> Clip:
    """Return the stretch of the file at `path` from `start_s` on, at its own rate or resampled to `rate_hz`.

    The file is decoded from its beginning, so the cut is exact to the sample in every format; near its end the clip
    is as short as what is left.

    Raises
    ------
    InvalidRequest
        The stretch is not one, or the recording ends before it begins.
    UnreadableFile, UnsupportedAudio
        As of `open_audio`.
    """
    if not (start_s >= 0 and duration_s > 0):
        raise InvalidRequest(reason=f"a clip cannot start at {start_s} s and last {duration_s} s")
    with open_audio(path, name=str(path), rate_hz=rate_hz, limit_s=start_s + duration_s) as reader:
        n_before = round(start_s * reader.rate_hz)
        kept = [np.empty(0, np.float32)]
        kept.extend(block[max(n_before - (reader.n_samples - len(block)), 0) :] for block in reader)
        samples, n_read, rate = np.concatenate(kept), reader.n_samples, reader.rate_hz
    if not len(samples):
        raise InvalidRequest(reason=f"{path} ends at {n_read / rate:.2f} s, before the clip begins at {start_s} s")
    return Clip(samples, rate)


def write_wav(path: Path | str, samples: NDArray[Any], rate_hz: int) -> None:
    """Write mono `samples`, nominally in [-1, 1] and clipped to it, as a 16-bit wav file at `path`."""
    pcm = np.round(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(pcm.tobytes())
