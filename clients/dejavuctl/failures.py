"""What can go wrong on this side of the socket, and the exit status of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavud.errors import DejavudError
from dejavud.wire.messages import error_body

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report a program that Ctrl-C ended."""
EXIT_CLOSED_PIPE = 141
"""128 + SIGPIPE, as shells report a program whose reader left."""


class Usage(DejavudError):
    """The command line asks for something that cannot be."""

    code = "usage"
    template = "{reason}"


class NoDaemon(DejavudError):
    """Nobody answers on the control socket, or no longer."""

    code = "no_daemon"
    template = "{reason} ({endpoint}); start it with `dejavud`, or as a service with `systemctl start dejavud`"


class NoAccess(NoDaemon):
    """A daemon is there, for others."""

    template = "a daemon is there, but this user may not use its socket ({endpoint}): join its group, or use sudo"


class NotLetIn(NoDaemon):
    """A daemon of another machine closes the connection as soon as it sees our key."""

    template = "the daemon does not let this key in, or it is not the daemon whose key is in the file ({endpoint}); dejavuctl keys ls, on its machine, says who is"


class NotConfirmed(DejavudError):
    """A person said no, or there was nobody to ask."""

    code = "not_confirmed"
    template = "{reason}"


class NotPublished(DejavudError):
    """The daemon does not say where it publishes events."""

    code = "not_published"
    template = "the daemon does not say where it publishes its events; name the endpoint with --events ENDPOINT"


class ForeignProtocol(DejavudError):
    """Something answers, in a language that this client does not speak."""

    code = "foreign_protocol"
    template = "what answers at {endpoint} does not speak this dejavuctl's protocol ({reason}); is it a dejavud of another version, or another program?"


class Interrupted(Exception):
    """Ctrl-C took a command back, in the daemon too.  left : what there is of it; figures : the same for a program."""

    def __init__(self, left: str, **figures: object) -> None:
        super().__init__(left)
        self.left, self.figures = left, figures


class Failed(Exception):
    """One command ended with an error, the daemon's or this client's own, in the form that all transports share."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details)

    @classmethod
    def of(cls, error: DejavudError) -> Failed:
        """Return the failure that `error` is."""
        return cls(**error_body(error))

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON shows it."""
        return {"code": self.code, "message": self.message, "details": self.details}
