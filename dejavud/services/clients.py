"""Who asks, and what he may do: the one table that says which scope each command needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from dejavud.errors import Forbidden, InvalidRequest


class Scope(StrEnum):
    """A kind of thing that a client may do."""

    RECOGNIZE = "recognize"
    """Ask what is playing."""
    READ = "read"
    """See what the daemon knows: the library, the history, listeners, events, figures."""
    WRITE = "write"
    """Change that; and see it, because nobody can change what he may not see."""
    ADMIN = "admin"
    """Everything, and so what concerns the daemon and its machine."""


_IMPLIED: dict[Scope, frozenset[Scope]] = {
    Scope.RECOGNIZE: frozenset({Scope.RECOGNIZE}),
    Scope.READ: frozenset({Scope.READ}),
    Scope.WRITE: frozenset({Scope.WRITE, Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
}

SCOPES: dict[str, Scope | None] = {
    "recognize": Scope.RECOGNIZE,
    "recognize_microphone": Scope.RECOGNIZE,
    "scan": Scope.RECOGNIZE,
    "status": Scope.READ,
    "metrics": Scope.READ,
    "ready": Scope.READ,
    "tracks.list": Scope.READ,
    "tracks.get": Scope.READ,
    "tracks.known": Scope.READ,
    "devices": Scope.READ,
    "listen.list": Scope.READ,
    "listen.peaks": Scope.READ,
    "events.replay": Scope.READ,
    "jobs.list": None,
    "jobs.get": None,
    "jobs.cancel": None,
    "history.list": Scope.READ,
    "history.summary": Scope.READ,
    "hooks.list": Scope.READ,
    "fingerprint": Scope.WRITE,
    "tracks.edit": Scope.WRITE,
    "tracks.enable": Scope.WRITE,
    "tracks.disable": Scope.WRITE,
    "tracks.remove": Scope.WRITE,
    "listen.add": Scope.WRITE,
    "listen.send": Scope.WRITE,
    "listen.remove": Scope.WRITE,
    "listen.pause": Scope.WRITE,
    "listen.resume": Scope.WRITE,
    "history.remove": Scope.WRITE,
    "hooks.test": Scope.ADMIN,
    "migrate": Scope.ADMIN,
    "compact": Scope.ADMIN,
    "check": Scope.ADMIN,
    "export": Scope.ADMIN,
    "import": Scope.ADMIN,
    "backup": Scope.ADMIN,
    "restore": Scope.ADMIN,
    "access.list": Scope.ADMIN,
    "access.add": Scope.ADMIN,
    "access.remove": Scope.ADMIN,
    "keys.list": Scope.ADMIN,
    "keys.add": Scope.ADMIN,
    "keys.remove": Scope.ADMIN,
    "reload": Scope.ADMIN,
    "shutdown": Scope.ADMIN,
}
"""By command; one that is not here is for administrators.  None: whoever asks, the command itself looks at what he may."""

LOCAL_ONLY = frozenset(
    {
        *("migrate", "export", "import", "backup", "restore"),  # they name files and databases of the daemon's machine
        *("access.list", "access.add", "access.remove", "keys.add", "keys.remove"),  # who is let in lets nobody else in
        *("reload", "shutdown"),
    }
)
"""Commands that are taken from the local control socket only, whatever scopes a client has."""

EVENTS = Scope.READ
"""What a client needs who is told of events."""


def scope_of(command: str) -> Scope | None:
    """Return the scope that a command needs, None where it looks at that itself."""
    return SCOPES.get(command, Scope.ADMIN)


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks.

    name : for limits and the log: his token's, his address where he has none, `LOCAL`'s over the ipc control socket.
    scopes : what he was given.
    is_local : he came through a socket that only the daemon's own user can open.
    is_limited : what he asks is counted, so that he leaves others something; of who is alone on a machine's own door it is not.
    proof : of the token that he showed its digest, by which it is noticed that it was taken from him; empty where he showed none.
    """

    name: str
    scopes: frozenset[Scope]
    is_local: bool = False
    is_limited: bool = True
    proof: str = field(default="", repr=False)

    def may(self, *scopes: Scope | None) -> bool:
        """Tell whether he has one of these scopes."""
        return any(scope in _IMPLIED[given] for given in self.scopes for scope in scopes)

    def check(self, what: str, *scopes: Scope) -> None:
        """Raise `Forbidden` unless he has one of these scopes; `what` is what needs it."""
        if not self.may(*scopes):
            has = ", ".join(given for given in Scope if given in self.scopes) or "none"
            raise Forbidden(reason=f"{what} needs the scope {' or '.join(scopes)}; what you sent gives: {has}")

    def check_local(self, what: str) -> None:
        """Raise `InvalidRequest` unless he came by the local control socket; `what` is what has to come that way."""
        if not self.is_local:
            raise InvalidRequest(reason=f"{what} is taken from the local control socket only")


EVERYTHING = frozenset({Scope.ADMIN})
"""The scopes of those who may do everything."""
PASSWORD_NAME = "conf"  # noqa: S105 - what he is called who has the token that conf sets
NOBODY = Client("nobody", frozenset())
"""Whom a call is from that names no client: he may do nothing."""
LOCAL = Client("local", EVERYTHING, is_local=True, is_limited=False)
"""The daemon's own user, and the daemon itself."""
RESERVED_NAMES = frozenset({PASSWORD_NAME, NOBODY.name, LOCAL.name, "control"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._@-]{0,63}")


def check_client_name(name: str) -> None:
    """Raise ValueError unless a token or key may be called so: none can be an address, or what those are called who show neither."""
    if not _NAME.fullmatch(name) or name in RESERVED_NAMES:
        taken = " (this one is taken)" if name in RESERVED_NAMES else ""
        msg = f"{name[:80]!r} is no name for a client{taken}: a letter, and then up to 63 letters, digits and . _ @ -"
        raise ValueError(msg)
