"""A live database of the old dejavu, read and never written: its songs, and their hashes in one pass.

All is read in one read-only transaction on one snapshot, where the server has such, and rows come from a server-side cursor: neither the
size of the database nor that of a song is held in memory, beyond what the songs' names and one song's hashes take.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from dejavud.errors import SourceUnavailable
from dejavud.index.old.layout import found_layout
from dejavud.index.old.source import FAILURES, old_source
from dejavud.index.old.values import MAX_FRAME, GatheredSong, SongGatherer, decoded_sha1, decoded_title, derived_sha1
from dejavud.index.urls import without_password

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dejavud.index.old.layout import OldLayout

    Array = NDArray[Any]

BATCH_ROWS = 2000
"""Rows that are fetched and decoded at a time; when fingerprints are read, each holds the 20 to 300 of one offset of a song."""
MAX_SONG_ROWS = 1 << 25
"""A song with more fingerprints, 18 hours of music as release 0.1.3 made them, is left out: a track's hashes are stored all at once."""

_MAX_RUNS = 100
"""Ranges of songs in one statement."""


@dataclass(frozen=True, slots=True)
class OldSong:
    """A song as the old database has it.

    file_sha1 : of its file where the database knows it, else derived from what else is known of the song.
    has_sha1 : whether it knows it.
    is_complete : whether dejavu had marked it as fingerprinted to the end.
    n_rows : its fingerprints.
    """

    id: int
    title: str
    file_sha1: str
    has_sha1: bool
    is_complete: bool
    n_rows: int


@dataclass(frozen=True, slots=True, eq=False)
class OldCatalogue:
    """What there is to bring over.

    songs : ascending by id.
    kind, schema : of database, and of the tables (`OldLayout.schema`).
    n_rows : fingerprints of all songs.  n_orphans : those of songs that are not there.
    profiles : those that the hashes may be of, the likeliest first.
    layout, ids_with_rows : for `OldDatabase.read`.
    """

    kind: str
    schema: str
    songs: tuple[OldSong, ...]
    n_rows: int
    n_orphans: int
    profiles: tuple[str, ...]
    layout: OldLayout
    ids_with_rows: Array


@dataclass(frozen=True, slots=True)
class OldBatch:
    """What one fetch brought.

    songs : those that are over with it.
    n_open : fingerprints so far of the song that is not.
    """

    songs: tuple[GatheredSong, ...]
    n_open: int


