"""pyzmq sockets for trio.

A ZeroMQ socket's file descriptor is edge-triggered, and any call on the socket may consume the edge: a send can swallow
the wake-up that a waiting receive needed.  So one pump task waits on the descriptor and wakes both directions, every
send and receive first tries without blocking, and every try reads ``EVENTS`` again and wakes whom they concern.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import trio
import zmq

from dejavud.errors import AddressInUse, InvalidConfig
from dejavud.wire.endpoints import ipc_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    Context = zmq.Context[zmq.Socket[bytes]]

T = TypeVar("T")

LINGER_MS = 500
"""At the end, time for what was sent to leave."""
_OWNER_ONLY = 0o177
"""The umask that leaves a socket file 0600."""


class TrioSocket:
    """A ZeroMQ socket whose waiting is trio's; made by `open_socket`.

    Cancelling a receive loses no message, cancelling a send sends nothing.
    """

    def __init__(self, raw: zmq.Socket[bytes]) -> None:
        self.raw = raw
        self._receivers = trio.lowlevel.ParkingLot()
        self._senders = trio.lowlevel.ParkingLot()
        self._pumping = trio.CancelScope(shield=True)

    async def receive(self) -> list[bytes]:
        """Return the frames of the next message, waiting for one."""
        return await self._when_ready(self._receivers, lambda: self.raw.recv_multipart(zmq.NOBLOCK))

    async def receive_with(self, what: str) -> tuple[str, list[bytes]]:
        """Return what the connection of the next message has as its property `what` ("" where it has none), and the message's frames."""
        frames = await self._when_ready(self._receivers, lambda: self.raw.recv_multipart(zmq.NOBLOCK, copy=False))
        try:
            value = frames[0].get(what)
        except zmq.ZMQError:  # libzmq's word for none
            value = ""
        return str(value), [frame.bytes for frame in frames]

    async def send(self, frames: Sequence[bytes]) -> None:
        """Send a message, waiting while every peer's queue is full (for the socket types that wait; PUB drops)."""
        await self._when_ready(self._senders, lambda: self.raw.send_multipart(frames, zmq.NOBLOCK))

    def send_now(self, frames: Sequence[bytes]) -> bool:
        """Send a message without waiting; False when its peer is gone or takes no more."""
        try:
            self.raw.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        finally:
            self._wake()
        return True

    async def _when_ready(self, waiters: trio.lowlevel.ParkingLot, attempt: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()  # the one place to be cancelled before the attempt: none comes after it
        while True:
            try:
                result = attempt()
            except zmq.Again:
                # Reading EVENTS handles what arrived since the attempt; what arrives from here on wakes the pump.
                if not self._wake() & (zmq.POLLIN if waiters is self._receivers else zmq.POLLOUT):
                    await waiters.park()
            else:
                self._wake()
                return result

    def _wake(self) -> int:
        """Return the socket's events, having woken whoever waits for them."""
        events = int(self.raw.getsockopt(zmq.EVENTS))
        if events & zmq.POLLIN:
            self._receivers.unpark_all()
        if events & zmq.POLLOUT:
            self._senders.unpark_all()
        return events

    async def pump(self) -> None:
        """Wake the waiters as the socket's descriptor says, until `stop_pump`.

        It outlives a cancellation around it, because what is in flight may still have to be sent.
        """
        descriptor = int(self.raw.getsockopt(zmq.FD))
        with self._pumping:
            while True:
                await trio.lowlevel.wait_readable(descriptor)
                self._wake()

    def stop_pump(self) -> None:
        """End the pump; nobody may wait on the socket any more."""
        self._pumping.cancel()


@asynccontextmanager
async def open_context() -> AsyncIterator[Context]:
    """Give a context; after the block what its sockets sent has left, or LINGER_MS have passed."""
    context: Context = zmq.Context()
    try:
        yield context
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(context.term)


@asynccontextmanager
async def open_socket(kind: int, configure: Callable[[zmq.Socket[bytes]], object]) -> AsyncIterator[TrioSocket]:
    """Give a socket of its own context, set up (and bound or connected) by `configure`, until the block ends."""
    async with open_context() as context, open_socket_in(context, kind, configure) as opened:
        yield opened


@asynccontextmanager
async def open_socket_in(
    context: Context, kind: int, configure: Callable[[zmq.Socket[bytes]], object]
) -> AsyncIterator[TrioSocket]:
    """Give a socket of a context that others share, as `open_socket`."""
    raw = context.socket(kind)
    try:
        raw.setsockopt(zmq.LINGER, LINGER_MS)
        configure(raw)
        wrapped = TrioSocket(raw)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wrapped.pump)
            try:
                yield wrapped
            finally:
                wrapped.stop_pump()
    finally:
        raw.close()


@asynccontextmanager
async def open_bound(
    kind: int, endpoint: str, what: str, configure: Callable[[zmq.Socket[bytes]], object]
) -> AsyncIterator[TrioSocket]:
    """Give a socket that is set up by `configure` and then bound as `bind` does; its file is gone after the block."""

    def configure_and_bind(raw: zmq.Socket[bytes]) -> None:
        configure(raw)
        bind(raw, endpoint, what)

    async with open_socket(kind, configure_and_bind) as bound:
        try:
            yield bound
        finally:
            path = ipc_path(endpoint)
            if path is not None:  # libzmq leaves it; and while we hold the socket, nobody else's can be there
                path.unlink(missing_ok=True)


def bind(raw: zmq.Socket[bytes], endpoint: str, what: str) -> str:
    """Bind to `endpoint` and return the endpoint with its real port; an ipc socket is for this user only.

    A socket file that a dead daemon left behind is replaced.  Raises `AddressInUse` when somebody listens there, and
    `InvalidConfig` for an endpoint that cannot be one.
    """
    path = ipc_path(endpoint)
    if path is not None:
        _make_way(path, endpoint, what)
    before = os.umask(_OWNER_ONLY)  # a chmod afterwards would leave a moment in which others can connect
    try:
        raw.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}:
            raise AddressInUse(what=what, address=endpoint, reason=os.strerror(error.errno)) from None
        reason = f"{what} cannot use this endpoint ({error.strerror}): it is ipc://PATH or tcp://ADDRESS:PORT"
        raise InvalidConfig(origin=endpoint, reason=reason) from None
    finally:
        os.umask(before)
    return raw.getsockopt_string(zmq.LAST_ENDPOINT)


def _make_way(path: Path, endpoint: str, what: str) -> None:
    """Make the socket's folder and remove a dead daemon's socket; raise where it is not dead or not ours."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = path.parent.stat().st_uid
        if owner not in {0, os.getuid()}:  # who owns the folder can put another socket in our socket's place
            reason = f"the folder {path.parent} belongs to another user (uid {owner})"
            raise InvalidConfig(origin=endpoint, reason=reason)
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise AddressInUse(what=what, address=endpoint, reason="there is a file that is no socket")
        if _answers(path):
            raise AddressInUse(what=what, address=endpoint, reason="another dejavud is listening there")
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise AddressInUse(what=what, address=endpoint, reason=error.strerror or str(error)) from None


def _answers(path: Path) -> bool:
    """Tell whether a process listens on the socket file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # its queue is full: there is somebody
            return True
        return True
