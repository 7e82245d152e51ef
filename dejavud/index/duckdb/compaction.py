"""A DuckDB file written anew, sorted and without holes, while the old one is asked and written to.

The new file is attached to the connection of the old one, so DuckDB itself copies, in columns and within its limit of memory.  What was added, removed or edited
meanwhile is brought over at the end, when writers wait; then the old file is closed, the new one takes its name, and is opened.  A crash leaves the
old file or the new one, each whole; what else it leaves is in the folder ``FILE.compact``, which the next start deletes.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import numpy as np

from dejavud.errors import IndexFull, IndexUnavailable
from dejavud.index import schema
from dejavud.index.base import Compacted, StoppedError
from dejavud.index.duckdb.clustering import Run, Runs, hash_ranges, read_runs, track_sizes, write_runs
from dejavud.index.duckdb.file import BLOCK_BYTES, compaction_folder, quoted, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dejavud.index.duckdb.clustering import TrackSizes
    from dejavud.index.duckdb.index import DuckDBIndex

SLICE_POSTINGS = 1 << 22
"""Sorted and written at a time: 150 MB of DuckDB's memory."""
RUN_POSTINGS = 1 << 26
"""Of the runs in the new file; see `dejavud.index.duckdb.clustering.Sizes`."""
LATE_POSTINGS = 1 << 17
"""That were added meanwhile, and are brought over while writers wait."""
FREE_SHARE = 0.02
"""A file that is in order is written anew where so much of it is free."""
SPARE_BYTES = 32 << 20
"""That have to be free on the disk beside what the new file takes."""


