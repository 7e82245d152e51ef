"""Events over HTTP: server-sent events, replay, heartbeats, and clients that do not read."""

from __future__ import annotations

import resource
import tracemalloc
from typing import TYPE_CHECKING

import pytest
import trio
from interfaces_http import serving, told

from dejavud.interfaces.http import HttpSettings
from dejavud.services.access import Access
from dejavud.services.events import EventHub

if TYPE_CHECKING:
    from interfaces_table import Stage

    from dejavud.services.uploads import UploadStore


async def test_events_of_the_topics_asked_for_come_as_they_happen(stage: Stage, uploads: UploadStore) -> None:
    """The stream is that of the media type that browsers know, and holds the hub's own JSON."""
    async with serving(stage, uploads) as (client, _), told(client, topics="match.,listener.") as events:
        assert events.headers["content-type"] == "text/event-stream"
        assert events.headers["cache-control"] == "no-store"
        stage.hub.publish("track.added", {})
        stage.hub.publish("match.started", {"title": "Två\nrader"})
        event = await events.next()
        assert (event["topic"], event["seq"], event["data"]) == ("match.started", 2, {"title": "Två\nrader"})
        assert events.ids[-1] == f"{stage.hub.daemon}:2"


async def test_a_client_that_was_cut_off_goes_on_where_it_was(stage: Stage, uploads: UploadStore) -> None:
    """With Last-Event-ID, which goes before `after`, each event comes once; one that had none yet loses nothing either."""
    async with serving(stage, uploads) as (client, _):
        async with told(client, topics="match.") as events:
            stage.hub.publish("match.started", {})
            await events.next()
            last_id = events.ids[-1]
        async with told(client) as events:
            for number in (2, 3):
                stage.hub.publish("match.updated", {"number": number})
            await events.next()
            first_id = events.ids[0]
        async with told(client, last_id, after=0) as events:
            assert [(await events.next())["seq"] for _ in range(2)] == [2, 3]
        assert first_id == last_id
        async with told(client, after=f"{stage.hub.daemon}:2") as events:
            assert (await events.next())["seq"] == 3


async def test_another_life_of_the_daemon_is_told_from_its_beginning(stage: Stage, uploads: UploadStore) -> None:
    """A place of a daemon that ended is before all events of this one, and the new ones say whose they are."""
    for _ in range(3):
        stage.hub.publish("track.added", {})
    async with serving(stage, uploads) as (client, _), told(client, "0123456789abcdef:2") as events:
        event = await events.next()
        assert (event["seq"], event["daemon"]) == (1, stage.hub.daemon)
        assert stage.hub.daemon != "0123456789abcdef"


async def test_a_replay_says_what_is_gone(stage: Stage, uploads: UploadStore) -> None:
    """The first event counts those before it that are no longer kept."""
    stage.hub = EventHub(keep=3)
    for _ in range(10):
        stage.hub.publish("track.added", {})
    async with serving(stage, uploads) as (client, _), told(client, after=2) as events:
        first, second = await events.next(), await events.next()
        assert (first["seq"], first["lost"], "lost" in second) == (8, 5, False)


async def test_silence_is_filled_with_heartbeats(stage: Stage, uploads: UploadStore) -> None:
    """A quiet stream says now and then that it is there, and up to which event all was told."""
    async with serving(stage, uploads, HttpSettings(port=0, heartbeat_s=0.05)) as (client, _):
        async with told(client, topics="match.") as events:
            stage.hub.publish("track.added", {})
            await trio.sleep(0.2)  # the silence that this is about
            stage.hub.publish("match.started", {})
            await events.next()
        assert events.comments >= 2
        assert f"{stage.hub.daemon}:1" in events.ids


async def test_levels_come_to_those_who_ask_for_them(stage: Stage, uploads: UploadStore) -> None:
    """A transient event has no id, so that going on after it is going on after the last event that is kept."""
    async with serving(stage, uploads) as (client, _), told(client, topics="meter.") as events:
        stage.hub.publish_transient("meter.listener", {"level_db": -20.0}, of="x")
        assert (await events.next())["data"] == {"level_db": -20.0}
        assert events.ids == [f"{stage.hub.daemon}:0"]


@pytest.mark.parametrize(
    "query",
    [
        {"after": "-1"},
        {"after": "x"},
        {"after": "1" * 30},
        {"after": "0123:7"},
        {"after": ""},
        {"topics": ",".join("x" * 33)},
        {"topics": "x" * 65},
        {"since": "3"},
    ],
)
async def test_what_cannot_be_asked_for_is_refused(stage: Stage, uploads: UploadStore, query: dict[str, str]) -> None:
    """Wrong places, too many topics and unknown parameters are 400 with the envelope."""
    async with serving(stage, uploads) as (client, _):
        answer = await client.get("/v1/events", params=query)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
        answer = await client.get("/v1/events", headers={"Last-Event-ID": "x y"})
        assert answer.status_code == 400
        assert (await client.post("/v1/events")).status_code == 405


