"""Everybody asks at once: ``python benchmarks/load.py``.

200 queries of five seconds at a time over HTTP, 100 streams of sound in real time over WebSocket, 1000 subscribers to all events and somebody who asks
/healthz fifty times a second, while a folder is fingerprinted.  Before that, in the same run, the same queries bare: in one process with the daemon's own
recognizer and workers, without any transport; and over HTTP alone.  Each kind of client is a process of its own, on the machine that the daemon runs on.

Music is made up (tests/synthetic.py): 40 pieces of a minute in the library, 3 of 4 clips from them with noise 10 dB below, the fourth of a piece that is not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import wave
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trio
from load_clients import Tally
from own_daemon import OwnDaemon, own_daemon

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from synthetic import synthesize

from dejavud.audio.portaudio import list_devices
from dejavud.composing import rules_of
from dejavud.config import Config
from dejavud.fingerprint.params import Params
from dejavud.index.open import IndexSettings, open_kept_index
from dejavud.services.constellations import ConstellationCache
from dejavud.services.events import EventHub
from dejavud.services.microphones import Microphones
from dejavud.services.profiles import profile_of
from dejavud.services.recognizer import Recognizer
from dejavud.services.views import recognition_view
from dejavud.services.workers import open_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE_HZ = 16000
N_PIECES, PIECE_S = 40, 60.0
N_CLIPS, CLIP_S, SNR_DB = 100, 5.0, 10.0
CLIENTS = Path(__file__).with_name("load_clients.py")


def write_wav(path: Path, samples: np.ndarray) -> None:  # type: ignore[type-arg]
    """Write 16-bit wav."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", "not compressed"))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def make_music(folder: Path, n_more: int) -> None:
    """Make the pieces of the library, clips of them and of others, and more pieces to be learned meanwhile."""
    for name in ("library", "clips", "more"):
        (folder / name).mkdir()
    pieces = [synthesize(1 + number, PIECE_S, RATE_HZ) for number in range(N_PIECES)]
    for number, piece in enumerate(pieces):
        write_wav(folder / "library" / f"piece{number}.wav", piece)
    rng = np.random.default_rng(7)
    for number in range(N_CLIPS):
        which = int(rng.integers(N_PIECES))
        is_known = number % 4 > 0
        whole = pieces[which] if is_known else synthesize(900 + number, PIECE_S, RATE_HZ)
        start = int(rng.integers(len(whole) - round(CLIP_S * RATE_HZ)))
        clip = whole[start : start + round(CLIP_S * RATE_HZ)]
        noise = rng.standard_normal(len(clip)) * np.sqrt(np.mean(clip**2) / 10 ** (SNR_DB / 10))
        write_wav(
            folder / "clips" / f"{f'piece{which}' if is_known else 'unknown'}_{number:03}.wav", 0.6 * (clip + noise)
        )
    for number in range(n_more):
        write_wav(folder / "more" / f"more{number}.wav", synthesize(5000 + number, PIECE_S, RATE_HZ))


async def ask_bare(data_dir: Path, clips: Sequence[Path], seconds: float, n: int) -> dict[str, Any]:
    """Return what becomes of `n` queries at a time without a transport, in this process and workers of its own."""
    config, tally, places = Config(), Tally(), count()
    settings = IndexSettings("always", config.index.view_bytes)
    with open_kept_index(f"duckdb:///{data_dir}/dejavud.duckdb", Params(), settings) as kept:
        async with open_workers(n_processes=2, max_waiting=1024) as workers:
            profile, constellations = profile_of(Params()), ConstellationCache(kept.index, 0)
            rules = rules_of(config, profile, kept.index, constellations)
            recognizer = Recognizer(
                kept.index,
                workers,
                EventHub(),
                profile.params,
                match=rules.match,
                quick_match=rules.quick_match,
                settings=rules.recognizer,
                microphones=Microphones(workers, profile.microphone_hz, list_devices=list_devices),
                constellations=constellations,
            )

            async def ask() -> None:
                for place in places:
                    clip, asked_s = clips[place % len(clips)], time.perf_counter()
                    found = recognition_view(await recognizer.recognize_file(clip, clip.name))
                    tally.answered(clip.name, found["matches"], asked_s)

            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    for _ in range(n):
                        nursery.start_soon(ask)
    return tally.result(seconds)


