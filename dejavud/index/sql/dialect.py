"""What each engine does in its own way: bulk in, look-up, locks, time limits, the meaning of its errors."""

from __future__ import annotations

from contextlib import closing
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from sqlalchemy import select

from dejavud.index.sql.schema import REVISION, meta

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from sqlalchemy import URL, Connection, Engine

    from dejavud.index.postings import Postings

    Array = NDArray[Any]


class Failure(Enum):
    """What an engine's error comes to.

    AWAY : it cannot be reached now, or the connection broke.
    PART_AWAY : it answers, and another server, which holds a part of ``postings``, does not.
    REFUSED : it answers and does not let us in, or has no such database; trying again would be of no use.
    FULL : there is no room.
    DAMAGED : what it reads is not what it wrote, or not a database at all.
    LATE : the time limit of a statement passed.
    OTHER : anything else.
    """

    AWAY = auto()
    PART_AWAY = auto()
    REFUSED = auto()
    FULL = auto()
    DAMAGED = auto()
    LATE = auto()
    OTHER = auto()


class Dialect(Protocol):
    """One kind of database beneath `dejavud.index.sql.index.SqlIndex`.  Methods that take a connection run within its transaction.

    Hashes come and go as they are stored: as signed integers of their width, bit for bit.
    """

    @property
    def driver_error(self) -> type[Exception]:
        """Return what the driver's errors derive from."""
        ...

    def engine(self) -> Engine:
        """Return a new engine; nothing is connected yet."""
        ...

    def alone(self, connection: Connection) -> AbstractContextManager[None]:
        """Hold off every other process that would make or change tables, until the block ends."""
        ...

    def is_ours(self, connection: Connection, table: str) -> bool:
        """Tell whether `table` was left by a process of ours that died while it made the tables."""
        ...

    def create_postings(self, hash_bits: int) -> Sequence[str]:
        """Return the statements that make the table ``postings``."""
        ...

    def posting_bits(self, hash_bits: int) -> Mapping[str, int]:
        """Return the columns of ``postings``, all of them whole numbers, with their widths; empty where nobody else may make that table."""
        ...

    def sharded(self, connection: Connection) -> ShardedDialect | None:
        """Return how ``postings`` is asked where it is spread over several servers; None where it is not."""
        ...

    def lock_writers(self, connection: Connection) -> None:
        """Hold off every other writer, here and elsewhere, until the transaction ends; the first that a transaction does."""
        ...

    def limit_time(self, connection: Connection, limit_s: float | None) -> None:
        """Have the statements of this transaction stopped after this long; None for the usual limit."""
        ...

    def insert_postings(self, connection: Connection, hashes: Array, postings: Postings) -> None:
        """Store postings, whose hashes as they are stored are `hashes`."""
        ...

    def find(self, connection: Connection, hashes: Array) -> Array:
        """Return the postings of these hashes, which are distinct and ascend: records of hash, track_id and frame."""
        ...

    def postings(self, connection: Connection, first_id: int, last_id: int, stored: np.dtype[Any]) -> Array:
        """Return the postings of these tracks: records of hash, which is `stored` so wide, track_id and frame."""
        ...

    def size_bytes(self, connection: Connection) -> int:
        """Return what our tables take."""
        ...

    def failure(self, error: BaseException) -> Failure:
        """Return what an error of the driver comes to."""
        ...


class Part(NamedTuple):
    """A part of ``postings``.

    server : whose name people know; the part itself where it is no other server's.
    name : of the part itself.
    source : what a statement calls the part.
    """

    server: str
    name: str
    source: str


class ShardedDialect(Dialect, Protocol):
    """A kind of database whose ``postings`` are spread over several servers, each of which may be away by itself."""

    def parts(self, connection: Connection) -> Sequence[Part]:
        """Return the parts of ``postings``, without asking any of them."""
        ...

    def attempt(self, connection: Connection) -> AbstractContextManager[object]:
        """Give a block of statements that may fail without an end to the transaction."""
        ...

    def find(self, connection: Connection, hashes: Array, parts: Sequence[Part] = ()) -> Array:
        """See `Dialect.find`; of these parts only, of all where none is named.  They are asked at the same time, each by one statement."""
        ...

    def reason(self, error: BaseException) -> str:
        """Return in few words why a part is away."""
        ...


def posting_dtype(stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of a record of postings whose hashes are stored as `stored`."""
    return np.dtype([("hash", stored), ("track_id", np.int32), ("frame", np.int32)])


def secret_of(url: URL) -> str:
    """Return the password that `url` brings, in its place or as an option; empty where it brings none."""
    given = url.password or url.query.get("password") or url.query.get("passwd") or ""
    return given if isinstance(given, str) else given[0]


def cursor_of(connection: Connection) -> AbstractContextManager[Any]:
    """Return a cursor of the driver itself, within the transaction of `connection`."""
    return closing(connection.connection.cursor())


def lock_revision(connection: Connection) -> None:
    """Lock the row that every writer locks first."""
    connection.execute(select(meta.c.value).where(meta.c.key == REVISION).with_for_update())


def clustered(hashes: Array, postings: Postings) -> tuple[Array, Array, Array, Array]:
    """Return (hashes, track_ids, frames, copies) in the order of a key that begins with the hash.

    copies : int64 [n], the number of each among its equals, from 0: what makes the key of every posting its own.
    """
    order = np.lexsort((postings.frames, postings.track_ids, hashes))
    columns = hashes[order], postings.track_ids[order], postings.frames[order]
    is_first = np.ones(len(order), bool)
    if len(order):
        is_first[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    firsts = np.flatnonzero(is_first)
    copies = np.arange(len(order)) - np.repeat(firsts, np.diff(firsts, append=len(order)))
    return (*columns, copies)
