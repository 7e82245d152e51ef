"""A real daemon in a process of its own, for tests from the outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from dejavuctl.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

START_S = 30.0
"""A start takes half a second; on a machine that is busy with other tests, more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a daemon of a test lives: nothing of it is shared with another.

    options : options of its command line beside those that put it here; None leaves one out.
    """

    folder: Path
    options: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def control(self) -> str:
        """The control socket's endpoint."""
        return f"ipc://{self.folder}/c"

    @property
    def arguments(self) -> list[str]:
        """The options that put a daemon here, on any free ports."""
        options = {
            "--data-dir": f"{self.folder}/data",
            "--control": self.control,
            "--events": f"ipc://{self.folder}/e",
            "--http": "127.0.0.1:0",
            "--ws": "127.0.0.1:0",
            **self.options,
        }
        return [word for name, value in options.items() if value is not None for word in (name, value)]

    @property
    def environment(self) -> dict[str, str]:
        """The test's environment without what would configure a daemon."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DEJAVUD_") and k != "DATABASE_URL"}
        return kept | {
            "DEJAVUD_LISTEN_MICROPHONE": "off",
            "HOME": str(self.folder),
            "NOTIFY_SOCKET": f"{self.folder}/n",
        }


class RunningDaemon:
    """A daemon that has said READY=1.

    notified : every line that it has said to its service manager.
    """

    def __init__(self, place: Place, process: trio.Process, notified: list[str]) -> None:
        self.place = place
        self.process = process
        self.notified = notified

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Call a command over the control socket."""
        return await trio.to_thread.run_sync(partial(ask, self.place.control, method, params))

    def workers(self) -> list[int]:
        """Return the ids of its worker processes."""
        return [pid for pid in children(self.process.pid) if b"--multiprocessing-fork" in command_line(pid)]

    async def ended(self, within_s: float = 30.0) -> int:
        """Return its exit status, negative for the signal that killed it."""
        with trio.fail_after(within_s):
            return await self.process.wait()

    @property
    def log(self) -> str:
        """What it has written so far."""
        return log_file(self.place).read_text()


def ask(control: str, method: str, params: dict[str, Any], token: str | None = None) -> dict[str, Any]:
    """Call a command over the control socket, from any thread."""
    with Connection(control, token) as connection:
        answer: dict[str, Any] = connection.call(method, params)
        return answer


def log_file(place: Place) -> Path:
    """Return where the daemons of `place` log."""
    return place.folder / "log"


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started and that have not ended."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return []
    return [
        int(child)
        for thread in threads
        for child in (thread / "children").read_text().split()
        if is_running(int(child))
    ]


def command_line(pid: int) -> bytes:
    """Return the process's arguments, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_running(pid: int) -> bool:
    """Tell whether the process is there and has not ended; it has when its last thread has, not its first."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


async def until_gone(pids: Sequence[int], within_s: float = 10.0) -> None:
    """Return when none of the processes is left."""
    with trio.fail_after(within_s):
        while any(map(is_running, pids)):  # noqa: ASYNC110 - another process tells no event of ours
            await trio.sleep(0.01)


async def run_to_the_end(
    place: Place, *arguments: str, program: Sequence[str] = ("-m", "dejavud"), descriptors: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Return how a daemon ended that is not expected to run: its exit status and what it wrote."""
    with trio.fail_after(START_S):
        done = await trio.run_process(
            [sys.executable, *program, *place.arguments, *arguments],
            env=place.environment,
            cwd=place.folder,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            pass_fds=tuple(descriptors),
        )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def running_daemon(
    place: Place,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = (sys.executable, "-m", "dejavud"),
    descriptors: Sequence[int] = (),
) -> AsyncIterator[RunningDaemon]:
    """Give a daemon that is ready; it is killed when the block ends, if it has not ended by then.

    environment : goes before that of `place`.  descriptors : open ones that `program` inherits.
    """
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        await trio.Path(place.environment["NOTIFY_SOCKET"]).unlink(missing_ok=True)
        await notify.bind(place.environment["NOTIFY_SOCKET"])
        with log_file(place).open("wb") as log:
            process = await trio.lowlevel.open_process(
                [*program, *place.arguments, "--log-format", "json", *arguments],
                env={**place.environment, **(environment or {})},
                cwd=place.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=tuple(descriptors),
            )
        notified: list[str] = []
        async with trio.open_nursery() as nursery:

            async def fail_if_it_ends() -> None:
                status = await process.wait()
                raise AssertionError(status, log_file(place).read_text())

            try:
                with trio.fail_after(START_S):
                    async with trio.open_nursery() as starting:
                        starting.start_soon(fail_if_it_ends)
                        while "READY=1" not in notified:
                            notified += (await notify.recv(1000)).decode().splitlines()
                        starting.cancel_scope.cancel()
                nursery.start_soon(_receive, notify, notified)
                yield RunningDaemon(place, process, notified)
            finally:
                nursery.cancel_scope.cancel()
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                with trio.CancelScope(shield=True):
                    await process.wait()


async def _receive(notify: trio.socket.SocketType, notified: list[str]) -> None:
    while True:
        notified += (await notify.recv(1000)).decode().splitlines()
