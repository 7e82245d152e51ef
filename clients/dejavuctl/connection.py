"""The control socket from the client's side: requests out, replies in, and a daemon that goes away is noticed.

One DEALER socket that never reconnects: a connection that is lost takes its requests with it, and the caller is told at
once (`NoDaemon`) instead of waiting for an answer that nobody will send.
"""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING, Any

import zmq

from dejavuctl.failures import Failed, ForeignProtocol, NoAccess, NoDaemon, NotLetIn, Usage
from dejavuctl.interrupts import held_back, poll
from dejavud.errors import InvalidRequest
from dejavud.wire.endpoints import ipc_path
from dejavud.wire.messages import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from dejavuctl.keys import KeyFile
    from dejavud.wire.messages import RequestId

CONNECT_S = 5.0
"""A daemon of this or a near machine takes a connection in milliseconds; one that does not in this time is stopped or far."""
QUIET_S = 30.0
"""With a request open and nothing heard for this long, the daemon is asked whether it still answers; and given as long again."""
CANCEL_S = 2.0
"""For a daemon to say that it has heard of a cancellation; nobody who pressed Ctrl-C waits longer."""
NEVER_MS = 3_600_000
"""Before a lost connection is made again: longer than anybody waits.  To forbid it (-1) would also drop what had come before."""
HEARTBEAT_MS = 2000
HEARTBEAT_TIMEOUT_MS = 10_000
LINGER_MS = 500
"""At the end, time for what was sent (a cancellation) to leave."""

