"""MariaDB whose ``postings`` are partitioned by hash over other servers, through its Spider engine.

A list of values goes to every shard as it stands, and all of them work at the same time (``bgs_mode``), where two things hold: the list
is not made into a table, which it is from a thousand values on, and the key is out of the question, else Spider asks for one value at a time.
The rows come to the coordinator, which packs them.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.index.sql.dialect import Failure, Part, cursor_of, posting_dtype
from dejavud.index.sql.mysql import LEAST_ROW_BYTES, MySQLDialect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    Array = NDArray[Any]

_HASHES_A_LOOKUP = 50_000
_PART = re.compile(r"""PARTITION (?!BY\b)`?(\w+)`?[^,]*?COMMENT = '[^']*?srv\s+"([^"]+)\"""")
"""A partition as the definition of its table has it, and its server."""
_CONNECTING = {1429, 12_701}
_AWAY = {1429, 1053, 1158, 1159, 1160, 1161}
"""How Spider and the shards say that one is away, beside Spider's own codes."""
_INTERRUPTED = 1317
_SPIDER = range(12_500, 13_000)


class MySQLShards(MySQLDialect):
    """See `dejavud.index.sql.dialect.ShardedDialect`."""

    def has_any(self, connection: Connection) -> bool:
        """Tell whether ``postings`` is on other servers."""
        return bool(self.parts(connection))

    def parts(self, connection: Connection) -> Sequence[Part]:
        """See `ShardedDialect.parts`."""
        # What tells more than the definition asks the shards.
        _, definition = connection.exec_driver_sql("SHOW CREATE TABLE postings").one()
        return [Part(server, name, f"postings PARTITION ({name})") for name, server in _PART.findall(definition)]

    @contextmanager
    def attempt(self, connection: Connection) -> Iterator[None]:
        """See `ShardedDialect.attempt`; a shard that is away would have the end of the transaction fail, which nothing is lost by."""
        try:
            yield
        except self.driver_error as error:
            if self.failure(error) is Failure.PART_AWAY:
                with suppress(self.driver_error), cursor_of(connection) as cursor:
                    cursor.execute("ROLLBACK")
            raise

    def find(self, connection: Connection, hashes: Array, parts: Sequence[Part] = ()) -> Array:
        """See `ShardedDialect.find`."""
        if not connection.info.get("keeps_lists"):
            connection.exec_driver_sql("SET SESSION in_predicate_conversion_threshold = 0")
            connection.info["keeps_lists"] = True
        chosen = f" PARTITION ({', '.join(part.name for part in parts)})" if parts else ""
        found = [np.empty(0, posting_dtype(hashes.dtype))]
        for first in range(0, len(hashes), _HASHES_A_LOOKUP):
            asked = ",".join(map(str, hashes[first : first + _HASHES_A_LOOKUP].tolist()))
            source = f"postings{chosen} IGNORE INDEX (PRIMARY) WHERE hash IN ({asked})"
            found.append(self._packed(connection, source, "hash", ("track_id", "frame"), hashes.dtype))
        return np.concatenate(found)

    def size_bytes(self, connection: Connection) -> int:
        """See `Dialect.size_bytes`; what the shards hold is told from the number of postings, as they may be away."""
        needed = f"SELECT COALESCE(SUM(n_hashes), 0) * {LEAST_ROW_BYTES} FROM tracks"  # noqa: S608 - a number of ours
        return int(connection.exec_driver_sql(needed).scalar_one())

    def failure(self, error: BaseException) -> Failure:
        """See `Dialect.failure`."""
        code = error.args[0] if error.args else 0
        if code == _INTERRUPTED:
            return Failure.LATE
        return Failure.PART_AWAY if code in _AWAY or code in _SPIDER else super().failure(error)

    def reason(self, error: BaseException) -> str:
        """See `ShardedDialect.reason`."""
        code = error.args[0] if error.args else 0
        return "cannot be connected to" if code in _CONNECTING else f"does not answer (error {code})"
