"""MySQL and MariaDB: InnoDB clustered by hash, many rows an INSERT, answers packed by the server.

PyMySQL reads rows in Python, some 3 us each; so the server packs what belongs to one hash, or one track, into one value, by
``GROUP_CONCAT(CHAR(…))``, which numpy takes apart.  CHAR leaves out leading zero bytes: each number loses its highest bit to one that is
always set, and the bits that were lost follow in a byte of their own.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pymysql
from sqlalchemy import URL, create_engine, event, text

from dejavud.errors import IndexAway
from dejavud.index.sql.dialect import Failure, clustered, cursor_of, lock_revision, posting_dtype, secret_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine

    from dejavud.index.postings import Postings
    from dejavud.index.sql.dialect import ShardedDialect

    Array = NDArray[Any]

CONNECT_S = 5
_LOCK_S = 60
_HASH_TYPES = {32: "INT", 64: "BIGINT"}
_ROWS_AN_INSERT = 20_000
_HASHES_A_LOOKUP = 50_000
_TOP = 1 << 31
LEAST_ROW_BYTES = 49
"""Of a posting in InnoDB, with its entry in the other index."""

_AWAY = {2002, 2003, 2006, 2013, 2014, 2055, 1040, 1053, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1927, 0}
_REFUSED = {1044, 1045, 1049, 1130, 1142, 1143, 1146, 1227, 1251, 1290, 1410, 1698, 1836, 2059}
_FULL = {3, 28, 1021, 1041, 1114}
_DAMAGED = {126, 127, 1034, 1194, 1195, 1712}
_LATE = {1969, 3024}
_STORAGE_ENGINE = 1030
_SOCKET_OPTIONS = {
    socket.TCP_KEEPIDLE: 10,  # seconds
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 20_000,  # milliseconds
}
"""As in `dejavud.index.sql.postgresql`, whose driver has settings for them."""


class MySQLDialect:
    """See `dejavud.index.sql.dialect.Dialect`."""

    driver_error = pymysql.Error

    def __init__(self, url: URL) -> None:
        self._url = url

    def engine(self) -> Engine:
        """See `Dialect.engine`."""
        given: dict[str, Any] = {"connect_timeout": CONNECT_S, "charset": "utf8mb4"}
        options = {key: value for key, value in given.items() if key not in self._url.query}
        if password := secret_of(self._url):
            options["password"] = password.encode()  # PyMySQL would take it for Latin-1
        engine = create_engine(
            self._url.difference_update_query(["password", "passwd"]),
            connect_args=options,
            pool_pre_ping=True,
            hide_parameters=True,
            pool_recycle=3600,  # servers and what lies between end connections that were idle for hours
            pool_size=8,
            max_overflow=24,
            pool_timeout=CONNECT_S,
        )
        event.listen(engine, "connect", _set_session)
        return engine

    @contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        """See `Dialect.alone`; definitions commit themselves, so the lock is one of the session."""
        name = {"name": "dejavud.schema", "limit_s": _LOCK_S}
        lock = "GET_LOCK(CONCAT(:name, SHA1(DATABASE())), :limit_s)"
        if connection.execute(text(f"SELECT {lock}"), name).scalar_one() != 1:
            raise IndexAway(url=self._url.render_as_string(), reason="another process is making its tables")
        try:
            yield
            connection.exec_driver_sql("COMMIT")
        finally:
            connection.execute(text("SELECT RELEASE_LOCK(CONCAT(:name, SHA1(DATABASE())))"), {"name": name["name"]})

    def is_ours(self, connection: Connection, table: str) -> bool:
        """See `Dialect.is_ours`: one with our mark, and empty."""
        mark = connection.execute(
            text(
                "SELECT table_comment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = :name"
            ),
            {"name": table},
        ).scalar_one()
        return mark == "dejavud" and connection.exec_driver_sql(f"SELECT 1 FROM {table} LIMIT 1").first() is None  # noqa: S608 - a name of ours

    def create_postings(self, hash_bits: int) -> Sequence[str]:
        """See `Dialect.create_postings`: the table itself is in order of hash, so a look-up reads neighbours."""
        return (
            f"""CREATE TABLE postings (
                hash {_HASH_TYPES[hash_bits]} NOT NULL, track_id INT NOT NULL, frame INT NOT NULL,
                copy SMALLINT UNSIGNED NOT NULL,
                PRIMARY KEY (hash, track_id, frame, copy), KEY postings_by_track (track_id)
            ) ENGINE = InnoDB COMMENT = 'dejavud'""",
        )

    def posting_bits(self, hash_bits: int) -> Mapping[str, int]:
        """See `Dialect.posting_bits`."""
        return {"hash": hash_bits, "track_id": 32, "frame": 32, "copy": 16}

    def sharded(self, connection: Connection) -> ShardedDialect | None:
        """See `Dialect.sharded`."""
        from dejavud.index.sql.mysql_shards import MySQLShards  # noqa: PLC0415 - it is one of these itself

        shards = MySQLShards(self._url)
        return shards if shards.has_any(connection) else None

    def lock_writers(self, connection: Connection) -> None:
        """See `Dialect.lock_writers`."""
        lock_revision(connection)

    def limit_time(self, connection: Connection, limit_s: float | None) -> None:
        """See `Dialect.limit_time`; the limit is the session's, and stays until it is set anew."""
        if limit_s is None and not connection.info.get("limited"):
            return
        connection.info["limited"] = limit_s is not None
        limit_ms = 0 if limit_s is None else max(1, round(1000 * limit_s))
        variable, value = (
            ("max_statement_time", limit_ms / 1000) if _is_mariadb(connection) else ("max_execution_time", limit_ms)
        )
        connection.exec_driver_sql(f"SET SESSION {variable} = {value}")

    def insert_postings(self, connection: Connection, hashes: Array, postings: Postings) -> None:
        """See `Dialect.insert_postings`."""
        columns = clustered(hashes, postings)
        with cursor_of(connection) as cursor:
            for first in range(0, len(hashes), _ROWS_AN_INSERT):
                rows = zip(*(column[first : first + _ROWS_AN_INSERT].tolist() for column in columns), strict=True)
                cursor.execute(f"INSERT INTO postings (hash, track_id, frame, copy) VALUES {str(list(rows))[1:-1]}")  # noqa: S608 - numbers

    def find(self, connection: Connection, hashes: Array) -> Array:
        """See `Dialect.find`: a list of values that the server joins, each a descent of the index."""
        kind = _HASH_TYPES[8 * hashes.dtype.itemsize]
        found = [np.empty(0, posting_dtype(hashes.dtype))]
        for first in range(0, len(hashes), _HASHES_A_LOOKUP):
            asked = hashes[first : first + _HASHES_A_LOOKUP].tolist()
            source = (
                f"JSON_TABLE('{asked}', '$[*]' COLUMNS (hash {kind} PATH '$')) AS asked"
                " STRAIGHT_JOIN postings ON postings.hash = asked.hash"
            )
            found.append(self._packed(connection, source, "hash", ("track_id", "frame"), hashes.dtype))
        return np.concatenate(found)

    def postings(self, connection: Connection, first_id: int, last_id: int, stored: np.dtype[Any]) -> Array:
        """See `Dialect.postings`."""
        source = f"postings FORCE INDEX (postings_by_track) WHERE track_id BETWEEN {first_id} AND {last_id}"
        return self._packed(connection, source, "track_id", ("hash", "frame"), stored)

    def size_bytes(self, connection: Connection) -> int:
        """See `Dialect.size_bytes`; the server's own figures lag behind, so it is at least what the rows take."""
        told = "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()"
        needed = f"SELECT SUM(n_hashes) * {LEAST_ROW_BYTES} FROM tracks"  # noqa: S608 - a number of ours
        return max(int(connection.exec_driver_sql(query).scalar_one() or 0) for query in (told, needed))

    def failure(self, error: BaseException) -> Failure:
        """See `Dialect.failure`."""
        code = error.args[0] if error.args else 0
        if code == _STORAGE_ENGINE:
            return Failure.FULL if "28" in str(error) else Failure.DAMAGED
        for failure, codes in (
            (Failure.AWAY, _AWAY),
            (Failure.REFUSED, _REFUSED),
            (Failure.FULL, _FULL),
            (Failure.DAMAGED, _DAMAGED),
            (Failure.LATE, _LATE),
        ):
            if code in codes:
                return failure
        return Failure.AWAY if isinstance(error, pymysql.InternalError | pymysql.InterfaceError) else Failure.OTHER

    def _packed(
        self, connection: Connection, source: str, key: str, columns: Sequence[str], stored: np.dtype[Any]
    ) -> Array:
        """Return the postings of `source`, which the server packs by `key`."""
        wide = "hash" in columns and stored.itemsize == 8  # noqa: PLR2004 - bytes
        words = [word for column in columns for word in _words(f"postings.{column}", wide=wide and column == "hash")]
        packed = ", ".join(f"{_TOP} | ({word} & {_TOP - 1})" for word in words)
        lost = " + ".join(f"((({word}) >> 31 & 1) << {place})" for place, word in enumerate(words))
        query = (
            f"SELECT postings.{key}, COUNT(*), GROUP_CONCAT(CHAR({packed}, {lost} USING binary) SEPARATOR '')"  # noqa: S608 - numbers, and names of ours
            f" FROM {source} GROUP BY postings.{key}"
        )
        with cursor_of(connection) as cursor:
            cursor.execute(query)
            groups = cursor.fetchall()
        record = np.dtype([*((f"w{place}", ">u4") for place in range(len(words))), ("lost", "u1")])
        whole = [group for group in groups if len(group[2]) == group[1] * record.itemsize]
        cut = [
            self._rows(connection, key, group[0], stored)
            for group in groups
            if len(group[2]) != group[1] * record.itemsize
        ]
        rows = np.frombuffer(b"".join(group[2] for group in whole), record)
        counts = [group[1] for group in whole]
        found = np.empty(len(rows), posting_dtype(stored))
        found[key] = np.repeat(np.array([group[0] for group in whole], found.dtype[key]), counts)
        values = [
            (rows[f"w{place}"] & (_TOP - 1)) | ((rows["lost"].astype(np.uint32) >> place & 1) << 31)
            for place in range(len(words))
        ]
        found["frame"] = values[-1].astype(np.uint32).view(np.int32)
        if key == "hash":
            found["track_id"] = values[0]
        elif wide:
            found["hash"] = (values[0].astype(np.uint64) << 32 | values[1]).view(np.int64)
        else:
            found["hash"] = values[0].astype(np.uint32).view(np.int32)
        return np.concatenate([found, *cut])

    def _rows(self, connection: Connection, key: str, value: int, stored: np.dtype[Any]) -> Array:
        """Return the postings of one group row by row: it is larger than a packet of the server's."""
        with cursor_of(connection) as cursor:
            cursor.execute(f"SELECT hash, track_id, frame FROM postings WHERE {key} = {value}")  # noqa: S608 - a number, and a name of ours
            return np.fromiter(cursor.fetchall(), posting_dtype(stored))


def _words(column: str, *, wide: bool) -> tuple[str, ...]:
    """Return `column` as numbers of 32 bits."""
    return (f"{column} >> 32", column) if wide else (column,)


def _is_mariadb(connection: Connection) -> bool:
    return bool(getattr(connection.dialect, "is_mariadb", False))


def _set_session(connection: pymysql.Connection[Any], _record: object) -> None:
    """Have long answers packed whole, nothing shortened or changed on its way in, and a network that is gone noticed."""
    driver_socket = cast("Any", connection)._sock  # noqa: SLF001 - the driver has no setting for what follows
    if driver_socket.family != socket.AF_UNIX:
        for option, value in _SOCKET_OPTIONS.items():
            driver_socket.setsockopt(socket.IPPROTO_TCP, option, value)
    with connection.cursor() as cursor:
        cursor.execute(
            "SET SESSION group_concat_max_len = 4294967295, sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00'"
        )
