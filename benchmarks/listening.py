"""What a listener costs, how soon it says what plays, and how true its record is: python benchmarks/listening.py FOLDER.

Decision times and the record come from a made-up broadcast of the folder's recordings, faster than real time; every fourth recording is kept out of
the library and is the unknown music.  What it costs comes from a real daemon that hears a pipe in real time.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import threading
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from own_daemon import OwnDaemon, own_daemon

from dejavuctl.connection import Connection
from dejavud.audio.decode import decode_audio
from dejavud.fingerprint.extractor import TrackExtractor, track_hashes
from dejavud.fingerprint.params import Params
from dejavud.index.memory import MemoryIndex
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.matching.tracker import TrackerRules
from dejavud.services.constellations import ConstellationCache
from dejavud.services.hearing import Hearing, Library
from dejavud.services.listen_jobs import heard
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

PARAMS = Params()
RATE_HZ = PARAMS.rate_hz
RULES = TrackerRules(max_gap_s=10.0, min_play_s=3.0)
LOUDNESS = 0.1
HELD_OUT = 4
NEAR_S = 1.0


@dataclass(frozen=True)
class Music:
    """Recordings: known ones by the id of their track, and unknown ones."""

    index: MemoryIndex
    known: dict[int, Samples]
    unknown: list[Samples]


@dataclass(frozen=True)
class Truth:
    """A stretch of a track in the broadcast."""

    track_id: int
    start_s: float
    end_s: float


def read_music(folder: Path, n_files: int) -> Music:
    """Return the folder's recordings of a minute and more."""
    index, known, unknown = MemoryIndex(), {}, []
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in {".ogg", ".mp3", ".flac", ".wav", ".m4a"}]
    for number, path in enumerate(paths[:n_files]):
        samples = decode_audio(path, name=path.name, rate_hz=RATE_HZ, limit_s=180)
        if len(samples) < 60 * RATE_HZ:
            continue
        samples = (samples * (LOUDNESS / np.sqrt(np.mean(samples**2)))).astype(np.float32)
        if number % HELD_OUT == HELD_OUT - 1:
            unknown.append(samples)
            continue
        extractor = TrackExtractor(PARAMS)
        extractor.feed(samples)
        constellation = extractor.finish()
        hashes = track_hashes(constellation, PARAMS)
        duration_s = len(samples) / RATE_HZ
        entry = NewTrack(path.name, None, None, None, f"{number:040x}", duration_s, constellation, hashes)
        [track] = index.add([entry])
        known[track.id] = samples
    if len(known) < 2 or not unknown:
        sys.exit(f"{folder} holds too few recordings of a minute and more")
    return Music(index, known, unknown)


def broadcast(music: Music, rng: np.random.Generator) -> tuple[Samples, list[Truth]]:
    """Return every known track once, after unknown music or silence, a third of them from their middle, and some right after each other."""
    pieces: list[Samples] = []
    truths, at = [], 0
    for number, (track_id, samples) in enumerate(music.known.items()):
        length = round(rng.uniform(5, 40) * RATE_HZ)
        other = music.unknown[number % len(music.unknown)]
        before = (other[:length], np.zeros(length, np.float32), other[:0])[number % 3]
        first = round(rng.uniform(0, 25) * RATE_HZ) if number % 3 == 0 else 0
        piece = samples[first : first + round(rng.uniform(20, 90) * RATE_HZ)]
        truths.append(Truth(track_id, (at + len(before)) / RATE_HZ, (at + len(before) + len(piece)) / RATE_HZ))
        pieces += [before, piece]
        at += len(before) + len(piece)
    return np.concatenate([*pieces, music.unknown[0][: 30 * RATE_HZ]]), truths


def pink(n_samples: int, rng: np.random.Generator) -> Samples:
    """Return pink noise of the music's loudness."""
    spectrum = np.fft.rfft(rng.normal(size=n_samples))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), n_samples)
    return (noise * (LOUDNESS / np.sqrt(np.mean(noise**2)))).astype(np.float32)


