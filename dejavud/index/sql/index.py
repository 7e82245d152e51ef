"""The index in any database that SQLAlchemy knows: one schema, in tables of its own, beside whatever else is there.

What engines do in ways of their own (bulk in, look-up, locks, time limits) is a `dejavud.index.sql.dialect.Dialect`.  Several daemons may
share a database: writers take turns by a lock in it, and `SqlIndex.changes` tells the others what was written.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sqlalchemy import bindparam, delete, func, insert, make_url, select, union, update
from sqlalchemy.exc import ArgumentError

from dejavud.errors import IndexAway, IndexDamaged, IndexUnavailable, Timeout, UnsupportedDatabase
from dejavud.index.base import Changes, Compacted
from dejavud.index.constellation_codec import decode_constellation, encode_constellation
from dejavud.index.entries import MAX_ID, edited, possible_ids, stored_tracks
from dejavud.index.meetings import MAX_HITS, DistinctHashes
from dejavud.index.postings import Postings, postings_of
from dejavud.index.schema import NEXT_TRACK_ID
from dejavud.index.sql.connections import Connections
from dejavud.index.sql.dialect import secret_of
from dejavud.index.sql.history import SqlHistory
from dejavud.index.sql.mysql import MySQLDialect
from dejavud.index.sql.postgresql import PostgreSQLDialect
from dejavud.index.sql.postings import OneTable
from dejavud.index.sql.schema import KEPT_REVISIONS, REVISION, changes, constellations, meta, prepare, tracks
from dejavud.index.sql.shards import Shards
from dejavud.index.sql.sqlite import SQLiteDialect
from dejavud.index.urls import normalized, path_of, without_password
from dejavud.values import Hits, IndexStatistics, NewTrack, Track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Select
    from sqlalchemy.engine import URL

    from dejavud.fingerprint.params import HashParams
    from dejavud.index.sql.dialect import Dialect
    from dejavud.index.sql.postings import PostingTable
    from dejavud.values import Constellation, Hashes, TrackEdit

    Array = NDArray[Any]

_VALUES_A_STATEMENT = 1000
_STORED: dict[int, np.dtype[Any]] = {32: np.dtype(np.int32), 64: np.dtype(np.int64)}
_FIELDS = tuple(Track.__slots__)


@contextmanager
def open_sql(url: str, params: HashParams, *, max_hits: int = MAX_HITS) -> Iterator[SqlIndex]:
    """Give the index in the database at `url`, whose tables are made where they are not there.

    Raises `UnsupportedDatabase`; `IndexAway` where the server does not answer, and `IndexUnavailable` where it does not let us in;
    `SchemaTooNew`, `ParamsMismatch`, and `IndexDamaged` where the tables are not those of an index.
    """
    given = _parsed(normalized(url))
    where = without_password(url)
    connections = Connections(_dialect_of(given, url), where, secret_of(given))
    with closing(connections):
        _try(connections)
        with connections.transaction() as connection:
            prepare(connection, params, connections.dialect, where=where)
            sharded = connections.dialect.sharded(connection)
        if sharded is not None:
            connections.dialect = sharded
        table = OneTable(connections.dialect) if sharded is None else Shards(connections, sharded)
        index = SqlIndex(connections, table, params.hash_bits, max_hits=max_hits)
        index.statistics()
        yield index


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise UnsupportedDatabase(url=without_password(url), reason="this is not a database URL") from error


def _dialect_of(given: URL, url: str) -> Dialect:
    match given.get_backend_name():
        case "sqlite":
            path = path_of(url)
            if path is not None:
                _make_folder(Path(path).absolute().parent)
            return SQLiteDialect(path)
        case kind:
            if not given.database:
                reason = "it names no database: one follows the host, as in …@host/dejavud"
                raise UnsupportedDatabase(url=without_password(url), reason=reason)
            return PostgreSQLDialect(given) if kind == "postgresql" else MySQLDialect(given)


def _try(connections: Connections) -> None:
    """Connect once; raises `UnsupportedDatabase` for an option that the driver does not know."""
    try:
        with connections.transaction():
            pass
    except (TypeError, ValueError) as error:
        reason = f"an option after ? is not understood ({connections.words(error)})"
        raise UnsupportedDatabase(url=connections.where, reason=reason) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise IndexUnavailable(reason=f"{folder} cannot be made: {error.strerror}") from error


class _Counted(NamedTuple):
    """What the database held after so many writes."""

    statistics: IndexStatistics
    revision: int


class _Writing(NamedTuple):
    """A transaction that holds the lock of writers, and the tracks that it touches."""

    connection: Connection
    touched: set[int]


class SqlIndex:
    """The contract of a shared store (`dejavud.index.base.SharedStore`) over a database.  Made by `open_sql`.

    hash_bits : of the profile; hashes are stored as signed integers so wide.
    """

    def __init__(self, connections: Connections, table: PostingTable, hash_bits: int, *, max_hits: int) -> None:
        self._connections = connections
        self._table = table
        self._dialect = connections.dialect
        self._stored = _STORED[hash_bits]
        self._max_hits = max_hits
        self._counted = _Counted(IndexStatistics(0, 0, 0.0, 0), -1)

    @property
    def where(self) -> str:
        """Return the database's URL without the password."""
        return self._connections.where

    @property
    def is_reachable(self) -> bool:
        """See `dejavud.index.base.SharedStore.is_reachable`."""
        return self._connections.is_reachable

    def add(self, entries: Sequence[NewTrack]) -> Sequence[Track]:
        """See `Index.add`."""
        with self._writing() as writing:
            sha1s = [entry.file_sha1 for entry in entries]
            by_sha1 = {track.file_sha1: track for track in self._tracks_where(writing.connection, sha1s=sha1s)}
            fresh = {entry.file_sha1: entry for entry in reversed(entries) if entry.file_sha1 not in by_sha1}
            new = [fresh[sha1] for sha1 in dict.fromkeys(sha1s) if sha1 in fresh]
            if new:
                added = self._numbered(writing.connection, new)
                self._insert(writing.connection, added, new)
                by_sha1 |= {track.file_sha1: track for track in added}
                writing.touched.update(track.id for track in added)
            return [by_sha1[sha1] for sha1 in sha1s]

    def remove(self, track_ids: Sequence[int]) -> Sequence[Track]:
        """See `Index.remove`."""
        with self._writing() as writing:
            gone = self._tracks_where(writing.connection, ids=track_ids)
            for some in _portions(possible_ids(track_ids)):
                self._delete_contents(writing.connection, some)
                writing.connection.execute(delete(tracks).where(tracks.c.id.in_(some)))
            writing.touched.update(track.id for track in gone)
        self._table.sweep(possible_ids(track_ids))
        return gone

    def edit(self, edits: Mapping[int, TrackEdit]) -> Sequence[Track]:
        """See `Index.edit`."""
        with self._writing() as writing:
            before = self._tracks_where(writing.connection, ids=list(edits))
            now = [edited(track, edits[track.id]) for track in before]
            changed = [track for track, old in zip(now, before, strict=True) if track != old]
            if changed:
                names = ("title", "artist", "album", "disabled")
                statement = update(tracks).where(tracks.c.id == bindparam("which"))
                rows = [{"which": track.id, **{name: getattr(track, name) for name in names}} for track in changed]
                writing.connection.execute(statement.values({name: bindparam(name) for name in names}), rows)
                writing.touched.update(track.id for track in changed)
            return now

    def tracks(
        self,
        *,
        ids: Sequence[int] | None = None,
        sha1s: Sequence[str] | None = None,
        limit: int | None = None,
        after_id: int = 0,
    ) -> Sequence[Track]:
        """See `Index.tracks`."""
        with self._connections.transaction() as connection:
            return self._tracks_where(connection, ids=ids, sha1s=sha1s, limit=limit, after_id=after_id)

    def lookup(self, hashes: Hashes, *, timeout_s: float | None = None) -> Hits:
        """See `Index.lookup`."""
        started_s = time.monotonic()
        self._connections.check_open()
        asked = DistinctHashes(hashes)
        left_s = None if timeout_s is None else started_s + timeout_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise Timeout(what="the look-up", limit_s=timeout_s)
        if not len(hashes):
            return Hits(np.empty(0), np.empty(0), np.empty(0))
        with self._connections.transaction(left_s, what="the look-up") as connection:
            disabled = connection.execute(select(tracks.c.id).where(tracks.c.disabled)).scalars().all()
            found, unseen = self._table.find(connection, np.sort(asked.values.view(self._stored)), left_s)
        if disabled:
            found = found[~np.isin(found["track_id"], disabled)]
        which = np.searchsorted(asked.values, found["hash"].view(asked.values.dtype))
        hits = asked.meetings(which, found["track_id"], found["frame"], max_hits=self._max_hits)
        return replace(hits, unseen=unseen) if unseen else hits

    def constellations(self, track_ids: Sequence[int]) -> Mapping[int, Constellation]:
        """See `Index.constellations`."""
        chosen = select(constellations.c.track_id, constellations.c.data)
        with self._connections.transaction() as connection:
            rows = [
                row
                for some in _portions(possible_ids(track_ids))
                for row in connection.execute(chosen.where(constellations.c.track_id.in_(some)))
            ]
        try:
            return {track_id: decode_constellation(data) for track_id, data in rows}
        except ValueError as error:
            raise IndexDamaged(path=self.where, reason=str(error)) from error

    def statistics(self) -> IndexStatistics:
        """See `Index.statistics`; counted after a write only.  While the database is away, what was counted last."""
        try:
            with self._connections.transaction() as connection:
                revision = _revision(connection)
                if revision != self._counted.revision:
                    self._counted = _Counted(self._count(connection), revision)
        except IndexAway:
            if self._counted.revision < 0:
                raise
            return replace(self._counted.statistics, reachable=False)
        return self._counted.statistics

    def postings(self, first_id: int, last_id: int) -> Postings:
        """See `dejavud.index.base.Store.postings`."""
        with self._connections.transaction() as connection:
            found = self._dialect.postings(connection, first_id, last_id, self._stored)
        unsigned = np.dtype(f"u{self._stored.itemsize}")
        hashes, track_ids, frames = (np.ascontiguousarray(found[name]) for name in ("hash", "track_id", "frame"))
        return Postings(hashes.view(unsigned), track_ids, frames)

    def replace(self, track_id: int, constellation: Constellation, hashes: Hashes) -> bool:
        """See `dejavud.index.base.Store.replace`; who follows the changes starts afresh, as none of them says what this was."""
        with self._writing() as writing:
            found = self._tracks_where(writing.connection, ids=[track_id])
            for track in found:
                self._delete_contents(writing.connection, [track_id])
                now = replace(track, n_peaks=len(constellation), n_hashes=len(hashes))
                counts = {"n_peaks": now.n_peaks, "n_hashes": now.n_hashes}
                writing.connection.execute(update(tracks).where(tracks.c.id == track_id).values(counts))
                entry = NewTrack("", None, None, None, track.file_sha1, track.duration_s, constellation, hashes)
                self._insert_contents(writing.connection, [now], [entry])
                writing.connection.execute(delete(changes))
                writing.touched.add(track_id)
            return bool(found)

    def stray_ids(self) -> Sequence[int]:
        """See `dejavud.index.base.Store.stray_ids`."""
        with self._connections.transaction() as connection:
            owners = union(select(constellations.c.track_id), self._table.owners(connection)).subquery()
            query = select(owners.c.track_id).where(owners.c.track_id.not_in(select(tracks.c.id)))
            return connection.execute(query.order_by(owners.c.track_id)).scalars().all()

    def compact(self, _tell: Callable[[int, int], None], _should_stop: Callable[[], bool]) -> Compacted:
        """See `dejavud.index.base.Store.compact`; these engines keep their order, and their space, by themselves."""
        n_bytes = self.statistics().size_bytes
        return Compacted(n_bytes, n_bytes, is_rewritten=False)

    def changes(self, after_revision: int) -> Changes:
        """See `dejavud.index.base.SharedStore.changes`."""
        with self._connections.transaction() as connection:
            revision = _revision(connection)
            if after_revision < 0 or revision == after_revision:
                return Changes(revision, None if after_revision < 0 else ())
            since = select(changes.c.revision, changes.c.track_id).where(changes.c.revision >= after_revision)
            rows = connection.execute(since.where(changes.c.revision <= revision)).all()
        is_known = after_revision == 0 or any(row.revision == after_revision for row in rows)
        if not is_known or revision < after_revision:
            return Changes(revision, None)
        return Changes(revision, tuple(sorted({row.track_id for row in rows if row.revision > after_revision})))

    def history(self) -> SqlHistory:
        """Return the history that is kept beside the index."""
        return SqlHistory(self._connections)

    @contextmanager
    def _writing(self) -> Iterator[_Writing]:
        """Give a transaction that holds off all other writers; what it touched is told with it."""
        with self._connections.transaction() as connection:
            self._dialect.lock_writers(connection)
            writing = _Writing(connection, set())
            yield writing
            if writing.touched:
                revision = _revision(connection) + 1
                _set_meta(connection, REVISION, revision)
                rows = [{"revision": revision, "track_id": track_id} for track_id in sorted(writing.touched)]
                connection.execute(insert(changes), rows)
                connection.execute(delete(changes).where(changes.c.revision <= revision - KEPT_REVISIONS))

    def _tracks_where(
        self,
        connection: Connection,
        *,
        ids: Sequence[int] | None = None,
        sha1s: Sequence[str] | None = None,
        limit: int | None = None,
        after_id: int = 0,
    ) -> list[Track]:
        """Return the tracks that are asked for, ascending by id."""
        query = select(*(tracks.c[name] for name in _FIELDS)).where(tracks.c.id > min(after_id, MAX_ID))
        query = query.order_by(tracks.c.id).limit(MAX_ID if limit is None else limit)
        queries: list[Select[Any]] = [query]
        if ids is not None:
            queries = [query.where(tracks.c.id.in_(some)) for some in _portions(possible_ids(ids))]
        if sha1s is not None:
            portions = _portions(sorted(set(sha1s)))
            queries = [query.where(tracks.c.file_sha1.in_(some)) for some in portions for query in queries]
        rows = [row for query in queries for row in connection.execute(query)]
        found = [Track(**{**row._mapping, "added_at": row.added_at.replace(tzinfo=UTC)}) for row in rows]  # noqa: SLF001 - what SQLAlchemy calls a row's public names
        return sorted(found, key=lambda track: track.id)[:limit]

    def _numbered(self, connection: Connection, entries: Sequence[NewTrack]) -> list[Track]:
        """Return `entries` as the tracks to store, with ids that no track ever had or that they bring."""
        next_id = int(connection.execute(select(meta.c.value).where(meta.c.key == NEXT_TRACK_ID)).scalar_one())
        brought = [entry.id for entry in entries if entry.id is not None]
        taken = [track.id for track in self._tracks_where(connection, ids=brought)]
        numbered, next_id = stored_tracks(entries, next_id, taken, datetime.now(UTC))
        if next_id > MAX_ID:
            raise IndexUnavailable(reason="it has given out every id there is")
        _set_meta(connection, NEXT_TRACK_ID, next_id)
        return numbered

    def _insert(self, connection: Connection, added: Sequence[Track], entries: Sequence[NewTrack]) -> None:
        """Store `added` with the contents of `entries`, which are parallel."""
        rows = [{name: getattr(track, name) for name in _FIELDS} for track in added]
        for row in rows:
            row["added_at"] = row["added_at"].astimezone(UTC).replace(tzinfo=None)
        connection.execute(insert(tracks), rows)
        self._insert_contents(connection, added, entries)

    def _insert_contents(self, connection: Connection, added: Sequence[Track], entries: Sequence[NewTrack]) -> None:
        """Store the constellations and postings of `entries`, which were stored as `added`."""
        encoded = [
            {"track_id": track.id, "data": encode_constellation(entry.constellation)}
            for track, entry in zip(added, entries, strict=True)
        ]
        connection.execute(insert(constellations), encoded)
        postings = postings_of(added, entries)
        stored = postings.hashes.astype(f"u{self._stored.itemsize}", copy=False).view(self._stored)
        order = np.argsort(stored, kind="stable")
        self._table.insert(connection, [track.id for track in added], stored[order], postings.of(order))

    def _delete_contents(self, connection: Connection, track_ids: Sequence[int]) -> None:
        self._table.delete(connection, track_ids)
        connection.execute(delete(constellations).where(constellations.c.track_id.in_(track_ids)))

    def _count(self, connection: Connection) -> IndexStatistics:
        counts = select(
            func.count(),
            func.coalesce(func.sum(tracks.c.n_hashes), 0),
            func.coalesce(func.sum(tracks.c.duration_s), 0.0),
        ).select_from(tracks)
        n_tracks, n_postings, duration_s = connection.execute(counts).one()
        n_disabled = connection.execute(select(func.count()).select_from(tracks).where(tracks.c.disabled)).scalar_one()
        size_bytes = self._dialect.size_bytes(connection)
        return IndexStatistics(n_tracks, int(n_postings), float(duration_s), size_bytes, n_disabled)


def _revision(connection: Connection) -> int:
    return int(connection.execute(select(meta.c.value).where(meta.c.key == REVISION)).scalar_one())


def _set_meta(connection: Connection, key: str, value: int) -> None:
    connection.execute(update(meta).where(meta.c.key == key).values(value=str(value)))


def _portions(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Give `values` in portions of what one statement takes."""
    for first in range(0, len(values), _VALUES_A_STATEMENT):
        yield values[first : first + _VALUES_A_STATEMENT]
