"""The trio adapter of pyzmq: nothing is lost, whoever gives up waiting."""

from __future__ import annotations

import os
import select
import stat
from socket import AF_UNIX
from socket import socket as unix_socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
import zmq

from dejavud.errors import AddressInUse, InvalidConfig
from dejavud.interfaces.zmq_trio import TrioSocket, bind, open_socket

if TYPE_CHECKING:
    from pathlib import Path

N_CLIENTS = 20
N_ROUND_TRIPS = 500
N_WANTED_CANCELS = 1000


async def _echo(socket: TrioSocket) -> None:
    while True:
        await socket.send(await socket.receive())


class Impatient:
    """A client that gives up most receives, again and again, and counts how often."""

    def __init__(self) -> None:
        self.n_cancelled = 0

    async def receive(self, socket: TrioSocket) -> list[bytes]:
        """Return the next message, however many attempts are cancelled before it comes."""
        patience = 0
        while True:
            received: list[list[bytes]] = []
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def receive(into: list[list[bytes]] = received) -> None:
                        into.append(await socket.receive())
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(receive)
                    for _ in range(patience):
                        await trio.lowlevel.checkpoint()
                    if patience < 2:
                        scope.cancel()
            if received:
                return received[0]
            self.n_cancelled += 1
            patience += 1

    async def run(self, endpoint: str, number: int) -> None:
        """Send numbered messages and want each one back, once, in order."""
        async with open_socket(zmq.DEALER, lambda raw: raw.connect(endpoint)) as socket:
            for trip in range(N_ROUND_TRIPS):
                sent = [b"%d" % number, b"%d" % trip]
                await socket.send(sent)
                assert await self.receive(socket) == sent


async def test_ten_thousand_round_trips_lose_nothing_while_receives_are_cancelled(socket_folder: Path) -> None:
    """20 clients get 10 000 messages back in order, with more than 1000 receives cancelled between them."""
    impatient = Impatient()
    endpoint = f"ipc://{socket_folder}/echo"
    with trio.fail_after(60):
        async with open_socket(zmq.ROUTER, lambda raw: raw.bind(endpoint)) as server, trio.open_nursery() as nursery:
            nursery.start_soon(_echo, server)
            async with trio.open_nursery() as clients:
                for number in range(N_CLIENTS):
                    clients.start_soon(impatient.run, endpoint, number)
            nursery.cancel_scope.cancel()
    assert impatient.n_cancelled > N_WANTED_CANCELS


async def test_both_directions_of_one_socket_wake_each_other(socket_folder: Path) -> None:
    """A task that only receives is woken although another task's sends read the same descriptor's edges."""
    endpoint = f"ipc://{socket_folder}/pair"
    n_messages = 2000

    async def send_all(socket: TrioSocket) -> None:
        for number in range(n_messages):
            await socket.send([b"%d" % number])

    async def receive_all(socket: TrioSocket) -> None:
        for number in range(n_messages):
            assert await socket.receive() == [b"%d" % number]

    with trio.fail_after(30):
        async with (
            open_socket(zmq.PAIR, lambda raw: raw.bind(endpoint)) as one,
            open_socket(zmq.PAIR, lambda raw: raw.connect(endpoint)) as other,
            trio.open_nursery() as nursery,
        ):
            for socket in (one, other):
                nursery.start_soon(receive_all, socket)
                nursery.start_soon(send_all, socket)


@pytest.mark.parametrize("way", ["send", "send_now"])
async def test_a_send_that_swallows_the_edge_wakes_the_receiver(socket_folder: Path, way: str) -> None:
    """A message arrives at the very moment of a send, whose call reads the descriptor's edge: it is received all the same."""
    endpoint = f"ipc://{socket_folder}/pair"
    received: list[list[bytes]] = []

    async with (
        open_socket(zmq.PAIR, lambda raw: raw.bind(endpoint)) as one,
        open_socket(zmq.PAIR, lambda raw: raw.connect(endpoint)) as other,
    ):

        async def receive() -> None:
            received.append(await one.receive())

        def send_as_one_arrives() -> None:
            other.raw.send_multipart([b"message"], zmq.NOBLOCK)
            readable, _, _ = select.select([one.raw.getsockopt(zmq.FD)], [], [], 5)
            assert readable
            one.raw.send_multipart([b"answer"], zmq.NOBLOCK)
            one.raw.getsockopt(zmq.EVENTS)  # a send reads the edge when its last look is long enough ago: make sure

        await other.send([b"connected"])
        await one.receive()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                if way == "send":
                    await one._when_ready(one._senders, send_as_one_arrives)
                else:
                    send_as_one_arrives()
                    assert one.send_now([b"another"])
    assert received == [[b"message"]]


