"""ZeroMQ over TCP, for clients whose keys are known and for nobody else.

libzmq speaks CURVE: it encrypts, proves the daemon's key to the client and the client's to the daemon, and asks who may come in (ZAP, its RFC 27), which
is answered here from the allow list.  libzmq itself takes any number of connections and keeps each that says nothing: so it listens on a socket that
only we can reach, and in front of it is a TCP listener that is bounded as ours for HTTP are, and passes bytes on without understanding them.
"""

from __future__ import annotations

import resource
import tempfile
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog
import trio
import zmq
from zmq.utils import z85

from dejavud.errors import InvalidConfig
from dejavud.interfaces.tcp import ConnectionLimits, open_listener, serve_connections, url_of
from dejavud.interfaces.zmq_trio import open_bound, open_context, open_socket_in
from dejavud.services.access import address_name
from dejavud.services.client_keys import KeyPair
from dejavud.wire.endpoints import ipc_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from dejavud.interfaces.tcp import PacedStream
    from dejavud.interfaces.zmq_trio import TrioSocket
    from dejavud.services.clients import Client

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger()

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
_PUBLIC_BYTES = 32
_DOMAIN = "dejavud"
_HANDSHAKE_MS = 5000
"""For a client to prove who it is; then its connection is closed."""
_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS = 5000, 30_000
_SEND_S = 30.0
_PIECE_BYTES = 1 << 16
_DESCRIPTORS_EACH = 3
"""Of a connection: from the client, to libzmq, and libzmq's own."""
USER_ID = "User-Id"
"""The property of a received frame that says by which key it came."""
KEY_LENGTH = 40
"""Of a key in Z85."""


class Keyring(Protocol):
    """What a door knows of keys: `dejavud.services.client_keys.ClientKeys`."""

    def client_of(self, public: str) -> Client | None:
        """Return who has this public key (Z85), None where nobody is let in by it."""
        ...

    async def pair(self) -> KeyPair:
        """Return the daemon's own keys."""
        ...

    async def wait_removed(self) -> None:
        """Return when next a client is let in no more."""
        ...


@dataclass(frozen=True, slots=True)
class CurveDoor:
    """A TCP address that is reached by keys.

    may_enter : tells of a client that has a key whether it is let in here.
    ends_all : have every connection made anew when a client is let in no more: for sockets that do not hear who sends or takes what.
    max_connections : at a time; max_of_address : from one address.
    handshake_ms : for a client to prove who it is.
    """

    host: str
    port: int
    keys: Keyring = field(repr=False)
    may_enter: Callable[[Client], bool] = lambda _client: True
    ends_all: bool = False
    max_connections: int = 256
    max_of_address: int = 64
    handshake_ms: int = _HANDSHAKE_MS

    def admitted(self, public: str) -> Client | None:
        """Return whose key this is, None where he is not let in here (any more)."""
        client = self.keys.client_of(public)
        return client if client is not None and self.may_enter(client) else None


def make_pair() -> KeyPair:
    """Return new keys; raises `InvalidConfig` where the machine's ZeroMQ cannot encrypt."""
    if not zmq.has("curve"):
        reason = "this machine's libzmq was built without CURVE, and there is no other way over TCP: install pyzmq from its wheel, or leave this out"
        raise InvalidConfig(origin="control.listen, events.listen", reason=reason)
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


@asynccontextmanager
async def open_door(
    kind: int, where: str | CurveDoor, what: str, configure: Callable[[zmq.Socket[bytes]], object]
) -> AsyncIterator[tuple[TrioSocket, str]]:
    """Give a socket that is set up by `configure` and then reached at the ipc endpoint `where`, or by keys; and its endpoint.

    Raises `AddressInUse`, and `InvalidConfig` for another endpoint too: whoever comes by one that takes no keys counts as this user.
    """
    if isinstance(where, CurveDoor):
        async with open_curve(kind, where, what, configure) as opened:
            yield opened
    else:
        if ipc_path(where) is None:
            raise InvalidConfig(origin=where, reason=f"{what} is at ipc://PATH, or is reached by keys")
        async with open_bound(kind, where, what, configure) as socket:
            yield socket, socket.raw.getsockopt_string(zmq.LAST_ENDPOINT)


