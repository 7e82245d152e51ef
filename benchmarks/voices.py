"""Voices over music, and beside it: people who speak, somebody who hums, and mixing at a given distance in decibels.

``python benchmarks/voices.py speech.wav`` writes half a minute of each to listen to.

The speech is real: the telephone prompts of Debian's packages ``asterisk-core-sounds-*-wav`` (CC BY-SA 3.0; the Russian ones CC BY 3.0; read by
Allison Smith, June Wallack, Maxim Topal and Carlo Flora), which are fetched once, kept beside the free music, and joined to running speech.  Where they
cannot be had, ``espeak-ng`` speaks.  The humming is made here: a sung tone that glides from note to note of a melody, with a vibrato, breath, and the
formants of a closed mouth.  Everything is drawn from a seed; the same seed gives the same voice.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import wave
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from scipy.signal import butter, sosfilt

from dejavud.evaluation.degrade import pink_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

LANGUAGES = ("en", "es", "fr", "it", "ru")
LOUDNESS = 0.1
"""What every voice is made to, in root mean square of full scale."""

DEEPEST_HZ = 100.0

_PHRASE_S = (0.7, 20.0)  # single letters and digits are no speech, the longest prompts are lists
_PAUSE_S = (0.15, 0.7)
_SENTENCES = (
    "the person you are trying to reach is not at home, and nobody knows when she will be back",
    "after the song we have the weather, the traffic, and a word about tomorrow's programme",
    "I remember this one, they used to play it every summer on the boat to the island",
    "please hold the line, your call is important to us, and somebody will be with you shortly",
    "could you turn it up a little? no, that was too much, now I can't hear what you say",
    "that makes four coffees, two rolls and a lemonade, and the table over there wants to pay",
)


def speech(n_samples: int, rate_hz: int, seed: int = 0, languages: tuple[str, ...] = LANGUAGES) -> Samples:
    """Return running speech of one person after another, each a language for some ten phrases.

    The root mean square is `LOUDNESS` over the phrases; the pauses between them are silent.
    """
    rng = np.random.default_rng(seed)
    voices = [paths for language in languages if (paths := phrases(language))]
    pieces: list[Samples] = []
    n_made = 0
    while n_made < n_samples:
        paths = voices[int(rng.integers(len(voices)))] if voices else ()
        for number in rng.choice(len(paths) or len(_SENTENCES), 10 if paths else 3, replace=False):
            said = _phrase(paths[number], rate_hz) if paths else _spoken(_SENTENCES[number], rate_hz)
            pieces += [said, np.zeros(round(rng.uniform(*_PAUSE_S) * rate_hz), np.float32)]
            n_made += len(said) + len(pieces[-1])
    return np.concatenate(pieces)[:n_samples]


def humming(n_samples: int, rate_hz: int, seed: int = 0) -> Samples:
    """Return somebody who hums a melody of a major scale to himself, at `LOUDNESS`.

    A tone of up to 24 partials falls by 12 dB an octave, as the voice's source does; a closed mouth has its resonances near 250, 1000 and 2200 Hz.
    """
    rng = np.random.default_rng(seed)
    pitch_hz, loud = _melody(n_samples, rate_hz, rng)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    tone = np.zeros(n_samples)
    for partial in range(1, 25):
        frequency = partial * pitch_hz
        mouth = sum(gain / (1 + ((frequency - at) / wide) ** 2) for at, wide, gain in _FORMANTS)
        tone += np.where(frequency < rate_hz / 2, mouth / partial, 0) * np.sin(partial * phase)
    breath = rng.normal(0, 0.01, n_samples)
    return _at_loudness((tone + breath) * loud)


def voice_over(n_samples: int, rate_hz: int, seed: int = 0) -> Samples:
    """Return somebody who speaks and hums, in turn every two to five seconds and now and then at once, at `LOUDNESS`."""
    rng = np.random.default_rng([seed, 1])
    said, hummed = speech(n_samples, rate_hz, seed), humming(n_samples, rate_hz, seed)
    speaks, hums = np.zeros(n_samples, np.float32), np.zeros(n_samples, np.float32)
    at, turn = 0, int(rng.integers(2))
    while at < n_samples:
        length = round(rng.uniform(2, 5) * rate_hz)
        both = rng.random() < 0.2
        speaks[at : at + length] = both or turn == 0
        hums[at : at + length] = both or turn == 1
        at, turn = at + length, 1 - turn
    return _at_loudness(said * speaks + hummed * hums)


def loudness(samples: Samples, rate_hz: int) -> float:
    """Return the root mean square of what is heard of `samples`: of what lies above 100 Hz, as radios and small loudspeakers play it.

    Some recordings hold a drone below it that no room hears, and that would drown in the noise what is heard of them.
    """
    return _rms(sosfilt(butter(2, DEEPEST_HZ, "highpass", fs=rate_hz, output="sos"), samples))


def at_level(samples: Samples, level: float, rate_hz: int) -> Samples:
    """Return `samples` at a loudness; what is silent stays so."""
    return samples * np.float32(level / (loudness(samples, rate_hz) or 1.0))


def room_noise(n_samples: int, rate_hz: int, seed: int = 0) -> Samples:
    """Return the noise of a room with people in it, at `LOUDNESS`: as much pink noise as the babble of four who speak at once."""
    babble = np.sum([speech(n_samples, rate_hz, 100 * seed + voice) for voice in range(4)], axis=0)
    return _at_loudness(_at_loudness(babble) + _at_loudness(pink_noise(n_samples, np.random.default_rng([seed, 2]))))


@cache
def phrases(language: str) -> tuple[Path, ...]:
    """Return the prompts of a language that are speech, fetched the first time; none where they cannot be had."""
    folder = package(f"asterisk-core-sounds-{language}-wav")
    if folder is None:
        return ()
    return tuple(path for path in sorted(folder.rglob("*.wav")) if _is_phrase(path))


@cache
def package(name: str) -> Path | None:
    """Return the folder of a Debian package's files, which is fetched the first time and not installed; None where it cannot be had."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dejavud" / "music" / name
    if folder.is_dir():
        return folder
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{name}.") as partial:
        subprocess.run(["apt-get", "-q", "download", name], cwd=partial, capture_output=True, check=False)
        for deb in Path(partial).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, f"{partial}/files"], check=True)
            Path(partial, "files").rename(folder)
            return folder
    return None