class Clients:
    """One kind of client, in a process."""

    def __init__(self, kind: str, url: str, seconds: float, n: int, clips: Path) -> None:
        self.kind = kind
        words = [kind, url, "--seconds", str(seconds), "--n", str(n), "--clips", str(clips)]
        self._process = subprocess.Popen(
            [sys.executable, CLIENTS, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def is_ready(self) -> bool:
        """Wait until it is connected; False where it ended instead."""
        assert self._process.stdout is not None
        return self._process.stdout.readline() == "ready\n"

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Return what it saw, when it is over."""
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(self._process.stdout.read())
        self._process.wait()
        return told


def run_clients(clients: Sequence[Clients]) -> dict[str, Any]:
    """Have all of them load the daemon at the same time; return what each saw."""
    if not all(one.is_ready() for one in clients):
        sys.exit("a client could not connect (above is why)")
    for one in clients:
        one.go()
    return {one.kind: one.result() for one in clients}


def held(daemon: OwnDaemon) -> dict[str, int]:
    """Return what the daemon holds, memory in MB."""
    process = daemon.status()["process"]
    return {
        "memory_mb": process["memory_bytes"] // 1_000_000,
        **{name: process[name] for name in ("n_tasks", "n_threads", "n_descriptors")},
    }


def ingest(daemon: OwnDaemon, folder: Path, n_added: list[int], over: threading.Event) -> None:
    """Have the daemon fingerprint the folder, and forget it, again and again until it is over."""
    while not over.is_set():
        n_added.append(sum("track" in told for told in daemon.fingerprint([str(folder)])))
        daemon.client("tracks", "rm", "--search", "more", "--yes")


def main() -> None:
    """Print each part as a JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="of each part (30)")
    parser.add_argument("--queries", type=int, default=200, help="at a time over HTTP (200)")
    parser.add_argument("--streams", type=int, default=100, help="at a time over WebSocket (100)")
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--more", type=int, default=40, help="files in the folder that is fingerprinted meanwhile (40)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="load") as name:
        folder, seconds = Path(name), options.seconds
        make_music(folder, options.more)
        clips = folder / "clips"
        with own_daemon(folder / "data") as daemon:
            daemon.fingerprint([str(folder / "library")])
        bare = trio.run(partial(ask_bare, folder / "data", sorted(clips.iterdir()), seconds, options.queries))
        tell("bare", bare)
        with own_daemon(folder / "data") as daemon:
            urls = daemon.status()["endpoints"]
            http, websocket = urls["http"][0], urls["websocket"][0]
            alone = run_clients([Clients("recognize", http, seconds, options.queries, clips)])["recognize"]
            tell("HTTP alone", {**alone, "of_bare": ratio(alone, bare)})
            tell("held before", held(daemon))
            n_added: list[int] = []
            over = threading.Event()
            learning = threading.Thread(target=ingest, args=(daemon, folder / "more", n_added, over))
            clients = [
                Clients("subscribe", http, seconds, options.subscribers, clips),
                Clients("stream", websocket, seconds, options.streams, clips),
                Clients("recognize", http, seconds, options.queries, clips),
                Clients("probe", http, seconds, 1, clips),
            ]
            learning.start()
            together = run_clients(clients)
            over.set()
            tell("held under load", held(daemon))
            learning.join()
            for kind, seen in together.items():
                tell(kind, seen)
            both = {"a_second": together["recognize"]["a_second"] + together["stream"]["a_second"]}
            tell("all at once", {"files_learned": sum(n_added), **both, "of_bare": ratio(both, bare)})
            time.sleep(5)
            tell("held after", held(daemon))


def ratio(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return how many queries a second these are of those."""
    return round(one["a_second"] / other["a_second"], 2)


def tell(what: str, figures: dict[str, Any]) -> None:
    """Print a line."""
    print(json.dumps({"part": what, **figures}), flush=True)


if __name__ == "__main__":
    main()
