"""The one hub through which events leave: numbered, kept for a while, and honest about what a slow subscriber missed.

An event is made into JSON once, however many read it.  The last ones are kept in one ring, and a subscriber is a place in that ring:
being slow costs no memory, going back to an earlier place is a replay, and between what is replayed and what comes live there is no seam
where one could be missed or told twice.
"""

from __future__ import annotations

import secrets
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.services.figures import Counter
from dejavud.wire.codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

log = structlog.get_logger(__name__)

VERSION = 1
"""Of the form of an event; keys that are added to it, or to its data, do not change it."""
TRANSIENT = "meter."
"""How topics begin whose events are not kept: levels, of which only the newest is worth anything."""
KEEP, KEEP_BYTES = 10_000, 16 << 20
_MAX_TRANSIENT = 64
"""Newest transient events that wait for one subscriber; a listener has one at a time."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    topic : dotted, most general word first (``track.added``).
    seq : counts the events of this daemon's life from 1; None for a transient one.
    body : the event as JSON, as every transport sends it.
    """

    topic: str
    seq: int | None
    time: datetime
    body: bytes

    @property
    def data(self) -> dict[str, Any]:
        """Return what is told, read from the JSON."""
        data: dict[str, Any] = decode(self.body)["data"]
        return data

    def told(self, lost: int) -> bytes:
        """Return the event as JSON, with ``lost`` where any are."""
        return self.body[:-1] + b',"lost":%d}' % lost if lost else self.body


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as one subscriber gets it; `lost` counts the events that it asked for and missed just before this one."""

    event: Event
    lost: int

    @property
    def body(self) -> bytes:
        """Return the event as JSON, with ``lost`` where any are."""
        return self.event.told(self.lost)


class _Ring:
    """The last events, numbered without a gap, bounded in number and in bytes of JSON; the newest is always there."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.last = 0
        self._events: deque[Event] = deque()
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._n_bytes = 0

    @property
    def before_first(self) -> int:
        """Return the number before that of the oldest event there is."""
        return self.last - len(self._events)

    def __getitem__(self, seq: int) -> Event:
        return self._events[seq - self.before_first - 1]

    def append(self, event: Event) -> Iterator[Event]:
        """Add the next event and yield those that have to go for it."""
        self.last += 1
        self._events.append(event)
        self._n_bytes += len(event.body)
        while len(self._events) > self._max_events or (self._n_bytes > self._max_bytes and len(self._events) > 1):
            gone = self._events.popleft()
            self._n_bytes -= len(gone.body)
            yield gone


class Subscription:
    """One subscriber's place among the events; iterate it for its deliveries, as they come.

    lost : events that were asked for and dropped since the last delivery; the next one tells it.
    n_lost : all of them.
    """

    def __init__(self, ring: _Ring, prefixes: tuple[str, ...], after: int) -> None:
        self._ring = ring
        self._seq = max(after, ring.before_first)
        self.lost = self.n_lost = self._seq - after
        self._transient: dict[tuple[str, str], Event] = {}
        self._wakeup = trio.Event()
        self.ask_for(*prefixes)

    def ask_for(self, *prefixes: str) -> None:
        """Want the topics that start with one of `prefixes` from here on: all that are kept, where there are none."""
        self._prefixes = prefixes or ("",)
        self._transient_prefixes = tuple(prefix for prefix in prefixes if prefix.startswith(TRANSIENT))

    def wants(self, topic: str) -> bool:
        """Tell whether an event of this topic would be delivered: of a transient one, whether it was asked for by name."""
        return topic.startswith(self._transient_prefixes if topic.startswith(TRANSIENT) else self._prefixes)

    @property
    def n_queued(self) -> int:
        """Return how many events are there to deliver."""
        kept = range(self._seq + 1, self._ring.last + 1)
        return sum(self.wants(self._ring[seq].topic) for seq in kept) + len(self._transient)

    @property
    def n_behind(self) -> int:
        """Return how many events it has yet to look at, wanted or not; 0 where none is wanted."""
        return self._ring.last - self._seq if self._wakeup.is_set() else 0

    def queued(self) -> Iterator[Delivery]:
        """Yield what is there to deliver and end, without waiting for more."""
        while (event := self._next()) is not None:
            lost, self.lost = self.lost, 0
            yield Delivery(event, lost)

    async def arrived(self) -> None:
        """Wait until there is something to deliver."""
        await trio.lowlevel.checkpoint()
        while not self._transient and self._skip() == self._ring.last:
            self._wakeup = trio.Event()
            await self._wakeup.wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        await self.arrived()
        return next(self.queued())

    def _skip(self) -> int:
        """Go to just before the next event that is wanted, and return its place: the ring's last where there is none."""
        while self._seq < self._ring.last and not self.wants(self._ring[self._seq + 1].topic):
            self._seq += 1
        return self._seq

    def _next(self) -> Event | None:
        if self._skip() < self._ring.last:
            self._seq += 1
            return self._ring[self._seq]
        for key in self._transient:
            return self._transient.pop(key)
        return None

    # -- what the hub tells it ----------------------------------------------------------------------------------------

    def note(self, event: Event) -> None:
        """Wake up for an event that is wanted."""
        if self.wants(event.topic):
            self._wakeup.set()

    def miss(self, event: Event) -> None:
        """Count an event that has left the ring, where it was wanted and not yet delivered."""
        if event.seq is not None and self._seq < event.seq:
            self._seq = event.seq
            if self.wants(event.topic):
                self.lost += 1
                self.n_lost += 1

    def show(self, key: tuple[str, str], event: Event) -> None:
        """Have a transient event delivered, in the place of the one before it that is still waiting."""
        self._transient[key] = event
        if len(self._transient) > _MAX_TRANSIENT:
            del self._transient[next(iter(self._transient))]
        self._wakeup.set()


