"""Rows of an index's tables in a DuckDB file, read and written, within a transaction of the caller's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dejavud.errors import IndexUnavailable
from dejavud.index import schema
from dejavud.index.constellation_codec import encode_constellation
from dejavud.index.entries import MAX_ID, stored_tracks
from dejavud.index.postings import postings_of
from dejavud.values import Track

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from dejavud.values import NewTrack

_TRACK_COLUMNS = "id, title, artist, album, path, file_sha1, duration_s, n_peaks, n_hashes, added_at, disabled"
EDIT = (
    "UPDATE tracks SET title = new.title, artist = new.artist, album = new.album, disabled = new.disabled FROM (SELECT"
    " unnest(?::INTEGER[]) AS id, unnest(?::VARCHAR[]) AS title, unnest(?::VARCHAR[]) AS artist,"
    " unnest(?::VARCHAR[]) AS album, unnest(?::BOOLEAN[]) AS disabled) AS new WHERE tracks.id = new.id"
)
HAS_ID = "id IN (SELECT unnest(?::INTEGER[]))"
HAS_SHA1 = "file_sha1 IN (SELECT unnest(?::VARCHAR[]))"


def tracks_where(
    cursor: duckdb.DuckDBPyConnection, condition: str, values: Sequence[object], *, limit: int = MAX_ID
) -> list[Track]:
    """Return the tracks that `condition` selects, ascending by id."""
    rows = cursor.execute(
        f"SELECT {_TRACK_COLUMNS} FROM tracks WHERE {condition} ORDER BY id LIMIT ?",  # noqa: S608 - conditions of this module
        [*values, limit],
    ).fetchall()
    return [Track(*[*row[:-2], row[-2].replace(tzinfo=UTC), row[-1]]) for row in rows]


def numbered(cursor: duckdb.DuckDBPyConnection, entries: Sequence[NewTrack]) -> list[Track]:
    """Return `entries` as the tracks to store, with ids that no track ever had or that they bring."""
    key = schema.NEXT_TRACK_ID
    next_id = int(cursor.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchall()[0][0])
    brought = [entry.id for entry in entries if entry.id is not None]
    taken = [track.id for track in tracks_where(cursor, HAS_ID, [brought])] if brought else []
    tracks, next_id = stored_tracks(entries, next_id, taken, datetime.now(UTC))
    if next_id > MAX_ID:
        raise IndexUnavailable(reason="it has given out every id there is")
    cursor.execute("UPDATE meta SET value = ? WHERE key = ?", [str(next_id), key])
    return tracks


def insert_tracks(cursor: duckdb.DuckDBPyConnection, tracks: Sequence[Track]) -> None:
    """Store the rows of `tracks`, of which there is at least one."""
    rows = [
        (
            track.id,
            track.title,
            track.artist,
            track.album,
            track.path,
            track.file_sha1,
            track.duration_s,
            track.n_peaks,
            track.n_hashes,
            track.added_at.astimezone(UTC).replace(tzinfo=None),
            track.disabled,
        )
        for track in tracks
    ]
    types = ("INTEGER", *["VARCHAR"] * 5, "DOUBLE", "INTEGER", "INTEGER", "TIMESTAMP", "BOOLEAN")
    _insert_rows(cursor, "tracks", types, rows)


def insert_contents(cursor: duckdb.DuckDBPyConnection, tracks: Sequence[Track], entries: Sequence[NewTrack]) -> None:
    """Store the constellations and postings of `entries`, which were stored as `tracks`; there is at least one."""
    parts = [
        (track.id, part, encoded[start : start + schema.PART_BYTES])
        for track, entry in zip(tracks, entries, strict=True)
        for encoded in [encode_constellation(entry.constellation)]
        for part, start in enumerate(range(0, len(encoded), schema.PART_BYTES))
    ]
    _insert_rows(cursor, "constellations", ("INTEGER", "INTEGER", "BLOB"), parts)
    postings = postings_of(tracks, entries)
    cursor.register("fresh", {"hash": postings.hashes, "track_id": postings.track_ids, "frame": postings.frames})
    cursor.execute("INSERT INTO postings SELECT hash, track_id, frame FROM fresh")


def _insert_rows(
    cursor: duckdb.DuckDBPyConnection, table: str, types: Sequence[str], rows: Sequence[tuple[object, ...]]
) -> None:
    """Store `rows`, of which there is at least one, in one statement: a list a column."""
    columns = ", ".join(f"unnest(?::{kind}[])" for kind in types)
    statement = f"INSERT INTO {table} SELECT {columns}"
    cursor.execute(statement, [list(column) for column in zip(*rows, strict=True)])
