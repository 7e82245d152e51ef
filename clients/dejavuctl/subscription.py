"""The events socket from the client's side."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

import zmq

from dejavuctl.connection import CONNECT_S, check_socket_file, socket_for
from dejavuctl.failures import NoDaemon, Usage
from dejavuctl.interrupts import poll

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from dejavuctl.keys import KeyFile

_EVENT = struct.Struct("=hi")
_TAKEN_AT_ONCE = 200


class Subscription:
    """Messages whose first frame begins with one of `prefixes`, any where there are none.  Use it as a context manager."""

    def __init__(self, endpoint: str, prefixes: Sequence[str], key: KeyFile | None = None) -> None:
        self._endpoint = endpoint
        check_socket_file(endpoint)
        self._greeted = self._was_told = False
        self._opened_at = time.monotonic()
        self._context = zmq.Context()
        self._socket = socket_for(endpoint, self._context, zmq.SUB, key)
        for prefix in prefixes or [""]:
            self._socket.setsockopt(zmq.SUBSCRIBE, prefix.encode("utf-8", "surrogateescape"))
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED
        )
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.__exit__()
            raise Usage(
                reason=f"--events {endpoint}: {error.strerror}; an endpoint is ipc://PATH or tcp://HOST:PORT"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()
        self._context.term()

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """Return what becomes readable when `receive` has something to take."""
        return self._socket, self._monitor

    @property
    def is_greeted(self) -> bool:
        """Whether the publisher has answered, and is there."""
        return self._greeted

    def receive(self) -> list[list[bytes]]:
        """Return some of what has come, without waiting; once the publisher is gone and all is taken, raises `NoDaemon`."""
        self._hear_of_peer(is_there=bool(self._monitor.poll(0)))
        messages: list[list[bytes]] = []
        while len(messages) < _TAKEN_AT_ONCE and self._socket.poll(0):
            messages.append(self._socket.recv_multipart())
        if not messages and (self._was_told or time.monotonic() - self._opened_at > CONNECT_S):
            self._check_greeted(is_silent=not self._was_told)
        return messages

    def greet(self) -> None:
        """Wait until the publisher has answered; raises `NoDaemon` where it does not."""
        if not self._greeted:
            self._hear_of_peer(is_there=bool(self._monitor.poll(int(CONNECT_S * 1000))))
            self._check_greeted(is_silent=not self._greeted)

    def __iter__(self) -> Iterator[list[bytes]]:
        """Yield messages until the publisher goes away, then raise `NoDaemon`."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        while True:
            came = dict(poll(poller, None if self._greeted else int(CONNECT_S * 1000)))
            self._hear_of_peer(is_there=self._monitor in came)
            while self._socket.poll(0):
                yield self._socket.recv_multipart()
            self._check_greeted(is_silent=not came)

    def _hear_of_peer(self, *, is_there: bool) -> None:
        if is_there:
            event, _ = _EVENT.unpack(self._monitor.recv_multipart()[0])
            self._greeted, self._was_told = event == zmq.EVENT_HANDSHAKE_SUCCEEDED, True

    def _check_greeted(self, *, is_silent: bool) -> None:
        if not self._greeted:
            reason = f"nobody answered within {CONNECT_S:g} s" if is_silent else "the daemon's publisher went away"
            raise NoDaemon(endpoint=self._endpoint, reason=reason)
