"""The history in a database that SQLAlchemy knows, beside the index; other daemons may write to it too."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime, bindparam, text
from sqlalchemy.dialects import mysql, postgresql, sqlite

from dejavud.index.history.plays import FIELDS, MOMENTS, QUARTER_S
from dejavud.index.sql.schema import matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from dejavud.index.sql.connections import Connections

_QUARTERS = {
    "postgresql": f"CAST(FLOOR(EXTRACT(EPOCH FROM started_at) / {QUARTER_S}) AS BIGINT)",
    "mysql": f"TIMESTAMPDIFF(SECOND, '1970-01-01', started_at) DIV {QUARTER_S}",
    "sqlite": f"CAST(strftime('%s', substr(started_at, 1, 19)) AS INTEGER) / {QUARTER_S}",  # it would round up
}
_OF_A_MOMENT = {*MOMENTS, "MIN(started_at)", "MAX(started_at)"}
_REPLACED = [name for name in FIELDS if name != "id"] + ["words"]
_WHAT = "the question about the history"


class SqlStatements:
    """See `dejavud.index.history.history.Statements`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """See `Statements.rows`."""
        result = self._run(sql, values)
        moments = [place for place, name in enumerate(result.keys()) if name in _OF_A_MOMENT]
        rows = [tuple(row) for row in result]
        return [_with_moments(row, moments) for row in rows] if self._connection.dialect.name == "sqlite" else rows

    def change(self, sql: str, values: Sequence[object] = ()) -> int:
        """See `Statements.change`."""
        return int(self._run(sql, values).rowcount)

    def put(self, rows: Sequence[dict[str, object]]) -> None:
        """See `Statements.put`: in one statement a row, which locks that row only."""
        kind = self._connection.dialect.name
        if kind in ("mysql", "mariadb"):
            insert = mysql.insert(matches)
            statement: Any = insert.on_duplicate_key_update({name: insert.inserted[name] for name in _REPLACED})
        else:
            upsert: Any = (postgresql if kind == "postgresql" else sqlite).insert(matches)
            statement = upsert.on_conflict_do_update(
                index_elements=["id"], set_={name: upsert.excluded[name] for name in _REPLACED}
            )
        self._connection.execute(statement, list(rows))

    def _run(self, sql: str, values: Sequence[object]) -> Any:  # noqa: ANN401 - SQLAlchemy's result of any statement
        parts = sql.split("?")
        named = "".join(f"{part}:v{place}" for place, part in enumerate(parts[:-1])) + parts[-1]
        statement = text(named)
        moments = [
            bindparam(f"v{place}", type_=DateTime())
            for place, value in enumerate(values)
            if isinstance(value, datetime)
        ]
        if moments:
            statement = statement.bindparams(*moments)
        return self._connection.execute(statement, {f"v{place}": value for place, value in enumerate(values)})


class SqlHistory:
    """See `dejavud.index.history.history.HistoryEngine`."""

    is_shared = True

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @property
    def quarter(self) -> str:
        """See `HistoryEngine.quarter`."""
        return _QUARTERS[self._connections.kind]

    @contextmanager
    def reading(self, limit_s: float | None) -> Iterator[SqlStatements]:
        """See `HistoryEngine.reading`."""
        with self._connections.transaction(limit_s, what=_WHAT) as connection:
            yield SqlStatements(connection)

    @contextmanager
    def writing(self) -> Iterator[SqlStatements]:
        """See `HistoryEngine.writing`: it takes no turn with those who write tracks, as it touches none."""
        with self._connections.transaction() as connection:
            yield SqlStatements(connection)

    def close(self) -> None:
        """See `HistoryEngine.close`; the connections are the index's."""


def _with_moments(row: tuple[Any, ...], moments: Sequence[int]) -> tuple[Any, ...]:
    """Return a row whose moments, which SQLite keeps as texts, are moments."""
    values = list(row)
    for place in moments:
        values[place] = None if values[place] is None else datetime.fromisoformat(values[place])
    return tuple(values)
