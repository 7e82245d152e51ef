"""The event publisher, seen from real subscribers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import zmq

from dejavud.errors import AddressInUse
from dejavud.interfaces.publisher import PublisherSettings, serve_publisher
from dejavud.interfaces.zmq_trio import TrioSocket, open_socket
from dejavud.services.events import EventHub
from dejavud.wire.codec import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def publishing(hub: EventHub, settings: PublisherSettings) -> AsyncIterator[tuple[str, trio.CancelScope]]:
    """Give the endpoint of a running publisher, and the scope whose cancellation ends it."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def serve(*, task_status: trio.TaskStatus[str]) -> None:
                with scope:
                    await serve_publisher(hub, settings=settings, task_status=task_status)

            yield await nursery.start(serve), scope
            scope.cancel()


@asynccontextmanager
async def subscribed(hub: EventHub, endpoint: str, *prefixes: str) -> AsyncIterator[TrioSocket]:
    """Give a subscriber that the publisher knows of: it has had an event of the topic ``hello``."""

    def configure(raw: zmq.Socket[bytes]) -> None:
        for prefix in (*prefixes, "hello"):
            raw.subscribe(prefix)
        raw.connect(endpoint)

    async with open_socket(zmq.SUB, configure) as socket:
        greeting: list[bytes] = []
        while not greeting:
            hub.publish("hello", {})
            with trio.move_on_after(0.05):
                greeting = await socket.receive()
        yield socket


def is_filled(folder: Path) -> bool:
    """Tell whether anything is in `folder`."""
    return any(folder.iterdir())


async def next_event(socket: TrioSocket) -> dict[str, Any]:
    """Return the next event that is no greeting, having checked its topic frame."""
    while True:
        topic, body = await socket.receive()
        event: dict[str, Any] = decode(body)
        assert event["topic"] == topic.decode()
        if event["topic"] != "hello":
            return event


@pytest.fixture
def local(socket_folder: Path) -> PublisherSettings:
    """Return settings of a local publisher."""
    return PublisherSettings(endpoint=f"ipc://{socket_folder}/events.sock")


async def test_events_arrive_in_order_with_topic_number_and_time(local: PublisherSettings) -> None:
    """Each event is two frames, numbered without a gap, and its data is what was published."""
    hub = EventHub()
    async with publishing(hub, local) as (endpoint, _), subscribed(hub, endpoint, "") as socket:
        for number in range(500):
            hub.publish("track.added", {"number": number})
        events = [await next_event(socket) for _ in range(500)]
    assert [event["data"]["number"] for event in events] == list(range(500))
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + 500))
    assert set(events[0]) == {"version", "daemon", "topic", "seq", "time", "data"}
    assert events[0]["time"].endswith("+00:00")


async def test_subscriber_gets_its_topics_only(local: PublisherSettings) -> None:
    """A prefix selects."""
    hub = EventHub()
    async with publishing(hub, local) as (endpoint, _), subscribed(hub, endpoint, "match.") as socket:
        hub.publish("track.added", {})
        hub.publish("match.recognized", {"title": "x"})
        assert (await next_event(socket))["topic"] == "match.recognized"


async def test_overrun_is_told(local: PublisherSettings) -> None:
    """When more events come at once than the hub keeps, the oldest are lost and the next one says how many."""
    hub = EventHub(keep=1000)
    wide = PublisherSettings(endpoint=local.endpoint, queue_length=10_000)
    async with publishing(hub, wide) as (endpoint, _), subscribed(hub, endpoint, "track") as socket:
        for number in range(1007):
            hub.publish("track.added", {"number": number})
        first = await next_event(socket)
        assert first["lost"] == first["data"]["number"] == 7
        assert "lost" not in await next_event(socket)


async def test_transient_events_are_sent_while_somebody_asks(local: PublisherSettings) -> None:
    """Levels go out for a subscriber to them, to nobody before it comes and after it has gone."""
    hub = EventHub()
    with trio.fail_after(20):
        async with publishing(hub, local) as (endpoint, _), subscribed(hub, endpoint, ""):
            assert not hub.is_wanted("meter.listener")
            async with subscribed(hub, endpoint, "meter.") as socket:
                hub.publish_transient("meter.listener", {"level_db": -20.0})
                level = await next_event(socket)
            assert (level["topic"], level["data"], "seq" in level) == ("meter.listener", {"level_db": -20.0}, False)
            while hub.is_wanted("meter.listener"):  # noqa: ASYNC110 - libzmq tells when it has noticed
                await trio.sleep(0.01)


async def test_event_that_is_no_json_ends_nothing(local: PublisherSettings) -> None:
    """A bug in one event costs that event."""
    hub = EventHub()
    async with publishing(hub, local) as (endpoint, _), subscribed(hub, endpoint, "track") as socket:
        hub.publish("track.added", {"score": float("nan")})
        hub.publish("track.added", {"what": object()})
        hub.publish("track.removed", {})
        assert (await next_event(socket))["topic"] == "track.removed"


async def test_subscriber_that_does_not_read_holds_up_nobody(local: PublisherSettings) -> None:
    """One subscriber stops reading for good: another gets everything."""
    hub = EventHub()
    async with (
        publishing(hub, local) as (endpoint, _),
        subscribed(hub, endpoint, ""),
        subscribed(hub, endpoint, "track") as reader,
    ):
        for number in range(3000):
            hub.publish("track.added", {"number": number, "ballast": "x" * 1000})
            assert (await next_event(reader))["data"]["number"] == number


async def test_last_events_leave_before_the_end(local: PublisherSettings, socket_folder: Path) -> None:
    """What was published just before the end still arrives, and the socket's file does not stay behind."""
    hub = EventHub()
    async with publishing(hub, local) as (endpoint, scope), subscribed(hub, endpoint, "") as socket:
        hub.publish("daemon.stopping", {})
        scope.cancel()
        assert (await next_event(socket))["topic"] == "daemon.stopping"
    assert not is_filled(socket_folder)


async def test_taken_endpoint_is_refused(local: PublisherSettings) -> None:
    """A second publisher on the endpoint is `AddressInUse`."""
    async with publishing(EventHub(), local):
        with pytest.raises(AddressInUse):
            await serve_publisher(EventHub(), settings=local)
