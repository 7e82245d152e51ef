"""Who is let in: what a client has to show, and what it makes of him."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

import trio

from dejavud.errors import RateLimited, Unauthorized
from dejavud.services.client_limits import Buckets
from dejavud.services.clients import EVERYTHING, LOCAL, PASSWORD_NAME, Client
from dejavud.services.tokens import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from dejavud.services.tokens import Token

WRONG_A_SECOND, WRONG_AT_ONCE = 0.2, 10
"""How many wrong tokens may be tried from one address: 17 000 a day."""


class Access:
    """The tokens there are; they may change while doors are open, which takes effect at once.

    password : the token of the conf file, which gives every scope; empty where there is none.
    allowed_hosts : names by which the daemon may be called from a browser where nobody needs a token, beside those of this machine.
    allowed_origins : pages of other places that may use it, as browsers call them (``https://radio.example``).
    trusted_proxies : networks of those who are believed what they say of where a request came from.
    """

    def __init__(
        self, password: str = "", tokens: Iterable[Token] = (), clock: Callable[[], float] = monotonic
    ) -> None:
        self._password = digest_of(password) if password else ""
        self._tokens = {token.name: token for token in tokens}
        self._wrong = Buckets(WRONG_A_SECOND, WRONG_AT_ONCE, clock)
        self._changed, self.used = trio.Event(), trio.Event()
        self.allowed_hosts: Collection[str] = ()
        self.allowed_origins: Collection[str] = ()
        self.trusted_proxies: Collection[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Return the tokens but that of the conf file, by name."""
        return tuple(sorted(self._tokens.values(), key=lambda token: token.name))

    @property
    def asks(self) -> bool:
        """Whether there is any token: where there is none, whoever reaches a door of this machine's own may do everything."""
        return bool(self._password or self._tokens)

    def change_password(self, password: str) -> None:
        """Take another token of the conf file from now on, none where it is empty."""
        self._password = digest_of(password) if password else ""
        self._tell_change()

    def add(self, token: Token) -> None:
        """Let those in who have this, too."""
        self._tokens[token.name] = token
        self._tell_change()

    def remove(self, name: str) -> None:
        """Let nobody in by the token of this name any more."""
        del self._tokens[name]
        self._tell_change()

    def _tell_change(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def sender_of(self, headers: Iterable[tuple[bytes, bytes]], address: str) -> str:
        """Return from where a request comes that `address` passes on: as each trusted proxy wrote down who had asked it, in ``X-Forwarded-For``.

        It is read from its end, where the last proxy wrote, and no further than to the first address that is no trusted proxy's, or is no
        address: what stands before that anybody can have written.
        """
        told = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1").split(",")
        while told and self._is_trusted(address):
            before = told.pop().strip()
            if _parsed(before) is None:
                break
            address = before
        return address

    def _is_trusted(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self.trusted_proxies)

    def admit(self, token: str | None, address: str, *, is_wide: bool = False) -> Client:
        """Return who shows `token` at a door that is asked from `address`; raises `Unauthorized`, or `RateLimited` after too many wrong ones.

        is_wide : other machines can reach the door: nobody is let in there without a token, even where there is none to be had.
        """
        address = address_name(address)
        if not self.asks and not is_wide:
            return Client(address, EVERYTHING, is_limited=False)
        if token is None:
            raise Unauthorized
        digest = digest_of(token)
        found = self._found(digest)
        if found is not None:
            self._note_use(found)
            return Client(found.name, found.scopes, proof=digest)
        # Ours cannot be guessed, so they are taken before this, and nobody is shut out by what others try from his address.
        if wait_s := self._wrong.wait_s(address):
            raise RateLimited(client=address, what="wrong tokens", retry_after_s=round(wait_s + 0.05, 1))
        if self._password and hmac.compare_digest(self._password, digest):
            return Client(PASSWORD_NAME, EVERYTHING, proof=digest)
        self._wrong.take(address)
        raise Unauthorized

    def admit_owner(self, token: str | None) -> Client:
        """Return who asks over a socket that only the daemon's own user can open; where the conf file sets a token he shows that, or one with less."""
        if not self._password:
            return LOCAL
        shown = self.admit(token, LOCAL.name)
        return replace(LOCAL, scopes=shown.scopes)

    async def until_shut_out(self, client: Client) -> None:
        """Return when one who was let in would be no more: his token was removed or changed, or is asked for by now."""
        while self.lets_in(client):
            await self._changed.wait()

    def lets_in(self, client: Client) -> bool:
        """Tell whether one who was let in would be still."""
        if client.is_local:
            return True
        if not client.proof:
            return not self.asks
        return client.proof == self._password or self._found(client.proof) is not None

    def _found(self, digest: str) -> Token | None:
        """Return the token with a digest, in a time that says nothing of how near it was to which."""
        found = None
        for token in self._tokens.values():
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found

    def _note_use(self, token: Token) -> None:
        now = datetime.now(UTC).isoformat(timespec="minutes")
        if token.last_used_at != now:
            self._tokens[token.name] = replace(token, last_used_at=now)
            self.used.set()


def address_name(address: str) -> str:
    """Return what those at an address are called: the address, and of IPv6 the network of 64 bits, as one machine has all of that."""
    parsed = _parsed(address)
    if parsed is None:
        return address
    is_one = isinstance(parsed, ipaddress.IPv4Address) or parsed.is_loopback
    return str(parsed) if is_one else str(ipaddress.ip_network((parsed, 64), strict=False))


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, of IPv4 where it is that in the clothes of IPv6; None where it is none."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
