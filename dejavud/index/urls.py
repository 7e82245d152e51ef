"""Database URLs: which kind of database each names, and how it may be shown."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote_plus

from dejavud.errors import UnsupportedDatabase

FORMS = (
    "a database is named as duckdb:////absolute/path, duckdb:///relative/path, duckdb:///:memory:, memory://"
    " (both of the last forget everything at the end), postgresql://user:password@host:5432/name,"
    " mysql://user:password@host:3306/name (MariaDB too) or sqlite:////absolute/path"
)
_SCHEMES = {
    "duckdb": "duckdb",
    "memory": "memory",
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "postgresql+psycopg2": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
}
_SERVERS = ("postgresql+psycopg2", "mysql+pymysql")
_SECRET = re.compile("pass|pwd|secret|token|key", re.IGNORECASE)
_MASK = "***"


def scheme_of(url: str) -> str:
    """Return the scheme of `url` in the one spelling that we use: with our driver, as SQLAlchemy writes it.

    Raises `UnsupportedDatabase`, whose message names no password, for what is no URL of a database that we open.
    """
    given, mark, _ = url.partition("://")
    if not mark:
        if given.startswith("duckdb:"):
            raise _unsupported(url, "a path follows three slashes, an absolute one brings the fourth")
        raise _unsupported(url, "this is not a database URL")
    scheme = _SCHEMES.get(given.lower())
    if scheme is None:
        kind, _, driver = given.lower().partition("+")
        if driver and kind in _SCHEMES:
            raise _unsupported(url, f"the driver is chosen by dejavud: leave out +{driver}")
        raise _unsupported(url, "this kind of database is not supported")
    return scheme


def normalized(url: str) -> str:
    """Return `url` in the spelling of `scheme_of`; raises `UnsupportedDatabase` also where it could be read in two ways.

    A password with an @ in it, written as it is, would make a host of its second half, which then stood in messages.
    """
    scheme = scheme_of(url)
    rest = url.partition("://")[2]
    if scheme in _SERVERS:
        login, _, place = rest.rpartition("@")
        if re.search("[@/?#]", login) or "@" in place:
            reason = "in user and password, the characters @ / ? # and % are written as %40 %2F %3F %23 and %25"
            raise _unsupported(url, reason)
    return f"{scheme}://{rest}"


def is_server(url: str) -> bool:
    """Tell whether `url` names a database of a server, and no file."""
    return scheme_of(url) in _SERVERS


def digest_of(url: str) -> str:
    """Return a few characters that tell the database of a server from others: its host, port and name, whoever asks."""
    scheme, _, rest = normalized(url).partition("://")
    place = rest.rpartition("@")[2].partition("?")[0]
    return hashlib.sha256(f"{scheme}://{place}".encode()).hexdigest()[:12]


def path_of(url: str) -> str | None:
    """Return the path of the file that a URL of DuckDB or SQLite names; None for a database in memory."""
    scheme, _, rest = url.partition("://")
    if not rest or rest in {"/", "/:memory:"}:  # SQLAlchemy's three spellings of no file
        return None
    if not rest.startswith("/"):
        reason = f"a path follows three slashes ({scheme}:///relative), an absolute one brings the fourth"
        raise _unsupported(url, reason)
    if "?" in rest:
        raise _unsupported(url, "options after ? are not supported")
    return rest[1:]


def without_password(url: str) -> str:
    """Return `url` as it may be shown: whatever can be a password is masked, rather too much than too little."""
    shown = re.sub(r"(://[^:]*):.*@", rf"\1:{_MASK}@", url, count=1, flags=re.DOTALL)
    first, mark, query = shown.partition("?")
    return first + mark + re.sub(r"([^&?=]*)=([^&]*)", _masked, query)


def _masked(option: re.Match[str]) -> str:
    return f"{option[1]}={_MASK if _SECRET.search(unquote_plus(option[1])) else option[2]}"


def _unsupported(url: str, reason: str) -> UnsupportedDatabase:
    return UnsupportedDatabase(url=without_password(url), reason=f"{reason}: {FORMS}")
