"""PostgreSQL whose ``postings`` are partitioned by hash over other servers, through postgres_fdw.

A look-up is one statement for every shard, which has the hashes as one array, and all of them work at the same time (``async_capable``).
COPY into such a table would send row by row; an INSERT of what another table holds goes in batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavud.index.sql.dialect import Failure, Part, cursor_of
from dejavud.index.sql.postgresql import PostgreSQLDialect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    import psycopg2
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from dejavud.index.postings import Postings

    Array = NDArray[Any]

_PARTS = """
    SELECT coalesce(servers.srvname, leaves.relid::text), leaves.relid::text, servers.srvname IS NOT NULL
    FROM pg_partition_tree('postings') AS leaves
    LEFT JOIN pg_foreign_table AS foreigners ON foreigners.ftrelid = leaves.relid
    LEFT JOIN pg_foreign_server AS servers ON servers.oid = foreigners.ftserver
    WHERE leaves.isleaf ORDER BY 1, 2
"""
_AWAY_CLASSES = ("08", "57", "53", "HV")
"""SQLSTATE of a connection that cannot be made or broke, an administrator's doing, too little of something; and of a wrapper."""
_LEAST_ROW_BYTES = 72
"""Of a posting on a shard, with its entry in the index."""


class PostgreSQLShards(PostgreSQLDialect):
    """See `dejavud.index.sql.dialect.ShardedDialect`."""

    def has_any(self, connection: Connection) -> bool:
        """Tell whether there is any part of ``postings`` on another server."""
        return any(is_foreign for _, _, is_foreign in connection.exec_driver_sql(_PARTS))

    def parts(self, connection: Connection) -> Sequence[Part]:
        """See `ShardedDialect.parts`."""
        return [Part(server, name, name) for server, name, _ in connection.exec_driver_sql(_PARTS)]

    def attempt(self, connection: Connection) -> AbstractContextManager[object]:
        """See `ShardedDialect.attempt`."""
        return connection.begin_nested()

    def find(self, connection: Connection, hashes: Array, parts: Sequence[Part] = ()) -> Array:
        """See `ShardedDialect.find`."""
        if not parts:
            connection.exec_driver_sql("SET LOCAL enable_partition_pruning = off")  # there is never one to spare
        return self._found(connection, hashes, [part.source for part in parts] or ["postings"])

    def insert_postings(self, connection: Connection, hashes: Array, postings: Postings) -> None:
        """See `Dialect.insert_postings`."""
        with cursor_of(connection) as cursor:
            cursor.execute("CREATE TEMPORARY TABLE staged_postings (LIKE postings) ON COMMIT DROP")
            self._copy_in(connection, "staged_postings", hashes, postings)
            cursor.execute("INSERT INTO postings SELECT hash, track_id, frame FROM staged_postings")

    def size_bytes(self, connection: Connection) -> int:
        """See `Dialect.size_bytes`; what the shards hold is told from the number of postings, as they may be away."""
        told = "SELECT pg_total_relation_size('tracks') + pg_total_relation_size('constellations')"
        needed = f"(SELECT coalesce(sum(n_hashes), 0) * {_LEAST_ROW_BYTES} FROM tracks)"  # noqa: S608 - a number of ours
        return int(connection.exec_driver_sql(f"{told} + {needed}").scalar_one())

    def failure(self, error: BaseException) -> Failure:
        """See `Dialect.failure`; what a shard says comes as an error, where the coordinator's own end of a connection is fatal."""
        failure = super().failure(error)
        code = getattr(error, "pgcode", None)
        if code is None or failure is Failure.LATE or not code.startswith(_AWAY_CLASSES) or failure is Failure.FULL:
            return failure
        return Failure.PART_AWAY if _severity(error) == "ERROR" else failure

    def reason(self, error: BaseException) -> str:
        """See `ShardedDialect.reason`; without the address, which the administrator knows and others need not."""
        diagnosis = getattr(error, "diag", None)
        words = (diagnosis.message_detail or diagnosis.message_primary or "") if diagnosis is not None else ""
        return words.rpartition("failed: ")[2].partition("\n")[0].strip() or type(error).__name__


def _severity(error: BaseException) -> str | None:
    diagnosis: psycopg2.extensions.Diagnostics | None = getattr(error, "diag", None)
    return None if diagnosis is None else diagnosis.severity_nonlocalized
