"""Who may ask over HTTP and WebSocket.

Without a token a daemon listens on loopback only, where a browser is the way in for strangers: a page of any site can
send requests to it (their ``Origin`` tells), or point a name of its own at this machine's address (the ``Host`` tells).
With a token neither matters, for no foreign page has it and browsers do not add it by themselves.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dejavud.errors import Forbidden

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dejavud.services.access import Access
    from dejavud.services.clients import Client

_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of one listener.

    host : the address it is bound to, by which it may be called as well as by loopback's names.
    """

    host: str
    access: Access

    def check_sender(self, headers: Iterable[tuple[bytes, bytes]], *, host_matters: bool = True) -> None:
        """Raise `Forbidden` when a foreign web page sent this.  Header names are in lower case.

        Where every browser sends an ``Origin`` (WebSocket) the ``Host`` need not matter.
        """
        if self.access.asks:
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

    def admit(self, headers: Iterable[tuple[bytes, bytes]], address: str) -> Client:
        """Return who sent this from `address`; raises `Unauthorized` unless ``Authorization: Bearer`` brings a token, where one is asked for."""
        given = next((value.decode("latin-1") for name, value in headers if name == b"authorization"), "")
        is_bearer = given[: len(_SCHEME)].lower() == _SCHEME
        return self.access.admit(given[len(_SCHEME) :].strip() if is_bearer else None, address, is_wide=self._is_wide)

    @property
    def _is_wide(self) -> bool:
        return not _is_loopback(self.host.lower().strip("[]"))

    def _is_ours(self, host: str | None) -> bool:
        return host is not None and (host == self.host.lower().strip("[]") or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
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
