"""The history of one index: plays recorded as they go on, found again, summed up, and forgotten.

One class for every kind of database.  What it asks is SQL that all of them understand; what they do in ways of their own is a `HistoryEngine`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from dejavud.index.entries import storable
from dejavud.index.folding import fold
from dejavud.index.history.plays import (
    CUT_OFF,
    EVERY_PLAY,
    FIELDS,
    GOING,
    Group,
    Totals,
    aware,
    naive,
    play_of,
    row_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from dejavud.index.history.plays import KeptPlay, Place, PlayFilter

STALE = timedelta(hours=1)
"""Daemons write what goes on every minute: a play that nobody has written for so long is of one that is gone."""
_SUMS = "COUNT(*), COALESCE(SUM(heard_s), 0), MIN(started_at), MAX(started_at)"
_KEYS = {"artist": "artist", "listener": "listener"}


class Statements(Protocol):
    """What runs SQL within one transaction; each ``?`` stands for one of the values."""

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        ...

    def change(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        ...

    def put(self, rows: Sequence[dict[str, object]]) -> None:
        """Store rows of ``matches``, of which there is at least one, no two of one id, in the place of those that have their ids."""
        ...


class HistoryEngine(Protocol):
    """One kind of database that keeps a history.  Its errors are raised as those of the index in it.

    is_shared : whether other daemons may write to it.
    quarter : SQL of the number of quarters of an hour from 1970 until ``started_at``.
    """

    is_shared: bool
    quarter: str

    def reading(self, limit_s: float | None) -> AbstractContextManager[Statements]:
        """Give a transaction that only reads, and raises `Timeout` where a statement takes longer than `limit_s`."""
        ...

    def writing(self) -> AbstractContextManager[Statements]:
        """Give a transaction that is committed at the end of the block, or undone where it raises.

        It holds up other writers for as long as it takes, and look-ups never.
        """
        ...

    def close(self) -> None:
        """Let go of what it opened for itself; not of the index's own."""
        ...


@runtime_checkable
class KeepsHistory(Protocol):
    """A store that keeps a history in its own database."""

    def history(self) -> HistoryEngine:
        """Return what keeps it."""
        ...


class History:
    """Every play that a listener told.  Methods block, for any thread; writes one at a time, as those of the index.

    limit_s : for one question.
    """

    def __init__(self, engine: HistoryEngine, *, limit_s: float | None = 60.0) -> None:
        self._engine = engine
        self._limit_s = limit_s

    def close(self) -> None:
        """Let go of what belongs to the history alone."""
        self._engine.close()

    @property
    def is_shared(self) -> bool:
        """Tell whether other daemons may write to it."""
        return self._engine.is_shared

    # -- writing ----------------------------------------------------------------------------------------------------

    def record(self, plays: Sequence[KeptPlay]) -> None:
        """Keep `plays` as they are now, in one transaction; those that are known by their ids are replaced.

        Idempotent: what may have been committed can be recorded again.  Of plays of one id the last counts.
        """
        rows = {play.id: row_of(play) for play in plays}
        if rows:
            with self._engine.writing() as statements:
                statements.put(list(rows.values()))

    def close_left(self, now: datetime, daemon: str | None = None) -> int:
        """End the plays that nobody goes on with, as they were known, and return how many there were.

        Those that no daemon has written for `STALE`; with `daemon`, which has just started, all of its own, and in a database that one daemon has for
        itself all there are.
        """
        whose = "updated_at < ?"
        values: list[object] = [naive(now - STALE)]
        if daemon is not None:
            whose, values = ("(daemon = ? OR updated_at < ?)", [daemon, *values]) if self.is_shared else ("1 = 1", [])
        with self._engine.writing() as statements:
            sql = f"UPDATE matches SET outcome = ?, updated_at = ? WHERE outcome = ? AND {whose}"  # noqa: S608 - conditions of ours
            return statements.change(sql, [CUT_OFF, naive(now), GOING, *values])

    def remove(self, wanted: PlayFilter, limit: int) -> int:
        """Forget at most `limit` of the plays that `wanted` means, the oldest first, and return how many those were.

        What goes on is not forgotten: it would be written again.
        """
        where, values = _where(wanted)
        chosen = f"SELECT id FROM matches WHERE {where} AND outcome <> ? ORDER BY started_at LIMIT ?"  # noqa: S608 - conditions of ours
        with self._engine.writing() as statements:
            sql = f"DELETE FROM matches WHERE id IN (SELECT id FROM ({chosen}) AS chosen)"  # noqa: S608 - of ours
            return statements.change(sql, [*values, GOING, limit])

    # -- reading ----------------------------------------------------------------------------------------------------

    def page(self, wanted: PlayFilter, limit: int, after: Place | None = None) -> list[KeptPlay]:
        """Return at most `limit` of the plays that `wanted` means, newest first, from behind a place on.

        Whatever comes and goes meanwhile, no play that has ended is left out or shown twice by pages that follow each other.
        """
        where, values = _where(wanted)
        if after is not None:
            moment = naive(after.started_at)
            where += " AND started_at <= ? AND (started_at < ? OR id < ?)"
            values = [*values, moment, moment, after.id]
        with self._engine.reading(self._limit_s) as statements:
            # In two steps, as a store of columns would read all of them for every row that it sorts.
            order = "ORDER BY started_at DESC, id DESC"
            last = statements.rows(
                f"SELECT started_at FROM matches WHERE {where} {order} LIMIT 1 OFFSET ?",  # noqa: S608 - conditions of ours
                [*values, limit - 1],
            )
            if last:
                where += " AND started_at >= ?"
                values = [*values, last[0][0]]
            sql = f"SELECT {', '.join(FIELDS)} FROM matches WHERE {where} {order} LIMIT ?"  # noqa: S608 - of ours
            return [play_of(row) for row in statements.rows(sql, [*values, limit])]

    def totals(self, wanted: PlayFilter = EVERY_PLAY) -> Totals:
        """Return what all plays that `wanted` means come to."""
        where, values = _where(wanted)
        sql = f"SELECT COUNT(*), COUNT(DISTINCT track_id), COALESCE(SUM(heard_s), 0) FROM matches WHERE {where}"  # noqa: S608 - of ours
        with self._engine.reading(self._limit_s) as statements:
            n_plays, n_tracks, heard_s = statements.rows(sql, values)[0]
        return Totals(int(n_plays), int(n_tracks), float(heard_s))

    def count(self) -> int:
        """Return how many plays are kept."""
        with self._engine.reading(self._limit_s) as statements:
            return int(statements.rows("SELECT COUNT(*) FROM matches")[0][0])

    def top(self, wanted: PlayFilter, by: str, limit: int, *, longest: bool = False) -> list[Group]:
        """Return what plays come to by "track", "artist" or "listener": the `limit` played most often, or heard longest, first."""
        where, values = _where(wanted)
        order = "SUM(heard_s) DESC, COUNT(*) DESC" if longest else "COUNT(*) DESC, SUM(heard_s) DESC"
        column = _KEYS.get(by, "track_id")
        sql = (
            f"SELECT {column}, {_SUMS} FROM matches WHERE {where} GROUP BY {column} ORDER BY {order}, {column} LIMIT ?"  # noqa: S608 - of ours
        )
        with self._engine.reading(self._limit_s) as statements:
            groups = [_group(row) for row in statements.rows(sql, [*values, limit])]
            return groups if by in _KEYS else _named(statements, groups)

    def n_groups(self, wanted: PlayFilter, by: str) -> int:
        """Return how many groups `top` would tell of without a limit."""
        where, values = _where(wanted)
        column = _KEYS.get(by, "track_id")
        sql = f"SELECT COUNT(*) FROM (SELECT {column} FROM matches WHERE {where} GROUP BY {column}) AS groups_found"  # noqa: S608 - of ours
        with self._engine.reading(self._limit_s) as statements:
            return int(statements.rows(sql, values)[0][0])

    def quarters(self, wanted: PlayFilter) -> list[Group]:
        """Return what plays come to by the quarter of an hour in which they started, ascending; see `QUARTER_S`."""
        where, values = _where(wanted)
        sql = f"SELECT {self._engine.quarter} AS quarter, {_SUMS} FROM matches WHERE {where} GROUP BY 1 ORDER BY 1"  # noqa: S608 - of ours
        with self._engine.reading(self._limit_s) as statements:
            return [_group(row) for row in statements.rows(sql, values)]


