"""Who may ask over HTTP and WebSocket.

Without a token a daemon listens on loopback only, where a browser is the way in for strangers: a page of any site can
send requests to it (their ``Origin`` tells), or point a name of its own at this machine's address (the ``Host`` tells).
With a token neither matters, for no foreign page has it and browsers do not add it by themselves.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dejavud.errors import Forbidden
from dejavud.wire.messages import check_token

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCHEME = "bearer "


@dataclass(slots=True)
class Token:
    """A token that may be changed while doors are open: those who hold this ask for the new one from then on."""

    value: str | None = field(default=None, repr=False)


def wanted_token(token: str | Token | None) -> str | None:
    """Return what a client has to send just now; None where nothing is asked."""
    return token.value if isinstance(token, Token) else token


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of one listener.

    host : the address it is bound to, by which it may be called as well as by loopback's names.
    """

    host: str
    token: str | Token | None = field(repr=False)

    def check_sender(self, headers: Iterable[tuple[bytes, bytes]], *, host_matters: bool = True) -> None:
        """Raise `Forbidden` when a foreign web page sent this.  Header names are in lower case.

        Where every browser sends an ``Origin`` (WebSocket) the ``Host`` need not matter.
        """
        if wanted_token(self.token) is not None:
            return
        found = {name: value.decode("latin-1") for name, value in headers}
        if host_matters and not self._is_ours(_host_of("//" + found.get(b"host", ""))):
            reason = (
                f"this daemon is not called {found.get(b'host', '')!r}: "
                f"use localhost or {self.host}, or set a token in its conf to reach it by any name"
            )
            raise Forbidden(reason=reason)
        origin = found.get(b"origin")
        if origin is not None and not self._is_ours(_host_of(origin)):
            raise Forbidden(reason=f"pages of {origin!r} may not use this daemon")

    def check_token(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise `Unauthorized` unless ``Authorization: Bearer`` brings the token that is set."""
        given = next((value.decode("latin-1") for name, value in headers if name == b"authorization"), "")
        is_bearer = given[: len(_SCHEME)].lower() == _SCHEME
        check_token(wanted_token(self.token), given[len(_SCHEME) :].strip() if is_bearer else None)

    def _is_ours(self, host: str | None) -> bool:
        if host is None:
            return False
        if host in {"localhost", self.host.lower().strip("[]")}:
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def _host_of(url: str) -> str | None:
    """Return the host that `url` names, in lower case, without port or brackets; None when it names none."""
    try:
        parts = urlsplit(url)
        is_plain = parts.username is None and parts.port != 0  # asking for the port checks that it is a number
    except ValueError:
        return None
    return parts.hostname if is_plain else None
