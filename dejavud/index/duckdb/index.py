"""The durable index: one DuckDB file, always able to answer, columnar in and out.

A look-up is one join of ``postings`` with the query's distinct hashes, handed over as numpy columns.  It scans the hash
column whatever the number of hashes, so a resident view (`dejavud.index.view.resident`) spares it for all but its own beginning.  A write is one transaction; DuckDB's log is on the disk when the commit returns, and an
interrupted write is undone when the file is next opened.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import numpy as np

from dejavud.errors import IndexDamaged, Timeout
from dejavud.index.base import Compacted
from dejavud.index.constellation_codec import decode_constellation
from dejavud.index.duckdb.compaction import Compaction
from dejavud.index.duckdb.connection import SharedConnection, WriteTurns
from dejavud.index.duckdb.errors import translated
from dejavud.index.duckdb.file import connect
from dejavud.index.duckdb.history import DuckDBHistory
from dejavud.index.duckdb.rows import EDIT, HAS_ID, HAS_SHA1, insert_contents, insert_tracks, numbered, tracks_where
from dejavud.index.entries import MAX_ID, edited, possible_ids
from dejavud.index.meetings import MAX_HITS, DistinctHashes
from dejavud.index.postings import Postings
from dejavud.values import Hits, IndexStatistics, NewTrack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dejavud.fingerprint.params import HashParams
    from dejavud.values import Array, Constellation, Hashes, Track, TrackEdit

DEFAULT_MEMORY_BYTES = 512 << 20
"""What DuckDB may hold, its cache of blocks above all.  With 80 M postings it is no slower in a quarter of that, as the system
keeps the file in memory anyway."""
DEFAULT_THREADS = 2

_STEP_POSTINGS = 1 << 18
"""Handed over in 5 ms."""
_LOOKUP = "SELECT which, track_id, frame FROM postings JOIN asked USING (hash)"


@contextmanager
def open_duckdb(
    path: Path | None,
    params: HashParams,
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    threads: int = DEFAULT_THREADS,
    max_hits: int = MAX_HITS,
) -> Iterator[DuckDBIndex]:
    """Give the index in the file at `path`, made if it is not there (with its folder); None is one in memory.

    Raises `IndexLocked` where another process, or this one, has it open; `IndexDamaged` where the file is not an index or cannot
    be read; `SchemaTooNew` and `ParamsMismatch` where another dejavud or other parameters made it; `IndexFull`;
    `IndexUnavailable` for the rest, such as a missing permission.  A file that is refused is left as it is.
    """
    path = None if path is None else path.absolute()  # DuckDB takes a prefix such as "md:" for another kind of database
    open_file = partial(connect, path, params, memory_bytes=memory_bytes, threads=threads)
    connection = SharedConnection(open_file, is_durable=path is not None)
    with closing(connection):
        yield DuckDBIndex(connection, path, params, max_hits=max_hits)


class _Counted(NamedTuple):
    """What the file held after so many writes."""

    statistics: IndexStatistics
    n_writes: int


class _Disabled(NamedTuple):
    """Which tracks were disabled after so many writes: int32 [n]."""

    ids: Array
    n_writes: int


class DuckDBIndex:
    """The contract of a store (`dejavud.index.base.Store`) over one DuckDB file: a cursor a call, one write at a time.

    Made by `open_duckdb`.

    path : of the file, absolute; None for one in memory.
    params : that it was opened with.
    """

    def __init__(self, connection: SharedConnection, path: Path | None, params: HashParams, *, max_hits: int) -> None:
        self._connection = connection
        self.path = path
        self.params = params
        self._where = "the index in memory" if path is None else str(path)
        self._max_hits = max_hits
        self._turns = WriteTurns()
        self._noted: set[int] | None = None
        self._tell: Callable[[], None] = _nobody
        self._n_writes = (
            0  # begun or done: what was counted before the last of them ended is no longer known to be true
        )
        self._counted = _Counted(IndexStatistics(0, 0, 0.0, 0), -1)
        self._disabled = _Disabled(np.empty(0, np.int32), -1)

    def add(self, entries: Sequence[NewTrack]) -> Sequence[Track]:
        """See `Index.add`."""
        with self._writing() as cursor:
            sha1s = [entry.file_sha1 for entry in entries]
            by_sha1 = {track.file_sha1: track for track in tracks_where(cursor, HAS_SHA1, [sha1s])}
            fresh = {entry.file_sha1: entry for entry in reversed(entries) if entry.file_sha1 not in by_sha1}
            added = dict.fromkeys(sha1 for sha1 in sha1s if sha1 in fresh)
            if added:
                new = [fresh[sha1] for sha1 in added]
                tracks = numbered(cursor, new)
                insert_tracks(cursor, tracks)
                insert_contents(cursor, tracks, new)
                by_sha1 |= {track.file_sha1: track for track in tracks}
            return [by_sha1[sha1] for sha1 in sha1s]

    def remove(self, track_ids: Sequence[int]) -> Sequence[Track]:
        """See `Index.remove`."""
        with self._writing() as cursor:
            ids = possible_ids(track_ids)
            self._note(ids)
            gone = tracks_where(cursor, HAS_ID, [ids])
            for table, column in (("postings", "track_id"), ("constellations", "track_id"), ("tracks", "id")):
                cursor.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT unnest(?::INTEGER[]))", [ids])  # noqa: S608 - names from the line above
            return gone

    def edit(self, edits: Mapping[int, TrackEdit]) -> Sequence[Track]:
        """See `Index.edit`."""
        with self._writing() as cursor:
            before = tracks_where(cursor, HAS_ID, [possible_ids(edits)])
            tracks = [edited(track, edits[track.id]) for track in before]
            changed = [
                (track.id, track.title, track.artist, track.album, track.disabled)
                for track, old in zip(tracks, before, strict=True)
                if track != old
            ]
            if changed:
                cursor.execute(EDIT, [list(column) for column in zip(*changed, strict=True)])
            return tracks

    def tracks(
        self,
        *,
        ids: Sequence[int] | None = None,
        sha1s: Sequence[str] | None = None,
        limit: int | None = None,
        after_id: int = 0,
    ) -> Sequence[Track]:
        """See `Index.tracks`."""
        conditions = ["id > ?"]
        values: list[object] = [min(after_id, MAX_ID)]
        if ids is not None:
            conditions.append(HAS_ID)
            values.append(possible_ids(ids))
        if sha1s is not None:
            conditions.append(HAS_SHA1)
            values.append(list(sha1s))
        with self.reading() as cursor:
            return tracks_where(cursor, " AND ".join(conditions), values, limit=MAX_ID if limit is None else limit)

    def lookup(self, hashes: Hashes, *, timeout_s: float | None = None) -> Hits:
        """See `Index.lookup`.

        DuckDB itself watches the time and stops: no thread of ours has to.
        """
        started_s = time.monotonic()
        if not len(hashes):
            self._connection.check_open()
            return Hits(np.empty(0), np.empty(0), np.empty(0))
        asked = DistinctHashes(hashes)
        columns = {"hash": asked.values, "which": np.arange(len(asked.values), dtype=np.int32)}
        with self.reading() as cursor:
            cursor.register("asked", columns)
            try:
                if timeout_s is not None:
                    left_s = started_s + timeout_s - time.monotonic()
                    cursor.execute(f"SET SESSION max_execution_time = {max(1, round(left_s * 1000))}")
                found = self._without_disabled(cursor, cursor.execute(_LOOKUP).fetchnumpy())
            except duckdb.InterruptException as error:
                raise Timeout(what="the look-up", limit_s=timeout_s) from error
        return asked.meetings(found["which"], found["track_id"], found["frame"], max_hits=self._max_hits)

    def constellations(self, track_ids: Sequence[int]) -> Mapping[int, Constellation]:
        """See `Index.constellations`."""
        with self.reading() as cursor:
            rows = cursor.execute(
                "SELECT track_id, data FROM constellations WHERE track_id IN (SELECT unnest(?::INTEGER[]))"
                " ORDER BY track_id, part",
                [possible_ids(track_ids)],
            ).fetchall()
        parts: dict[int, list[bytes]] = {}
        for track_id, data in rows:
            parts.setdefault(track_id, []).append(data)
        try:
            return {track_id: decode_constellation(b"".join(data)) for track_id, data in parts.items()}
        except ValueError as error:
            raise IndexDamaged(path=self._where, reason=str(error)) from error

    def statistics(self) -> IndexStatistics:
        """See `Index.statistics`; where nothing was written since they were last asked for, the file is not asked."""
        n_writes = self._n_writes
        if self.path is not None and self._counted.n_writes == n_writes:
            self._connection.check_open()
            return replace(self._counted.statistics, size_bytes=_file_bytes(self.path))
        with self.reading() as cursor:
            n_tracks, n_postings, duration_s, n_disabled = cursor.execute(
                "SELECT count(*), coalesce(sum(n_hashes), 0)::BIGINT, coalesce(sum(duration_s), 0),"
                " count(*) FILTER (WHERE disabled) FROM tracks"
            ).fetchall()[0]
            size_bytes = _memory_bytes(cursor) if self.path is None else _file_bytes(self.path)
        statistics = IndexStatistics(n_tracks, n_postings, duration_s, size_bytes, n_disabled)
        self._counted = _Counted(statistics, n_writes)
        return statistics

    def _without_disabled(self, cursor: duckdb.DuckDBPyConnection, found: dict[str, Any]) -> dict[str, Any]:
        """Return the rows that are not of disabled tracks; which those are is read anew after a write only."""
        n_writes = self._n_writes
        if self._disabled.n_writes != n_writes:
            ids = cursor.execute("SELECT id FROM tracks WHERE disabled").fetchnumpy()["id"]
            self._disabled = _Disabled(np.asarray(ids, np.int32), n_writes)
        if not len(self._disabled.ids):
            return found
        kept = ~np.isin(found["track_id"], self._disabled.ids)
        return {name: column[kept] for name, column in found.items()}

    def postings(self, first_id: int, last_id: int) -> Postings:
        """See `dejavud.index.base.Store.postings`.

        They are handed over in steps, since the driver holds the interpreter meanwhile, and queries wait.
        """
        with self.reading() as cursor:
            values = [first_id, last_id]
            cursor.execute("CREATE TEMP TABLE own AS SELECT * FROM postings WHERE track_id BETWEEN ? AND ?", values)
            steps = [cursor.execute("FROM own LIMIT 0").fetchnumpy()]
            n_postings = cursor.execute("SELECT count(*) FROM own").fetchall()[0][0]
            for first in range(0, n_postings, _STEP_POSTINGS):
                last = first + _STEP_POSTINGS - 1
                steps.append(cursor.execute("FROM own WHERE rowid BETWEEN ? AND ?", [first, last]).fetchnumpy())
        return Postings(*(np.concatenate([step[name] for step in steps]) for name in ("hash", "track_id", "frame")))

    def replace(self, track_id: int, constellation: Constellation, hashes: Hashes) -> bool:
        """See `dejavud.index.base.Store.replace`."""
        with self._writing() as cursor:
            self._note([track_id])
            found = tracks_where(cursor, HAS_ID, [[track_id]])[:1]
            for track in found:
                for table in ("postings", "constellations"):
                    cursor.execute(f"DELETE FROM {table} WHERE track_id = ?", [track_id])  # noqa: S608 - names from the line above
                cursor.execute(
                    "UPDATE tracks SET n_peaks = ?, n_hashes = ? WHERE id = ?",
                    [len(constellation), len(hashes), track_id],
                )
                entry = NewTrack(
                    track.title, None, None, None, track.file_sha1, track.duration_s, constellation, hashes
                )
                insert_contents(cursor, [track], [entry])
            return bool(found)

    def stray_ids(self) -> Sequence[int]:
        """See `dejavud.index.base.Store.stray_ids`."""
        with self.reading() as cursor:
            found = cursor.execute(
                "SELECT DISTINCT track_id FROM (SELECT DISTINCT track_id FROM postings UNION ALL"
                " SELECT DISTINCT track_id FROM constellations) WHERE track_id NOT IN (SELECT id FROM tracks) ORDER BY 1"
            ).fetchnumpy()["track_id"]
        return [int(track_id) for track_id in found]

    def compact(self, tell: Callable[[int, int], None], should_stop: Callable[[], bool]) -> Compacted:
        """See `dejavud.index.base.Store.compact`."""
        if self.path is None:
            n_bytes = self.statistics().size_bytes
            return Compacted(n_bytes, n_bytes, is_rewritten=False)
        return Compaction(self, self.path, tell, should_stop).run()

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, in any thread, after every write."""
        self._tell = tell

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor for one call of this package's own SQL; errors are raised as this class's methods raise them."""
        with translated(self._where), self._connection.cursor() as cursor:
            yield cursor

    def history(self) -> DuckDBHistory:
        """Return the history that is kept in the same file."""
        return DuckDBHistory(self)

    @contextmanager
    def writing_beside(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor in a transaction on what is no part of the index: look-ups and the view need not hear of it."""
        with self._turns.of_a_writer(), self.reading() as cursor:
            cursor.begin()
            yield cursor  # where this raises, closing the cursor rolls back
            cursor.commit()

    @contextmanager
    def moving(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor in a transaction that changes nothing of what can be asked; writers wait, so it has to be short."""
        with self._turns.of_upkeep(), self.reading() as cursor:
            cursor.begin()
            yield cursor  # where this raises, closing the cursor rolls back
            cursor.commit()

    @contextmanager
    def writes_held(self) -> Iterator[SharedConnection]:
        """Have writers wait until the block ends; give the connection, for another file to be put in the place of this one."""
        with self._turns.of_a_writer(), translated(self._where):
            yield self._connection

    @contextmanager
    def changes_noted(self) -> Iterator[set[int]]:
        """Give a set that the ids of tracks are put into before they are removed or replaced, until the block ends."""
        self._noted = set()
        try:
            yield self._noted
        finally:
            self._noted = None

    def _note(self, track_ids: Sequence[int]) -> None:
        if self._noted is not None:
            self._noted.update(track_ids)

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor in a transaction that is committed at the end of the block, or undone where it raises."""
        with self._turns.of_a_writer():
            try:
                with self.reading() as cursor:
                    cursor.begin()
                    yield cursor  # where this raises, closing the cursor rolls back
                    cursor.commit()
            finally:
                self._n_writes += 1
        self._tell()


def _nobody() -> None:
    """Tell nobody."""


def _memory_bytes(cursor: duckdb.DuckDBPyConnection) -> int:
    return int(cursor.execute("SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()").fetchall()[0][0])


def _file_bytes(path: Path) -> int:
    """Return the size of the file and of its log, which comes and goes."""
    n_bytes = path.stat().st_size
    try:
        return n_bytes + path.with_name(f"{path.name}.wal").stat().st_size
    except FileNotFoundError:
        return n_bytes
