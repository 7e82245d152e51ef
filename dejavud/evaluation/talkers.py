"""A room full of people talking, made from nothing: the same babble for every library, and no recording in it to be recognized.

Each talker is a glottal pulse of wandering pitch through three formants, syllable by syllable, with hissed consonants and pauses: what
disturbs a recognizer is that harmonics move and stop all over the middle of the spectrum, and that they do here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from scipy.signal import butter, sosfilt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[Any]

N_TALKERS = 5
VOICE_HZ = 16_000
"""Voices are made at this rate: above 8 kHz they have only hiss."""
VOWELS_HZ = (
    (270, 2290, 3010),
    (390, 1990, 2550),
    (530, 1840, 2480),
    (660, 1720, 2410),
    (730, 1090, 2440),
    (570, 840, 2410),
    (440, 1020, 2240),
    (300, 870, 2240),
)
"""Mean formants of American English vowels (Peterson and Barney 1952)."""
FORMANT_WIDTHS_HZ = (70, 100, 160)
PAUSE_SHARE = 0.15


def babble(n_samples: int, rate_hz: int, rng: np.random.Generator) -> Samples:
    """Return `N_TALKERS` equally loud voices at once, float64 [n_samples]; the level is not promised."""
    n_made = n_samples * VOICE_HZ // rate_hz + 2
    mixed = np.zeros(n_made)
    for _ in range(N_TALKERS):
        voice = _talker(n_made, rng)
        mixed += voice / max(float(np.sqrt(np.mean(voice**2))), 1e-9)
    return soxr.resample(mixed, VOICE_HZ, rate_hz, quality="HQ")[:n_samples]


def _talker(n_samples: int, rng: np.random.Generator) -> Samples:
    pitch_hz, tract = rng.uniform(85, 240), rng.uniform(0.9, 1.15)
    spoken = np.zeros(n_samples)
    at = -int(rng.integers(VOICE_HZ // 4))  # nobody waits for the clip to begin
    while at < n_samples:
        if rng.random() < PAUSE_SHARE:
            at += int(rng.uniform(0.1, 0.4) * VOICE_HZ)
            continue
        sound = _syllable(pitch_hz * 2 ** rng.normal(0, 0.15), tract, rng)
        first, last = max(at, 0), min(at + len(sound), n_samples)
        if last > first:
            spoken[first:last] += sound[first - at : last - at]
        at += int(0.9 * len(sound))
    return spoken


def _syllable(pitch_hz: float, tract: float, rng: np.random.Generator) -> Samples:
    n = int(rng.uniform(0.12, 0.3) * VOICE_HZ)
    glide = np.linspace(1.0, 2 ** rng.normal(0, 0.12), n)
    phase = np.cumsum(pitch_hz * glide) / VOICE_HZ
    source = (1 - 2 * (phase % 1.0)) + 0.05 * rng.standard_normal(n)
    formants = tract * np.array(VOWELS_HZ[rng.integers(len(VOWELS_HZ))])
    vowel = sosfilt(_resonators(formants), source)
    vowel *= np.sin(np.linspace(0, np.pi, n)) ** 0.6 / max(float(np.abs(vowel).max()), 1e-9)
    n_hissed = int(rng.uniform(0.1, 0.35) * n)
    hiss = sosfilt(_hiss_filter(), rng.standard_normal(n_hissed)) * np.hanning(n_hissed)
    vowel[:n_hissed] += 0.15 * rng.random() * hiss
    return vowel


def _resonators(formants_hz: Samples) -> Samples:
    """Return the formants as second-order sections [3, 6], each with a gain of 1 at 0 Hz."""
    radius = np.exp(-np.pi * np.array(FORMANT_WIDTHS_HZ) / VOICE_HZ)
    first, second = -2 * radius * np.cos(2 * np.pi * formants_hz / VOICE_HZ), radius**2
    zero, one = np.zeros(3), np.ones(3)
    return np.stack([1 + first + second, zero, zero, one, first, second], axis=1)


def _hiss_filter() -> Samples:
    return butter(2, 3000, "highpass", fs=VOICE_HZ, output="sos")
