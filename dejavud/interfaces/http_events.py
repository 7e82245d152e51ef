"""Events over HTTP, as the server-sent events that every browser reads (``text/event-stream``)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import trio

from dejavud.errors import InvalidRequest
from dejavud.interfaces.serving import Gone, run_unless
from dejavud.services.commands import parse_params
from dejavud.services.event_handlers import Topics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from dejavud.interfaces.http_body import Body
    from dejavud.services.events import Delivery, EventHub, Subscription

LAST_EVENT_ID = "last-event-id"
_PLACE = re.compile(r"(?:([0-9a-f]{16}):)?([0-9]{1,18})")
_RETRY_MS = 2000
_AT_ONCE = 100
"""Events of one send, at most."""
_PACE_S = 0.001
"""Between two sends of a stream, for each subscriber there is: the more there are, the more events a send has.  A send costs the loop
a tenth to a fifth of a millisecond, so that all streams together take a fifth of it at most, and the first event after a pause leaves at once."""
_A_TURN = 8
"""Streams that send in one turn of the event loop: a thousand that have something to say make nobody else wait for all of them."""


@dataclass(frozen=True, slots=True)
class EventFeed:
    """What every subscriber's stream needs.

    heartbeat_s : so often something is sent, that a client, and what is between us, may see that we are there.
    stop : ends all streams, once they have told what there is.
    turnstile : of which each stream has a place for one turn of the loop before it sends.
    """

    hub: EventHub
    stop: trio.Event
    heartbeat_s: float = 15.0
    turnstile: trio.CapacityLimiter = field(default_factory=partial(trio.CapacityLimiter, _A_TURN))

    def asked_for(self, query: Mapping[str, Any], last_event_id: str | None) -> Topics:
        """Return what a request asks for; where it reconnects it says so, and that goes before ``after``.

        Raises `InvalidRequest`.
        """
        params: dict[str, Any] = {}
        if query.get("topics"):
            params["topics"] = query["topics"]
        for place in (query.get("after"), last_event_id):
            if place is None:
                continue
            parts = _PLACE.fullmatch(place.strip())
            if parts is None:
                reason = f"{place[:80]!r} is no place among the events: a number, or the id of the last one that came"
                raise InvalidRequest(reason=reason)
            params |= {"daemon": parts[1], "after": int(parts[2])}
        topics: Topics = parse_params(Topics, params)
        return topics


class EventStream:
    """The answer to one subscriber: an ASGI response that goes on until either side ends it.

    Each event is one ``data`` line, its JSON, and an ``id`` by which a client that was cut off goes on where it was.
    """

    def __init__(self, feed: EventFeed, topics: Topics, body: Body, headers: Mapping[str, str]) -> None:
        self._feed = feed
        self._topics = topics
        self._body = body
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(
        self, scope: Mapping[str, Any], _receive: object, send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Stream until the client leaves (`Gone`), or the daemon stops."""
        while await self._body.read():  # of a GET: nothing
            pass
        headers = [*self._headers, (b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        hub, topics = self._feed.hub, self._topics
        with hub.subscribe(*topics.topics, after=topics.after, daemon=topics.daemon) as subscription:
            # Whoever has seen the head of the answer is a subscriber.
            place = self._place() if topics.after is None else b"\n"
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if scope["method"] != "HEAD":
                await run_unless(self._body.until_gone, partial(self._stream, subscription, place, send))

    async def _stream(self, subscription: Subscription, place: bytes, send: Callable[[Any], Awaitable[None]]) -> None:
        async def tell(text: bytes) -> None:
            await send({"type": "http.response.body", "body": text, "more_body": True})

        await tell(b"retry: %d\n" % _RETRY_MS + place)
        try:
            await run_unless(self._feed.stop.wait, partial(self._tell_all, subscription, tell))
        except Gone:
            while text := b"".join(map(self._text, islice(subscription.queued(), _AT_ONCE))):
                await tell(text)

    async def _tell_all(self, subscription: Subscription, tell: Callable[[bytes], Awaitable[None]]) -> None:
        while True:
            with trio.move_on_after(self._feed.heartbeat_s):
                await subscription.arrived()
            async with self._feed.turnstile:
                pass
            text = b"".join(map(self._text, islice(subscription.queued(), _AT_ONCE)))
            with trio.CancelScope(shield=True):  # what was taken is sent; the connection has its own deadline
                await tell(text or b":\n" + self._place())
            await trio.sleep(self._feed.hub.n_subscribers * _PACE_S)

    def _place(self) -> bytes:
        """Return an ``id`` without an event: where a client is that has been told everything."""
        return b"id: %b:%d\n\n" % (self._feed.hub.daemon.encode(), self._feed.hub.seq)

    def _text(self, delivery: Delivery) -> bytes:
        seq = delivery.event.seq
        place = b"" if seq is None else b"id: %b:%d\n" % (self._feed.hub.daemon.encode(), seq)
        return place + b"data: " + delivery.body + b"\n\n"


def last_event_id(request: Request) -> str | None:
    """Return what the client says was the last event that it had, None where it says nothing."""
    return request.headers.get(LAST_EVENT_ID) or None
