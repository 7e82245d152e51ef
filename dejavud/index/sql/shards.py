"""The table ``postings``, where it is spread over several servers, each of which may be away by itself.

A transaction over several servers is not atomic: each commits by itself, and some may where others do not.  So that no track is ever
there in part, postings go into a transaction of their own, which is committed before that of their tracks.  What one that failed left are
postings without a track; nobody is told of them, and they are deleted before their id is given.  A removal commits in the other order, and
where a server is away it leaves the same.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Integer, column, select, text, union

from dejavud.errors import IndexAway
from dejavud.index.schema import NEXT_TRACK_ID
from dejavud.index.sql.connections import PartAway
from dejavud.index.sql.dialect import Failure, cursor_of
from dejavud.index.sql.postings import Found
from dejavud.index.sql.schema import POSTINGS, meta

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection, SelectBase

    from dejavud.index.postings import Postings
    from dejavud.index.sql.connections import Connections
    from dejavud.index.sql.dialect import Part, ShardedDialect

    Array = NDArray[Any]

_ATTEMPTS_S = (4.0, 16.0, 64.0)
"""For one look-up; where it takes longer, each part is asked whether it is there, and the next may take more."""
_TOO_LITTLE_S = 0.05
_ASKING_S = 2.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 4.0
"""A part that is away is asked again after a while: by one query, which may have to wait for it, while others do without."""
_CONNECTING_S = 10.0
_TRACKS_A_SWEEP = 50
"""Deleted by one statement: a server that is busy with one for too long seems to be away."""


class Shards:
    """`dejavud.index.sql.postings.PostingTable` over several servers."""

    def __init__(self, connections: Connections, dialect: ShardedDialect) -> None:
        self._connections = connections
        self._dialect = dialect
        self._away = _Away()

    def find(self, connection: Connection, hashes: Array, limit_s: float | None) -> Found:
        """See `PostingTable.find`; `Found.unseen` names the servers that do not answer.  Raises `IndexAway` where none does."""
        deadline_s = None if limit_s is None else time.monotonic() + limit_s
        # Those that are being added have postings already, under ids that begin with this one.
        next_id = int(connection.execute(select(meta.c.value).where(meta.c.key == NEXT_TRACK_ID)).scalar_one())
        is_doubtful = not self._away
        rows = self._tried(connection, hashes, (), _share_s(_ATTEMPTS_S[0], deadline_s)) if is_doubtful else None
        if rows is not None:
            return Found(rows[rows["track_id"] < next_id])
        parts = self._dialect.parts(connection)
        for attempt_s in _ATTEMPTS_S:
            self._look_for(connection, parts, deadline_s, everyone=is_doubtful)
            reasons = self._away.reasons()
            there = [part for part in parts if part.name not in reasons]
            unseen = sorted({f"{part.server}: {reasons[part.name]}" for part in parts if part.name in reasons})
            if not there:
                raise IndexAway(url=self._connections.where, reason="none of its shards answers: " + "; ".join(unseen))
            rows = self._tried(connection, hashes, there, _share_s(attempt_s, deadline_s))
            if rows is not None:
                return Found(rows[rows["track_id"] < next_id], tuple(unseen))
            is_doubtful = True
        raise IndexAway(url=self._connections.where, reason="its shards come and go, or are too slow")

    def delete(self, connection: Connection, track_ids: Sequence[int]) -> None:
        """See `PostingTable.delete`; `insert` and `sweep` do it, in transactions of their own."""

    def insert(
        self,
        connection: Connection,  # noqa: ARG002 - theirs is a transaction of its own
        track_ids: Sequence[int],
        hashes: Array,
        postings: Postings,
    ) -> None:
        """See `PostingTable.insert`; raises `PartAway` where a server is, whether it would get any of them or not."""
        with self._connections.transaction() as other:
            _delete(other, POSTINGS, track_ids)
            if len(postings):
                self._dialect.insert_postings(other, hashes, postings)

    def sweep(self, track_ids: Sequence[int]) -> None:
        """See `PostingTable.sweep`; what cannot be reached stays, and is a stray."""
        with suppress(IndexAway):
            with self._connections.transaction() as connection:
                parts = self._dialect.parts(connection)
            for part in parts:
                try:
                    self._sweep(part, track_ids)
                except PartAway:  # which a connection finds that is older than the server's last start
                    with suppress(PartAway):
                        self._sweep(part, track_ids)

    def owners(self, connection: Connection) -> SelectBase:
        """See `PostingTable.owners`; each server is asked for its own."""
        sources = [part.source for part in self._dialect.parts(connection)]
        owners = [text(f"SELECT track_id FROM {source} GROUP BY track_id") for source in sources]  # noqa: S608 - names out of the database
        return union(*(query.columns(column("track_id", Integer)) for query in owners))

    def _sweep(self, part: Part, track_ids: Sequence[int]) -> None:
        for first in range(0, len(track_ids), _TRACKS_A_SWEEP):
            with self._connections.transaction() as connection:
                _delete(connection, part.source, track_ids[first : first + _TRACKS_A_SWEEP])

    def _tried(self, connection: Connection, hashes: Array, parts: Sequence[Part], limit_s: float) -> Array | None:
        """Return the postings, of all parts where none is named; None where one does not answer, or not in its time."""
        self._dialect.limit_time(connection, limit_s)
        try:
            with self._dialect.attempt(connection):
                return self._dialect.find(connection, hashes, parts)
        except self._dialect.driver_error as error:
            failure = self._dialect.failure(error)
            if failure is Failure.PART_AWAY or (failure is Failure.LATE and limit_s > _TOO_LITTLE_S):
                return None
            raise

    def _look_for(
        self, connection: Connection, parts: Sequence[Part], deadline_s: float | None, *, everyone: bool
    ) -> None:
        """Ask those parts whether they are there that were away and whose pause is over; where `everyone` is in doubt, all that are not away."""
        due = self._away.due([part.name for part in parts], everyone=everyone)
        for part in parts:
            if part.name in due:
                self._dialect.limit_time(connection, _share_s(_ASKING_S, deadline_s))
                self._away.note(part.name, self._why_away(connection, part))

    def _why_away(self, connection: Connection, part: Part) -> str | None:
        """Return why `part` does not answer; None where it does."""
        try:
            with self._dialect.attempt(connection), cursor_of(connection) as cursor:
                cursor.execute(f"SELECT hash FROM {part.source} LIMIT 1")  # noqa: S608 - a name out of the database
                cursor.fetchall()
        except self._dialect.driver_error as error:
            failure = self._dialect.failure(error)
            if failure is Failure.AWAY:
                raise
            return "does not answer in time" if failure is Failure.LATE else self._dialect.reason(error)
        return None


class _State(NamedTuple):
    """Why a part is away, and until when it is not asked."""

    reason: str
    pause_s: float
    until_s: float


class _Away:
    """The parts that are away as far as is known, over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}

    def __bool__(self) -> bool:
        return bool(self._states)

    def reasons(self) -> dict[str, str]:
        """Return why parts are away, by name."""
        with self._lock:
            return {name: state.reason for name, state in self._states.items()}

    def due(self, names: Collection[str], *, everyone: bool) -> set[str]:
        """Return which of all parts, which are `names`, to ask; whoever asks next is told others.  Those that are no more are forgotten."""
        now_s = time.monotonic()
        with self._lock:
            self._states = {name: state for name, state in self._states.items() if name in names}
            over = {name for name, state in self._states.items() if now_s >= state.until_s}
            for name in over:
                self._states[name] = self._states[name]._replace(until_s=now_s + _CONNECTING_S)
            return over | (set(names) - set(self._states) if everyone else set())

    def note(self, name: str, reason: str | None) -> None:
        """Keep in mind why a part is away; None where it is not."""
        with self._lock:
            before = self._states.pop(name, None)
            if reason is not None:
                pause_s = _FIRST_PAUSE_S if before is None else min(2 * before.pause_s, _LONGEST_PAUSE_S)
                self._states[name] = _State(reason, pause_s, time.monotonic() + pause_s)


def _share_s(most_s: float, deadline_s: float | None) -> float:
    """Return what a statement may take that others may have to follow before the deadline."""
    return most_s if deadline_s is None else max(0.001, min(most_s, (deadline_s - time.monotonic()) / 2))


def _delete(connection: Connection, source: str, track_ids: Sequence[int]) -> None:
    if track_ids:
        ids = ",".join(map(str, track_ids))
        connection.exec_driver_sql(f"DELETE FROM {source} WHERE track_id IN ({ids})")  # noqa: S608 - numbers, and a name out of the database
