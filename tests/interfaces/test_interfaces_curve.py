"""ZeroMQ over TCP, attacked: who has no key, the wrong one, one that was removed, one that may not; and who only holds connections."""

from __future__ import annotations

import stat
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
import zmq
from interfaces_table import MUSIC, SLOW, Stage
from test_interfaces_control import Caller
from test_interfaces_publisher import next_event

from dejavud.errors import InvalidConfig, InvalidRequest, KeyNotFound
from dejavud.interfaces.control import ControlSettings, serve_control
from dejavud.interfaces.curve import CurveDoor, make_pair
from dejavud.interfaces.publisher import PublisherSettings, serve_publisher
from dejavud.interfaces.zmq_trio import open_socket
from dejavud.services.client_keys import AddKey, ClientKeys, KeyPair, NoParameters, RemoveKey
from dejavud.services.clients import EVENTS, LOCAL, Scope
from dejavud.services.commands import Call
from dejavud.services.events import EventHub
from dejavud.wire.messages import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from dejavud.interfaces.zmq_trio import TrioSocket
    from dejavud.services.uploads import UploadStore

BY_ADMIN = Call(client=LOCAL)
REFUSED_S = 0.4
"""How long nothing comes where nothing is to come."""


@dataclass
class Doors:
    """A daemon's tcp sockets: their endpoints, its keys, and what it publishes."""

    keys: ClientKeys
    hub: EventHub
    control: str
    events: str
    server_key: str

    async def new_client(self, name: str, *scopes: str) -> KeyPair:
        """Return keys that are let in."""
        pair = make_pair()
        await self.keys.add(AddKey(name, pair.public, scopes), BY_ADMIN)
        return pair

    @asynccontextmanager
    async def calling(
        self, pair: KeyPair | None, server_key: str | None = None, name: bytes = b""
    ) -> AsyncIterator[Caller]:
        """Give a client of the control socket, without keys where it has no `pair`."""
        async with open_socket(zmq.DEALER, self._configure(pair, server_key, self.control, name)) as socket:
            yield Caller(socket)

    @asynccontextmanager
    async def subscribed(self, pair: KeyPair | None) -> AsyncIterator[TrioSocket]:
        """Give a subscriber to everything."""
        async with open_socket(zmq.SUB, self._configure(pair, None, self.events, b"")) as socket:
            socket.raw.subscribe("")
            yield socket

    def _configure(self, pair: KeyPair | None, server_key: str | None, endpoint: str, name: bytes) -> Any:  # noqa: ANN401 - a function of pyzmq's own types
        def configure(raw: zmq.Socket[bytes]) -> None:
            if pair is not None:
                raw.curve_publickey, raw.curve_secretkey = pair.public.encode(), pair.secret.encode()
                raw.curve_serverkey = (server_key or self.server_key).encode()
            if name:
                raw.setsockopt(zmq.IDENTITY, name)
            raw.setsockopt(zmq.LINGER, 0)
            raw.connect(endpoint)

        return configure


def keys_in(folder: Path) -> ClientKeys:
    """Return the keys that a daemon of this folder has."""
    return ClientKeys(folder / "keys.json", make_pair=make_pair, thread=trio.to_thread.run_sync, endpoints={})


@asynccontextmanager
async def opened(stage: Stage, uploads: UploadStore, folder: Path, **limits: int) -> AsyncIterator[Doors]:
    """Give doors that are open on free ports of loopback."""
    keys, hub = keys_in(folder), EventHub()
    door = replace(CurveDoor("127.0.0.1", 0, keys), **limits)
    told = replace(door, may_enter=lambda client: client.may(EVENTS), ends_all=True)

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        await serve_control(stage.table(), uploads, settings=ControlSettings(curve=door), task_status=task_status)

    async def publish(*, task_status: trio.TaskStatus[str]) -> None:
        await serve_publisher(hub, settings=PublisherSettings(curve=told), task_status=task_status)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            control, events = await nursery.start(serve), await nursery.start(publish)
            yield Doors(keys, hub, control, events, (await keys.pair()).public)
            nursery.cancel_scope.cancel()


async def is_answered(caller: Caller) -> bool:
    """Tell whether a request gets any answer while one that is let in would have had hundreds."""
    await caller.send("status", {})
    with trio.move_on_after(REFUSED_S):
        await caller.receive()
        return True
    return False


async def hello(hub: EventHub, socket: TrioSocket) -> None:
    """Return when the subscriber is known: it has had an event."""
    while True:
        hub.publish("hello", {})
        with trio.move_on_after(0.05):
            await socket.receive()
            return


# -- who is let in --------------------------------------------------------------------------------------------------


