"""Deterministic music for tests: as rich in peaks as real music, free of anybody's rights, small in the repository.

Four voices play seeded notes of one scale, with harmonics, envelopes and vibrato, over a drum kit; no bar is repeated
exactly, so that every stretch of a piece is its own.
"""

from __future__ import annotations

import wave
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 2, 3, 5, 7, 9, 10))
_VOICES = ((36, 2.0, 0.30), (48, 1.0, 0.22), (60, 0.5, 0.22), (67, 0.25, 0.16))
"""Lowest MIDI note, beats a note and level of each voice."""
_KEPT_S = 60.0


def synthesize(seed: int, duration_s: float, rate_hz: int = 44100) -> Samples:
    """Return a piece of music, float32 [round(duration_s * rate_hz)] in [-1, 1]; the same for the same arguments.

    The notes depend on `seed` alone: at another rate the same piece is played, and a longer piece begins as the
    shorter one does, but for its level.
    """
    return (_kept(seed, duration_s, rate_hz) if duration_s <= _KEPT_S else _made(seed, duration_s, rate_hz)).copy()


@lru_cache(maxsize=16)
def _kept(seed: int, duration_s: float, rate_hz: int) -> Samples:
    """Return a piece that tests may well ask for again: to make one takes a hundredth of its own time."""
    return _made(seed, duration_s, rate_hz)


def _made(seed: int, duration_s: float, rate_hz: int) -> Samples:
    rng = np.random.default_rng(seed)
    beat_s = 60.0 / rng.uniform(84, 150)
    key, scale = int(rng.integers(12)), np.array(_SCALES[rng.integers(len(_SCALES))])
    n_samples = round(duration_s * rate_hz)
    mix = np.zeros(n_samples, dtype=np.float32)
    for i, (lowest, beats, level) in enumerate(_VOICES):
        voice = np.random.default_rng((seed, i))
        _play_voice(mix, voice, key + lowest, scale, step_s=beats * beat_s, level=level, rate_hz=rate_hz)
    _play_drums(mix, np.random.default_rng((seed, 99)), beat_s / 2, rate_hz)
    mix *= np.float32(0.9 / max(float(np.abs(mix).max(initial=0.0)), 1e-9))
    return mix


def _play_voice(
    mix: Samples, rng: np.random.Generator, root: int, scale: NDArray[Any], *, step_s: float, level: float, rate_hz: int
) -> None:
    """Add one voice to `mix`: a walk over the scale, each note with its own colour and length."""
    partials = np.arange(1, 9)
    colour = rng.uniform(0.6, 1.6)
    degree, at_s = int(rng.integers(len(scale))), float(rng.uniform(0, step_s))
    while at_s * rate_hz < len(mix):
        degree = int(np.clip(degree + rng.integers(-3, 4), 0, 2 * len(scale) - 1))
        note = root + 12 * (degree // len(scale)) + int(scale[degree % len(scale)])
        length_s = step_s * float(rng.choice((0.5, 1.0, 1.0, 1.5)))
        weights = rng.uniform(0.3, 1.0, len(partials)) / partials**colour
        vibrato = rng.uniform(0.0, 0.004)
        frequency_hz = 440.0 * 2 ** ((note - 69) / 12) * 2 ** (rng.normal(0, 0.05) / 12)
        _add(mix, _tone(frequency_hz, weights, vibrato, 1.3 * length_s, rate_hz), at_s, level, rate_hz)
        at_s += length_s


def _tone(frequency_hz: float, weights: NDArray[Any], vibrato: float, length_s: float, rate_hz: int) -> Samples:
    """Return one note: partials below 0.45 of the rate, a fast attack, an exponential decay, a short release.

    The sine of each multiple of the phase follows from the two before: sin(k+1)x = 2 cos(x) sin(kx) - sin(k-1)x.
    """
    t = np.arange(max(int(length_s * rate_hz), 1)) / rate_hz
    phase = 2 * np.pi * frequency_hz * (t + vibrato * np.sin(2 * np.pi * 5.5 * t) / (2 * np.pi * 5.5))
    before, sine, twice_cosine = np.zeros(len(t)), np.sin(phase), 2 * np.cos(phase)
    tone = np.zeros(len(t))
    for partial, weight in enumerate(weights, start=1):
        if partial * frequency_hz >= 0.45 * rate_hz:
            break
        tone += weight * sine
        before, sine = sine, twice_cosine * sine - before
    envelope = np.minimum(t / 0.008, 1.0) * np.exp(-2.5 * t / length_s) * np.minimum((length_s - t) / 0.01, 1.0)
    return (tone * envelope).astype(np.float32)


def _play_drums(mix: Samples, rng: np.random.Generator, step_s: float, rate_hz: int) -> None:
    """Add a kick, a snare and a hat, played with small accidents."""
    step = 0
    while step * step_s * rate_hz < len(mix):
        at_s = step * step_s + float(rng.uniform(0, 0.01))
        t = np.arange(int(0.15 * rate_hz)) / rate_hz
        hit = rng.random()
        noise_seed = int(rng.integers(2**31))
        if step % 8 in (0, 5) or hit < 0.05:
            kick = np.sin(2 * np.pi * (50 * t - 6 * np.exp(-30 * t))) * np.exp(-18 * t)
            _add(mix, kick.astype(np.float32), at_s, 0.5, rate_hz)
        if step % 8 == 4 or hit > 0.95:
            noise = np.random.default_rng(noise_seed).standard_normal(len(t)).astype(np.float32)
            _add(mix, noise * np.exp(-25 * t).astype(np.float32), at_s, 0.15, rate_hz)
        if hit < 0.7:
            noise = np.random.default_rng(noise_seed + 1).standard_normal(len(t)).astype(np.float32)
            _add(mix, np.diff(noise, prepend=0) * np.exp(-60 * t).astype(np.float32), at_s, 0.06, rate_hz)
        step += 1


def _add(mix: Samples, sound: NDArray[Any], at_s: float, level: float, rate_hz: int) -> None:
    start = int(at_s * rate_hz)
    stop = min(start + len(sound), len(mix))
    mix[start:stop] += level * sound[: max(0, stop - start)]


def write_wav(path: Path | str, samples: NDArray[Any], rate_hz: int = 44100) -> Path:
    """Write mono ``[n]`` or interleaved ``[n, n_channels]`` samples in [-1, 1] as a 16-bit wav and return its path."""
    pcm = np.round(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(pcm.tobytes())
    return Path(path)
