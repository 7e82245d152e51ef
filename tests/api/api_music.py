"""The music that the library's tests know, and clips of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthetic import synthesize, write_wav

if TYPE_CHECKING:
    from pathlib import Path

    from synthetic import Samples

PIECES = (1, 2, 3)
PIECE_S = 12.0
UNKNOWN = 77


def piece_file(path: Path, seed: int, rate_hz: int = 44100, duration_s: float = PIECE_S) -> Path:
    """Write a piece of music; another seed is another piece."""
    return write_wav(path, synthesize(seed, duration_s, rate_hz), rate_hz)


def clip(seed: int, start_s: float, duration_s: float = 4.0, rate_hz: int = 44100) -> Samples:
    """Return a part of a piece."""
    return synthesize(seed, PIECE_S, rate_hz)[round(start_s * rate_hz) : round((start_s + duration_s) * rate_hz)]


def clip_file(path: Path, seed: int, start_s: float, duration_s: float = 4.0, rate_hz: int = 44100) -> Path:
    """Write a part of a piece."""
    return write_wav(path, clip(seed, start_s, duration_s, rate_hz), rate_hz)
