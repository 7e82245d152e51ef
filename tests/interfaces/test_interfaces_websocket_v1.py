"""The WebSocket subprotocol dejavud.v1: commands, sound, subscriptions, and what a bad client costs."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import trio
from interfaces_table import CRASH, MUSIC, SLOW
from trio_websocket import ConnectionClosed, wrap_client_stream

from dejavud.interfaces import websocket_v1
from dejavud.interfaces.websocket import WebSocketSettings, serve_websocket
from dejavud.interfaces.websocket_v1 import SUBPROTOCOL, SessionLimits
from dejavud.services.commands import Command, CommandTable, NoParameters
from dejavud.services.events import EventHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from interfaces_table import Stage
    from trio_websocket import WebSocketConnection

    from dejavud.services.commands import Call
    from dejavud.services.uploads import UploadStore


class Client:
    """A client of the subprotocol, one message at a time."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection

    async def send(self, request_id: object, method: str, *, audio: object = None, **params: object) -> None:
        """Send a request."""
        message: dict[str, Any] = {"id": request_id, "method": method, "params": params}
        if audio is not None:
            message["audio"] = audio
        await self.connection.send_message(json.dumps(message))

    async def next(self) -> dict[str, Any]:
        """Return the next message, which is JSON-RPC 2.0 in a text."""
        text = await self.connection.get_message()
        assert isinstance(text, str)
        message: dict[str, Any] = json.loads(text)
        assert message.pop("jsonrpc") == "2.0"
        return message

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Return the reply to a request, when it is the next message."""
        await self.send("ask", method, **params)  # type: ignore[arg-type]
        reply = await self.next()
        assert reply.pop("id") == "ask"
        return reply

    async def event(self) -> dict[str, Any]:
        """Return the event that is the next message, with its subscription."""
        message = await self.next()
        assert message["method"] == "event"
        params: dict[str, Any] = message["params"]
        return params

    async def sound(self, *pieces: bytes, end: bool = True) -> None:
        """Send sound, and that it has ended."""
        for piece in (*pieces, b"") if end else pieces:
            await self.connection.send_message(piece)


@asynccontextmanager
async def serving(
    stage: Stage, uploads: UploadStore, table: CommandTable | None = None, **settings: object
) -> AsyncIterator[tuple[str, trio.CancelScope]]:
    """Give the URL of a running server, and the scope whose cancellation ends it."""
    asked = WebSocketSettings(port=0, **settings)  # type: ignore[arg-type]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def serve(*, task_status: trio.TaskStatus[str]) -> None:
                with scope:
                    await serve_websocket(
                        table or stage.table(), uploads, stage.hub, settings=asked, task_status=task_status
                    )

            yield await nursery.start(serve), scope
            scope.cancel()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """Give a client whose TCP connection is really closed in the end."""
    address = urlsplit(url)
    stream = await trio.open_tcp_stream(address.hostname or "", address.port or 0)
    async with stream, trio.open_nursery() as nursery:
        connection = await wrap_client_stream(nursery, stream, address.netloc, "/", subprotocols=[SUBPROTOCOL])
        assert connection.subprotocol == SUBPROTOCOL
        async with connection:
            yield Client(connection)


@asynccontextmanager
async def raw_subscriber(url: str) -> AsyncIterator[None]:
    """Have a subscriber to everything that reads nothing and answers nothing once it is one."""
    address = urlsplit(url)
    async with await trio.open_tcp_stream(address.hostname or "", address.port or 0) as stuck:
        await stuck.send_all(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: dejavud.v1\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await stuck.receive_some(4096)
        text = b'{"id":1,"method":"events.subscribe"}'
        await stuck.send_all(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        await stuck.receive_some(4096)
        yield


def is_filled(folder: Path) -> bool:
    """Tell whether anything is in `folder`."""
    return any(folder.iterdir())


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have short patience for sound."""
    monkeypatch.setattr("dejavud.interfaces.websocket.SessionLimits", lambda **_: SHORT)


SHORT = SessionLimits(max_requests=3, max_subscriptions=2, audio_idle_s=0.2, audio_total_s=0.5, idle_s=0.4)


async def test_commands_are_those_of_the_control_socket(stage: Stage, uploads: UploadStore) -> None:
    """Results, errors and progress have the same form, and progress comes before the reply."""
    async with serving(stage, uploads) as (url, _), connected(url) as client:
        assert await client.ask("status") == {"result": {"version": "0"}}
        assert await client.ask("ping") == {"result": {"pong": True}}
        error = (await client.ask("tracks.get", id=8))["error"]
        assert (error["code"], error["data"]["code"]) == (-32020, "track_not_found")
        await client.send(7, "count", to=3, each=True)
        told = [await client.next() for _ in range(4)]
        assert [message["params"] for message in told[:3]] == [{"id": 7, "done": number} for number in range(3)]
        assert told[3] == {"id": 7, "result": {"counted": 3}}


