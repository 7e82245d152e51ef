"""The command of events: those that were missed, told again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from dejavud.wire.codec import decode
from dejavud.wire.rules import AtMost, Between

if TYPE_CHECKING:
    from dejavud.services.commands import Call, Handler
    from dejavud.services.events import EventHub

MAX_TOPICS, MAX_TOPIC = 32, 64
MAX_EVENTS = 1000
TopicList = Annotated[tuple[Annotated[str, AtMost(MAX_TOPIC)], ...], AtMost(MAX_TOPICS)]
Seq = Annotated[int, Between(0, 2**62, "the number of an event, or 0 for all, ")]


@dataclass(frozen=True, slots=True)
class Topics:
    """Which events are wanted.

    topics : how their topics begin; all, where there are none.
    after : the number of the last one that is known; None: those from now on.
    daemon : whose number that is.
    """

    topics: TopicList = ()
    after: Seq | None = None
    daemon: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Parameters of ``events.replay``: see `Topics`; at most `limit` events."""

    after: Seq = 0
    topics: TopicList = ()
    daemon: str | None = None
    limit: Annotated[int, Between(1, MAX_EVENTS)] = 200


class EventHandlers:
    """One method a command."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return the rows of the command table."""
        return (("events.replay", Replay, self.replay),)

    async def replay(self, params: Replay, _call: Call) -> dict[str, Any]:
        """Return the events after a number, as far as they are kept."""
        hub = self._hub
        with hub.subscribe(*params.topics, after=params.after, daemon=params.daemon) as subscription:
            lost = subscription.lost
            events = [decode(delivery.event.body) for delivery in islice(subscription.queued(), params.limit)]
            is_all = not any(True for _ in subscription.queued())
        return {
            "daemon": hub.daemon,
            "seq": hub.seq,
            "lost": lost,
            "events": events,
            "next": None if is_all else events[-1]["seq"],
        }
