"""What `Dejavu` is made with, in the words of either old library, as a configuration."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dejavud.config import Arguments, load
from dejavud.errors import InvalidConfig

if TYPE_CHECKING:
    from dejavud.config import Config

_ORIGIN = "Dejavu(config)"
_KEYS = ("database", "database_type", "fingerprint_limit")
_DIALECTS = {"mysql": "mysql", "postgres": "postgresql", "postgresql": "postgresql"}
_PARTS = {
    "host": ("host", "hostname"),
    "port": ("port",),
    "user": ("user", "username"),
    "password": ("password", "passwd"),
    "database": ("database", "db"),
}
"""Part of a URL to what the versions of the old library called it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to open, and how much of each file to take in.

    limit_s : None for all of it.
    """

    config: Config
    limit_s: float | None


def chosen(given: str | Mapping[str, Any] | None, fingerprint_limit: float | None) -> Choice:
    """Return the configuration: that of a daemon started here, but for the database, where `given` names one.

    given : a database URL, or the old configuration: ``database``, ``database_type`` and ``fingerprint_limit``.

    Raises `InvalidConfig`.
    """
    if isinstance(given, Mapping):
        _refuse_unknown(given, _KEYS, _ORIGIN)
        limit = given.get("fingerprint_limit") if fingerprint_limit is None else fingerprint_limit
        url = _url_of(given)
    elif given is None or isinstance(given, str):
        limit, url = fingerprint_limit, given
    else:
        reason = f"a database URL or a dict is needed, not {type(given).__name__}"
        raise InvalidConfig(origin=_ORIGIN, reason=reason)
    settings = {} if url is None else {"data.url": url}
    loaded = load(Arguments(None, False, False, settings), os.environ, Path.cwd())  # noqa: FBT003 - neither only checks nor prints
    return Choice(loaded.config, _limit_s(limit))


def _limit_s(limit: object) -> float | None:
    """Return the limit in seconds; -1 is the old word for none."""
    if limit is None or limit == -1:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < math.inf:
        reason = f"it must be a number of seconds above 0, or None (or -1) for whole files, not {limit!r}"
        raise InvalidConfig(origin="fingerprint_limit", reason=reason)
    return float(limit)


def _url_of(given: Mapping[str, Any]) -> str | None:
    """Return the URL of the database server that the old configuration names; None where it names none."""
    if "database" not in given and "database_type" not in given:
        return None
    kind = given.get("database_type", "mysql")
    if kind not in _DIALECTS:
        reason = (
            f"database_type is {kind!r}; it was one of mysql, postgres. Name other databases by URL: Dejavu(dburl=…)"
        )
        raise InvalidConfig(origin=_ORIGIN, reason=reason)
    server = given.get("database", {})
    if not isinstance(server, Mapping):
        reason = "'database' holds a dict with host, user, password and database. For a URL: Dejavu(dburl=…)"
        raise InvalidConfig(origin=_ORIGIN, reason=reason)
    _refuse_unknown(server, [name for names in _PARTS.values() for name in names], f"{_ORIGIN}, 'database'")
    parts = {
        part: quote(str(server[name]), safe="") for part, names in _PARTS.items() for name in names if name in server
    }
    password = f":{parts['password']}" if parts.get("password") else ""
    user = f"{parts.get('user', '')}{password}"
    port = f":{parts['port']}" if "port" in parts else ""
    at = f"{user}@" if user else ""
    return f"{_DIALECTS[kind]}://{at}{parts.get('host', 'localhost')}{port}/{parts.get('database', '')}"


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...] | list[str], origin: str) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidConfig(origin=origin, reason=f"there is no key {unknown[0]!r}; there are: {', '.join(known)}")