async def test_sound_comes_in_binary_messages_up_to_an_empty_one(
    stage: Stage, uploads: UploadStore, uploads_folder: Path
) -> None:
    """The command hears all of it, under its own name, and nothing of it stays; other requests go on beside it."""
    async with serving(stage, uploads) as (url, _), connected(url) as client:
        await client.send(1, "recognize", audio=True, source="clip.wav")
        await client.sound(MUSIC[:4], end=False)
        assert await client.ask("status") == {"result": {"version": "0"}}
        await client.sound(MUSIC[4:])
        reply = await client.next()
        assert reply["id"] == 1
        assert reply["result"]["query"]["source"] == "clip.wav"
        await client.send(2, "recognize", audio=True)
        await client.sound(CRASH)
        assert (await client.next())["error"]["data"]["code"] == "internal_error"
    assert stage.heard == [MUSIC, CRASH]
    assert not is_filled(uploads_folder)


async def test_sound_can_be_heard_while_it_comes(stage: Stage, uploads: UploadStore) -> None:
    """A command that takes a stream has each piece before the next one is sent, and its end; slow, it holds its client up."""
    heard: list[bytes] = []

    async def hear(_params: NoParameters, call: Call) -> dict[str, Any]:
        assert call.stream is not None
        async for piece in call.stream:
            heard.append(piece)
            await call.progress(must_arrive=True, heard=len(heard))
        return {"n_pieces": len(heard)}

    table = CommandTable((Command("hear", NoParameters, hear),))
    async with serving(stage, uploads, table) as (url, _), connected(url) as client:
        await client.send(1, "hear", audio="stream")
        for number in range(1, 6):
            await client.sound(b"%d" % number, end=False)
            assert (await client.next())["params"] == {"id": 1, "heard": number}
        await client.sound()
        assert await client.next() == {"id": 1, "result": {"n_pieces": 5}}


async def test_a_stream_that_is_not_taken_is_kept_nowhere(stage: Stage, uploads: UploadStore) -> None:
    """A client cannot send more than the network holds to a command that takes nothing; when that ends, the rest is dropped."""
    go_on = trio.Event()

    async def wait(_params: NoParameters, _call: Call) -> dict[str, Any]:
        await go_on.wait()
        return {}

    table = CommandTable((Command("wait", NoParameters, wait),))
    async with serving(stage, uploads, table) as (url, _), connected(url) as client:
        await client.send(1, "wait", audio="stream")
        n_sent = 0

        async def send_all() -> None:
            nonlocal n_sent
            for _ in range(40):
                await client.sound(bytes(1 << 20), end=False)
                n_sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all)
            n_before = -1
            while n_before < n_sent:
                n_before = n_sent
                await trio.sleep(0.2)
            assert n_sent < 30
            go_on.set()
            assert await client.next() == {"id": 1, "result": {}}
        await client.sound()
        assert await client.ask("ping") == {"result": {"pong": True}}


async def test_a_request_is_cancelled_by_its_id(stage: Stage, uploads: UploadStore) -> None:
    """The request ends with `cancelled`; one that is not there is said not to be."""
    async with serving(stage, uploads) as (url, _), connected(url) as client:
        await client.send(1, "wait")
        await stage.until(lambda: stage.working == 1)
        await client.send(2, "cancel", id=1)
        replies = {message["id"]: message for message in [await client.next(), await client.next()]}
        assert replies[2]["result"] == {"cancelled": True}
        assert replies[1]["error"]["data"]["code"] == "cancelled"
        assert await client.ask("cancel", id=1) == {"result": {"cancelled": False}}
        assert stage.abandoned == 1


async def test_events_come_beside_replies_until_unsubscribed(stage: Stage, uploads: UploadStore) -> None:
    """A subscription says from where it begins, replays what was asked for, goes on live, and ends when told to."""
    for _ in range(3):
        stage.hub.publish("match.started", {})
    async with serving(stage, uploads) as (url, _), connected(url) as client:
        result = (await client.ask("events.subscribe", topics=["match."], after=1))["result"]
        assert result == {"subscription": 1, "daemon": stage.hub.daemon, "seq": 3}
        stage.hub.publish("track.added", {})
        stage.hub.publish("match.ended", {"title": "Två"})
        events = [await client.event() for _ in range(3)]
        assert [event["event"]["seq"] for event in events] == [2, 3, 5]
        assert {event["subscription"] for event in events} == {1}
        assert await client.ask("events.unsubscribe", subscription=1) == {"result": {"unsubscribed": True}}
        stage.hub.publish("match.ended", {})
        assert await client.ask("events.unsubscribe", subscription=1) == {"result": {"unsubscribed": False}}
        assert not stage.hub._subscriptions


