"""What differs from one kind of old database to another: how it is opened for reading only, how rows come, how a statement is stopped."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import psycopg2
import psycopg2.extensions
import pymysql
import sqlalchemy as sa
from pymysql.constants import ER
from pymysql.cursors import SSCursor

from dejavud.errors import UnsupportedDatabase
from dejavud.index.urls import without_password

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.engine import URL

FAILURES = (sa.exc.SQLAlchemyError, psycopg2.Error, pymysql.Error, sqlite3.Error, OSError)
"""All that can be raised where a database is at fault."""

_CONNECT_S = 10
_MAX_GROUP_BYTES = 1 << 24
"""Of the digits of all hashes at one offset of a song, which are some kilobytes; MySQL's own limit is 1024."""
_FORMS = "an old database is mysql://USER:PASSWORD@HOST/NAME, postgresql://USER:PASSWORD@HOST/NAME or sqlite:////absolute/path"


class Cursor(Protocol):
    """What all drivers' cursors have."""

    def execute(self, statement: str, /) -> Any: ...  # noqa: ANN401, D102 - of the driver

    def fetchmany(self, size: int, /) -> Any: ...  # noqa: ANN401, D102

    def close(self) -> None: ...  # noqa: D102


class OldSource(ABC):
    """One kind of database.

    kind : what reports call it.
    """

    kind: str

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine = sa.create_engine(self._engine_url(url), poolclass=sa.NullPool, **self._options())

    @abstractmethod
    def connect(self) -> sa.Connection:
        """Return a connection in a transaction that can only read, on one snapshot."""

    @abstractmethod
    def want_bytes(self, connection: sa.Connection) -> None:
        """Have text come as the bytes that it is stored in, whose encoding the server may not know; schemas can no longer be looked into."""

    @abstractmethod
    def cursor(self, connection: sa.Connection) -> Cursor:
        """Return a cursor whose rows stay with the server until they are fetched."""

    @abstractmethod
    def interrupt(self, connection: sa.Connection) -> None:
        """Stop the statement that another thread has running."""

    def joined_hex(self, column: sa.ColumnClause[Any], *, is_text: bool) -> sa.ColumnElement[Any]:  # noqa: ARG002 - some servers care
        """Return the hexadecimal digits of a group's bytes in `column`, with commas between: a row of many costs little more than one of one."""
        return sa.func.group_concat(sa.func.hex(column))

    def reason_of(self, error: BaseException) -> str:
        """Return what went wrong, in one line, without the password."""
        cause = getattr(error, "orig", None) or error
        says = cause.args[-1] if isinstance(cause, pymysql.Error) and cause.args else cause
        if isinstance(cause, OSError):
            says = cause.strerror or cause
        reason = " ".join(str(says).split()) or type(cause).__name__
        password = self._url.password
        return reason.replace(password, "***") if password else reason

    @abstractmethod
    def _engine_url(self, url: URL) -> URL: ...

    def _options(self) -> dict[str, Any]:
        return {"connect_args": {"connect_timeout": _CONNECT_S}}


def old_source(url: str) -> OldSource:
    """Return the database at `url`, which may name any driver; raises `UnsupportedDatabase`."""
    scheme, is_url, _ = url.partition("://")
    kind = _KINDS.get(scheme.partition("+")[0])
    if not is_url or kind is None:
        raise UnsupportedDatabase(url=without_password(url), reason=f"no dejavu kept its songs there: {_FORMS}")
    try:
        return kind(sa.make_url(url))
    except (sa.exc.ArgumentError, ValueError) as error:
        raise UnsupportedDatabase(url=without_password(url), reason=f"this is no database URL: {_FORMS}") from error


