"""What a program that was killed leaves locked of JACK's: PortAudio would wait for it for ever.

PortAudio looks for a JACK server whenever it starts, and JACK's library then opens a small database in shared memory, one a user.  Who is killed at just
that moment leaves it locked, and nobody opens a device any more until the machine is started anew.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - it is where JACK has it
PROCESSES = Path("/proc")
YOUNG_S = 10.0
"""Younger than so, somebody may be about to open it."""


def clear_dead_locks(shared_memory: Path = SHARED_MEMORY, processes: Path = PROCESSES) -> bool:
    """Remove this user's database where no process uses it, so that only the dead hold its locks; return whether it was so."""
    database = shared_memory / f"jack_db-{os.getuid()}"
    try:
        age_s = time.time() - database.stat().st_mtime
    except OSError:
        return False
    if age_s < YOUNG_S or _is_used(database, processes):
        return False
    shutil.rmtree(database, ignore_errors=True)
    return True


def _is_used(database: Path, processes: Path) -> bool:
    """Tell whether any process has a part of `database` in its memory; those of others cannot be read, and cannot use it either."""
    mark = f"{database}/".encode()
    for maps in processes.glob("[0-9]*/maps"):
        try:
            lines = maps.read_bytes().splitlines()
        except OSError:
            continue
        # one that is deleted was cleared before: who hangs at it does not use the one that is there now
        if any(mark in line and not line.endswith(b"(deleted)") for line in lines):
            return True
    return False
