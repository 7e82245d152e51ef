"""The schema in SQL: the tables of `dejavud.index.schema`, what a shared database needs beside them, and its versions.

``meta`` holds one more key, ``revision``: the number of the last write.  Its row is what writers lock first, wherever they run, so ids
and revisions ascend in the order of commits.  ``changes`` says which tracks each write touched, and keeps the last
`KEPT_REVISIONS` of them: who followed so far learns what is new from it.

``postings`` is what each engine reads quickest by hash; `dejavud.index.sql.dialect.Dialect` makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

from dejavud.errors import IndexDamaged
from dejavud.index import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.types import TypeEngine

    from dejavud.fingerprint.params import HashParams
    from dejavud.index.sql.dialect import Dialect

REVISION = "revision"
"""The key in ``meta`` of the number of the last write."""
KEPT_REVISIONS = 100_000

POSTINGS = "postings"

_TEXT = Text().with_variant(mysql.MEDIUMTEXT(), "mysql")
_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_comment": "dejavud",
}

_metadata = MetaData()
meta = Table(
    "meta",
    _metadata,
    Column("key", String(64), primary_key=True),
    Column("value", _TEXT, nullable=False),
    **_OPTIONS,
)
tracks = Table(
    "tracks",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("title", _TEXT, nullable=False),
    Column("artist", _TEXT),
    Column("album", _TEXT),
    Column("path", _TEXT),
    Column("file_sha1", String(40), nullable=False, unique=True),
    Column("duration_s", Double, nullable=False),
    Column("n_peaks", Integer, nullable=False),
    Column("n_hashes", Integer, nullable=False),
    Column("added_at", DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql"), nullable=False),  # UTC
    Column("disabled", Boolean, nullable=False),
    **_OPTIONS,
)
_is_disabled = tracks.c.disabled
Index("tracks_disabled", _is_disabled, postgresql_where=_is_disabled, sqlite_where=_is_disabled)  # every look-up asks
constellations = Table(
    "constellations",
    _metadata,
    Column("track_id", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"), nullable=False),
    **_OPTIONS,
)
changes = Table(
    "changes",
    _metadata,
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("track_id", Integer, primary_key=True, autoincrement=False),
    **_OPTIONS,
)

_MOMENT = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")  # UTC
matches = Table(
    "matches",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("daemon", String(64), nullable=False),
    Column("host", String(255), nullable=False),
    Column("listener", String(255), nullable=False),
    Column("source", _TEXT, nullable=False),
    Column("track_id", Integer, nullable=False),
    Column("title", _TEXT, nullable=False),
    Column("artist", _TEXT),
    Column("album", _TEXT),
    Column("file_sha1", String(40), nullable=False),
    Column("started_at", _MOMENT, nullable=False),
    Column("ended_at", _MOMENT, nullable=False),
    *(Column(name, Double, nullable=False) for name in ("start_s", "end_s", "track_start_s", "track_end_s")),
    *(Column(name, Double, nullable=False) for name in ("heard_s", "coverage", "confidence")),
    Column("gaps", _TEXT, nullable=False),
    Column("twins", _TEXT, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("updated_at", _MOMENT, nullable=False),
    Column("words", _TEXT, nullable=False),
    **_OPTIONS,
)
Index("matches_by_start", matches.c.started_at, matches.c.id)
Index("matches_by_listener", matches.c.listener, matches.c.started_at, matches.c.heard_s)
Index("matches_by_track", matches.c.track_id, matches.c.started_at, matches.c.heard_s)  # all that a summary reads
Index("matches_by_outcome", matches.c.outcome)  # those that go on are a handful, and asked for at every start

_NAMES = (*_metadata.tables, POSTINGS)
_ADDED = {matches.name: 3}
"""The version that brought a table, where it was not the first."""


def _add_matches(connection: Connection) -> None:
    """Make the table that version 3 brought."""
    matches.create(connection, checkfirst=True)


MIGRATIONS: dict[int, Callable[[Connection], None]] = {3: _add_matches}
"""What makes each version of the one before it.  The first in SQL was 2; a step may be run again where it was cut short, as not every
engine takes definitions back."""


def prepare(
    connection: Connection,
    params: HashParams,
    dialect: Dialect,
    *,
    where: str,
    migrations: Mapping[int, Callable[[Connection], None]] = MIGRATIONS,
) -> None:
    """Make the tables where there are none, or check them and bring them to our version; one process at a time.

    In a transaction of its own, which the caller commits.

    Raises what `schema.check_meta` raises.
    """
    with dialect.alone(connection):
        known = set(
            inspect(connection).get_table_names()
        )  # to ask for one by one would ask other servers for their parts
        there = [name for name in _NAMES if name in known]
        found = _read_meta(connection, where) if meta.name in there else {}
        if not found:
            _create(connection, params, dialect, there, where=where)
            return
        schema.check_meta(found, params, path=where)
        version_found = int(found["schema_version"])
        missing = [name for name in _NAMES if name not in there and _ADDED.get(name, 0) <= version_found]
        missing += [key for key in (REVISION,) if key not in found]
        if missing:
            raise IndexDamaged(path=where, reason=f"there is no {missing[0]}")
        _refuse(
            [name for name in there if _ADDED.get(name, 0) > version_found and not dialect.is_ours(connection, name)],
            where,
        )
        for version in range(version_found + 1, schema.VERSION + 1):
            if version not in migrations:
                raise IndexDamaged(path=where, reason=f"no version ever made an index of version {version - 1} there")
            migrations[version](connection)
            connection.execute(update(meta).where(meta.c.key == "schema_version").values(value=str(version)))


def _read_meta(connection: Connection, where: str) -> dict[str, str]:
    try:
        return {row.key: row.value for row in connection.execute(select(meta.c.key, meta.c.value))}
    except DBAPIError as error:
        raise IndexDamaged(path=where, reason="its table meta is another program's") from error


def _create(connection: Connection, params: HashParams, dialect: Dialect, there: list[str], *, where: str) -> None:
    """Make the tables, the contents of ``meta`` last: without it they are not an index yet, and were left half made.

    Where all there is is a table ``postings`` that fits, it was made by an administrator, to be spread over several servers, and stays.
    """
    others = [name for name in there if not dialect.is_ours(connection, name)]
    kept = others if others == [POSTINGS] and dialect.posting_bits(params.hash_bits) else []
    if kept:
        _check_postings(connection, dialect.posting_bits(params.hash_bits), where=where)
    else:
        _refuse(others, where)
    for name in there:
        if name not in kept:
            connection.exec_driver_sql(f"DROP TABLE {name}")
    _metadata.create_all(connection, checkfirst=False)
    for statement in () if kept else dialect.create_postings(params.hash_bits):
        connection.exec_driver_sql(statement)
    fresh = {**schema.new_meta(params), REVISION: "0"}
    connection.execute(insert(meta), [{"key": key, "value": value} for key, value in fresh.items()])


def _refuse(others: Sequence[str], where: str) -> None:
    """Raise `IndexDamaged` where there are tables that no process of ours made."""
    if others:
        reason = f"its table {others[0]} is another program's: give dejavud a database (or schema) of its own"
        raise IndexDamaged(path=where, reason=reason)


def _check_postings(connection: Connection, bits: Mapping[str, int], *, where: str) -> None:
    """Raise `IndexDamaged` where the columns of ``postings`` are not these, so wide."""
    found = {column["name"]: _bits_of(column["type"]) for column in inspect(connection).get_columns(POSTINGS)}
    wrong = [name for name in {**bits, **found} if found.get(name) != bits.get(name)]
    if wrong:
        needed = ", ".join(f"{name} of {n_bits} bits" for name, n_bits in bits.items())
        reason = f"its table {POSTINGS} does not fit this profile ({wrong[0]} is not so): its columns have to be whole numbers, {needed}"
        raise IndexDamaged(path=where, reason=reason)


def _bits_of(kind: TypeEngine[Any]) -> int | None:
    """Return how wide a whole number is; None for anything else."""
    for number, n_bits in ((BigInteger, 64), (SmallInteger, 16), (Integer, 32)):
        if isinstance(kind, number):
            return n_bits
    return None
