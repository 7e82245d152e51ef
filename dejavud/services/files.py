"""Files of this machine that a caller names: opened only when they are files, and known by their content."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from dejavud.errors import UnreadableFile

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK_BYTES = 1 << 20


def check_readable(path: Path, name: str) -> None:
    """Raise `UnreadableFile` unless `path` is a regular file that this process may read."""
    _open_regular(path, name).close()


def sha1_of_file(path: Path, name: str) -> str:
    """Return the SHA1 of the file's bytes, 40 lower-case hex digits; raises `UnreadableFile`."""
    digest = hashlib.sha1(usedforsecurity=False)
    try:
        with _open_regular(path, name) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise UnreadableFile(source=name, reason=_reason(error)) from error
    return digest.hexdigest()


def _open_regular(path: Path, name: str) -> BinaryIO:
    """Open without waiting: a FIFO, opened plainly, would hold its thread until somebody writes into it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UnreadableFile(source=name, reason=_reason(error)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableFile(source=name, reason="it is not a regular file")
    return os.fdopen(descriptor, "rb", buffering=0)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
