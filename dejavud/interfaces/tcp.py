"""TCP listeners that no client can take down: bounded in connections, in the time of a send, and contained one by one."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import resource
import socket
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from dejavud.errors import AddressInUse, InvalidConfig
from dejavud.services.access import address_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from dejavud.interfaces.tls import Tls

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger()
_BACKLOG = 128
_HANDSHAKE_S = 10.0
_LINGER_S = 1.0
_LINGER_READ_BYTES = 1 << 16
_SHARE_OF_ONE = 4
_SHARE_OF_DESCRIPTORS = 3
"""One third for each of HTTP and WebSocket, and one for everything else."""
_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""A client whose machine vanished without a word is gone after two minutes, however long its connection was to be open."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one client, and all of them together, may hold.

    send_s : a client that takes no byte of an answer for this long is cut off.
    """

    max_connections: int
    send_s: float


class PacedStream(trio.abc.HalfCloseableStream):
    """A TCP connection whose sends have a deadline.

    tls : what it is spoken over with; None speaks plainly.
    address : where the client is; empty where it is gone already.
    """

    def __init__(self, stream: trio.SocketStream, send_s: float, tls: Tls | None = None) -> None:
        self._tcp = stream
        self._stream: trio.abc.Stream = stream if tls is None else tls.wrap(stream)
        self._send_s = send_s
        self.socket = stream.socket
        try:
            self.address = str(stream.socket.getpeername()[0])
        except OSError:
            self.address = ""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`; raises `trio.BrokenResourceError` when the client does not take it in time."""
        with trio.move_on_after(self._send_s) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self._tcp)  # half an answer: nothing more can be said here
            reason = "the client does not read"
            raise trio.BrokenResourceError(reason)

    async def is_greeted(self) -> bool:
        """Shake hands, where TLS is spoken, and tell whether the client did: one that does not speak it, or is slow, is no error of ours."""
        if not isinstance(self._stream, trio.SSLStream):
            return True
        try:
            with trio.move_on_after(_HANDSHAKE_S) as scope:
                await self._stream.do_handshake()
        except trio.BrokenResourceError as error:
            _LOG.debug("tls_refused", reason=str(error.__cause__ or error))
            return False
        return not scope.cancelled_caught

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until a send may go on."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return what has come, b"" at the end."""
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        await self._tcp.send_eof()

    async def aclose(self) -> None:
        """Close the connection.  Idempotent."""
        await self._stream.aclose()

    async def linger(self) -> None:
        """Say goodbye and read on for a moment.

        Closing on unread bytes resets the connection, and the reset can overtake the answer that explains it.
        """
        with (
            trio.move_on_after(_LINGER_S),
            contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError),
        ):
            await self.send_eof()
            while await self.receive_some(_LINGER_READ_BYTES):
                pass


class Places:
    """The connections that are open, of all and of each address: one of another machine's leaves three quarters of them to others."""

    def __init__(self, n_places: int) -> None:
        self._n_places = n_places
        self._taken: Counter[str] = Counter()

    @contextlib.contextmanager
    def taken(self, address: str) -> Iterator[bool]:
        """Count a connection while the block goes on, and tell whether there is a place for it."""
        name = address_name(address)
        self._taken[name] += 1
        is_ours = ipaddress.ip_network(name).is_loopback
        most = self._n_places if is_ours else max(1, self._n_places // _SHARE_OF_ONE)
        try:
            yield self._taken.total() <= self._n_places and self._taken[name] <= most
        finally:
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]


async def open_listener(host: str, port: int, what: str, given: socket.socket | None = None) -> trio.SocketListener:
    """Return a listener on `host` (its first address) and `port`, or on the socket that was `given` to us listening.

    Raises `AddressInUse` when another program has it, `InvalidConfig` when this machine has no such address.
    """
    if given is not None:
        return trio.SocketListener(trio.socket.from_stdlib_socket(given))
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        reason = f"{what} cannot listen on {host!r}: {error.strerror}"
        raise InvalidConfig(origin=f"{host}:{port}", reason=reason) from None
    family, _, _, _, address = found[0]
    listening = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        text = os.strerror(error.errno or 0)
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            raise AddressInUse(what=what, address=f"{host}:{port}", reason=text) from None
        raise InvalidConfig(origin=f"{host}:{port}", reason=f"{what} cannot listen there: {text}") from None
    return trio.SocketListener(listening)


def url_of(listener: trio.SocketListener, scheme: str) -> str:
    """Return the URL that reaches `listener`, with its real port."""
    host, port = listener.socket.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def serve_connections(
    listener: trio.SocketListener,
    *,
    handle: Callable[[PacedStream], Awaitable[None]],
    refuse: Callable[[PacedStream], Awaitable[None]],
    limits: ConnectionLimits,
    stop: trio.Event,
    tls: Tls | None = None,
) -> None:
    """Give each connection to `handle`, to `refuse` when there are too many; after `stop` only finish those there are.

    There are never so many that no descriptors are left for other work, whatever `limits` allows.
    An exception ends its connection and is logged; it never reaches the others.
    """
    places = Places(_affordable(limits.max_connections))

    async def contained(raw: trio.SocketStream) -> None:
        stream = PacedStream(raw, limits.send_s, tls)
        if not stream.address:
            await trio.aclose_forcefully(raw)
            return
        with places.taken(stream.address) as has_place:
            try:
                for option, value in _KEEP_ALIVE:
                    raw.setsockopt(socket.IPPROTO_TCP, option, value)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                if has_place and await stream.is_greeted():
                    await handle(stream)
                elif not has_place and tls is None:  # with TLS even a refusal would cost too much
                    await refuse(stream)
            except Exception:  # noqa: BLE001 - the border of one connection
                _LOG.exception("connection_failed", service=str(listener.socket.getsockname()))
            finally:
                await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as handlers, trio.open_nursery() as accepting:
        accepting.start_soon(partial(trio.serve_listeners, contained, [listener], handler_nursery=handlers))
        await stop.wait()
        accepting.cancel_scope.cancel()


def _affordable(n_connections: int) -> int:
    """Return how many of these leave the process descriptors for its other work."""
    n_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if n_descriptors == resource.RLIM_INFINITY:
        return n_connections
    return min(n_connections, n_descriptors // _SHARE_OF_DESCRIPTORS)
