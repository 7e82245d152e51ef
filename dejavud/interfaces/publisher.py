"""The event publisher: a ZeroMQ PUB socket, two frames an event: its topic, and the event as JSON.

It is an XPUB, which a SUB cannot tell, and which hears what is subscribed to: transient events are sent only while somebody asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio
import zmq

from dejavud.interfaces.curve import open_door
from dejavud.interfaces.serving import Gone, run_unless, serve_until_cancelled
from dejavud.services.events import TRANSIENT

if TYPE_CHECKING:
    from dejavud.interfaces.curve import CurveDoor
    from dejavud.interfaces.zmq_trio import TrioSocket
    from dejavud.services.events import Delivery, EventHub, Subscription

_MAX_INCOMING_BYTES = 1 << 10
"""Subscribers send topic prefixes and nothing else."""
_UNSUBSCRIBE, _SUBSCRIBE = 0, 1


@dataclass(frozen=True, slots=True)
class PublisherSettings:
    """Where to publish.

    endpoint : ``ipc://PATH``, for this user only.
    curve : an address of TCP instead, and who is let in there.
    queue_length : events that wait for one slow subscriber; further ones are lost to it.
    grace_s : how long the last events may take to leave.
    """

    endpoint: str = ""
    curve: CurveDoor | None = None
    queue_length: int = 1000
    grace_s: float = 1.0


async def serve_publisher(
    hub: EventHub,
    *,
    settings: PublisherSettings,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Publish the hub's events until cancelled, and then those that are queued.

    Reports its endpoint when it can be reached.  Raises `AddressInUse` and `InvalidConfig`.
    """

    def configure(raw: zmq.Socket[bytes]) -> None:
        raw.setsockopt(zmq.SNDHWM, settings.queue_length)
        raw.setsockopt(zmq.MAXMSGSIZE, _MAX_INCOMING_BYTES)

    async with open_door(zmq.XPUB, settings.curve or settings.endpoint, "the event publisher", configure) as (
        socket,
        endpoint,
    ):

        async def run(stop: trio.Event, *, task_status: trio.TaskStatus[str]) -> None:
            with hub.subscribe() as subscription:
                task_status.started(endpoint)
                try:
                    await run_unless(stop.wait, partial(_publish_all, socket, subscription))
                except Gone:
                    for delivery in subscription.queued():
                        _publish(socket, delivery)

        await serve_until_cancelled(run, grace_s=settings.grace_s, task_status=task_status)


async def _publish_all(socket: TrioSocket, subscription: Subscription) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow_subscribers, socket, subscription)
        async for delivery in subscription:
            _publish(socket, delivery)


async def _follow_subscribers(socket: TrioSocket, subscription: Subscription) -> None:
    """Ask the hub for transient events while any subscriber does; libzmq tells the first and the last of each prefix, and sifts."""
    n_asked = 0
    while True:
        message = b"".join(await socket.receive())
        if message[1:].startswith(TRANSIENT.encode()) and message[0] in {_UNSUBSCRIBE, _SUBSCRIBE}:
            n_asked += 1 if message[0] == _SUBSCRIBE else -1
            subscription.ask_for("", *[TRANSIENT] * (n_asked > 0))


def _publish(socket: TrioSocket, delivery: Delivery) -> None:
    """Send one event; PUB never waits, it drops for whoever is too slow."""
    socket.send_now([delivery.event.topic.encode(), delivery.body])