async def test_a_slow_subscriber_is_told_what_it_lost(stage: Stage, uploads: UploadStore) -> None:
    """Events that left the ring before the client took them are counted in the next one."""
    stage.hub = EventHub(keep=10)
    async with serving(stage, uploads) as (url, _), connected(url) as client:
        await client.ask("events.subscribe")
        for _ in range(100):
            stage.hub.publish("track.added", {})
        event = (await client.event())["event"]
        assert (event["seq"], event["lost"]) == (91, 90)


async def test_a_client_that_does_not_read_is_cut_off_and_delays_nobody(stage: Stage, uploads: UploadStore) -> None:
    """Its connection ends when it took nothing for a while; another has every event meanwhile."""
    async with serving(stage, uploads, send_s=0.4) as (url, _), connected(url) as reader:
        await reader.ask("events.subscribe")
        async with raw_subscriber(url):
            assert len(stage.hub._subscriptions) == 2
            number = 0
            while len(stage.hub._subscriptions) == 2:
                number += 1
                assert number < 5000
                stage.hub.publish("track.added", {"number": number, "ballast": "x" * 50_000})
                assert (await reader.event())["event"]["data"]["number"] == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "7",
        "null",
        "[" * 100_000,
        '{"id": 1}',
        '{"method": "status"}',
        '{"id": true, "method": "status"}',
        '{"id": [1], "method": "status"}',
        '{"id": 1, "method": 7}',
        '{"id": 1, "method": "status", "params": []}',
        '{"id": 1, "method": "status", "parms": {}}',
        '{"id": 1, "method": "status", "params": {"more": 1}}',
        '{"id": 1, "method": "status", "audio": "yes"}',
        '{"id": 1, "method": "status", "audio": 1}',
        '{"id": 1, "method": "status", "jsonrpc": "1.0"}',
        '{"id": 1, "method": "cancel", "params": {}}',
        '{"id": 1, "method": "cancel", "params": {"id": [1]}}',
        '{"id": 1, "method": "events.subscribe", "params": {"topics": "match."}}',
        '{"id": 1, "method": "events.subscribe", "params": {"topics": [null]}}',
        '{"id": 1, "method": "events.subscribe", "params": {"after": -1}}',
        '{"id": 1, "method": "events.subscribe", "params": {"after": 1.5}}',
        '{"id": 1, "method": "events.unsubscribe", "params": {"subscription": "1"}}',
        '{"id": 1, "method": "recognize", "params": {"path": "/etc/passwd"}}',
    ],
)
async def test_what_is_no_request_gets_an_error_and_costs_nothing_else(
    stage: Stage, uploads: UploadStore, text: str
) -> None:
    """Each is `invalid_request`, with the id where one was given, and the connection goes on."""
    async with serving(stage, uploads) as (url, _), connected(url) as client:
        await client.connection.send_message(text)
        reply = await client.next()
        assert reply["error"]["data"]["code"] == "invalid_request"
        assert reply["id"] == (1 if '"id": 1' in text else None)
        assert await client.ask("status") == {"result": {"version": "0"}}
        assert not stage.hub._subscriptions


async def test_messages_that_are_too_large_are_refused(stage: Stage, uploads: UploadStore) -> None:
    """A long text gets `too_large`; beyond the limit of a message the connection is closed with 1009."""
    async with serving(stage, uploads, max_message_bytes=2 << 20) as (url, _), connected(url) as client:
        await client.connection.send_message('{"id": 1, "method": "' + "x" * (1 << 20) + '"}')
        assert (await client.next())["error"]["data"]["code"] == "too_large"
        await client.sound(bytes(3 << 20), end=False)
        with pytest.raises(ConnectionClosed) as closed:
            await client.next()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1009


async def test_sound_without_end_is_refused(stage: Stage, uploads: UploadStore, uploads_folder: Path) -> None:
    """More than an upload may have is `too_large` at once; what still comes is dropped, and the next request is served."""
    async with serving(stage, uploads) as (url, _), connected(url) as client:
        await client.send(1, "recognize", audio=True)
        for _ in range(6):
            await client.sound(bytes(1 << 20), end=False)
        assert (await client.next())["error"]["data"]["code"] == "too_large"
        assert not is_filled(uploads_folder)
        await client.send(2, "recognize", audio=True)
        assert "still being sent" in (await client.next())["error"]["message"]
        await client.sound(b"more")
        await client.send(3, "recognize", audio=True)
        await client.sound(MUSIC)
        reply = await client.next()
        assert (reply["id"], len(reply["result"]["matches"])) == (3, 1)


