"""The daemon's folders: made for its user alone, and held by one daemon at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dejavud.errors import IndexLocked, IndexUnavailable, InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@contextmanager
def hold_data_dir(data_dir: Path) -> Iterator[None]:
    """Make the data folder and keep every other daemon out of it while the block runs.

    The lock goes with the process, however that ends.  Raises `IndexLocked` when another daemon has it, `IndexUnavailable`
    when the folder cannot be made or written to.
    """
    lock_path = data_dir / "dejavud.lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        reason = f"the data folder {data_dir} cannot be written to: {error.strerror}; choose another with --data-dir"
        raise IndexUnavailable(reason=reason) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            raise IndexLocked(path=data_dir, reason=f"a dejavud with process id {holder}") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def make_uploads_dir(data_dir: Path) -> Path:
    """Return the folder of uploads, empty: those of a daemon that was killed are deleted.  For who holds the data folder."""
    folder = data_dir / "uploads"
    folder.mkdir(mode=0o700, exist_ok=True)
    for left_behind in folder.glob("upload-*"):
        left_behind.unlink()
    return folder


def make_private(folder: Path) -> None:
    """Make `folder` for this user alone; one that is there must be a real folder, ours, and nobody else's to write in.

    In a place like /tmp somebody else can have made it, or a link by its name, to be the one our clients talk to.  Raises `InvalidConfig`.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise _refused(folder, f"it cannot be made: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise _refused(folder, "it is a link, not a folder")
    if found.st_uid != os.getuid():
        raise _refused(folder, f"it belongs to another user (uid {found.st_uid})")
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise _refused(folder, f"other users may write in it; chmod 700 {folder}")


def _refused(folder: Path, reason: str) -> InvalidConfig:
    return InvalidConfig(
        origin="data.runtime_dir", reason=f"the folder of the sockets, {folder}, is not safe: {reason}"
    )
