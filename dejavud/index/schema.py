"""The one schema: its tables, its version, and what an index remembers of the parameters that made it.

``constellations`` is the record of truth and ``postings`` is derived from it; ``matches`` is what listeners heard (`dejavud.index.history`).  Postings are narrow and carry no key, so
that any engine can partition them by hash; they are written in order of frame within a track, so that a column store packs the frames
into next to nothing and all three columns into some 4 bytes.

There are no unique constraints: an embedded file has exactly one writer, which looks before it adds, and every
constraint would cost an index in memory that the look-ups do not use.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dejavud.errors import IndexDamaged, ParamsMismatch, SchemaTooNew

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dejavud.fingerprint.params import HashParams

VERSION = 3

TABLES = {
    "meta": "key VARCHAR NOT NULL, value VARCHAR NOT NULL",
    "tracks": (
        "id INTEGER NOT NULL, title VARCHAR NOT NULL, artist VARCHAR, album VARCHAR, path VARCHAR,"
        " file_sha1 VARCHAR NOT NULL, duration_s DOUBLE NOT NULL, n_peaks INTEGER NOT NULL, n_hashes INTEGER NOT NULL,"
        " added_at TIMESTAMP NOT NULL,"  # UTC
        " disabled BOOLEAN NOT NULL"
    ),
    "constellations": "track_id INTEGER NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL USING COMPRESSION uncompressed",
    "postings": "hash {hash_type} NOT NULL, track_id INTEGER NOT NULL, frame INTEGER NOT NULL",
    "matches": (
        "id VARCHAR NOT NULL, daemon VARCHAR NOT NULL, host VARCHAR NOT NULL, listener VARCHAR NOT NULL, source VARCHAR NOT NULL,"
        " track_id INTEGER NOT NULL, title VARCHAR NOT NULL, artist VARCHAR, album VARCHAR, file_sha1 VARCHAR NOT NULL,"
        " started_at TIMESTAMP NOT NULL, ended_at TIMESTAMP NOT NULL,"  # UTC, as all moments
        " start_s DOUBLE NOT NULL, end_s DOUBLE NOT NULL, track_start_s DOUBLE NOT NULL, track_end_s DOUBLE NOT NULL,"
        " heard_s DOUBLE NOT NULL, coverage DOUBLE NOT NULL, confidence DOUBLE NOT NULL,"
        " gaps VARCHAR NOT NULL, twins VARCHAR NOT NULL, outcome VARCHAR NOT NULL, updated_at TIMESTAMP NOT NULL,"
        " words VARCHAR NOT NULL"
    ),
}
"""Columns by table; those of ``tracks`` are the fields of `dejavud.values.Track`, in their order, and those of ``matches``
`dejavud.index.history.plays.COLUMNS`.  A hash is as wide as the profile makes it."""
FIRST_TABLES = ("meta", "tracks", "constellations", "postings")
"""What every version has."""

STEPS: dict[int, tuple[str, ...]] = {
    2: (
        "ALTER TABLE tracks ADD COLUMN disabled BOOLEAN DEFAULT false",
        "ALTER TABLE tracks ALTER COLUMN disabled SET NOT NULL",
        "ALTER TABLE tracks ALTER COLUMN disabled DROP DEFAULT",
    ),
    3: (f"CREATE TABLE matches ({TABLES['matches']})",),
}
"""The statements that make each version of the one before it, for DuckDB; all that a file lacks are run in one transaction when it
is opened."""

_HASH_TYPES = {32: "UINTEGER", 64: "UBIGINT"}

PART_BYTES = 512
"""A constellation is stored in rows of this many bytes, the last one shorter.

DuckDB rewrites the last group of 122 880 rows whenever it moves its log into the file.  With a row a constellation, of
some 10 kB, that would come to a gigabyte, every 16 MB of log (2 s a time at 16 000 tracks already, and growing); with such
parts it is at most 60 MB (0.3 s) however many tracks there are.
"""

NEXT_TRACK_ID = "next_track_id"
"""The key in ``meta`` of the id that the next track gets: kept apart from ``tracks``, so that no id is given again."""


def create_statements(params: HashParams, *, database: str | None = None) -> list[str]:
    """Return the statements that make the tables of a new index, in a database that is attached under a name where it is given."""
    hash_type = _HASH_TYPES[params.hash_bits]
    prefix = "" if database is None else f"{database}."
    return [
        f"CREATE TABLE {prefix}{table} ({columns.format(hash_type=hash_type)})" for table, columns in TABLES.items()
    ]


def new_meta(params: HashParams) -> dict[str, str]:
    """Return what ``meta`` holds in a new index."""
    return {
        "schema_version": str(VERSION),
        "profile": params.profile,
        "params_digest": params.digest,
        "params": json.dumps(params.stored(), sort_keys=True),
        NEXT_TRACK_ID: "1",
    }


def missing_steps(meta: Mapping[str, str]) -> list[str]:
    """Return the statements that bring an index with this `meta`, which `check_meta` let pass, to our version; none where it has it."""
    found = int(meta["schema_version"])
    steps = [statement for version in range(found + 1, VERSION + 1) for statement in STEPS[version]]
    return [*steps, f"UPDATE meta SET value = '{VERSION}' WHERE key = 'schema_version'"] if steps else []  # noqa: S608 - a number of ours


def check_meta(meta: Mapping[str, str], params: HashParams, *, path: str) -> None:
    """Return when an index with this `meta` can be used with `params`.

    Raises `SchemaTooNew`, `ParamsMismatch`, or `IndexDamaged` where `meta` is not that of an index; `path` is for
    their messages.
    """
    missing = sorted(set(new_meta(params)) - set(meta))
    if missing:
        raise IndexDamaged(path=path, reason=f"its table meta has no {missing[0]}")
    found = meta["schema_version"]
    if not found.isdecimal() or int(found) < 1:
        raise IndexDamaged(path=path, reason=f"its schema version is {found!r}")
    if int(found) > VERSION:
        raise SchemaTooNew(path=path, found=int(found), known=VERSION)
    if meta["params_digest"] != params.digest:
        raise ParamsMismatch(
            path=path,
            found_profile=meta["profile"],
            found=meta["params_digest"],
            profile=params.profile,
            expected=params.digest,
        )