class Compaction:
    """Writes the file of one index anew, once.

    tell : given (done, total), in postings, from time to time.
    should_stop : asked several times a second.
    """

    def __init__(
        self, store: DuckDBIndex, path: Path, tell: Callable[[int, int], None], should_stop: Callable[[], bool]
    ) -> None:
        self._store = store
        self._path = Path(os.path.realpath(path))  # a link stays one
        self._folder = compaction_folder(path)
        self._new = self._folder / "index.duckdb"
        self._tell = tell
        self._should_stop = should_stop

    def run(self) -> Compacted:
        """Write the file anew where that gives space back or sorts what is not; errors as `Store.compact` raises them."""
        n_bytes_before = self._store.statistics().size_bytes
        with self._store.writes_held(), self._store.reading() as cursor:
            with suppress(duckdb.TransactionException):  # while there are queries that began before the last write
                cursor.execute("CHECKPOINT")  # what was deleted lately is free only after it
            is_worth_it = _is_worth_it(cursor)
            if is_worth_it:
                self._check_room(cursor)
        if is_worth_it:
            self._write()
        return Compacted(n_bytes_before, self._store.statistics().size_bytes, is_rewritten=is_worth_it)

    def _check_room(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Raise `IndexFull` where the disk has no room for the new file beside the old one."""
        size = _size(cursor)
        needed_bytes = size.n_used * size.block_bytes + SPARE_BYTES
        free_bytes = shutil.disk_usage(self._path.parent).free
        if free_bytes < needed_bytes:
            reason = (
                f"{self._path} is written anew beside the old file, which takes {needed_bytes >> 20} MB,"
                f" and {self._path.parent} has {free_bytes >> 20} MB left"
            )
            raise IndexFull(reason=reason)

    def _write(self) -> None:
        """Write the new file and put it in the place of the old one."""
        try:
            self._folder.mkdir(mode=0o700)
            with self._store.changes_noted() as changed:
                with self._store.reading() as cursor:
                    cursor.execute(f"ATTACH {quoted(self._new)} AS fresh (BLOCK_SIZE {BLOCK_BYTES})")
                    copied = self._copy(cursor)
                with self._store.writes_held() as connection:
                    with self._store.reading() as cursor:
                        _finish(cursor, copied, changed)
                    with connection.closed_for_a_moment():
                        self._take_the_place()
        except OSError as error:
            kind = IndexFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else IndexUnavailable
            raise kind(reason=f"{self._new} cannot be written: {error.strerror}") from error
        finally:
            with (
                self._store.reading() as cursor,
                suppress(duckdb.Error),
            ):  # that of a full disk; it is let go of all the same
                cursor.execute("DETACH DATABASE IF EXISTS fresh")
            shutil.rmtree(self._folder, ignore_errors=True)  # what cannot be deleted now is at the next start

    def _copy(self, cursor: duckdb.DuckDBPyConnection) -> set[int]:
        """Copy all tracks but the last few, and return their ids; what is changed meanwhile is not seen."""
        for statement in schema.create_statements(self._store.params, database="fresh"):
            cursor.execute(statement)
        tracks = track_sizes(cursor)
        runs = long_runs(tracks)
        n_total, n_done = int(tracks.n_postings.sum()), 0
        for run in runs:
            cursor.execute(
                "INSERT INTO fresh.constellations FROM constellations WHERE track_id BETWEEN ? AND ?"
                " ORDER BY track_id, part",
                list(run),
            )
            for part in hash_ranges(cursor, run, 0, SLICE_POSTINGS):
                self._go_on(n_done, n_total)
                n_done += _copy_postings(cursor, f"WHERE {part.condition} ORDER BY hash", part.values)
        cursor.execute("INSERT INTO fresh.meta FROM meta")
        write_runs(cursor, Runs(tuple(runs)), table="fresh.meta")
        copied = set(tracks.ids.tolist())
        while late := _late(cursor, copied):
            self._go_on(n_done, n_total)
            _copy_tracks(cursor, late)
            copied |= late
        cursor.execute("CHECKPOINT fresh")
        return copied

    def _go_on(self, n_done: int, n_total: int) -> None:
        if self._should_stop():
            raise StoppedError
        self._tell(n_done, n_total)

    def _take_the_place(self) -> None:
        """Give the new file the name of the old one; both are closed."""
        for path in (self._path, self._new):
            if path.with_name(f"{path.name}.wal").exists():
                raise IndexUnavailable(reason=f"the log of {path} could not be moved into the file")
        shutil.copymode(self._path, self._new)
        self._new.replace(self._path)
        sync_folder(self._path.parent)


def _finish(cursor: duckdb.DuckDBPyConnection, copied: set[int], changed: set[int]) -> None:
    """Bring over what `_copy` did not see, while writers wait, and let go of the new file."""
    now = set(track_sizes(cursor).ids.tolist())
    again = sorted((copied & changed) | (copied - now))
    for table in ("postings", "constellations") if again else ():
        cursor.execute(f"DELETE FROM fresh.{table} WHERE track_id IN (SELECT unnest(?::INTEGER[]))", [again])  # noqa: S608 - names from the line above
    _copy_tracks(cursor, (now - copied) | (now & changed))
    cursor.execute("INSERT INTO fresh.tracks FROM tracks ORDER BY id")
    cursor.execute("INSERT INTO fresh.matches FROM matches ORDER BY started_at, id")
    cursor.execute(
        "UPDATE fresh.meta SET value = old.value FROM meta AS old WHERE old.key = meta.key AND meta.key = ?",
        [schema.NEXT_TRACK_ID],
    )
    cursor.execute("CHECKPOINT fresh")
    cursor.execute("DETACH fresh")


def _late(cursor: duckdb.DuckDBPyConnection, copied: set[int]) -> set[int]:
    """Return the tracks that are not copied yet; none where they are so few that the writers can wait for them."""
    tracks = track_sizes(cursor)
    late = {
        track_id: n
        for track_id, n in zip(tracks.ids.tolist(), tracks.n_postings.tolist(), strict=True)
        if track_id not in copied
    }
    return set(late) if sum(late.values()) > LATE_POSTINGS else set()


def _copy_tracks(cursor: duckdb.DuckDBPyConnection, track_ids: Iterable[int]) -> None:
    ids = sorted(track_ids)
    condition = "WHERE track_id IN (SELECT unnest(?::INTEGER[]))"
    if ids:
        cursor.execute(
            f"INSERT INTO fresh.constellations FROM constellations {condition} ORDER BY track_id, part", [ids]
        )
        _copy_postings(cursor, condition, [ids])


def _copy_postings(cursor: duckdb.DuckDBPyConnection, rest: str, values: Sequence[object]) -> int:
    """Copy the postings that the `rest` of the statement selects; return how many there were."""
    statement = f"INSERT INTO fresh.postings SELECT hash, track_id, frame FROM postings {rest}"  # noqa: S608 - conditions of this package
    n_copied: int = cursor.execute(statement, values).fetchall()[0][0]
    return n_copied


def long_runs(tracks: TrackSizes) -> list[Run]:
    """Return the longest runs that there may be of `tracks`."""
    groups = (np.cumsum(tracks.n_postings.astype(np.int64)) - 1) // RUN_POSTINGS
    firsts = np.flatnonzero(np.diff(groups, prepend=-1))
    lasts = np.append(firsts[1:], len(groups)) - 1
    return (
        [Run(*ids) for ids in np.stack([tracks.ids[firsts], tracks.ids[lasts]], axis=1).tolist()] if len(firsts) else []
    )


def _is_worth_it(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Tell whether there are holes in the file, or postings that are not in the longest runs."""
    size = _size(cursor)
    is_full_of_holes = size.n_free > FREE_SHARE * (size.n_free + size.n_used)
    return is_full_of_holes or read_runs(cursor) != Runs(tuple(long_runs(track_sizes(cursor))))


class FileSize(NamedTuple):
    """Of the blocks of a file: those in use, those that are free, and the size of one in bytes."""

    n_used: int
    n_free: int
    block_bytes: int


def _size(cursor: duckdb.DuckDBPyConnection) -> FileSize:
    row = cursor.execute(
        "SELECT used_blocks, free_blocks, block_size FROM pragma_database_size() WHERE database_name = current_database()"
    ).fetchall()[0]
    return FileSize(*row)
