"""What the world does to music before somebody asks what it is."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from scipy.signal import butter, fftconvolve, sosfilt

from dejavud.evaluation.clips import CLIP_HZ, loudness
from dejavud.evaluation.codecs import SPEECH_HZ, through_mp3, through_speech_codec
from dejavud.evaluation.talkers import babble

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dejavud.evaluation.conditions import Condition

    Samples = NDArray[Any]
    Apply = Callable[[Samples, float, np.random.Generator, int], Samples]

MP3_BIT_RATE = 64_000
PHONE_BAND_HZ = (300, 3400)
LOUDSPEAKER_BAND_HZ = (300, 7000)
REVERBERATION_S = 0.5
"""Until the room's sound has fallen by 60 dB: a living room, a bar."""
FIRST_REFLECTION_S = 0.003
"""A table's or a wall's, a metre of detour."""
ROOM_NOISE_DB, ROOM_BABBLE_DB = 5.0, 10.0
_VOCODER_FFT, _VOCODER_HOP = 2048, 512


def degraded(samples: Samples, condition: Condition, length_s: float, seed: list[int]) -> Samples:
    """Return `length_s` of `samples` under `condition`: float64 at `CLIP_HZ`, within [-1, 1].

    samples : at `CLIP_HZ`, with the reserve of `clips.reserve_s`.
    seed : the same one makes the same noise.

    Raises `InvalidRequest` where the condition needs a codec that this machine lacks.
    """
    rng = np.random.default_rng([*seed, zlib.crc32(condition.name.encode())])
    n_samples = round(length_s * CLIP_HZ)
    clip = _APPLIED[condition.kind](samples.astype(np.float64), condition.value, rng, n_samples)[:n_samples]
    return clip / max(1.0, float(np.abs(clip).max(initial=0.0)))


def to_engine(samples: Samples, rate_hz: int) -> Samples:
    """Return `samples` at the engine's rate: float32."""
    return soxr.resample(samples.astype(np.float32), CLIP_HZ, rate_hz, quality="HQ")


def pink_noise(n_samples: int, rng: np.random.Generator) -> Samples:
    """Return noise whose power falls by 3 dB an octave, as that of most of the world's noises does."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(1.0, np.arange(len(spectrum)))), n_samples)


def mixed(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Return `samples` with `noise` at `snr_db` below them, both taken over the whole clip."""
    return samples + noise * (loudness(samples) / max(loudness(noise), 1e-12) * 10 ** (-snr_db / 20))


def in_room(samples: Samples, rng: np.random.Generator) -> Samples:
    """Return `samples` from a small loudspeaker in a room, whose reverberation is as loud as the direct sound."""
    heard = sosfilt(butter(2, LOUDSPEAKER_BAND_HZ, "bandpass", fs=CLIP_HZ, output="sos"), samples)
    n_response = round(REVERBERATION_S * CLIP_HZ)
    response = rng.standard_normal(n_response) * 10 ** (-3 * np.arange(n_response) / n_response)
    response[: round(FIRST_REFLECTION_S * CLIP_HZ)] = 0.0
    response /= np.sqrt(np.sum(response**2))
    response[0] = 1.0
    return fftconvolve(heard, response)[: len(samples)]


def over_phone(samples: Samples) -> Samples:
    """Return `samples` as they come out of a telephone."""
    narrow = sosfilt(butter(4, PHONE_BAND_HZ, "bandpass", fs=CLIP_HZ, output="sos"), samples)
    at_8_khz = soxr.resample(narrow, CLIP_HZ, SPEECH_HZ, quality="HQ")
    return soxr.resample(through_speech_codec(at_8_khz), SPEECH_HZ, CLIP_HZ, quality="HQ")


def sped_up(samples: Samples, factor: float) -> Samples:
    """Return `samples` played `factor` times as fast: shorter by it, and higher."""
    return soxr.resample(samples, CLIP_HZ, CLIP_HZ / factor, quality="HQ")


def pitched(samples: Samples, factor: float) -> Samples:
    """Return `samples` `factor` times as high, as fast as they were: stretched by a phase vocoder, then sped up."""
    return sped_up(_stretched(samples, factor), factor)


def _stretched(samples: Samples, factor: float) -> Samples:
    """Return `samples` `factor` times as long and no lower.

    A frame of the result has the magnitudes of the original there, and follows the frame before it in phase as the original does from
    one hop earlier on.
    """
    window = np.hanning(_VOCODER_FFT + 1)[:-1]
    padded = np.concatenate([np.zeros(_VOCODER_HOP), samples, np.zeros(_VOCODER_FFT)])
    n_frames = int(factor * len(samples) / _VOCODER_HOP)
    starts = _VOCODER_HOP + np.round(np.arange(n_frames) * _VOCODER_HOP / factor).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _VOCODER_FFT)
    here = np.fft.rfft(frames[starts] * window)
    before = np.fft.rfft(frames[starts - _VOCODER_HOP] * window)
    steps = np.angle(here) - np.angle(before)
    steps[0] = np.angle(here[0])
    parts = np.fft.irfft(np.abs(here) * np.exp(1j * np.cumsum(steps, axis=0)), _VOCODER_FFT) * window
    total = np.zeros(n_frames * _VOCODER_HOP + _VOCODER_FFT)
    weight = np.full(len(total), 1e-3)
    for number, part in enumerate(parts):
        first = number * _VOCODER_HOP
        total[first : first + _VOCODER_FFT] += part
        weight[first : first + _VOCODER_FFT] += window**2
    return total / weight


def _room_noise(clip: Samples, rng: np.random.Generator) -> Samples:
    noisy = mixed(in_room(clip, rng), pink_noise(len(clip), rng), ROOM_NOISE_DB)
    return mixed(noisy, babble(len(clip), CLIP_HZ, rng), ROOM_BABBLE_DB)


_APPLIED: dict[str, Apply] = {
    "clean": lambda x, _v, _r, _n: x,
    "mp3_64k": lambda x, _v, _r, n: through_mp3(x[:n], CLIP_HZ, MP3_BIT_RATE),
    "phone": lambda x, _v, _r, n: over_phone(x[:n]),
    "room": lambda x, _v, r, n: in_room(x[:n], r),
    "roomnoise": lambda x, _v, r, n: _room_noise(x[:n], r),
    "noise": lambda x, v, r, n: mixed(x[:n], pink_noise(n, r), v),
    "babble": lambda x, v, r, n: mixed(x[:n], babble(n, CLIP_HZ, r), v),
    "speed": lambda x, v, _r, _n: sped_up(x, 1 + v / 100),
    "pitch": lambda x, v, _r, _n: pitched(x, 1 + v / 100),
}
"""By kind: (samples with reserve, value, generator, samples of the clip) to samples."""
