"""Who may ask over HTTP and WebSocket.

Where there is no token a browser of this machine is the way in for strangers: a page of any site can send requests to a daemon on loopback
(their ``Origin`` tells, or ``Sec-Fetch-Site`` where browsers leave that out), or point a name of its own at loopback (the ``Host`` tells).
Where there is one none of this matters, for no foreign page has it and browsers do not add it by themselves.
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

    Headers = Iterable[tuple[bytes, bytes]]

_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of one listener.

    host : the address it is bound to, by which it may be called as well as by loopback's names, and those that `access` allows.

    Pages of this machine may come from any port: whatever serves them could ask by itself.
    """

    host: str
    access: Access

    @property
    def is_wide(self) -> bool:
        """Whether other machines can reach the listener."""
        return not _is_loopback(self.host.lower().strip("[]"))

    def check_sender(self, headers: Headers, *, is_get: bool = True) -> None:
        """Raise `Forbidden` when a foreign web page sent this.  Header names are in lower case."""
        if self.access.asks or self.is_wide:
            return
        found = [(name, value.decode("latin-1")) for name, value in headers]
        called = next((value for name, value in found if name == b"host"), "")
        if not self._is_ours(_host_of("//" + called)):
            reason = (
                f"this daemon is not called {called[:80]!r}: use localhost or {self.host}, name it in security.allowed_hosts, "
                "or have it ask for a token, to reach it by any name"
            )
            raise Forbidden(reason=reason)
        origins = [value for name, value in found if name == b"origin"]
        for origin in origins:
            if origin not in self.access.allowed_origins and not self._is_ours(_host_of(origin)):
                reason = (
                    f"pages of {origin[:80]!r} may not use this daemon; security.allowed_origins names those that may"
                )
                raise Forbidden(reason=reason)
        if not origins:
            self._check_fetch(dict(found), is_get=is_get)

    def _check_fetch(self, headers: dict[bytes, str], *, is_get: bool) -> None:
        """Raise `Forbidden` for what a foreign page has a browser load; a link that somebody follows from there is none of that."""
        is_link = is_get and (headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")) == (
            "navigate",
            "document",
        )
        if headers.get(b"sec-fetch-site") == "cross-site" and not is_link:
            raise Forbidden(reason="pages of other sites may not use this daemon, not even as images or frames")

    def admit(self, headers: Headers, address: str, token: str | None = None) -> Client:
        """Return who sent this from `address`, by ``Authorization: Bearer`` and otherwise by `token`, where one is asked for.

        Raises `Unauthorized` and `RateLimited`.
        """
        given = next((value.decode("latin-1") for name, value in headers if name == b"authorization"), "")
        if given[: len(_SCHEME)].lower() == _SCHEME:
            token = given[len(_SCHEME) :].strip()
        return self.access.admit(token, address, is_wide=self.is_wide)

    def _is_ours(self, host: str | None) -> bool:
        if host is None:
            return False
        return host == self.host.lower().strip("[]") or host in self.access.allowed_hosts or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_of(url: str) -> str | None:
    """Return the host that `url` names, in lower case, without port, brackets or the dot that may end a full name.

    None where it names none, or more than that.
    """
    try:
        parts = urlsplit(url)
        is_plain = parts.username is None and parts.port != 0  # asking for the port checks that it is a number
    except ValueError:
        return None
    if not is_plain or not parts.hostname or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname.removesuffix(".")
