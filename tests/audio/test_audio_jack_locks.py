"""What a killed program leaves locked is cleared, and what anybody uses is not."""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING

import pytest

from dejavud.audio.jack_locks import YOUNG_S, clear_dead_locks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database such as JACK's library makes, some time ago."""
    folder = tmp_path / f"jack_db-{os.getuid()}"
    folder.mkdir()
    (folder / "__db.001").write_bytes(bytes(mmap.PAGESIZE))
    long_ago = time.time() - 2 * YOUNG_S
    os.utime(folder, (long_ago, long_ago))
    return folder


def test_what_nobody_uses_is_cleared(tmp_path: Path, database: Path) -> None:
    """A database that no process has in its memory holds nothing but the locks of the dead."""
    assert clear_dead_locks(tmp_path)
    assert not database.exists()
    assert not clear_dead_locks(tmp_path)


def test_what_a_process_uses_stays(tmp_path: Path, database: Path) -> None:
    """While anybody has a part of it in his memory the locks may be of the living."""
    with (database / "__db.001").open("r+b") as file, mmap.mmap(file.fileno(), 0):
        assert not clear_dead_locks(tmp_path)
    assert database.exists()


def test_who_waits_for_what_was_cleared_does_not_use_what_came_after(tmp_path: Path, database: Path) -> None:
    """A process that hangs at a database that is gone keeps nobody from the next."""
    with (database / "__db.001").open("r+b") as file, mmap.mmap(file.fileno(), 0):
        (database / "__db.001").unlink()
        (database / "__db.001").write_bytes(bytes(mmap.PAGESIZE))
        long_ago = time.time() - 2 * YOUNG_S
        os.utime(database, (long_ago, long_ago))
        assert clear_dead_locks(tmp_path)


def test_what_was_made_just_now_stays(tmp_path: Path, database: Path) -> None:
    """Who has made the folder may be about to use it."""
    os.utime(database)
    assert not clear_dead_locks(tmp_path)
    assert database.exists()
