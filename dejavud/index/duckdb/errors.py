"""DuckDB's exceptions as ours: the one place that reads its messages."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

from dejavud.errors import IndexDamaged, IndexFull, IndexLocked, IndexUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLDER = re.compile(r"held in (?P<program>.*?) \(PID (?P<pid>\d+)\)")
_LOCKED = ("Could not set lock on file", "Conflicting lock")
_FULL = ("No space left on device", "File too large", "Disk quota exceeded")
_DAMAGED = (
    "not a valid DuckDB database",
    "Could not read enough bytes",
    "Corrupt database file",
    "checksum",
    "Is a directory",
    "deserialize",
    "version number",
)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise what DuckDB raises in the block as `IndexUnavailable` or the subclass that says more; `path` is for the message."""
    try:
        yield
    except duckdb.Error as error:
        raise _translation(error, path) from error


def _translation(error: duckdb.Error, path: str) -> IndexUnavailable:
    text = str(error).partition("\n")[0]
    if any(sign in text for sign in _LOCKED):
        holder = _HOLDER.search(text)
        return IndexLocked(path=path, reason=f"{holder['program']}, process {holder['pid']}" if holder else text)
    if any(sign in text for sign in _FULL):
        return IndexFull(reason=f"{path}: {next(sign for sign in _FULL if sign in text).lower()}")
    broken = isinstance(error, duckdb.InternalException | duckdb.SerializationException)
    if broken or any(sign in text for sign in _DAMAGED):
        return IndexDamaged(path=path, reason=text)
    return IndexUnavailable(reason=f"{path}: {text}")