_NAMES_A_STATEMENT = 400


def _named(statements: Statements, groups: Sequence[Group]) -> list[Group]:
    """Return groups of tracks with what the last play of each calls it."""
    names: dict[tuple[int, datetime], Sequence[Any]] = {}
    for first in range(0, len(groups), _NAMES_A_STATEMENT):
        some = groups[first : first + _NAMES_A_STATEMENT]
        marks = ", ".join("?" * len(some))
        chosen = f"track_id IN ({marks}) AND started_at IN ({marks})"
        sql = f"SELECT track_id, started_at, title, artist, album FROM matches WHERE {chosen} ORDER BY id"  # noqa: S608 - of ours
        values = [*(group.key for group in some), *(naive(group.last_at) for group in some)]
        for track_id, started_at, *texts in statements.rows(sql, values):
            names[int(track_id), aware(started_at)] = texts
    named = []
    for group in groups:
        title, artist, album = names.get((int(group.key or 0), group.last_at), ("", None, None))
        named.append(replace(group, title=title, artist=artist, album=album))
    return named


def _group(row: Sequence[Any]) -> Group:
    key, n_plays, heard_s, first_at, last_at = row
    key = int(key) if key is not None and not isinstance(key, str) else key
    return Group(key, int(n_plays), float(heard_s), aware(first_at), aware(last_at))


def _where(wanted: PlayFilter) -> tuple[str, list[object]]:
    """Return the condition that `wanted` comes to, and its values."""
    parts: list[str] = ["1 = 1"]
    values: list[object] = []
    for column, given in (("id", wanted.ids), ("track_id", wanted.track_ids)):
        if given is not None:
            parts.append(f"{column} IN ({', '.join('?' * len(given))})" if given else "1 = 0")
            values += [storable(value) if isinstance(value, str) else value for value in given]
    for condition, value in (
        ("listener = ?", None if wanted.listener is None else storable(wanted.listener)),
        ("started_at >= ?", None if wanted.since is None else naive(wanted.since)),
        ("started_at < ?", None if wanted.until is None else naive(wanted.until)),
        ("heard_s >= ?", wanted.min_heard_s or None),
    ):
        if value is not None:
            parts.append(condition)
            values.append(value)
    for word in wanted.words:
        escaped = fold(storable(word)).replace("|", "||").replace("%", "|%").replace("_", "|_")
        parts.append("words LIKE ? ESCAPE '|'")
        values.append(f"%{escaped}%")
    return " AND ".join(parts), values