def made_event(daemon: str, topic: str, seq: int | None, data: Mapping[str, Any]) -> Event:
    """Return an event of now; raises ValueError or TypeError for data that is no JSON."""
    now = datetime.now(UTC)
    number = {} if seq is None else {"seq": seq}
    told = {"version": VERSION, "daemon": daemon, "topic": topic, **number, "time": now.isoformat()}
    return Event(topic, seq, now, encode({**told, "data": dict(data)}))


class EventHub:
    """Takes events from services and hands them to subscribers.  For the event loop's thread only; never blocks.

    daemon : a random id of this life of the daemon; under another one, numbers began anew.
    published : how many of each topic.
    """

    def __init__(self, *, keep: int = KEEP, keep_bytes: int = KEEP_BYTES) -> None:
        self.daemon = secrets.token_hex(8)
        self._ring = _Ring(keep, keep_bytes)
        self._subscriptions: list[Subscription] = []
        self._n_lost = 0
        self.published = Counter("dejavud_events_total", "Events that were published, but for levels.", "topic")

    @property
    def n_behind(self) -> int:
        """Return how many events the subscription has before it that is furthest behind, at most."""
        return max((subscription.n_behind for subscription in self._subscriptions), default=0)

    @property
    def n_lost(self) -> int:
        """Return how many events were lost to a subscription that wanted them, counted for each."""
        return self._n_lost + sum(subscription.n_lost for subscription in self._subscriptions)

    @property
    def seq(self) -> int:
        """Return the number of the last event, 0 before the first."""
        return self._ring.last

    @property
    def n_subscribers(self) -> int:
        """Return how many subscriptions there are."""
        return len(self._subscriptions)

    def publish(self, topic: str, data: Mapping[str, Any]) -> Event | None:
        """Return the event, numbered and on its way to everyone who wants it.  Call it after the commit that it reports.

        Data that is no JSON is a bug, which is logged and ends nothing: None is returned.
        """
        event = self._made(topic, self._ring.last + 1, data)
        if event is not None:
            self.published.add(topic)
            for gone in self._ring.append(event):
                for subscription in self._subscriptions:
                    subscription.miss(gone)
            for subscription in self._subscriptions:
                subscription.note(event)
        return event

    def publish_transient(self, topic: str, data: Mapping[str, Any], *, of: str = "") -> None:
        """Show an event to those who asked for its topic by name.

        It has no number, is not kept, and pushes no other event out: a subscriber that has not yet taken the one before it of the same
        topic and thing (`of`: a listener's name) gets this one in its place.
        """
        subscriptions = [subscription for subscription in self._subscriptions if subscription.wants(topic)]
        event = self._made(topic, None, data) if subscriptions else None
        if event is not None:
            for subscription in subscriptions:
                subscription.show((topic, of), event)

    def is_wanted(self, topic: str) -> bool:
        """Tell whether a subscriber wants this topic now, so that what nobody asked for need not be made."""
        return any(subscription.wants(topic) for subscription in self._subscriptions)

    @contextmanager
    def subscribe(self, *prefixes: str, after: int | None = None, daemon: str | None = None) -> Iterator[Subscription]:
        """Give a subscription to the topics that start with one of `prefixes` (all, where there are none) until the block ends.

        It begins now, or, with `after`, with what came after that number and is still kept: its first delivery counts as `lost` what is not,
        of whatever topic.  A number of another life of the daemon, which `daemon` or a number not reached yet tells, is
        before all of this one's.
        """
        if after is None:
            after = self.seq
        elif after > self.seq or daemon not in {None, self.daemon}:
            after = 0
        subscription = Subscription(self._ring, prefixes, after)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            self._n_lost += subscription.n_lost

    def _made(self, topic: str, seq: int | None, data: Mapping[str, Any]) -> Event | None:
        try:
            return made_event(self.daemon, topic, seq, data)
        except (TypeError, ValueError):
            log.exception("event_not_published", topic=topic)
            return None