class OldDatabase:
    """One old database.  Connects when first asked, and again after an error; for one thread at a time, `close` for any.

    Methods raise `SourceUnavailable` where the database cannot be reached or does not answer.

    url : as SQLAlchemy's, or as the old programs took it; raises `UnsupportedDatabase` for what is neither.
    """

    def __init__(self, url: str) -> None:
        self.shown_url = without_password(url)
        self._source = old_source(url)
        self._connection: sa.Connection | None = None
        self._lock = threading.Lock()
        self._is_closed = False

    def catalogue(self) -> OldCatalogue:
        """Return what there is; raises `SourceUnknown` where the database is not dejavu's.

        The server counts each song's fingerprints for it, which takes it a minute for some hundred millions.
        """
        with self._lock:
            self._disconnect()  # one that has read rows can no longer look into schemas
        with self._using() as connection:
            layout = found_layout(sa.inspect(connection), self.shown_url)
        figures = (sa.func.count(), sa.func.max(layout.offset), sa.func.sum(layout.offset))
        counted = sa.select(layout.song, *(sa.cast(figure, sa.BigInteger) for figure in figures))
        counts = {row[0]: _Count(*row[1:]) for rows in self._fetched(counted.group_by(layout.song)) for row in rows}
        ids_with_rows = np.sort(np.array([song_id for song_id in counts if song_id is not None], np.int64))
        is_complete = sa.literal(1) if layout.is_complete is None else layout.is_complete
        listed = sa.select(layout.id, layout.name, is_complete, sa.null() if layout.sha1 is None else layout.sha1)
        found = [row for rows in self._fetched(listed.order_by(layout.id)) for row in rows]
        of_songs = {row[0]: counts.pop(row[0], _NO_ROWS) for row in found}
        n_rows = sum(count.n_rows for count in of_songs.values())
        n_frames = sum(count.n_frames for count in of_songs.values())
        return OldCatalogue(
            kind=self._source.kind,
            schema=layout.schema,
            songs=tuple(_song(row, of_songs[row[0]]) for row in found),
            n_rows=n_rows,
            n_orphans=sum(count.n_rows for count in counts.values()),
            profiles=layout.profiles(n_rows / max(n_frames, 1)),
            layout=layout,
            ids_with_rows=ids_with_rows,
        )

    def read(self, catalogue: OldCatalogue, song_ids: Sequence[int]) -> Iterator[OldBatch]:
        """Yield the fingerprints of these songs, ascending and each with rows, in one pass; no other song's rows are sent."""
        layout, gatherer = catalogue.layout, SongGatherer()
        group, hashes = (layout.song, layout.offset), self._source.joined_hex(layout.hash, is_text=layout.is_hash_text)
        runs = id_runs(np.array(song_ids, np.int64), catalogue.ids_with_rows)
        for start in range(0, len(runs), _MAX_RUNS):
            among = sa.or_(*(layout.song.between(first, last) for first, last in runs[start : start + _MAX_RUNS]))
            statement = sa.select(*group, sa.func.count(), hashes).where(among).group_by(*group).order_by(*group)
            for rows in self._fetched(statement):
                yield OldBatch(tuple(gatherer.feed(rows)), gatherer.n_open)
        yield OldBatch(tuple(gatherer.finish()), 0)

    def close(self) -> None:
        """Stop what another thread is waiting for, and let go of the database.  Idempotent; after it every method raises."""
        self._is_closed = True
        connection = self._connection
        if connection is not None and self._lock.locked():
            with suppress(*FAILURES):
                self._source.interrupt(connection)
        with self._lock:
            self._disconnect()

    def _fetched(self, statement: sa.Select[*tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a statement, so many at a time."""
        with self._using() as connection:
            self._source.want_bytes(connection)
            cursor = self._source.cursor(connection)
            cursor.execute(str(statement.compile(connection, compile_kwargs={"literal_binds": True})))
        while True:
            with self._using():
                rows = cursor.fetchmany(BATCH_ROWS)
                if not rows:
                    cursor.close()
                    return
            yield rows

    @contextmanager
    def _using(self) -> Iterator[sa.Connection]:
        """Give the connection for the block, and give it up where that fails: half a result may be left on it."""
        with self._lock:
            if self._is_closed:
                raise SourceUnavailable(url=self.shown_url, reason="it is closed")
            try:
                if self._connection is None:
                    self._connection = self._source.connect()
                yield self._connection
            except FAILURES as error:
                self._disconnect()
                raise SourceUnavailable(url=self.shown_url, reason=self._source.reason_of(error)) from None

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*FAILURES):
                connection.invalidate()  # no rollback: there is nothing to undo, and rows may be under way
                connection.close()


class _Count(NamedTuple):
    """What the server counts of a song's fingerprints; of none, and of offsets that are no numbers, the last two are None."""

    n_rows: int
    max_offset: Any
    sum_offsets: Any

    @property
    def n_frames(self) -> int:
        return min(int(self.max_offset or 0), MAX_FRAME) + 1 if self.n_rows else 0


_NO_ROWS = _Count(0, None, None)


def _song(row: tuple[Any, ...], count: _Count) -> OldSong:
    song_id, name, is_complete, sha1 = row
    title, known = decoded_title(name, song_id), decoded_sha1(sha1)
    if isinstance(is_complete, bytes):
        is_complete = is_complete.strip(b"0f\0")
    return OldSong(
        id=song_id,
        title=title,
        file_sha1=known or derived_sha1(title, count.n_rows, count.max_offset, count.sum_offsets),
        has_sha1=known is not None,
        is_complete=bool(is_complete),
        n_rows=count.n_rows,
    )


def id_runs(wanted: Array, existing: Array) -> list[tuple[int, int]]:
    """Return (first, last) of as few runs as hold all `wanted` ids and none of the other `existing` ones.

    wanted, existing : int64, ascending; all that are wanted exist.
    """
    if not len(wanted):
        return []
    places = np.searchsorted(existing, wanted)
    starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    ends = np.append(starts[1:] - 1, len(wanted) - 1)
    return list(zip(wanted[starts].tolist(), wanted[ends].tolist(), strict=True))