async def test_head_and_token_and_origin_hold_here_too(stage: Stage, uploads: UploadStore) -> None:
    """HEAD ends, and nobody subscribes without what other requests need."""
    async with serving(stage, uploads, HttpSettings(port=0, access=Access("s3cret-s3cret"))) as (client, _):
        assert (await client.get("/v1/events")).status_code == 401
        answer = await client.head("/v1/events", headers={"Authorization": "Bearer s3cret-s3cret"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    async with serving(stage, uploads) as (client, _):
        answer = await client.get("/v1/events", headers={"Origin": "https://elsewhere.example"})
        assert answer.status_code == 403


async def test_subscribers_are_counted_apart_from_requests(stage: Stage, uploads: UploadStore) -> None:
    """Beyond the limit they are told so; requests go on beside them, and one that leaves gives its place back."""
    settings = HttpSettings(port=0, max_subscribers=2, max_requests=1)
    async with serving(stage, uploads, settings) as (client, _), told(client) as first:
        async with told(client):
            refused = await client.get("/v1/events")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "busy")
            assert (await client.get("/v1/status")).status_code == 200
        stage.hub.publish("track.added", {})
        await first.next()
        while (await client.head("/v1/events")).status_code == 503:  # noqa: ASYNC110 - the server notices when it notices
            await trio.sleep(0.01)


async def test_the_end_of_the_daemon_ends_streams_after_their_last_event(stage: Stage, uploads: UploadStore) -> None:
    """What was published before the end arrives, and nobody waits for the grace period."""
    async with serving(stage, uploads) as (client, scope), told(client) as events:
        stage.hub.publish("daemon.stopping", {})
        scope.cancel()
        with trio.fail_after(5):
            assert (await events.next())["topic"] == "daemon.stopping"
            with pytest.raises(EOFError):
                await events.next()


async def test_a_subscriber_that_does_not_read_is_cut_off_and_delays_nobody(stage: Stage, uploads: UploadStore) -> None:
    """Its connection ends when it took nothing for a while; another has every event meanwhile, in order."""
    settings = HttpSettings(port=0, send_s=0.5)
    async with serving(stage, uploads, settings) as (client, _):
        url = client.base_url
        async with await trio.open_tcp_stream(url.host, url.port or 0) as stuck, told(client) as events:
            await stuck.send_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while len(stage.hub._subscriptions) < 2:  # noqa: ASYNC110 - raw bytes tell nothing of when they are read
                await trio.sleep(0.01)
            number = 0
            while len(stage.hub._subscriptions) == 2:
                number += 1
                stage.hub.publish("track.added", {"number": number, "ballast": "x" * 50_000})
                assert (await events.next())["data"]["number"] == number
                assert number < 5000
            assert "lost" not in stage.hub.publish("track.added", {}).data  # type: ignore[union-attr]


async def test_a_slow_subscriber_is_told_what_it_lost(stage: Stage, uploads: UploadStore) -> None:
    """Events that left the ring before their turn came are counted in the next one that does come."""
    stage.hub = EventHub(keep=20)
    async with serving(stage, uploads) as (client, _), told(client) as events:
        stage.hub.publish("track.added", {})
        await events.next()
        for _ in range(100):  # at once, so that the stream has had no turn
            stage.hub.publish("track.added", {})
        event = await events.next()
        assert (event["seq"], event["lost"]) == (82, 80)


async def test_many_subscribers_are_bounded_in_memory(stage: Stage, uploads: UploadStore) -> None:
    """A hundred streams cost tens of kilobytes each, and what they have not read is kept once."""
    n_clients = 100
    async with serving(stage, uploads) as (client, _):
        streams = []
        tracemalloc.start()
        try:
            for _ in range(n_clients):
                stream = await trio.open_tcp_stream(client.base_url.host, client.base_url.port or 0)
                await stream.send_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                streams.append(stream)
            while len(stage.hub._subscriptions) < n_clients:  # noqa: ASYNC110 - raw bytes tell nothing of when they are read
                await trio.sleep(0.01)
            opened = tracemalloc.get_traced_memory()[0]
            for number in range(100):
                stage.hub.publish("track.added", {"number": number})
            published = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
            for stream in streams:
                await trio.aclose_forcefully(stream)
    assert opened < n_clients * 150_000
    assert published - opened < 100_000


async def test_connections_leave_descriptors_for_the_rest(
    stage: Stage, uploads: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the process may open few files, fewer connections are taken than the settings allow, and the next is told so."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (9, 9))
    async with serving(stage, uploads) as (client, _), told(client), told(client), told(client):
        assert (await client.get("/healthz")).status_code == 503
