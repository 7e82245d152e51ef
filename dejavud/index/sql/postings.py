"""The table ``postings``, where all of it is in the database that holds the tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import column, delete, select, table

from dejavud.index.sql.schema import POSTINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection, SelectBase

    from dejavud.index.postings import Postings
    from dejavud.index.sql.dialect import Dialect

    Array = NDArray[Any]

_postings = table(POSTINGS, column("track_id"))


class Found(NamedTuple):
    """Postings, and what could not be asked for more of them."""

    rows: Array
    unseen: tuple[str, ...] = ()


class PostingTable(Protocol):
    """What `dejavud.index.sql.index.SqlIndex` does with ``postings``.  `connection` is in the transaction of the tracks.

    Hashes are as they are stored: signed, and as wide as the profile makes them.
    """

    def find(self, connection: Connection, hashes: Array, limit_s: float | None) -> Found:
        """Return the postings of `hashes`, which are distinct and ascend, of tracks that were committed when this began.

        limit_s : of the transaction, whose statements end by it.
        """
        ...

    def delete(self, connection: Connection, track_ids: Sequence[int]) -> None:
        """Delete the postings of tracks that are deleted, or given others, in this transaction."""
        ...

    def insert(self, connection: Connection, track_ids: Sequence[int], hashes: Array, postings: Postings) -> None:
        """Store the postings, whose `hashes` ascend, of tracks that are added, or given others, in this transaction."""
        ...

    def sweep(self, track_ids: Sequence[int]) -> None:
        """Delete what `delete` may have left, once there are no such tracks any more."""
        ...

    def owners(self, connection: Connection) -> SelectBase:
        """Return the query of all ids under which there are postings."""
        ...


class OneTable:
    """`PostingTable` within the transaction of the tracks."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def find(self, connection: Connection, hashes: Array, limit_s: float | None) -> Found:  # noqa: ARG002 - the server keeps it
        """See `PostingTable.find`."""
        return Found(self._dialect.find(connection, hashes))

    def delete(self, connection: Connection, track_ids: Sequence[int]) -> None:
        """See `PostingTable.delete`."""
        connection.execute(delete(_postings).where(_postings.c.track_id.in_(track_ids)))

    def insert(
        self,
        connection: Connection,
        track_ids: Sequence[int],  # noqa: ARG002 - of the protocol
        hashes: Array,
        postings: Postings,
    ) -> None:
        """See `PostingTable.insert`."""
        if len(postings):
            self._dialect.insert_postings(connection, hashes, postings)

    def sweep(self, track_ids: Sequence[int]) -> None:
        """See `PostingTable.sweep`; nothing is ever left."""

    def owners(self, connection: Connection) -> SelectBase:  # noqa: ARG002 - of the protocol
        """See `PostingTable.owners`."""
        return select(_postings.c.track_id).distinct()