async def test_send_waits_while_the_peer_takes_nothing(socket_folder: Path) -> None:
    """A send into a full queue waits, and goes on when the peer reads."""

    def small(raw: zmq.Socket[bytes]) -> None:
        raw.setsockopt(zmq.SNDHWM, 1)
        raw.connect(f"ipc://{socket_folder}/nobody")

    with trio.fail_after(30):
        async with open_socket(zmq.DEALER, small) as sender:
            await sender.send([b"queued"])
            with trio.move_on_after(0.05) as waiting:
                await sender.send([b"never sent"])
            assert waiting.cancelled_caught
            async with (
                open_socket(zmq.DEALER, lambda raw: raw.bind(f"ipc://{socket_folder}/nobody")) as receiver,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(sender.send, [b"second"])
                assert [await receiver.receive(), await receiver.receive()] == [[b"queued"], [b"second"]]


async def test_ipc_socket_is_for_its_user_only(socket_folder: Path) -> None:
    """The socket file is 0600 and a folder made for it 0700, whatever the umask."""
    folder = socket_folder / "run" / "dejavud"
    before = os.umask(0)
    try:
        async with open_socket(zmq.ROUTER, lambda raw: bind(raw, f"ipc://{folder}/control.sock", "x")):
            assert stat.S_IMODE((folder / "control.sock").stat().st_mode) == 0o600
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert os.umask(0) == 0
    finally:
        os.umask(before)


async def test_live_socket_is_refused_and_left_alone(socket_folder: Path) -> None:
    """A second daemon on the same ipc endpoint is refused, and the first goes on answering."""
    endpoint = f"ipc://{socket_folder}/s"
    with trio.fail_after(10):
        async with open_socket(zmq.REP, lambda raw: bind(raw, endpoint, "x")) as server:
            with pytest.raises(AddressInUse, match="another dejavud"):
                async with open_socket(zmq.REP, lambda raw: bind(raw, endpoint, "the control socket")):
                    pass
            async with open_socket(zmq.REQ, lambda raw: raw.connect(endpoint)) as client:
                await client.send([b"still there?"])
                assert await server.receive() == [b"still there?"]


async def test_socket_of_a_dead_daemon_is_replaced(socket_folder: Path) -> None:
    """A socket file on which nobody listens does not keep a daemon from starting."""
    path = socket_folder / "s"
    with unix_socket(AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    with trio.fail_after(10):
        async with (
            open_socket(zmq.REP, lambda raw: bind(raw, f"ipc://{path}", "x")) as server,
            open_socket(zmq.REQ, lambda raw: raw.connect(f"ipc://{path}")) as client,
        ):
            await client.send([b"hello"])
            assert await server.receive() == [b"hello"]


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        ("ipc://{folder}/file", AddressInUse),
        ("ipc://{folder}/file/below", AddressInUse),
        ("ipc://{folder}/" + "x" * 120, InvalidConfig),
        ("tcp://nowhere", InvalidConfig),
        ("carrier-pigeon://roof", InvalidConfig),
        ("", InvalidConfig),
    ],
)
async def test_endpoint_that_cannot_be_bound_is_explained(
    socket_folder: Path, endpoint: str, kind: type[Exception]
) -> None:
    """A wrong endpoint ends in an error of ours, and a file that is no socket stays as it is."""
    (socket_folder / "file").write_text("precious")
    with pytest.raises(kind):
        async with open_socket(zmq.REP, lambda raw: bind(raw, endpoint.format(folder=socket_folder), "x")):
            pass
    assert (socket_folder / "file").read_text() == "precious"


async def test_taken_port_is_refused() -> None:
    """A tcp endpoint that another socket holds is `AddressInUse`, and port 0 finds a free one."""
    bound: list[str] = []
    async with open_socket(zmq.REP, lambda raw: bound.append(bind(raw, "tcp://127.0.0.1:0", "x"))):
        assert not bound[0].endswith(":0")
        with pytest.raises(AddressInUse):
            async with open_socket(zmq.REP, lambda raw: bind(raw, bound[0], "x")):
                pass
