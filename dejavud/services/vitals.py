"""What the daemon's own process holds at a moment: what must not grow however long it lives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trio

_SELF = Path("/proc/self")


def vitals() -> dict[str, Any]:
    """Return the daemon's tasks, threads, descriptors and resident memory; a figure that this system does not tell is None.

    For the event loop's thread; takes some hundred microseconds.
    """
    statistics = trio.lowlevel.current_statistics()
    return {
        "n_tasks": statistics.tasks_living,
        "n_threads": _n_entries(_SELF / "task"),
        "n_descriptors": _n_entries(_SELF / "fd"),
        "memory_bytes": _memory_bytes(),
    }


def _n_entries(folder: Path) -> int | None:
    try:
        return len(os.listdir(folder))  # noqa: PTH208 - only their number is wanted
    except OSError:
        return None


def _memory_bytes() -> int | None:
    try:
        return int((_SELF / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
