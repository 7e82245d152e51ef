"""SQLite: one file, with a log beside it so that reads go on during a write."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sqlalchemy import URL, QueuePool, create_engine, event

from dejavud.index.sql.dialect import Failure, clustered, cursor_of, posting_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine

    from dejavud.index.postings import Postings

    Array = NDArray[Any]

BUSY_S = 30
"""How long a write waits for another process's."""
_MEMORY_S = 600
_STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock: a millisecond, about."""
_ROWS_A_BLOCK = 50_000

_FAILURES = {
    "SQLITE_BUSY": Failure.AWAY,
    "SQLITE_LOCKED": Failure.AWAY,
    "SQLITE_FULL": Failure.FULL,
    "SQLITE_IOERR_SHMSIZE": Failure.FULL,
    "SQLITE_IOERR_WRITE": Failure.FULL,
    "SQLITE_CORRUPT": Failure.DAMAGED,
    "SQLITE_NOTADB": Failure.DAMAGED,
    "SQLITE_CANTOPEN": Failure.REFUSED,
    "SQLITE_READONLY": Failure.REFUSED,
    "SQLITE_PERM": Failure.REFUSED,
    "SQLITE_AUTH": Failure.REFUSED,
    "SQLITE_INTERRUPT": Failure.LATE,
}


class SQLiteDialect:
    """See `dejavud.index.sql.dialect.Dialect`."""

    driver_error = sqlite3.Error

    def __init__(self, path: str | None) -> None:
        self._path = path

    def engine(self) -> Engine:
        """See `Dialect.engine`; a database in memory is its connection, so there is one, which calls take turns with."""
        is_file = self._path is not None
        engine = create_engine(
            URL.create("sqlite", database=self._path),
            connect_args={"timeout": BUSY_S, "check_same_thread": False},
            hide_parameters=True,
            poolclass=QueuePool,
            pool_size=8 if is_file else 1,
            max_overflow=24 if is_file else 0,
            pool_timeout=BUSY_S if is_file else _MEMORY_S,
        )
        event.listen(engine, "connect", _set_connection)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        """See `Dialect.alone`: whoever writes is."""
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield

    def is_ours(self, connection: Connection, table: str) -> bool:  # noqa: ARG002 - of the protocol
        """See `Dialect.is_ours`; definitions are part of the transaction, so nothing is ever half made."""
        return False

    def create_postings(self, hash_bits: int) -> Sequence[str]:  # noqa: ARG002 - of the protocol: its integers are as wide as they need to be
        """See `Dialect.create_postings`."""
        return (
            """CREATE TABLE postings (
                hash INTEGER NOT NULL, track_id INTEGER NOT NULL, frame INTEGER NOT NULL, copy INTEGER NOT NULL,
                PRIMARY KEY (hash, track_id, frame, copy)
            ) WITHOUT ROWID""",
            "CREATE INDEX postings_by_track ON postings (track_id)",
        )

    def posting_bits(self, hash_bits: int) -> Mapping[str, int]:  # noqa: ARG002 - of the protocol
        """See `Dialect.posting_bits`."""
        return {}

    def sharded(self, connection: Connection) -> None:
        """See `Dialect.sharded`."""

    def lock_writers(self, connection: Connection) -> None:
        """See `Dialect.lock_writers`: the first to write in a transaction waits for the others, if it has read nothing yet."""
        connection.exec_driver_sql("UPDATE meta SET value = value WHERE key = 'revision'")

    def limit_time(self, connection: Connection, limit_s: float | None) -> None:
        """See `Dialect.limit_time`."""
        if limit_s is None and not connection.info.get("limited"):
            return
        connection.info["limited"] = limit_s is not None
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        if limit_s is None:
            driver.set_progress_handler(None, 0)
            return
        end_s = time.monotonic() + limit_s
        driver.set_progress_handler(lambda: time.monotonic() > end_s, _STEPS)

    def insert_postings(self, connection: Connection, hashes: Array, postings: Postings) -> None:
        """See `Dialect.insert_postings`."""
        columns = clustered(hashes, postings)
        with cursor_of(connection) as cursor:
            for first in range(0, len(hashes), _ROWS_A_BLOCK):
                rows = zip(*(column[first : first + _ROWS_A_BLOCK].tolist() for column in columns), strict=True)
                cursor.executemany("INSERT INTO postings (hash, track_id, frame, copy) VALUES (?, ?, ?, ?)", rows)

    def find(self, connection: Connection, hashes: Array) -> Array:
        """See `Dialect.find`."""
        query = "SELECT hash, track_id, frame FROM json_each(?) AS asked CROSS JOIN postings ON hash = asked.value"
        return _rows(connection, query, (json.dumps(hashes.tolist()),), hashes.dtype)

    def postings(self, connection: Connection, first_id: int, last_id: int, stored: np.dtype[Any]) -> Array:
        """See `Dialect.postings`."""
        query = "SELECT hash, track_id, frame FROM postings WHERE track_id BETWEEN ? AND ?"
        return _rows(connection, query, (first_id, last_id), stored)

    def size_bytes(self, connection: Connection) -> int:
        """See `Dialect.size_bytes`."""
        return int(
            connection.exec_driver_sql(
                "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            ).scalar_one()
        )

    def failure(self, error: BaseException) -> Failure:
        """See `Dialect.failure`."""
        name = getattr(error, "sqlite_errorname", "")
        if name in _FAILURES:
            return _FAILURES[name]
        return _FAILURES.get("_".join(name.split("_")[:2]), Failure.OTHER)


def _rows(connection: Connection, query: str, values: tuple[object, ...], stored: np.dtype[Any]) -> Array:
    with cursor_of(connection) as cursor:
        return np.fromiter(cursor.execute(query, values), posting_dtype(stored))


def _set_connection(connection: sqlite3.Connection, _record: object) -> None:
    """Have transactions begin where we say, and commits on the disk when they return."""
    connection.isolation_level = None
    for setting in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -65536", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {setting}").close()
