"""What the tests of the workers have run in worker processes; importable by them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.errors import UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Iterator


def pid() -> int:
    """Return the worker's process id."""
    return os.getpid()


def loaded_modules() -> frozenset[str]:
    """Return what the worker has imported."""
    return frozenset(sys.modules)


def thread_names() -> list[str]:
    """Return what the kernel calls the worker's threads, after numpy has had work that it would share out."""
    import numpy as np  # noqa: PLC0415 - the worker has it, these functions do not need it

    square = np.ones((500, 500))
    square @ square
    return [(thread / "comm").read_text().strip() for thread in Path("/proc/self/task").iterdir()]


def open_sockets() -> list[str]:
    """Return the sockets that the worker holds."""
    links = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [link for link in links if link.startswith("socket:")]


def die() -> None:
    """End as a decoder does that jumps into nowhere."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(started: Path) -> None:
    """Leave the worker's process id in a file, and never return."""
    partial = started.with_suffix(".partial")
    partial.write_text(str(os.getpid()))
    partial.rename(started)
    while True:
        time.sleep(60)


def wait_for(released: Path, n: int) -> int:
    """Return `n` once the file `released` is there."""
    while not released.exists():
        time.sleep(0.01)
    return n


def refuse(name: str) -> None:
    """Raise an error of ours behind one that cannot leave the process."""

    class Local(Exception):
        """Cannot be pickled: it has no importable name."""

    try:
        raise Local  # noqa: TRY301 - the chain is the point
    except Local as error:
        raise UnsupportedAudio(source=name, reason="no") from error


def blunder() -> None:
    """Raise what is a bug."""
    msg = "a bug"
    raise KeyError(msg)


def counted(n: int) -> Iterator[int]:
    """Yield the numbers below `n`."""
    yield from range(n)


def own_process(n: int) -> Iterator[int]:
    """Yield the worker's process id `n` times."""
    for _ in range(n):
        yield os.getpid()


def large_items(notes: Path, n: int) -> Iterator[bytes]:
    """Yield `n` megabytes, one at a time, noting each before it is sent."""
    for number in range(n):
        with notes.open("a") as file:
            file.write(f"{number}\n")
        yield bytes(1 << 20)


def fail_after(n: int, how: str) -> Iterator[int]:
    """Yield `n` numbers, and then fail in one of the ways that there are."""
    yield from range(n)
    {"refuse": lambda: refuse("a.mp3"), "blunder": blunder, "die": die}[how]()


def cannot_be_sent() -> Iterator[object]:
    """Yield what no pickle holds."""
    yield lambda: 0


def endless(started: Path) -> Iterator[int]:
    """Leave the worker's process id in a file, yield once and hang."""
    yield 1
    hang(started)
