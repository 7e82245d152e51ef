"""The client as a process of its own, against a real daemon."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from client_runs import Ran

if TYPE_CHECKING:
    from daemon_process import Place, RunningDaemon

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class RealClient:
    """Runs the client against a running daemon."""

    daemon: RunningDaemon

    def command(self, *words: str | Path) -> list[str]:
        """Return the command line that runs the client."""
        return command(self.daemon.place, *words)

    @property
    def environment(self) -> dict[str, str]:
        """The environment that finds the client's package."""
        return environment(self.daemon.place)

    async def ctl(self, *words: str | Path, stdin: bytes = b"") -> Ran:
        """Run the client to its end."""
        return await ctl(self.daemon.place, *words, stdin=stdin)


def command(place: Place, *words: str | Path) -> list[str]:
    """Return the command line that runs the client for the daemon at `place`."""
    return [sys.executable, "-m", "dejavuctl", "--control", place.control, *map(str, words)]


def environment(place: Place) -> dict[str, str]:
    """Return the environment that finds the client's package."""
    return place.environment | {"PYTHONPATH": f"{ROOT}:{ROOT / 'clients'}"}


async def ctl(place: Place, *words: str | Path, stdin: bytes = b"") -> Ran:
    """Run the client to its end, whether there is a daemon at `place` or not."""
    done = await trio.run_process(
        command(place, *words),
        env=environment(place),
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
