"""What the daemon's own process holds at a moment: what must not grow however long it lives."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import trio

_SELF = Path("/proc/self")


def vitals() -> dict[str, Any]:
    """Return the daemon's tasks, threads, descriptors, resident memory and processor time; a figure that this system does not tell is None.

    For the event loop's thread; takes some hundred microseconds.
    """
    statistics = trio.lowlevel.current_statistics()
    return {
        "n_tasks": statistics.tasks_living,
        "n_threads": _n_entries(_SELF / "task"),
        "n_descriptors": _n_entries(_SELF / "fd"),
        "max_descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "memory_bytes": _memory_bytes(_SELF),
        "cpu_s": round(time.process_time(), 3),
    }


def _n_entries(folder: Path) -> int | None:
    try:
        return len(os.listdir(folder))  # noqa: PTH208 - only their number is wanted
    except OSError:
        return None


def child_vitals() -> tuple[tuple[str, str, float | None], ...]:
    """Return what the processes hold that the daemon started: name, what it is, and value; None where this system does not tell."""
    try:
        pids = [pid for thread in _SELF.glob("task/*/children") for pid in thread.read_text().split()]
    except OSError:
        pids = []
    memory = [_memory_bytes(Path("/proc", pid)) for pid in pids]
    text = "Memory of the worker processes, what they share with each other counted for each."
    return (("memory_bytes", text, sum(n for n in memory if n is not None) if pids else None),)


def _memory_bytes(process: Path) -> int | None:
    try:
        return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
