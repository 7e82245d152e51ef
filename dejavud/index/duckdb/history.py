"""The history in a DuckDB file, beside the index; or in memory, beside one that is kept nowhere else."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import duckdb

from dejavud.errors import IndexUnavailable, Timeout
from dejavud.index import schema
from dejavud.index.duckdb.errors import translated
from dejavud.index.history.plays import COLUMNS, QUARTER_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dejavud.index.duckdb.index import DuckDBIndex

_MOVED_BACK = "INTERVAL 1 DAY"
"""A play may turn out to have started earlier than it was first told, by seconds.  What is replaced is sought from there on only, as the
table has no index and nearly all of it is older."""
_KINDS = dict(part.split()[:2] for part in schema.TABLES["matches"].split(", "))
_PUT = f"INSERT INTO matches SELECT {', '.join(f'unnest(?::{_KINDS[name]}[])' for name in COLUMNS)}"
_REPLACED = (
    "DELETE FROM matches WHERE id IN (SELECT unnest(?::VARCHAR[]))"  # noqa: S608 - of ours
    f" AND started_at >= (SELECT min(moment) FROM (SELECT unnest(?::TIMESTAMP[]) AS moment)) - {_MOVED_BACK}"
)


class DuckDBStatements:
    """See `dejavud.index.history.history.Statements`."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """See `Statements.rows`."""
        return self._cursor.execute(sql, list(values)).fetchall()

    def change(self, sql: str, values: Sequence[object] = ()) -> int:
        """See `Statements.change`."""
        return int(self.rows(sql, values)[0][0])

    def put(self, rows: Sequence[dict[str, object]]) -> None:
        """See `Statements.put`."""
        self.rows(_REPLACED, [[row["id"] for row in rows], [row["started_at"] for row in rows]])
        self.rows(_PUT, [[row[name] for row in rows] for name in COLUMNS])


class DuckDBHistory:
    """See `dejavud.index.history.history.HistoryEngine`; in the file of an index."""

    is_shared = False
    quarter = f"epoch_us(started_at) // {QUARTER_S * 1_000_000}"

    def __init__(self, index: DuckDBIndex) -> None:
        self._index = index

    @contextmanager
    def reading(self, limit_s: float | None) -> Iterator[DuckDBStatements]:
        """See `HistoryEngine.reading`."""
        with self._index.reading() as cursor, _limited(cursor, limit_s):
            yield DuckDBStatements(cursor)

    @contextmanager
    def writing(self) -> Iterator[DuckDBStatements]:
        """See `HistoryEngine.writing`."""
        with self._index.writing_beside() as cursor:
            yield DuckDBStatements(cursor)

    def close(self) -> None:
        """See `HistoryEngine.close`; the file is the index's."""


class MemoryHistory:
    """See `dejavud.index.history.history.HistoryEngine`; gone when it is closed."""

    is_shared = False
    quarter = DuckDBHistory.quarter

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self._connection.execute(f"CREATE TABLE matches ({schema.TABLES['matches']})")
        self._is_closed = False

    @contextmanager
    def reading(self, limit_s: float | None) -> Iterator[DuckDBStatements]:
        """See `HistoryEngine.reading`."""
        if self._is_closed:
            raise IndexUnavailable(reason="it is closed")
        with (
            translated("the history in memory"),
            closing(self._connection.cursor()) as cursor,
            _limited(cursor, limit_s),
        ):
            yield DuckDBStatements(cursor)

    @contextmanager
    def writing(self) -> Iterator[DuckDBStatements]:
        """See `HistoryEngine.writing`."""
        if self._is_closed:
            raise IndexUnavailable(reason="it is closed")
        with self._lock, translated("the history in memory"), closing(self._connection.cursor()) as cursor:
            cursor.begin()
            yield DuckDBStatements(cursor)
            cursor.commit()

    def close(self) -> None:
        """See `HistoryEngine.close`."""
        self._is_closed = True
        self._connection.close()


@contextmanager
def _limited(cursor: duckdb.DuckDBPyConnection, limit_s: float | None) -> Iterator[None]:
    """Have statements of `cursor` in the block end with `Timeout` after so long."""
    if limit_s is not None:
        cursor.execute(f"SET SESSION max_execution_time = {max(1, round(limit_s * 1000))}")
    try:
        yield
    except duckdb.InterruptException as error:
        raise Timeout(what="the question about the history", limit_s=limit_s) from error