_PROBE_ID = "probe"
_MONITORED = (
    zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_EVENT = struct.Struct("=hi")


class Connection:
    """Requests in flight to one daemon.  For one thread; use it as a context manager."""

    def __init__(self, endpoint: str, token: str | None = None, key: KeyFile | None = None) -> None:
        self.endpoint = endpoint
        self._token = token
        self._has_key = key is not None and ipc_path(endpoint) is None
        self._pending: set[RequestId] = set()
        self._last_id = 0
        self._greeted = False
        self._lost: NoDaemon | None = None
        self._heard_at = self._opened_at = time.monotonic()
        check_socket_file(endpoint)
        self._context = zmq.Context()
        self._socket = socket_for(endpoint, self._context, zmq.DEALER, key)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._monitor = self._socket.get_monitor_socket(_MONITORED)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise Usage(
                reason=f"--control {endpoint}: {error.strerror}; an endpoint is ipc://PATH or tcp://HOST:PORT"
            ) from None
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets, once; what was just sent gets a moment to leave."""
        if self._lost is not None:
            self._socket.setsockopt(zmq.LINGER, 0)  # nobody will take what is left
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()
        self._context.term()

    @property
    def reads_our_files(self) -> bool:
        """Whether the daemon is of this machine, so that a path means the same to it."""
        return ipc_path(self.endpoint) is not None

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """Return what becomes readable when `receive` has something to take."""
        return self._socket, self._monitor

    @property
    def is_waiting(self) -> bool:
        """Whether a request is open."""
        return bool(self._pending)

    def send(self, method: str, params: Mapping[str, Any], audio: bytes | None = None) -> RequestId:
        """Send a request and return its id; its reply comes from `receive`.  Raises `NoDaemon` when there is none any more."""
        self._last_id += 1
        self._send(self._last_id, method, params, audio)
        return self._last_id

    def _send(self, request_id: RequestId, method: str, params: Mapping[str, Any], audio: bytes | None = None) -> None:
        frames = [Request(request_id, method, dict(params), self._token).to_bytes()]
        if audio is not None:
            frames.append(audio)
        self._watch()
        if self._lost is not None:
            raise self._lost
        with held_back():
            self._socket.send_multipart(frames, copy=len(frames[-1]) < zmq.COPY_THRESHOLD)
        if not self._pending:
            self._heard_at = time.monotonic()  # the daemon had nothing to say before this
        self._pending.add(request_id)

    def receive(self, timeout_s: float, *, also_fd: int | None = None) -> list[Reply]:
        """Return what has come, at least one reply unless `timeout_s` passed or the file descriptor `also_fd` became readable.

        Raises `NoDaemon` when requests are open that nobody will answer.  Ctrl-C interrupts it while it waits.
        """
        if also_fd is not None:
            self._poller.register(also_fd, zmq.POLLIN)
        try:
            poll(self._poller, int(max(0.0, min(timeout_s, self._patience_s())) * 1000))
        finally:
            if also_fd is not None:
                self._poller.unregister(also_fd)
        self._watch()  # before reading: what had come before the connection was lost is then read below
        replies = self._read()
        if not replies and self._pending:
            self._check_life()
        return replies

    def call(
        self,
        method: str,
        params: Mapping[str, Any],
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        *,
        audio: bytes | None = None,
    ) -> dict[str, Any]:
        """Return the result of one command; raises `Failed` with the daemon's error.

        Ctrl-C cancels it in the daemon; what that had told until then still comes to `on_progress`.
        """
        with held_back():
            request_id = self.send(method, params, audio)
            try:
                while True:
                    for reply in self.receive(QUIET_S):
                        if reply.id == request_id and reply.progress is None:
                            return self.result_of(reply)
                        if reply.id == request_id and reply.progress is not None and on_progress is not None:
                            on_progress(reply.progress)
            except KeyboardInterrupt:
                cancel_id = self._cancel(request_id)
                if on_progress is not None:
                    self._hear_out(request_id, cancel_id, on_progress)
                raise

    def result_of(self, reply: Reply) -> dict[str, Any]:
        """Return the result that `reply` holds, or raise its error as `Failed`."""
        if reply.error is not None:
            raise _failed(reply.error)
        if not isinstance(reply.result, dict):
            raise ForeignProtocol(endpoint=self.endpoint, reason="a result that is not an object")
        return reply.result

    def cancel(self, request_ids: list[RequestId]) -> None:
        """Tell the daemon to stop working on these, and forget them."""
        for request_id in request_ids:
            self._cancel(request_id)

    def _cancel(self, request_id: RequestId) -> RequestId:
        self._pending.discard(request_id)
        return self.send("cancel", {"id": request_id})

    def _hear_out(
        self, request_id: RequestId, cancel_id: RequestId, on_progress: Callable[[dict[str, Any]], None]
    ) -> None:
        """Take the progress that was told before the daemon knew of the cancellation: it comes before its answer to that."""
        deadline = time.monotonic() + CANCEL_S
        while (left := deadline - time.monotonic()) > 0:
            for reply in self.receive(left):
                if reply.id == cancel_id:
                    return
                if reply.id == request_id and reply.progress is not None:
                    on_progress(reply.progress)

    def wait_until_gone(self, timeout_s: float) -> bool:
        """Tell whether the daemon closed the connection within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self._lost is None and (left := deadline - time.monotonic()) > 0:
            self.receive(left)
        return self._lost is not None

    def _read(self) -> list[Reply]:
        replies: list[Reply] = []
        while True:
            try:
                with held_back():
                    frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return replies
            self._heard_at = time.monotonic()
            try:
                reply = Reply.from_bytes(frames[0])
            except InvalidRequest as error:
                raise ForeignProtocol(endpoint=self.endpoint, reason=error.message) from None
            if reply.id is None:  # the daemon could not even read which request it was
                raise _failed(reply.error) if reply.error else ForeignProtocol(endpoint=self.endpoint, reason="no id")
            if reply.progress is None:
                self._pending.discard(reply.id)
            replies.append(reply)

    def _watch(self) -> None:
        """Take note of what the socket's monitor reports."""
        while self._monitor.poll(0):
            event, value = _EVENT.unpack(self._monitor.recv_multipart()[0])
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._greeted = True
            elif event == zmq.EVENT_CLOSED:
                self._lost = self._gone(reason=f"no daemon listens there: {os.strerror(value)}")
            elif event == zmq.EVENT_DISCONNECTED and self._greeted:
                self._lost = self._gone(reason="the daemon went away before it had answered")
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH or (event == zmq.EVENT_DISCONNECTED and self._has_key):
                self._lost = NotLetIn(endpoint=self.endpoint)
            elif event == zmq.EVENT_DISCONNECTED:
                self._lost = self._gone(reason="what listens there did not greet as a dejavud does")

    def _patience_s(self) -> float:
        if self._lost is not None:
            return 0.0
        if self._greeted or not self._pending:
            return QUIET_S
        return max(0.0, self._opened_at + CONNECT_S - time.monotonic())

    def _check_life(self) -> None:
        """Raise `NoDaemon` when nobody will answer; ask a silent daemon whether it is still there."""
        now = time.monotonic()
        if self._lost is not None:
            raise self._lost
        if not self._greeted and now - self._opened_at >= CONNECT_S:
            raise self._gone(reason=f"nobody answered within {CONNECT_S:g} s")
        quiet_s = now - self._heard_at
        if quiet_s >= 2 * QUIET_S:
            raise self._gone(reason=f"the daemon is connected but has said nothing for {quiet_s:.0f} s")
        if quiet_s >= QUIET_S and _PROBE_ID not in self._pending:
            self._send(_PROBE_ID, "status", {})

    def _gone(self, reason: str) -> NoDaemon:
        return NoDaemon(endpoint=self.endpoint, reason=reason)


def socket_for(endpoint: str, context: zmq.Context[Any], kind: int, key: KeyFile | None) -> zmq.Socket[bytes]:
    """Return a socket that will notice when what it is connected to goes away, that never connects again, and that keeps nothing when it is closed."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, int(CONNECT_S * 1000))
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    if key is not None:
        key.guard(socket, endpoint)
    return socket


def check_socket_file(endpoint: str) -> None:
    """Raise `NoDaemon` with the reason where an ipc endpoint's file already says that nobody can be reached."""
    path = ipc_path(endpoint)
    if path is None:
        return
    if not path.exists():
        raise NoDaemon(endpoint=endpoint, reason="no daemon is running here")
    if not os.access(path, os.W_OK):
        raise NoAccess(endpoint=endpoint)


def _failed(error: Mapping[str, Any]) -> Failed:
    """Return the failure that a JSON-RPC error object reports."""
    data = error.get("data")
    body = data if isinstance(data, dict) and {"code", "message"} <= data.keys() else {}
    code, message = str(body.get("code", "internal_error")), str(body.get("message", error.get("message")))
    if code == "unknown_command":
        message += "; daemon and client seem to be of different versions: restart the daemon after an upgrade"
    return Failed(code, message, body.get("details") or {})