def listened(music: Music, samples: Samples, truths: list[Truth]) -> dict[str, Any]:
    """Return how well and how soon a listener told what `samples` are."""
    consider = Matcher(PARAMS, MatchRules(max_matches=4, enough_s=2.0, n_refined=6)).consider
    hearing = Hearing(PARAMS, RULES, Library(music.index, ConstellationCache(music.index), consider, 60.0))
    blocks = (samples[first : first + 800] for first in range(0, len(samples), 800))
    seconds, started, ended = PARAMS.frames_to_seconds, {}, {}
    for sound in heard(blocks, PARAMS, -66.0):
        for change in hearing.hear(sound, 0):
            if change.kind == "started":
                started[change.play.id] = (seconds(sound.end_frame), change.play.track_id)
            elif change.kind == "ended":
                ended[change.play.id] = change.play
    ended |= {change.play.id: change.play for change in hearing.finish() if change.kind == "ended"}
    waits_s, exact, used = [], 0, set()
    n_once = 0
    for truth in truths:
        own = [
            (at, play)
            for play, (at, track_id) in started.items()
            if track_id == truth.track_id and truth.start_s < at < truth.end_s + 30
        ]
        used |= {play for _, play in own}
        n_once += len(own) == 1
        if own:
            waits_s.append(own[0][0] - truth.start_s)
            play = ended[own[0][1]]
            errors = (seconds(play.first_frame) - truth.start_s, seconds(play.seen_frame) - truth.end_s)
            exact += max(map(abs, errors)) <= NEAR_S
    return {
        "n_plays": len(truths),
        "n_reported_once": n_once,
        "n_ends_within_1_s": exact,
        "n_false": len(started.keys() - used),
        "median_s_to_started": round(float(np.median(waits_s)), 2),
        "p90_s_to_started": round(float(np.quantile(waits_s, 0.9)), 2),
    }


def as_wav(samples: Samples) -> bytes:
    """Return 16-bit wav."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def costs(music: Music, seconds: float) -> Iterator[tuple[str, float]]:
    """Yield what a listener costs that hears nothing, a track, and unknown music: share of one core, in real time."""
    with tempfile.TemporaryDirectory(prefix="hear") as name, own_daemon() as daemon:
        folder = Path(name)
        paths = []
        for track_id, samples in music.known.items():
            paths.append(folder / f"{track_id}.wav")
            paths[-1].write_bytes(as_wav(samples))
        daemon.fingerprint([str(path) for path in paths])
        tile = np.concatenate(music.unknown)
        track = max(music.known.values(), key=len)
        for what, samples in (
            ("silence", np.zeros(len(track), np.float32)),
            ("a known track", track),
            ("unknown music", tile),
        ):
            yield what, _cost(daemon, folder / "pipe", samples, seconds)


def _cost(daemon: OwnDaemon, pipe: Path, samples: Samples, seconds: float) -> float:
    """Return the share of one core that the daemon and its workers take while they hear `samples`, after ten seconds to settle."""
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    with Connection(daemon.control) as connection:
        connection.call("listen.add", {"name": "bench", "source": str(pipe), "once": True})
        writer = threading.Thread(target=_write, args=(pipe, samples, seconds + 14))
        writer.start()
        time.sleep(10)
        before, began = daemon.cpu_s(), time.perf_counter()
        time.sleep(seconds)
        share = (daemon.cpu_s() - before) / (time.perf_counter() - began)
        writer.join()
        connection.call("listen.remove", {"name": "bench"})
    return share


def _write(pipe: Path, samples: Samples, seconds: float) -> None:
    """Write `samples` into the pipe at their own pace."""
    data = as_wav(np.resize(samples, round((seconds + 1) * RATE_HZ)))
    step = RATE_HZ // 5
    with pipe.open("wb", buffering=0) as out:
        began = time.perf_counter()
        for first in range(0, len(data), step):
            out.write(data[first : first + step])
            at_s = (first + step) / 2 / RATE_HZ
            if at_s > seconds:
                return
            time.sleep(max(0.0, began + at_s - time.perf_counter()))


def main() -> None:
    """Print the figures as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of music")
    parser.add_argument("--files", type=int, default=60, help="of it that are used, at most")
    parser.add_argument("--seconds", type=float, default=30.0, help="that each cost is measured for")
    options = parser.parse_args()
    music = read_music(options.folder, options.files)
    rng = np.random.default_rng(1)
    show, truths = broadcast(music, rng)
    for name, noise_db in (("clean", None), ("noise at 10 dB", 10), ("noise at 5 dB", 5), ("noise at 0 dB", 0)):
        noise = 0.0 if noise_db is None else pink(len(show), rng) * 10 ** (-noise_db / 20)
        figures = listened(music, (show + noise).astype(np.float32), truths)
        sys.stdout.write(
            json.dumps({"broadcast": name, "hours": round(len(show) / RATE_HZ / 3600, 2), **figures}) + "\n"
        )
        sys.stdout.flush()
    for what, share in costs(music, options.seconds):
        sys.stdout.write(json.dumps({"hears": what, "share_of_a_core": round(share, 4)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