class _SQLite(OldSource):
    kind = "sqlite"

    def _engine_url(self, url: URL) -> URL:
        if url.database in (None, "", ":memory:") or not Path(url.database or "").is_absolute():
            reason = "name the database's file from the root on, after four slashes: sqlite:////home/ada/dejavu.db"
            raise UnsupportedDatabase(url=without_password(str(url)), reason=reason)
        return sa.make_url("sqlite://")

    def _options(self) -> dict[str, Any]:
        return {"creator": self._open}

    def _open(self) -> sqlite3.Connection:
        path = Path(str(self._url.database))
        with path.open("rb") as file:  # says plainly what is wrong where it cannot be read
            is_wal = file.read(20)[18:20] == b"\2\2"
        # nobody has a file in WAL mode open that has no log beside it, and only so SQLite makes none itself
        immutable = "&immutable=1" if is_wal and not path.with_name(f"{path.name}-wal").exists() else ""
        uri = f"file:{quote(str(path))}?mode=ro{immutable}"
        return sqlite3.connect(uri, uri=True, timeout=_CONNECT_S, isolation_level=None, check_same_thread=False)

    def connect(self) -> sa.Connection:
        connection = self._engine.connect()
        connection.exec_driver_sql("PRAGMA query_only = 1")
        connection.exec_driver_sql("BEGIN")
        return connection

    def want_bytes(self, connection: sa.Connection) -> None:
        _driver(connection).text_factory = bytes

    def cursor(self, connection: sa.Connection) -> Cursor:
        cursor: Cursor = _driver(connection).cursor()
        return cursor

    def interrupt(self, connection: sa.Connection) -> None:
        _driver(connection).interrupt()


class _PostgreSQL(OldSource):
    kind = "postgresql"

    def _engine_url(self, url: URL) -> URL:
        return url.set(drivername="postgresql+psycopg2")

    def connect(self) -> sa.Connection:
        connection = self._engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        return connection

    def want_bytes(self, connection: sa.Connection) -> None:
        raw = psycopg2.extensions.new_type(psycopg2.extensions.UNICODE.values, "BYTES", psycopg2.extensions.BYTES)
        psycopg2.extensions.register_type(raw, _driver(connection))

    def joined_hex(self, column: sa.ColumnClause[Any], *, is_text: bool) -> sa.ColumnElement[Any]:
        stored = sa.func.convert_to(column, "UTF8") if is_text else column
        return sa.func.string_agg(sa.func.encode(stored, "hex"), ",")

    def cursor(self, connection: sa.Connection) -> Cursor:
        cursor: Cursor = _driver(connection).cursor(name="dejavud")
        return cursor

    def interrupt(self, connection: sa.Connection) -> None:
        _driver(connection).cancel()


class _MySQL(OldSource):
    kind = "mysql"

    def _engine_url(self, url: URL) -> URL:
        return url.set(drivername="mysql+pymysql")

    def connect(self) -> sa.Connection:
        connection = self._engine.connect()
        with suppress(sa.exc.DBAPIError):  # old servers have another limit
            connection.exec_driver_sql("SET SESSION net_write_timeout = 3600")  # commits may keep us from reading
        connection.exec_driver_sql(f"SET SESSION group_concat_max_len = {_MAX_GROUP_BYTES}")
        mode = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"
        try:
            connection.exec_driver_sql(
                f"{mode}, READ ONLY"
            )  # of the session: a DDL statement would end a transaction first
        except sa.exc.DBAPIError as error:
            if error.orig is None or error.orig.args[0] != ER.PARSE_ERROR:
                raise
            connection.exec_driver_sql(mode)  # servers before 5.6 know no more
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        return connection

    def want_bytes(self, connection: sa.Connection) -> None:
        _driver(connection).use_unicode = False

    def cursor(self, connection: sa.Connection) -> Cursor:
        cursor: Cursor = _driver(connection).cursor(_StreamingCursor)
        return cursor

    def interrupt(self, connection: sa.Connection) -> None:
        with self._engine.connect() as other:
            other.exec_driver_sql(f"KILL QUERY {int(_driver(connection).thread_id())}")


class _StreamingCursor(SSCursor):
    """PyMySQL's, but closing it, or forgetting it, does not read what is left of a result: the connection is given up with it."""

    _result: Any
    connection: Any

    def close(self) -> None:
        """See the class."""
        if self._result is not None and self._result.unbuffered_active:
            self._result.unbuffered_active = False
            self._result.connection = None
        self._result = self.connection = None

    __del__ = close


_KINDS: Mapping[str, Callable[[URL], OldSource]] = {
    "mysql": _MySQL,
    "mariadb": _MySQL,
    "postgres": _PostgreSQL,
    "postgresql": _PostgreSQL,
    "sqlite": _SQLite,
}


def _driver(connection: sa.Connection) -> Any:  # noqa: ANN401 - of the driver
    return connection.connection.driver_connection
