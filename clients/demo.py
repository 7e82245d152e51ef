"""Shows a person that the running daemon knows its music: a noisy clip from the middle of a track, and noise alone.

``python demo.py FOLDER`` needs nothing but a daemon that was given the music of FOLDER; ./quickstart calls it last.
It asks as any program could, through ``dejavuctl --json``, and ends with 0 when both answers are right.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dejavuctl.files import AUDIO_EXTENSIONS, AudioFile, find_audio
from dejavud.audio.clip import cut_clip, write_wav
from dejavud.audio.decode import open_audio
from dejavud.errors import DejavudError

Samples = NDArray[np.float32]

RATE_HZ = 44100
CLIP_S = 5.0
SHORTEST_TRACK_S = 20.0
SNR_DB = 5.0
TOLERANCE_S = 0.1
"""How far from the cut a found position may be; the engine's frames are 32 ms."""
CERTAIN = 0.9999
"""Confidences from here on are not spelled out."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What was cut: samples : float32 [n] at RATE_HZ, from `start_s` into the track at `path`."""

    path: Path
    start_s: float
    samples: Samples


def main() -> int:
    """Cut, mix, ask, tell; 0 when the daemon was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dejavuctl", default="dejavuctl", help="the client to ask with")
    options = parser.parse_args()
    clip = clip_from_some_track(options.folder)
    if clip is None:
        print(f"    no track in {options.folder} is long enough to cut {CLIP_S:.0f} s from its middle")
        return 1
    noise = pink_noise(len(clip.samples))
    print(f"    {CLIP_S:.0f} s of {clip.path.name} from {clip.start_s:.2f} s on, with pink noise at {SNR_DB:.0f} dB")
    right = tell_match(clip, ask(options.dejavuctl, mix(clip.samples, noise, SNR_DB)))
    answer = ask(options.dejavuctl, np.float32(0.2) * noise)
    print(f"    noise only  {'no match, rightly' if not answer['matches'] else 'MATCHED, WRONGLY'}")
    return 0 if right and not answer["matches"] else 1


def clip_from_some_track(folder: Path) -> Clip | None:
    """Return a clip from the middle of the middlemost track that is long enough; None when none is."""
    found = find_audio([str(folder)], AUDIO_EXTENSIONS)
    paths = sorted(Path(file.source) for file in found if isinstance(file, AudioFile))
    middle_first = sorted(range(len(paths)), key=lambda i: abs(i - len(paths) // 2))
    for i in middle_first:
        try:
            clip = middle_of(paths[i])
        except DejavudError:  # the fingerprinting just before has listed it as failed, with the reason
            continue
        if clip is not None:
            return clip
    return None


def middle_of(path: Path) -> Clip | None:
    """Return CLIP_S from the middle of a track; None when it is short or does not say how long it is."""
    with open_audio(path, name=path.name, rate_hz=RATE_HZ) as audio:
        duration_s = audio.info.duration_s
    if duration_s is None or duration_s < SHORTEST_TRACK_S:
        return None
    start_s = round(duration_s / 2, 2)
    return Clip(path, start_s, cut_clip(path, start_s, CLIP_S, rate_hz=RATE_HZ).samples)


def pink_noise(n_samples: int) -> Samples:
    """Return noise whose power falls by 3 dB an octave: float32 [n_samples], RMS 1, the same every time."""
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(n_samples))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, n_samples)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)), np.float32)


def mix(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Return `samples` with `noise` (RMS 1) added `snr_db` below their power, scaled to fit in -1..1."""
    level = float(np.sqrt(np.mean(samples**2))) * 10 ** (-snr_db / 20)
    mixed = samples + np.float32(level) * noise
    return np.asarray(mixed / max(1.0, np.abs(mixed).max()), np.float32)


def ask(dejavuctl: str, samples: Samples) -> dict[str, Any]:
    """Return the daemon's recognition of `samples`, with the seconds that asking took as `asked_s`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        write_wav(path, samples, RATE_HZ)
        start_s = time.perf_counter()
        command = [dejavuctl, "--json", "recognize", "file", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the client it was given
    answer = json.loads(done.stdout)
    if "error" in answer:
        sys.exit(f"    dejavuctl could not ask: {answer['error']['message']}")
    return {**answer, "asked_s": time.perf_counter() - start_s}


def tell_match(clip: Clip, answer: dict[str, Any]) -> bool:
    """Print what was found, where, how surely and how fast; return whether it is the truth."""
    if not answer["matches"]:
        print("    found       nothing: the clip was not recognized")
        return False
    match = answer["matches"][0]
    track, found_s, timings = match["track"], match["track_start_s"], answer["timings"]
    same_file = track["file_sha1"] == hashlib.sha1(clip.path.read_bytes(), usedforsecurity=False).hexdigest()
    off_s = abs(found_s - clip.start_s)
    right: bool = same_file and off_s <= TOLERANCE_S
    where = f"where it was cut, to within {off_s:.2f} s" if right else "NOT where it was cut"
    if not same_file:
        where = f"in another file: {track['path']}"
    steps = ", ".join(f"{step} {timings[f'{step}_ms']:.0f}" for step in ("decode", "fingerprint", "lookup", "match"))
    print(f"    found       {track['title']}{', by ' + track['artist'] if track['artist'] else ''}")
    print(f"    where       {found_s:.2f} s into it: {where}")
    surely = f"{100 * match['confidence']:.2f} %" if match["confidence"] < CERTAIN else "more than 99.99 %"
    print(f"    how surely  {surely} (score {match['score']:.0f})")
    print(
        f"    how fast    {timings['total_ms']:.0f} ms in the daemon ({steps}), {answer['asked_s']:.2f} s with the client"
    )
    return right


if __name__ == "__main__":
    sys.exit(main())
