"""Who is let in: what a client has to show, and what it makes of him."""

from __future__ import annotations

import hashlib
import hmac

from dejavud.errors import Unauthorized
from dejavud.services.clients import EVERYTHING, LOCAL, Client

PASSWORD_NAME = "security.token"  # noqa: S105 - what he is called who has the token that conf sets
"""The name of those who show the token of the conf file."""


class Access:
    """The tokens there are; they may change while doors are open.

    password : the token of the conf file, which gives every scope; empty where there is none.
    """

    def __init__(self, password: str = "") -> None:
        self._password = b""
        self.change_password(password)

    def change_password(self, password: str) -> None:
        """Take another token of the conf file from now on, none where it is empty."""
        self._password = _digest(password) if password else b""

    @property
    def asks(self) -> bool:
        """Whether there is any token: where there is none, whoever reaches a door that only this machine can reach may do everything."""
        return bool(self._password)

    def admit(self, token: str | None, address: str, *, is_wide: bool = False) -> Client:
        """Return who shows `token` at a door that is asked from `address`; raises `Unauthorized`.

        is_wide : other machines can reach the door: nobody is let in there without a token, even where there is none to be had.
        """
        if not self.asks and not is_wide:
            return Client(address, EVERYTHING)
        if token is not None and hmac.compare_digest(self._password, _digest(token)):
            return Client(PASSWORD_NAME, EVERYTHING)
        raise Unauthorized

    def admit_owner(self, token: str | None) -> Client:
        """Return who asks over a socket that only the daemon's own user can open: he is asked for the token of the conf file, where it sets one."""
        if self._password:
            self.admit(token, LOCAL.name)
        return LOCAL


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
