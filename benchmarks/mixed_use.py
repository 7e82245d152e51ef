"""A day of mixed use in minutes, and what the daemon holds before and after: ``python benchmarks/mixed_use.py``.

A real daemon with a small library of made-up music is asked 10 000 queries over HTTP (wav of two and of five seconds, known and unknown), is given 1 000
tracks and has 1 000 removed, and reads its configuration again 100 times, all at once from four clients, while a listener hears a pipe.  What must not grow is
looked at after each tenth of it: memory of the daemon and of its workers, tasks, threads, descriptors; and how much log an hour of it makes.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import sys
import tempfile
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from own_daemon import OwnDaemon, own_daemon

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from synthetic import synthesize

from dejavuctl.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE_HZ = 8000
N_KNOWN, TRACK_S = 20, 30.0
N_CLIENTS = 4


@dataclass(frozen=True, slots=True)
class Held:
    """What the daemon holds; memory in MB, that of the workers together."""

    memory_mb: int
    workers_mb: int
    n_tasks: int
    n_threads: int
    n_descriptors: int
    n_workers: int


@cache
def piece(seed: int) -> np.ndarray:  # type: ignore[type-arg]
    """Return a piece of music."""
    return synthesize(seed, TRACK_S, RATE_HZ)


def as_wav(samples: np.ndarray) -> bytes:  # type: ignore[type-arg]
    """Return 16-bit wav."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


class Client:
    """Does every kind of thing, each in its turn.

    number : which of the clients it is; n_wrong : answers that were not as they had to be.
    """

    def __init__(self, daemon: OwnDaemon, number: int) -> None:
        place = urlsplit(daemon.http)
        self._http = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        self._control = daemon.control
        self._rng = np.random.default_rng(number)
        self._number = number
        self.n_wrong = 0

    def run(self, n_queries: int, n_tracks: int, n_reloads: int) -> None:
        """Do so many of each, evenly mixed."""
        todo = ["query"] * n_queries + ["track"] * n_tracks + ["reload"] * n_reloads
        for place, what in enumerate(self._rng.permutation(todo)):
            if what == "query":
                self._query()
            elif what == "track":
                self._come_and_go(place)
            else:
                with Connection(self._control) as connection:
                    connection.call("reload", {})

    def _query(self) -> None:
        known, seconds = int(self._rng.integers(N_KNOWN + 5)), float(self._rng.choice([2.0, 5.0]))
        samples = piece(1 + known if known < N_KNOWN else 900 + known)
        start = int(self._rng.integers(len(samples) - round(seconds * RATE_HZ)))
        clip = samples[start : start + round(seconds * RATE_HZ)]
        matches = self._asked("POST", "/v1/recognize", as_wav(clip))["matches"]
        if known < N_KNOWN:
            self.n_wrong += not matches or matches[0]["track"]["title"] != f"piece {known}"
        else:
            self.n_wrong += bool(matches)

    def _come_and_go(self, place: int) -> None:
        seed = 10_000 + 5000 * self._number + place
        track = self._asked("POST", f"/v1/tracks?title=guest{seed}", as_wav(synthesize(seed, 8.0, RATE_HZ)))["track"]
        self._asked("DELETE", f"/v1/tracks/{track['id']}", b"")

    def _asked(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        self._http.request(method, path, body)
        answer = self._http.getresponse()
        told: dict[str, Any] = json.loads(answer.read() or b"{}")
        if answer.status >= 400:
            sys.exit(f"{method} {path}: {answer.status} {told}")
        return told


def held(daemon: OwnDaemon) -> Held:
    """Return what the daemon holds when nobody asks it for anything."""
    time.sleep(3)
    process = daemon.status()["process"]
    workers = daemon.workers()
    memory = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in workers]
    return Held(
        process["memory_bytes"] // 1_000_000,
        sum(memory) // 1_000_000,
        process["n_tasks"],
        process["n_threads"],
        process["n_descriptors"],
        len(workers),
    )


def log_bytes(daemon: OwnDaemon) -> int:
    """Return how long the daemon's log is."""
    return Path(f"/proc/{daemon.pid}/fd/2").stat().st_size


def shares(n: int) -> Iterator[int]:
    """Yield what each client does of `n` things."""
    yield from (n * (number + 1) // N_CLIENTS - n * number // N_CLIENTS for number in range(N_CLIENTS))


def main() -> None:
    """Print what was held, as JSON lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--tracks", type=int, default=1000, help="that are added and removed (1000)")
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument(
        "--set", action="append", default=[], metavar="DEJAVUD_…=VALUE", help="how the daemon is set up"
    )
    options = parser.parse_args()
    environment = dict(setting.split("=", 1) for setting in options.set)
    with tempfile.TemporaryDirectory(prefix="mixed") as name, own_daemon(environment=environment) as daemon:
        paths = [Path(name, f"piece {number}.wav") for number in range(N_KNOWN)]
        for number, path in enumerate(paths):
            path.write_bytes(as_wav(piece(1 + number)))
        daemon.fingerprint([str(path) for path in paths])
        with Connection(daemon.control) as connection:
            connection.call("listen.add", {"name": "tape", "source": f"realtime:{paths[0]}"})
        clients = [Client(daemon, number) for number in range(N_CLIENTS)]
        began, n_log = time.perf_counter(), log_bytes(daemon)
        for tenth in range(1, 11):
            of_each = [list(shares(n // 10)) for n in (options.queries, options.tracks, options.reloads)]
            with ThreadPoolExecutor(N_CLIENTS) as pool:
                list(pool.map(Client.run, clients, *of_each))
            print(json.dumps({"done": tenth / 10, **asdict(held(daemon))}), flush=True)
        total = {
            "n_wrong": sum(client.n_wrong for client in clients),
            "n_tracks": daemon.status()["n_tracks"],
            "elapsed_s": round(time.perf_counter() - began),
            "log_bytes_a_request": round(
                (log_bytes(daemon) - n_log) / max(1, options.queries + 2 * options.tracks + options.reloads)
            ),
        }
        print(json.dumps(total))


if __name__ == "__main__":
    main()