async def test_a_client_of_the_list_is_served(stage: Stage, uploads: UploadStore, tmp_path: Path) -> None:
    """Over TCP with its key a client has commands, sound with them, and events; what it is called and may do comes with each call."""
    async with opened(stage, uploads, tmp_path) as doors:
        laptop = await doors.new_client("laptop", "recognize", "read")
        async with doors.calling(laptop) as caller, doors.subscribed(laptop) as socket:
            assert await caller.call("status", {}) == {"version": "0"}
            assert (await caller.call("recognize", {"source": "a.wav"}, MUSIC.ljust(CHUNK_BYTES)))["matches"]
            call = stage.calls[-1][2]
            assert (call.client.name, call.client.scopes) == ("laptop", {Scope.RECOGNIZE, Scope.READ})
            assert not call.client.is_local
            await hello(doors.hub, socket)
            doors.hub.publish("match.started", {"play": 1})
            assert (await next_event(socket))["data"] == {"play": 1}


@pytest.mark.parametrize(
    "attack", ["plain", "another server's key", "a key that nobody added", "a secret that is not of its key"]
)
async def test_nobody_else_is(stage: Stage, uploads: UploadStore, tmp_path: Path, attack: str) -> None:
    """Who speaks plainly, takes another daemon for this one, or has no key of the list, gets no byte of an answer and no event."""
    async with opened(stage, uploads, tmp_path) as doors:
        pair: KeyPair | None = await doors.new_client("laptop", "admin")
        server_key = None
        if attack == "plain":
            pair = None
        elif attack == "another server's key":
            server_key = make_pair().public
        elif attack == "a key that nobody added":
            pair = make_pair()
        else:
            assert pair is not None
            pair = KeyPair(pair.public, make_pair().secret)
        async with doors.calling(pair, server_key) as caller:
            assert not await is_answered(caller)
        if server_key is None:
            async with doors.subscribed(pair) as socket:
                with trio.move_on_after(REFUSED_S) as patience:
                    await hello(doors.hub, socket)
                assert patience.cancelled_caught
        assert not stage.calls


async def test_a_removed_key_is_out_at_once(stage: Stage, uploads: UploadStore, tmp_path: Path) -> None:
    """Its work in hand is cancelled, its open connection is told no more than that, it gets no further event, and cannot connect anew; others notice nothing."""
    async with opened(stage, uploads, tmp_path) as doors:
        laptop, phone = await doors.new_client("laptop", "admin"), await doors.new_client("phone", "admin")
        async with (
            doors.calling(laptop) as caller,
            doors.calling(phone) as other,
            doors.subscribed(laptop) as lost,
            doors.subscribed(phone) as kept,
        ):
            await hello(doors.hub, lost)
            await hello(doors.hub, kept)
            slow, going_on = await caller.send("recognize", {}, SLOW), await other.send("recognize", {}, SLOW)
            await stage.until(lambda: stage.working == 2)
            await doors.keys.remove(RemoveKey("laptop"), BY_ADMIN)
            reply = await caller.receive()
            assert (reply["id"], reply["error"]["data"]["code"]) == (slow, "cancelled")
            assert await caller.call("status", {}) == "forbidden"
            stage.release.set()
            assert (await other.receive())["id"] == going_on
            while lost.raw.poll(0):
                await lost.receive()
            await hello(doors.hub, kept)  # it came back by itself
            with trio.move_on_after(REFUSED_S):
                pytest.fail(f"{await lost.receive()}")
        async with doors.calling(laptop) as again:
            assert not await is_answered(again)


async def test_keys_have_scopes(stage: Stage, uploads: UploadStore, tmp_path: Path) -> None:
    """A key that may recognize and nothing else gets `forbidden` for what reads or changes, no upload's worth of more, and no events."""
    async with opened(stage, uploads, tmp_path) as doors:
        small = await doors.new_client("small", "recognize")
        async with doors.calling(small) as caller:
            assert (await caller.call("recognize", {}, MUSIC))["matches"]
            assert await caller.call("status", {}) == "forbidden"
            assert await caller.call("tracks.remove", {"ids": [7]}) == "forbidden"
            assert await caller.call("feed.open", {"listener": "x"}) == "forbidden"
        async with doors.subscribed(small) as socket:
            doors.hub.publish("match.started", {})
            with trio.move_on_after(REFUSED_S):
                pytest.fail(f"{await socket.receive()}")


async def test_a_name_taken_by_another_key_gets_nothing_of_the_first(
    stage: Stage, uploads: UploadStore, tmp_path: Path
) -> None:
    """Who calls its socket what another client's is called finds none of its uploads."""
    async with opened(stage, uploads, tmp_path) as doors:
        one, two = await doors.new_client("one", "admin"), await doors.new_client("two", "admin")
        async with doors.calling(one, name=b"same") as caller:
            upload = (await caller.call("upload.open", {"name": "a"}))["upload"]
        async with doors.calling(two, name=b"same") as thief:
            assert await thief.call("upload.append", {"upload": upload}, b"x") == "invalid_request"


# -- who only holds connections -------------------------------------------------------------------------------------