@pytest.mark.usefixtures("limits")
async def test_sound_that_stops_coming_or_takes_too_long_is_refused(
    stage: Stage, uploads: UploadStore, uploads_folder: Path
) -> None:
    """A pause is `timeout`, and so is a trickle."""
    async with serving(stage, uploads) as (url, _), connected(url) as client:
        await client.send(1, "recognize", audio=True)
        assert "longer than 0.2 s" in (await client.next())["error"]["message"]
        await client.sound()
        await client.send(2, "recognize", audio=True)
        with trio.move_on_after(5):
            while True:
                await client.sound(b"x", end=False)
                with trio.move_on_after(0.05):
                    reply = await client.next()
                    break
        assert "longer than 0.5 s" in reply["error"]["message"]
        assert not is_filled(uploads_folder)


async def test_sound_that_nobody_asked_for_is_refused(stage: Stage, uploads: UploadStore) -> None:
    """A binary message without a request has an error without an id."""
    async with serving(stage, uploads) as (url, _), connected(url) as client:
        for piece in (b"x", b""):
            await client.sound(piece, end=False)
            reply = await client.next()
            assert (reply["id"], reply["error"]["data"]["code"]) == (None, "invalid_request")


@pytest.mark.usefixtures("limits")
async def test_requests_and_subscriptions_are_limited(stage: Stage, uploads: UploadStore) -> None:
    """Beyond the limits comes `busy`, an id in work is not taken twice, and what ends makes room."""
    async with serving(stage, uploads) as (url, _), connected(url) as client:
        for number in range(3):
            await client.send(number, "wait")
        await client.send(0, "status")
        assert "still in work" in (await client.next())["error"]["message"]
        await client.send(3, "recognize", audio=True)
        assert (await client.next())["error"]["data"]["code"] == "busy"
        await client.sound(MUSIC)  # of the one that was refused
        stage.release.set()
        assert {(await client.next())["id"] for _ in range(3)} == {0, 1, 2}
        for number in range(50):
            reply = await client.ask("events.subscribe")
            assert ("result" in reply) == (number < 2)
        assert reply["error"]["data"]["code"] == "busy"
        assert len(stage.hub._subscriptions) == 2
        await client.ask("events.unsubscribe", subscription=1)
        assert "result" in await client.ask("events.subscribe")


async def test_a_client_that_leaves_gives_up_its_work(stage: Stage, uploads: UploadStore, uploads_folder: Path) -> None:
    """Commands, half an upload and subscriptions end with the connection."""
    async with serving(stage, uploads) as (url, _):
        async with connected(url) as client:
            await client.send(1, "wait")
            await client.ask("events.subscribe")
            await client.send(2, "recognize", audio=True)
            await client.sound(MUSIC, end=False)
            await stage.until(lambda: stage.working == 1)
        await stage.until(lambda: stage.working == 0)
        while stage.hub._subscriptions or is_filled(uploads_folder):
            await trio.lowlevel.checkpoint()
    assert stage.abandoned == 1


async def test_the_end_of_the_daemon_finishes_work_and_tells_the_last_events(
    stage: Stage, uploads: UploadStore
) -> None:
    """What is in work is done, new work is refused, the last events come, and then the connection is closed with 1001."""
    async with serving(stage, uploads) as (url, scope), connected(url) as client:
        await client.ask("events.subscribe")
        await client.send(1, "recognize", audio=True)
        await client.sound(SLOW)
        await stage.until(lambda: stage.working == 1)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.ask("status"))["error"]["data"]["code"] == "shutting_down"
        stage.hub.publish("daemon.stopping", {})
        stage.release.set()
        last = [await client.next(), await client.next()]
        assert {message.get("method", message.get("id")) for message in last} == {"event", 1}
        with pytest.raises(ConnectionClosed) as closed:
            await client.next()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1001


@pytest.mark.usefixtures("limits")
async def test_only_who_does_nothing_is_idle(stage: Stage, uploads: UploadStore) -> None:
    """Without work or subscription the connection is closed in time; a subscriber may be silent."""
    async with serving(stage, uploads) as (url, _), connected(url) as idle, connected(url) as subscriber:
        await subscriber.ask("events.subscribe")
        with pytest.raises(ConnectionClosed):
            await idle.next()
        await trio.sleep(0.5)  # longer than others may be silent
        stage.hub.publish("track.added", {})
        assert (await subscriber.event())["event"]["seq"] == 1


async def test_a_client_that_no_longer_answers_pings_is_given_up(
    stage: Stage, uploads: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscriber whose connection stays open and silent is gone when a ping goes unanswered."""
    monkeypatch.setattr(websocket_v1, "_PING_S", 0.1)
    async with serving(stage, uploads, idle_s=0.3) as (url, _), raw_subscriber(url):
        assert len(stage.hub._subscriptions) == 1
        while stage.hub._subscriptions:  # noqa: ASYNC110 - of which nothing tells but this
            await trio.sleep(0.01)
