"""Connections to a database that may go away: made anew when it is back, and what goes wrong told in our words."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from dejavud.errors import DejavudError, IndexAway, IndexDamaged, IndexFull, IndexUnavailable, Timeout
from dejavud.index.sql.dialect import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from dejavud.index.sql.dialect import Dialect

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_CONNECTING_S = 10.0
_SHORTEST_SECRET = 4


class PartAway(IndexAway):
    """The database answers, and another server does not that holds a part of it."""


class Connections:
    """A pool of connections to one database.

    Where the database does not answer, one call in a while finds that out, and those in between are refused at once: nobody waits for
    it again and again.

    where : the database as it may be shown.
    dialect : what it is asked in.
    secret : its password; it is in no message.
    """

    def __init__(self, dialect: Dialect, where: str, secret: str) -> None:
        self.where = where
        self.dialect = dialect
        self._secret = secret
        self._engine = dialect.engine()
        self._is_closed = False
        self._lock = threading.Lock()
        self._away: IndexAway | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._refuse_until_s = 0.0

    def close(self) -> None:
        """Close all connections; calls under way end as they would have.  Idempotent."""
        self._is_closed = True
        self._engine.dispose()

    @property
    def kind(self) -> str:
        """Return SQLAlchemy's name of the kind of database: postgresql, mysql or sqlite."""
        name = self._engine.dialect.name
        return "mysql" if name == "mariadb" else name

    @property
    def is_reachable(self) -> bool:
        """Tell whether the database answered when it was last asked."""
        return self._away is None

    def check_open(self) -> None:
        """Raise `IndexUnavailable` after `close`."""
        if self._is_closed:
            raise IndexUnavailable(reason="it is closed")

    @contextmanager
    def transaction(self, limit_s: float | None = None, *, what: str = "the database") -> Iterator[Connection]:
        """Give a connection in a transaction that is committed at the end of the block, or undone where it raises.

        limit_s : for all of it, what it takes to get a connection too; where it passes, `Timeout` of `what` is raised and the server stops.
        """
        started_s = time.monotonic()
        self.check_open()
        self._refuse_while_away(started_s)
        try:
            with self._engine.begin() as connection:
                try:
                    left_s = None if limit_s is None else max(0.001, started_s + limit_s - time.monotonic())
                    self.dialect.limit_time(connection, left_s)
                    yield connection
                except self.dialect.driver_error as error:  # past SQLAlchemy, which does not know of it then
                    if self.dialect.failure(error) is Failure.AWAY:
                        connection.invalidate()
                    raise
        except (SQLAlchemyError, self.dialect.driver_error) as error:
            translated = self._translated(error, what, limit_s)
            is_part = isinstance(translated, PartAway)
            self._note(translated if isinstance(translated, IndexAway) and not is_part else None)
            raise translated from error
        self._note(None)

    def _refuse_while_away(self, now_s: float) -> None:
        """Raise `IndexAway` where another call has found it away, or is trying, a moment ago."""
        with self._lock:
            if self._away is None:
                return
            if now_s < self._refuse_until_s:
                raise IndexAway(**self._away.details)
            self._refuse_until_s = now_s + _CONNECTING_S  # this call tries, and the others need not

    def _note(self, away: IndexAway | None) -> None:
        if away is None and self._away is None:
            return
        with self._lock:
            self._away = away
            self._pause_s = _FIRST_PAUSE_S if away is None else min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._refuse_until_s = time.monotonic() + self._pause_s

    def _translated(self, error: Exception, what: str, limit_s: float | None) -> DejavudError:
        if isinstance(error, NoConnectionError):
            return IndexAway(url=self.where, reason="all connections to it are in use")
        driver_error = error.orig if isinstance(error, DBAPIError) else error
        if driver_error is None or not isinstance(driver_error, self.dialect.driver_error):
            return IndexUnavailable(reason=f"{self.where}: {self.words(error)}")
        failure, reason = self.dialect.failure(driver_error), self.words(driver_error)
        if failure in {Failure.AWAY, Failure.PART_AWAY}:
            return (IndexAway if failure is Failure.AWAY else PartAway)(url=self.where, reason=reason)
        if failure is Failure.LATE:
            return Timeout(what=what, limit_s=limit_s)
        if failure is Failure.DAMAGED:
            return IndexDamaged(path=self.where, reason=reason)
        kind = IndexFull if failure is Failure.FULL else IndexUnavailable
        return kind(reason=f"{self.where}: {reason}")

    def words(self, error: BaseException) -> str:
        """Return what the driver says, on one line and without the password."""
        words = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], str) else str(error)
        words = " ".join(words.split()) or type(error).__name__
        return words.replace(self._secret, "***") if len(self._secret) >= _SHORTEST_SECRET else words
