"""A real daemon of its own for a benchmark: in a process, on a folder of its own, on any free ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dejavuctl.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_START_S = 60.0
_POLL_S = 0.05
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class OwnDaemon:
    """A daemon that is ready.

    pid : of the daemon; its workers are its children.
    control : the endpoint of its control socket.
    http : the address it answers HTTP at, ``http://127.0.0.1:PORT``.
    ready_s : from the start of its process to READY=1.
    """

    pid: int
    control: str
    http: str
    ready_s: float = 0.0

    def client(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Return how ``dejavuctl ARGUMENTS`` ended: 0 and 1 (no match) are answers, anything else raises."""
        done = subprocess.run(
            [sys.executable, "-m", "dejavuctl", "--control", self.control, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1):
            sys.exit(
                f"dejavuctl {arguments[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done

    def fingerprint(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        """Have the daemon add files and folders; return what became of each file, and a summary, as the client prints them."""
        return [json.loads(line) for line in self.client("fingerprint", "--json", *paths).stdout.splitlines()]

    def status(self) -> dict[str, Any]:
        """Return what the daemon says of itself."""
        with Connection(self.control) as connection:
            status: dict[str, Any] = connection.call("status", {})
            return status

    def cpu_s(self) -> float:
        """Return the CPU time, user and system, that the daemon and its workers have used, in seconds."""
        return sum(map(_cpu_s, [self.pid, *self.workers()]))

    def workers(self) -> list[int]:
        """Return the ids of the processes that the daemon has started and that are running."""
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]

    def peak_bytes(self) -> int:
        """Return the most memory that any one of the daemon's processes has had resident."""
        return max(map(peak_bytes, [self.pid, *self.workers()]))


@contextmanager
def own_daemon(data_dir: Path | None = None, environment: Mapping[str, str] | None = None) -> Iterator[OwnDaemon]:
    """Give a daemon that is ready, on the index in `data_dir` or an empty one; it is stopped when the block ends.

    environment : what configures it beside the command line that puts it here.
    """
    with tempfile.TemporaryDirectory(prefix="bench") as name:  # socket paths must be short
        folder = Path(name)
        started_s = time.perf_counter()
        with (
            (folder / "log").open("wb") as log,
            _started(folder, data_dir or folder / "data", log.fileno(), environment or {}) as process,
        ):
            control, ready_s = f"ipc://{folder}/c", time.perf_counter() - started_s
            try:
                yield OwnDaemon(process.pid, control, _status_when_warm(control)["endpoints"]["http"][0], ready_s)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()


@contextmanager
def _started(
    folder: Path, data_dir: Path, log: int, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a daemon and wait until it says READY=1, as it would to systemd."""
    arguments = {
        "--data-dir": str(data_dir),
        "--control": f"ipc://{folder}/c",
        "--events": f"ipc://{folder}/e",
        "--http": "127.0.0.1:0",
        "--ws": "127.0.0.1:0",
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DEJAVUD_") and k != "DATABASE_URL"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(f"{folder}/n")
        ready.settimeout(_START_S)
        process = subprocess.Popen(
            [sys.executable, "-m", "dejavud", *(word for pair in arguments.items() for word in pair)],
            env={
                **kept,
                "DEJAVUD_LISTEN_MICROPHONE": "off",
                **environment,
                "HOME": str(folder),
                "NOTIFY_SOCKET": f"{folder}/n",
            },
            stdout=log,
            stderr=log,
        )
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
        except TimeoutError:
            process.kill()
            sys.exit(f"the daemon did not get ready:\n{(folder / 'log').read_text()[-2000:]}")
    yield process


def _status_when_warm(control: str) -> dict[str, Any]:
    """Return the daemon's status once its workers have loaded what they need, which they do after it is ready."""
    with Connection(control) as connection:
        while True:
            status: dict[str, Any] = connection.call("status", {})
            if not status["workers"]["n_busy"]:
                return status
            time.sleep(_POLL_S)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had resident (getrusage would count its parent's too)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