_FORMANTS = ((250.0, 120.0, 1.0), (1000.0, 200.0, 0.12), (2200.0, 300.0, 0.05))


def _melody(n_samples: int, rate_hz: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a melody's pitch in Hz and its loudness, each [n_samples]: a walk over a scale, glides between its notes, breaths after every few."""
    major = np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16])
    base_hz, step = float(rng.uniform(95, 240)), int(rng.integers(len(major)))
    semitones, loud = np.empty(n_samples), np.empty(n_samples)
    at = 0
    while at < n_samples:
        length = round(rng.choice([0.25, 0.4, 0.5, 0.8, 1.2]) * rate_hz)
        step = int(np.clip(step + rng.integers(-3, 4), 0, len(major) - 1))
        semitones[at : at + length] = major[step] + rng.normal(0, 0.2)
        loud[at : at + length] = 0.05 if rng.random() < 0.12 else rng.uniform(0.6, 1)
        at += length
    time_s = np.arange(n_samples) / rate_hz
    vibrato = 0.3 * np.sin(2 * np.pi * 5.5 * time_s + rng.uniform(0, 6))
    return base_hz * 2 ** ((_smooth(semitones, rate_hz, 0.08) + vibrato) / 12), _smooth(loud, rate_hz, 0.04)


def _smooth(values: NDArray[Any], rate_hz: int, seconds: float) -> NDArray[Any]:
    """Return `values` as a mean over so many seconds: a step becomes a glide."""
    n = max(1, round(seconds * rate_hz))
    sums = np.cumsum(np.concatenate([np.full(n, values[0]), values]))
    return (sums[n:] - sums[:-n]) / n


def _phrase(path: Path, rate_hz: int) -> Samples:
    """Return a prompt at a rate and at `LOUDNESS`."""
    with wave.open(str(path)) as file:
        said = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        own_hz = file.getframerate()
    return _at_loudness(said if own_hz == rate_hz else soxr.resample(said, own_hz, rate_hz))


def _is_phrase(path: Path) -> bool:
    """Tell whether a prompt is speech and long enough for it, and not a tone or silence."""
    if path.parent.name == "silence" or path.stem.startswith(("beep", "ascending", "descending")):
        return False
    with wave.open(str(path)) as file:
        return _PHRASE_S[0] <= file.getnframes() / file.getframerate() <= _PHRASE_S[1]


@cache
def _spoken(sentence: str, rate_hz: int) -> Samples:
    """Return a sentence as espeak-ng speaks it, at `LOUDNESS`."""
    if shutil.which("espeak-ng") is None:
        message = "there is neither real speech (apt-get download asterisk-core-sounds-en-wav) nor espeak-ng to speak"
        raise FileNotFoundError(message)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "said.wav")
        subprocess.run(["espeak-ng", "-w", path, sentence], check=True)
        return _phrase(path, rate_hz)


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def _at_loudness(samples: NDArray[Any]) -> Samples:
    """Return `samples` at `LOUDNESS`; silence stays what it is."""
    return np.asarray(samples * (LOUDNESS / (_rms(samples) or 1.0)), np.float32)


def main() -> None:
    """Write half a minute of each voice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wav", type=Path, help="where to write it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rate_hz = 16_000
    samples = np.concatenate([make(30 * rate_hz, rate_hz, options.seed) for make in (speech, humming, voice_over)])
    with wave.open(str(options.wav), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
