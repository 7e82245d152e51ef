"""PostgreSQL: COPY in and out, in its binary form, made and read by numpy.

A look-up is one statement whose hashes are one array, ``hash = ANY('{…}')``: it costs a descent of the index a hash, and where
``postings`` is partitioned over other servers it goes to each of them as it stands.  psycopg2 makes a Python object of every value,
which takes four times as long as the look-up itself; COPY hands over bytes.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg2
from sqlalchemy import URL, create_engine, text

from dejavud.errors import IndexUnavailable
from dejavud.index.sql.dialect import Failure, cursor_of, lock_revision, posting_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine

    from dejavud.index.postings import Postings
    from dejavud.index.sql.dialect import ShardedDialect

    Array = NDArray[Any]

CONNECT_S = 5
_HASH_TYPES = {32: "integer", 64: "bigint"}
_LOCK = 0x64656A6176756400  # "dejavud": an advisory lock of ours
_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_COPY_BYTES = 1 << 20
_READ = "SELECT hash, track_id, frame FROM"

_FAILURES = {
    "57014": Failure.LATE,
    "53100": Failure.FULL,
    "53200": Failure.FULL,
    "XX001": Failure.DAMAGED,
    "XX002": Failure.DAMAGED,
    "08": Failure.AWAY,  # the connection
    "53": Failure.AWAY,  # connections, or something else that there is too little of
    "57": Failure.AWAY,  # an administrator
    "40": Failure.AWAY,  # a deadlock
    "28": Failure.REFUSED,  # who we are
    "3D": Failure.REFUSED,  # no such database
    "42": Failure.REFUSED,  # no right to it, no such table
    "25006": Failure.REFUSED,  # read only
}
"""By SQLSTATE, or its class."""
_PASSING = ("starting up", "shutting down", "recovery", "too many", "slots are reserved")


class PostgreSQLDialect:
    """See `dejavud.index.sql.dialect.Dialect`."""

    driver_error = psycopg2.Error

    def __init__(self, url: URL) -> None:
        self._url = url

    def engine(self) -> Engine:
        """See `Dialect.engine`."""
        options = {"connect_timeout": CONNECT_S, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
        given = {**options, "tcp_user_timeout": 20_000, "application_name": "dejavud"}
        return create_engine(
            self._url,
            connect_args={key: value for key, value in given.items() if key not in self._url.query},
            pool_pre_ping=True,
            hide_parameters=True,
            pool_size=8,
            max_overflow=24,
            pool_timeout=CONNECT_S,
        )

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        """See `Dialect.alone`; the lock ends with the transaction."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        yield

    def is_ours(self, connection: Connection, table: str) -> bool:  # noqa: ARG002 - of the protocol
        """See `Dialect.is_ours`; definitions are part of the transaction, so nothing is ever half made."""
        return False

    def create_postings(self, hash_bits: int) -> Sequence[str]:
        """See `Dialect.create_postings`: found by hash without a look at the table, and by track in the few blocks that have it."""
        kind = _HASH_TYPES[hash_bits]
        return (
            f"CREATE TABLE postings (hash {kind} NOT NULL, track_id integer NOT NULL, frame integer NOT NULL)",
            "CREATE INDEX postings_by_hash ON postings (hash) INCLUDE (track_id, frame)",
            "CREATE INDEX postings_by_track ON postings USING brin (track_id) WITH (pages_per_range = 8)",
        )

    def posting_bits(self, hash_bits: int) -> Mapping[str, int]:
        """See `Dialect.posting_bits`."""
        return {"hash": hash_bits, "track_id": 32, "frame": 32}

    def sharded(self, connection: Connection) -> ShardedDialect | None:
        """See `Dialect.sharded`."""
        from dejavud.index.sql.postgresql_shards import PostgreSQLShards  # noqa: PLC0415 - it is one of these itself

        shards = PostgreSQLShards(self._url)
        return shards if shards.has_any(connection) else None

    def lock_writers(self, connection: Connection) -> None:
        """See `Dialect.lock_writers`."""
        lock_revision(connection)

    def limit_time(self, connection: Connection, limit_s: float | None) -> None:
        """See `Dialect.limit_time`."""
        if limit_s is not None:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, round(1000 * limit_s))}")

    def insert_postings(self, connection: Connection, hashes: Array, postings: Postings) -> None:
        """See `Dialect.insert_postings`."""
        self._copy_in(connection, "postings", hashes, postings)

    def find(self, connection: Connection, hashes: Array) -> Array:
        """See `Dialect.find`."""
        return self._found(connection, hashes, ("postings",))

    def postings(self, connection: Connection, first_id: int, last_id: int, stored: np.dtype[Any]) -> Array:
        """See `Dialect.postings`."""
        return self._copied(connection, f"{_READ} postings WHERE track_id BETWEEN {first_id} AND {last_id}", stored)

    def size_bytes(self, connection: Connection) -> int:
        """See `Dialect.size_bytes`."""
        names = ("tracks", "constellations", "postings")
        total = "SELECT " + " + ".join(f"pg_total_relation_size('{name}')" for name in names)
        return int(connection.exec_driver_sql(total).scalar_one())

    def failure(self, error: BaseException) -> Failure:
        """See `Dialect.failure`; what fails before the server has let us in brings no code, only its words."""
        code = getattr(error, "pgcode", None)
        if code is not None:
            return _FAILURES.get(code, _FAILURES.get(code[:2], Failure.OTHER))
        words = str(error)
        if "FATAL:" in words and not any(word in words for word in _PASSING):
            return Failure.REFUSED
        return Failure.AWAY if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) else Failure.OTHER

    def _copy_in(self, connection: Connection, table: str, hashes: Array, postings: Postings) -> None:
        rows = np.zeros(len(hashes), _row(hashes.dtype))
        rows["n_columns"] = 3
        for name, values in (("hash", hashes), ("track_id", postings.track_ids), ("frame", postings.frames)):
            rows[f"{name}_bytes"] = values.dtype.itemsize
            rows[name] = values
        with cursor_of(connection) as cursor:
            data = io.BytesIO(b"".join((_HEAD, rows.data, _END)))
            cursor.copy_expert(f"COPY {table} FROM STDIN (FORMAT binary)", data, size=_COPY_BYTES)

    def _found(self, connection: Connection, hashes: Array, sources: Sequence[str]) -> Array:
        """Return the postings of `hashes` in tables that are asked at the same time, where they are other servers'."""
        asked = ",".join(map(str, hashes.tolist()))
        condition = f"hash = ANY('{{{asked}}}'::{_HASH_TYPES[8 * hashes.dtype.itemsize]}[])"
        queries = (f"{_READ} {source} WHERE {condition}" for source in sources)
        return self._copied(connection, " UNION ALL ".join(queries), hashes.dtype)

    def _copied(self, connection: Connection, query: str, stored: np.dtype[Any]) -> Array:
        data = io.BytesIO()
        with cursor_of(connection) as cursor:
            cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", data)
        row = _row(stored)
        n_rows, rest = divmod(data.tell() - len(_HEAD) - len(_END), row.itemsize)
        if rest:
            raise IndexUnavailable(reason="the columns of its table postings are not of the types that dejavud made")
        rows = np.frombuffer(data.getbuffer(), row, n_rows, len(_HEAD))
        found = np.empty(n_rows, posting_dtype(stored))
        for name in ("hash", "track_id", "frame"):
            found[name] = rows[name]
        return found


def _row(stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return a row of COPY's binary form: each value after its length, all of them big-endian."""
    columns = (("hash", stored.newbyteorder(">")), ("track_id", ">i4"), ("frame", ">i4"))
    pairs = [pair for name, kind in columns for pair in ((f"{name}_bytes", ">i4"), (name, kind))]
    return np.dtype([("n_columns", ">i2"), *pairs])
