"""One connection shared by threads, a cursor a call, and opened anew when DuckDB gives it up."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

from dejavud.errors import IndexUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class SharedConnection:
    """Gives cursors to threads until it is closed.

    A checkpoint that finds no room on the disk ends DuckDB's use of the file with a fatal error, although nothing that was
    committed is lost; every call after it would fail.  Then the calls under way come to their end, and the next one
    opens the file anew.

    open_file : returns a new connection.
    is_durable : whether opening anew brings everything back; without it a fatal error is final.
    """

    def __init__(self, open_file: Callable[[], duckdb.DuckDBPyConnection], *, is_durable: bool) -> None:
        self._open_file = open_file
        self._is_durable = is_durable
        self._changed = threading.Condition()
        self._n_calls = 0
        self._is_broken = False
        self._is_paused = False
        self._is_closed = False
        self._connection = open_file()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor for one call; what it leaves uncommitted is undone.

        Raises `IndexUnavailable` after `close`, and what opening the file raises where it had to be opened anew.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._is_paused and (not self._is_broken or self._n_calls == 0))
            self.check_open()
            if self._is_broken:
                self._connection.close()
                self._connection = self._open_file()
                self._is_broken = False
            cursor = self._connection.cursor()
            self._n_calls += 1
        try:
            yield cursor
        except duckdb.FatalException:
            self._is_broken = self._is_durable
            raise
        finally:
            cursor.close()
            with self._changed:
                self._n_calls -= 1
                self._changed.notify_all()

    @contextmanager
    def closed_for_a_moment(self) -> Iterator[None]:
        """Have the file closed while the block runs, and opened anew after it; calls wait for that.

        Where it cannot be opened the next call tries again.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._is_paused)
            self.check_open()
            self._is_paused = True
            self._changed.wait_for(lambda: self._n_calls == 0)
        try:
            self._connection.close()
            self._is_broken = True  # until it is open again
            yield
            self._connection = self._open_file()
            self._is_broken = False
        finally:
            with self._changed:
                self._is_paused = False
                self._changed.notify_all()

    def check_open(self) -> None:
        """Raise `IndexUnavailable` after `close`."""
        if self._is_closed:
            raise IndexUnavailable(reason="it is closed")

    def close(self) -> None:
        """Refuse new calls, wait for those under way, move the log into the file and let go of it.  Idempotent.

        Where the log cannot be moved for want of room it stays beside the file, and is read when that is next opened.
        """
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: self._n_calls == 0 and not self._is_paused)
            self._connection.close()


class WriteTurns:
    """One writer at a time, and upkeep only while no writer waits: it would take the next turn before any of them woke up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_taken = False
        self._n_waiting = 0

    @contextmanager
    def of_a_writer(self) -> Iterator[None]:
        """Have the turn until the block ends."""
        with self._changed:
            self._n_waiting += 1
            self._changed.wait_for(lambda: not self._is_taken)
            self._n_waiting -= 1
            self._is_taken = True
        yield from self._until_the_end()

    @contextmanager
    def of_upkeep(self) -> Iterator[None]:
        """Have the turn until the block ends, which should be soon."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken and not self._n_waiting)
            self._is_taken = True
        yield from self._until_the_end()

    def _until_the_end(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()
