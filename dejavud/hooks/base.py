"""What a hook is, and how one fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from dejavud.services.events import Event

    ListenerViews = Callable[[], Sequence[Mapping[str, Any]]]
    """Every listener as `listener.state` shows it: what plays when a hook begins, or has lost events."""

T = TypeVar("T")


class Thread(Protocol):
    """Runs a blocking function in a thread, as `dejavud.services.workers.Workers.thread` does."""

    async def __call__(self, function: Callable[..., T], *args: object, abandon: bool = False) -> T:
        """Return what `function` returns; with `abandon` cancellation does not wait for it."""
        ...


class HookFailed(Exception):
    """What the hook talks to is away or refuses, said for a person and without secrets: the hook is run again after a while."""


class HookEnded(Exception):
    """What the hook talks to wants nothing any more: it is not run again in this daemon's life."""


@dataclass(slots=True)
class Figures:
    """How a hook is.

    state : starting, ready, retrying, stopped.
    n_delivered, n_failed, n_lost : what arrived, what was given up, and what never fitted into the queue.
    """

    state: str = "starting"
    n_delivered: int = 0
    n_failed: int = 0
    n_lost: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None
    next_try_at: datetime | None = None


class Hook(Protocol):
    """One way out of the daemon.

    `run` goes on until cancelled; it subscribes for itself, and says its last words, within two seconds, when it is cancelled.  It raises
    `HookFailed` or `HookEnded`; anything else is a bug, contained by whoever runs it.  It may be run again after each failure, never twice at a time.
    """

    name: str
    kind: str
    target: str
    figures: Figures

    @property
    def n_waiting(self) -> int:
        """Return how much is to be delivered."""
        ...

    async def run(self) -> None:
        """Tell what happens until cancelled."""
        ...

    async def test(self, sample: Event) -> str:
        """Return what became of a sample that is sent now; raises `HookFailed`."""
        ...


def printable(text: str, length: int = 200) -> str:
    """Return what another program said on one line of bounded length."""
    return "".join(character if character.isprintable() else " " for character in text[:length]).strip()
