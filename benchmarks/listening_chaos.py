"""Sources that are killed, restarted, throttled, corrupted and changed, again and again, under a daemon that is to hear on and leak nothing.

    python benchmarks/listening_chaos.py [--rounds 120] [--seed 1]

Four listeners: a station over HTTP, a camera over RTSP, a pipe, and raw sound over the control socket.  A round breaks one of them in one of the ways
of `FAULTS`, mends it, and waits until the listener recognizes what its source plays from then on.  Afterwards all are removed, and what the daemon
holds (tasks, threads, descriptors, processes, memory) is compared with what it held before the first round.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from chaos_sources import N_PIECES, RATE_HZ, Camera, Pipe, Play, Radio, Sender, piece
from own_daemon import OwnDaemon, own_daemon
from synthetic import write_wav

from dejavuctl.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


RECOVER_S = 40.0
REST_S = 15.0
SETTLE_S = 30.0
"""How long what was in use may take to be let go of: a feed whose sender left without a word is kept for ten seconds after its listener, to tell why."""
_POLL_S = 0.05

ENVIRONMENT = {
    "DEJAVUD_LISTEN_STALL_S": "3",
    "DEJAVUD_LISTEN_RETRY_MAX_S": "1",
    "DEJAVUD_LISTEN_MAX_GAP_S": "3",
    "DEJAVUD_HISTORY_ENABLED": "false",
}
SLACK = {"n_tasks": 0, "n_threads": 2, "n_descriptors": 0, "n_processes": 4, "memory_bytes": 24 << 20}
"""By how much more the daemon may hold afterwards: workers that were needed at the same time stay, idle, for the next job."""
_WORKER_DESCRIPTORS = 4
"""That the daemon has open for each of its workers; they are not counted among its own."""


@dataclass
class Outcome:
    """What became of all rounds.

    before, after : what the daemon held.
    lost : rounds after which a listener did not hear again.
    """

    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    recovered_s: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    recognizes: bool = False

    @property
    def grown(self) -> dict[str, int]:
        """Return what the daemon holds more of than it may."""
        return {
            name: self.after[name] - self.before[name]
            for name in SLACK
            if self.after[name] - self.before[name] > SLACK[name]
        }

    @property
    def is_clean(self) -> bool:
        """Tell whether every listener heard again every time, and nothing was kept."""
        return not self.lost and not self.grown and self.recognizes

    def report(self) -> str:
        """Return it for people."""
        times = sorted(self.recovered_s) or [0.0]
        held = ", ".join(f"{name} {self.before[name]} -> {self.after[name]}" for name in SLACK)
        return (
            f"{len(self.recovered_s)} recovered, median {times[len(times) // 2]:.1f} s, longest {times[-1]:.1f} s; "
            f"lost: {', '.join(self.lost) or 'none'}; {held}; still recognizes: {self.recognizes}"
        )


def listen_through_chaos(
    n_rounds: int, seed: int, tell: Callable[[str], None] = lambda _: None, rest_s: float = REST_S
) -> Outcome:
    """Return what became of `n_rounds` rounds; `rest_s` is how long the daemon is left alone before it is first looked at."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="chaos") as name, own_daemon(environment=ENVIRONMENT) as daemon:
        folder = Path(name)
        for n in range(N_PIECES):
            write_wav(folder / f"{n}.wav", piece(n), RATE_HZ)
        daemon.fingerprint([str(folder / f"{n}.wav") for n in range(N_PIECES)])
        with Connection(daemon.control) as connection:
            with ExitStack() as stack:
                sources = _sources(stack, folder, daemon)
                with _listened(connection, sources):
                    for kind, source in sources.items():
                        source.play(0)
                        _until_heard(connection, kind, 0)
                time.sleep(rest_s)
                outcome.before = _held(daemon)
                with _listened(connection, sources):
                    chaos = Chaos(daemon, connection, sources, random.Random(seed), outcome)  # noqa: S311 - the same faults again
                    for number in range(1, n_rounds + 1):
                        tell(chaos.round(number))
            outcome.after = _settled(daemon, outcome.before)
            clip = write_wav(folder / "clip.wav", piece(3)[2 * RATE_HZ : 6 * RATE_HZ], RATE_HZ)
            found = connection.call("recognize", {"path": str(clip)})["matches"]
            outcome.recognizes = bool(found) and found[0]["track"]["title"] == "3"
    return outcome


def _sources(stack: ExitStack, folder: Path, daemon: OwnDaemon) -> dict[str, Play]:
    return {
        "station": Radio(stack),
        "camera": Camera(stack),
        "pipe": Pipe(stack, folder),
        "sender": Sender(stack, daemon.control, "sender"),
    }


@contextmanager
def _listened(connection: Connection, sources: dict[str, Play]) -> Iterator[None]:
    """Listen to all sources while the block goes on."""
    for name, source in sources.items():
        connection.call("listen.add", {"name": name, "source": source.text, "once": True})
    yield
    for name in sources:
        connection.call("listen.remove", {"name": name})


@dataclass
class Chaos:
    """Rounds over some sources."""

    daemon: OwnDaemon
    connection: Connection
    sources: dict[str, Play]
    rng: random.Random
    outcome: Outcome

    def round(self, number: int) -> str:
        """Break one source, mend it, wait until it is heard again, and return how that went."""
        name = list(self.sources)[number % len(self.sources)]
        source = self.sources[name]
        fault = self.rng.choice([*source.faults, "worker killed", "paused"])
        if fault == "worker killed":
            with suppress(ProcessLookupError, IndexError):
                os.kill(self.rng.choice(self.daemon.workers()), signal.SIGKILL)
        elif fault == "paused":
            self.connection.call("listen.pause", {"name": name})
            self.connection.call("listen.resume", {"name": name})
        else:
            source.break_by(fault, number - 1)
        time.sleep(self.rng.uniform(0.1, 1.5))
        source.play(number)
        took_s = _until_heard(self.connection, name, number)
        if took_s is None:
            self.outcome.lost.append(f"{number}: {name} {fault}")
            return f"{number}: {name} {fault}: lost"
        self.outcome.recovered_s.append(took_s)
        return f"{number}: {name} {fault}: heard again after {took_s:.1f} s"


def _until_heard(connection: Connection, name: str, n: int) -> float | None:
    """Return after how long the listener hears piece `n`; None when it does not."""
    started, title = time.monotonic(), str(n % N_PIECES)
    while (took_s := time.monotonic() - started) < RECOVER_S:
        for view in connection.call("listen.list", {})["listeners"]:
            if view["listener"] == name and any(play["track"]["title"] == title for play in view["plays"]):
                return took_s
        time.sleep(_POLL_S)
    return None


def _held(daemon: OwnDaemon) -> dict[str, int]:
    """Return what the daemon holds."""
    held = {**daemon.status()["process"], "n_processes": len(daemon.workers())}
    held["n_descriptors"] -= _WORKER_DESCRIPTORS * held["n_processes"]
    return held


def _settled(daemon: OwnDaemon, before: dict[str, int]) -> dict[str, int]:
    """Return what the daemon holds as soon as that is no more than before, or after `SETTLE_S`."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        held = _held(daemon)
        if all(held[name] - before[name] <= SLACK[name] for name in SLACK) or time.monotonic() > deadline:
            return held
        time.sleep(0.5)


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    outcome = listen_through_chaos(options.rounds, options.seed, tell=lambda line: print(line, flush=True))
    print(outcome.report())
    return 0 if outcome.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