async def test_garbage_and_oversized_frames_end_their_connection_only(
    stage: Stage, uploads: UploadStore, tmp_path: Path
) -> None:
    """Bytes that are no ZeroMQ, a greeting that stops, and a frame beyond the limit close that connection; the next client is served."""
    async with opened(stage, uploads, tmp_path) as doors:
        pair = await doors.new_client("laptop", "admin")
        port = int(doors.control.rpartition(":")[2])
        greeting = bytes([0xFF, *[0] * 8, 0x7F, 3, 1]) + b"CURVE".ljust(20, b"\0") + bytes(32)
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 300, greeting + b"\x06\xff" + b"\xff" * 400):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                await stream.send_all(garbage)
                with trio.fail_after(5):
                    try:
                        while await stream.receive_some(4096):
                            pass
                    except trio.BrokenResourceError:
                        pass
        async with doors.calling(pair) as caller:
            await caller.send("recognize", {}, bytes(3 * CHUNK_BYTES))
            with trio.move_on_after(REFUSED_S):
                pytest.fail(f"{await caller.receive()}")
        async with doors.calling(pair) as caller:
            assert await caller.call("status", {}) == {"version": "0"}


async def test_slow_handshakes_are_bounded_and_end(stage: Stage, uploads: UploadStore, tmp_path: Path) -> None:
    """From one address so many connections are held and no more, each that does not prove who it is for its time only; who was connected is served on."""
    async with opened(stage, uploads, tmp_path, max_of_address=8, handshake_ms=700) as doors:
        pair = await doors.new_client("laptop", "admin")
        port = int(doors.control.rpartition(":")[2])
        async with doors.calling(pair) as before:
            assert await before.call("status", {}) == {"version": "0"}
            silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(40)]
            async with trio.open_nursery() as nursery:
                ended: list[float] = []

                async def until_closed(stream: trio.SocketStream) -> None:
                    try:
                        while await stream.receive_some(64):  # libzmq's half of the greeting
                            pass
                    except trio.BrokenResourceError:
                        pass
                    ended.append(trio.current_time())

                started = trio.current_time()
                for stream in silent:
                    nursery.start_soon(until_closed, stream)
                assert await before.call("status", {}) == {"version": "0"}
            n_at_once = sum(at - started < 0.5 for at in ended)
            assert n_at_once >= 40 - 7
            assert max(ended) - started < 5
            async with doors.calling(pair) as after:
                assert await after.call("status", {}) == {"version": "0"}
            for stream in silent:
                await stream.aclose()


# -- the file -------------------------------------------------------------------------------------------------------


async def test_keys_last_and_are_for_the_daemon_alone(tmp_path: Path) -> None:
    """The daemon is known by the same key after a restart, clients that were added are let in, and nobody else may read the file."""
    keys, pair = keys_in(tmp_path), make_pair()
    await keys.add(AddKey("laptop", pair.public, ("write",)), BY_ADMIN)
    again = keys_in(tmp_path)
    assert await again.pair() == await keys.pair()
    client = again.client_of(pair.public)
    assert client is not None
    assert (client.name, client.scopes, client.is_local) == ("laptop", {Scope.WRITE}, False)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    listed = await again.list(NoParameters(), BY_ADMIN)
    assert listed["keys"][0] | {"added_at": ""} == {
        "name": "laptop",
        "key": pair.public,
        "scopes": ["write"],
        "added_at": "",
    }
    assert (await keys.pair()).secret not in repr((listed, keys.__dict__))
    with pytest.raises(KeyNotFound):
        await again.remove(RemoveKey("phone"), BY_ADMIN)


@pytest.mark.parametrize("held", [b"{}", b"[", b'{"server": {"public": "x", "secret": "y"}, "clients": []}', b"\xff"])
def test_a_file_of_keys_that_is_damaged_is_refused(tmp_path: Path, held: bytes) -> None:
    """The daemon does not go on with new keys, which would lock out everybody without a word."""
    (tmp_path / "keys.json").write_bytes(held)
    with pytest.raises(InvalidConfig, match="CURVE keys"):
        keys_in(tmp_path)


@pytest.mark.parametrize(
    ("name", "key", "scopes"),
    [
        ("", "a" * 40, ("read",)),
        ("a b", "a" * 40, ("read",)),
        ("192.0.2.7", "a" * 40, ("read",)),
        ("local", "a" * 40, ("read",)),
        ("a", "a" * 39, ("read",)),
        ("a", "a" * 40, ()),
        ("a", "a" * 40, ("root",)),
    ],
)
def test_what_is_no_key_is_not_added(name: str, key: str, scopes: tuple[str, ...]) -> None:
    """A name, a key or scopes that cannot be are said to be wrong."""
    with pytest.raises(ValueError, match=r"name|key|scopes"):
        AddKey(name, key, scopes)


async def test_no_two_clients_share_a_name_or_a_key(tmp_path: Path) -> None:
    """Nor does one have the daemon's own."""
    keys, pair = keys_in(tmp_path), make_pair()
    await keys.add(AddKey("one", pair.public, ("read",)), BY_ADMIN)
    for name, public in (("one", make_pair().public), ("two", pair.public), ("three", (await keys.pair()).public)):
        with pytest.raises(InvalidRequest):
            await keys.add(AddKey(name, public, ("read",)), BY_ADMIN)
