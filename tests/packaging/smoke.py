"""Run in a clean environment that holds only the wheel: it teaches a track and recognizes it, without a microphone."""

from __future__ import annotations

import importlib.util
import platform
import tempfile
import wave
from pathlib import Path

import numpy as np

from dejavud import Dejavu, __version__
from dejavud.recognize import FileRecognizer

RATE_HZ = 16000


def write_wav(path: Path, samples: np.ndarray) -> str:
    """Write float samples in -1..1 as mono 16-bit and return the path as text."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", "not compressed"))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return str(path)


def tune(seed: int, duration_s: float) -> np.ndarray:
    """Return notes of a fifth of a second, each of four random partials: float [n], -1..1."""
    random = np.random.default_rng(seed)
    n_note = RATE_HZ // 5
    t_s = np.arange(n_note) / RATE_HZ
    envelope = np.exp(-6 * t_s)
    notes = [
        (np.sin(2 * np.pi * random.uniform(200, 3500, 4)[:, None] * t_s) * envelope).mean(axis=0)
        for _ in range(int(duration_s * 5))
    ]
    return np.concatenate(notes)


def main() -> None:
    """Fail loudly unless the installed wheel recognizes the right one of two tracks."""
    assert importlib.util.find_spec("clients") is None, "the wheel installed a top-level package called clients"
    assert importlib.util.find_spec("pyaudio") is None, "this is meant to run without PyAudio"
    with tempfile.TemporaryDirectory() as folder:
        tracks = {name: tune(seed, 30) for seed, name in enumerate(("first", "second"))}
        dejavu = Dejavu(dburl="duckdb://")
        for name, samples in tracks.items():
            dejavu.fingerprint_file(write_wav(Path(folder) / f"{name}.wav", samples))
        clip = write_wav(Path(folder) / "clip.wav", tracks["second"][10 * RATE_HZ : 15 * RATE_HZ])
        result = dejavu.recognize(FileRecognizer, clip)
    assert result["results"][0]["song_name"] == "second", result
    print(f"dejavud {__version__} recognizes on Python {platform.python_version()}, numpy {np.__version__}")  # noqa: T201 - it reports to .ci/run


if __name__ == "__main__":
    main()
