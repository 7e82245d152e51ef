"""The one hub through which events leave: numbered, bounded, and honest about what a slow subscriber missed."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

QUEUE_LENGTH = 1000
"""Events a subscriber may be behind before the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    topic : dotted, most general word first (``track.added``).
    seq : counts all events of this daemon's life from 1.
    """

    topic: str
    seq: int
    time: datetime
    data: Mapping[str, Any]

    def view(self, *, lost: int = 0) -> dict[str, Any]:
        """Return the event as JSON shows it; `lost` counts the events dropped just before this one."""
        view: dict[str, Any] = {
            "topic": self.topic,
            "seq": self.seq,
            "time": self.time.isoformat(),
            "data": dict(self.data),
        }
        return view | {"lost": lost} if lost else view


@dataclass(slots=True)
class Subscription:
    """One subscriber's bounded queue; iterate it for (event, lost) pairs as `Delivery`."""

    prefixes: tuple[str, ...]
    _queue: deque[Event] = field(default_factory=deque)
    _wakeup: trio.Event = field(default_factory=trio.Event)
    _lost: int = 0

    def offer(self, event: Event) -> None:
        """Queue `event`, dropping and counting the oldest when the subscriber is too far behind."""
        if len(self._queue) >= QUEUE_LENGTH:
            self._queue.popleft()
            self._lost += 1
        self._queue.append(event)
        self._wakeup.set()

    def queued(self) -> Iterator[Delivery]:
        """Yield what is queued and end, without waiting for more."""
        while self._queue:
            event, lost, self._lost = self._queue.popleft(), self._lost, 0
            yield Delivery(event, lost)

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        while True:
            for delivery in self.queued():
                yield delivery
            self._wakeup = trio.Event()
            await self._wakeup.wait()


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as one subscriber gets it, with how many were dropped before it."""

    event: Event
    lost: int


class EventHub:
    """Takes events from services and hands them to subscribers.  For the event loop's thread only; never blocks."""

    def __init__(self) -> None:
        self._seq = 0
        self._subscriptions: list[Subscription] = []

    def publish(self, topic: str, data: Mapping[str, Any]) -> Event:
        """Return the event, numbered and queued for everyone whose prefixes fit.  Call it after the commit that it reports."""
        self._seq += 1
        event = Event(topic, self._seq, datetime.now(UTC), data)
        for subscription in self._subscriptions:
            if not subscription.prefixes or topic.startswith(subscription.prefixes):
                subscription.offer(event)
        return event

    @contextmanager
    def subscribe(self, *prefixes: str) -> Iterator[Subscription]:
        """Give a subscription to the topics that start with one of `prefixes` (all, where there are none) until the block ends."""
        subscription = Subscription(prefixes)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