@asynccontextmanager
async def open_curve(
    kind: int, door: CurveDoor, what: str, configure: Callable[[zmq.Socket[bytes]], object]
) -> AsyncIterator[tuple[TrioSocket, str]]:
    """Give a socket that is reached through `door`, and its endpoint; connections end with the block.

    Raises `AddressInUse` and `InvalidConfig`.
    """
    pair = await door.keys.pair()
    listener = await open_listener(door.host, door.port, what)
    async with listener:
        with tempfile.TemporaryDirectory(prefix="dejavud-") as folder:
            inside = f"{folder}/s"

            def configure_and_bind(raw: zmq.Socket[bytes]) -> None:
                configure(raw)
                raw.curve_secretkey, raw.curve_publickey = pair.secret.encode(), pair.public.encode()
                raw.curve_server = True
                raw.setsockopt_string(zmq.ZAP_DOMAIN, _DOMAIN)
                raw.setsockopt(zmq.HANDSHAKE_IVL, door.handshake_ms)
                raw.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
                raw.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
                raw.bind(f"ipc://{inside}")

            async with (
                open_context() as context,
                open_socket_in(context, zmq.ROUTER, lambda raw: raw.bind(_ZAP_ENDPOINT)) as asked,
                open_socket_in(context, kind, configure_and_bind) as socket,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(_answer_zap, asked, door)
                nursery.start_soon(_Front(door, inside).serve, listener)
                yield socket, url_of(listener, "tcp")
                nursery.cancel_scope.cancel()


async def _answer_zap(asked: TrioSocket, door: CurveDoor) -> None:
    """Tell libzmq of each client that shows its key whether it is let in.

    A request is version, id, domain, address, identity, mechanism, and what the mechanism proved: for CURVE the client's public key.
    """
    while True:
        asker, _, version, request_id, *rest = await asked.receive()
        status, text, user = b"400", b"not let in", b""
        if version == _ZAP_VERSION and len(rest) > 4 and rest[3] == b"CURVE" and len(rest[4]) == _PUBLIC_BYTES:  # noqa: PLR2004 - the places of RFC 27
            public = z85.encode(rest[4]).decode()
            client = door.admitted(public)
            if client is not None:
                status, text, user = b"200", b"", public.encode()
                _LOG.info("key_accepted", client=client.name)
            else:
                _LOG.debug("key_unknown", key=public)  # of which anybody can show any number
                _LOG.warning("key_refused")
        await asked.send([asker, b"", _ZAP_VERSION, request_id, status, text, user, b""])


class _Front:
    """The TCP side: so many connections, so many from one address, each passed on byte by byte."""

    def __init__(self, door: CurveDoor, inside: str) -> None:
        self._door = door
        self._inside = inside
        self._of_address: Counter[str] = Counter()

    async def serve(self, listener: trio.SocketListener) -> None:
        """Accept until cancelled."""
        most = min(self._door.max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // (3 * _DESCRIPTORS_EACH))
        await serve_connections(
            listener,
            handle=self._handle,
            refuse=_refuse,
            limits=ConnectionLimits(most, _SEND_S),
            stop=trio.Event(),
        )

    async def _handle(self, outer: PacedStream) -> None:
        address = address_name(outer.address)
        if self._of_address[address] >= self._door.max_of_address:
            _LOG.warning("connections_refused", address=address, n_open=self._of_address[address])
            return
        self._of_address[address] += 1
        try:
            await self._pass_on(outer)
        finally:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    async def _pass_on(self, outer: PacedStream) -> None:
        async with await trio.open_unix_socket(self._inside) as inner, trio.open_nursery() as nursery:

            async def end_with(work: Callable[[], Awaitable[None]]) -> None:
                await work()
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_with, partial(_copy, outer, inner))
            nursery.start_soon(end_with, partial(_copy, inner, outer))
            if self._door.ends_all:
                nursery.start_soon(end_with, self._door.keys.wait_removed)


async def _copy(source: trio.abc.ReceiveStream, target: trio.abc.SendStream) -> None:
    """Pass bytes on until either side is gone."""
    try:
        while data := await source.receive_some(_PIECE_BYTES):
            await target.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def _refuse(_stream: PacedStream) -> None:
    """Say nothing: what listens here speaks to clients that are known."""
    _LOG.warning("connections_refused")
