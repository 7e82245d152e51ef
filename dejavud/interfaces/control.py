"""The control socket: JSON-RPC 2.0 on a ZeroMQ ROUTER, for programs of this machine (and, with a token, of others)."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio
import zmq

from dejavud.errors import Busy, DejavudError, InternalError, InvalidRequest, RequestCancelled, ShuttingDown
from dejavud.interfaces.control_feeds import ControlFeeds
from dejavud.interfaces.control_uploads import ChunkedUploads, check_chunk
from dejavud.interfaces.guard import wanted_token
from dejavud.interfaces.serving import serve_until_cancelled
from dejavud.interfaces.zmq_trio import open_bound
from dejavud.services.commands import Call, no_progress
from dejavud.services.feeds import nobody_listens
from dejavud.services.requests import CANCELLED, OK, id_of
from dejavud.wire.endpoints import ipc_path
from dejavud.wire.messages import CHUNK_BYTES, Reply, Request, check_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dejavud.interfaces.guard import Token
    from dejavud.interfaces.zmq_trio import TrioSocket
    from dejavud.services.commands import CommandTable
    from dejavud.services.feeds import Feeding
    from dejavud.services.uploads import Upload, UploadStore
    from dejavud.wire.messages import RequestId

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger()
_PROGRESS_INTERVAL_S = 0.05
_MAX_FRAMES = 2
_SHOWN_METHOD = 80
_HEARTBEAT_MS = 5000
_HEARTBEAT_TIMEOUT_MS = 30_000


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Where to listen, for whom, and what a client may cost.

    endpoint : ``ipc://PATH`` (for this user only, who may then name files by path) or ``tcp://ADDRESS:PORT``.
    token : asked of every request; None asks nothing.
    max_requests : in work at a time, of all clients; max_client_requests : of one.
    max_client_uploads : open at a time, of one client; upload_idle_s : how long one may go without a piece.
    grace_s : how long what is in flight may go on after the end.
    """

    endpoint: str
    token: str | Token | None = None
    max_requests: int = 256
    max_client_requests: int = 64
    max_client_uploads: int = 8
    upload_idle_s: float = 60.0
    grace_s: float = 10.0


async def serve_control(
    table: CommandTable,
    uploads: UploadStore,
    *,
    settings: ControlSettings,
    feeding: Feeding = nobody_listens,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the control socket until cancelled; then finish what is in flight within the grace period.

    feeding : gives what sends sound to a listener, by its name.

    Reports its endpoint when it can be reached.  Raises `AddressInUse` and `InvalidConfig`.
    """

    def configure(raw: zmq.Socket[bytes]) -> None:
        raw.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a send to a client that left says so
        raw.setsockopt(zmq.MAXMSGSIZE, 2 * CHUNK_BYTES)  # what is a little too large still gets an answer
        if ipc_path(settings.endpoint) is None:  # the kernel tells when a program of this machine is gone
            raw.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
            raw.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)

    async with open_bound(zmq.ROUTER, settings.endpoint, "the control socket", configure) as socket:

        async def run(stop: trio.Event, *, task_status: trio.TaskStatus[str]) -> None:
            task_status.started(socket.raw.getsockopt_string(zmq.LAST_ENDPOINT))
            async with trio.open_nursery() as background:
                await _Server(table, uploads, settings, socket, background, feeding=feeding).run(stop)
                background.cancel_scope.cancel()

        await serve_until_cancelled(run, grace_s=settings.grace_s, task_status=task_status)


@dataclass(frozen=True, slots=True)
class _Sender:
    """Where replies to one message go: the client's identity, and the empty frame that a REQ socket puts after it."""

    identity: bytes
    envelope: tuple[bytes, ...]


class _Server:
    """Requests in, replies out."""

    def __init__(
        self,
        table: CommandTable,
        uploads: UploadStore,
        settings: ControlSettings,
        socket: TrioSocket,
        background: trio.Nursery,
        *,
        feeding: Feeding,
    ) -> None:
        self._table = table
        self._store = uploads
        self._settings = settings
        self._socket = socket
        self._background = background
        self._uploads = ChunkedUploads(
            uploads, max_of_one=settings.max_client_uploads, idle_s=settings.upload_idle_s, holders=background
        )
        self._feeds = ControlFeeds(feeding, idle_s=settings.upload_idle_s, holders=background)
        self._running: dict[tuple[bytes, RequestId], trio.CancelScope] = {}
        self._is_stopping = False
        self._log = table.requests

    async def run(self, stop: trio.Event) -> None:
        """Serve until `stop`; then refuse what comes until what is in work is done."""
        async with trio.open_nursery() as requests:
            self._background.start_soon(self._receive_all, requests)
            await stop.wait()
            self._is_stopping = True

    async def _receive_all(self, requests: trio.Nursery) -> None:
        while True:
            identity, *frames = await self._socket.receive()
            is_enveloped = len(frames) > 1 and not frames[0]
            sender = _Sender(identity, (b"",) if is_enveloped else ())
            self._accept(sender, frames[1:] if is_enveloped else frames, requests)

    def _accept(self, sender: _Sender, frames: list[bytes], requests: trio.Nursery) -> None:
        """Start on one message, or say at once why not."""
        request_id: RequestId | None = None
        try:
            if not 1 <= len(frames) <= _MAX_FRAMES:
                raise InvalidRequest(reason="a message has one frame of JSON and at most one of audio")
            request = Request.from_bytes(frames[0])
            request_id = request.id
            check_token(wanted_token(self._settings.token), request.token)
            if request.method == "cancel":
                self._send(sender, Reply(request.id, result=self._cancel(sender, request)))
                return
            self._check_room(sender, request)
        except DejavudError as error:
            with self._log.opened("control", _log_id(sender, request_id)) as entry:
                entry.fail(error)
                self._send(sender, Reply.of_error(request_id, error))
            return
        self._running[sender.identity, request.id] = scope = trio.CancelScope()
        requests.start_soon(self._serve, sender, request, frames[1] if len(frames) > 1 else None, scope)

    def _check_room(self, sender: _Sender, request: Request) -> None:
        if self._is_stopping:
            raise ShuttingDown
        if (sender.identity, request.id) in self._running:
            raise InvalidRequest(reason=f"the request {request.id!r} is still in work; give each its own id")
        of_client = sum(identity == sender.identity for identity, _ in self._running)
        if of_client >= self._settings.max_client_requests:
            raise Busy(what=f"{of_client} requests of one client")
        if len(self._running) >= self._settings.max_requests:
            raise Busy(what=f"{len(self._running)} requests")

    def _cancel(self, sender: _Sender, request: Request) -> dict[str, Any]:
        wanted = request.params.get("id")
        if isinstance(wanted, bool) or not isinstance(wanted, int | str):
            raise InvalidRequest(reason="'id' must be the id of the request to cancel")
        scope = self._running.get((sender.identity, wanted))
        if scope is not None:
            scope.cancel()
        return {"cancelled": scope is not None}

    async def _serve(self, sender: _Sender, request: Request, audio: bytes | None, scope: trio.CancelScope) -> None:
        """Do one request and reply: the border that contains its errors."""
        reply = Reply.of_error(request.id, RequestCancelled())
        with self._log.opened("control", _log_id(sender, request.id)) as entry:
            entry.outcome = CANCELLED
            entry.fields |= {"method": request.method[:_SHOWN_METHOD], "received_bytes": len(audio or b"")}
            try:
                with scope:
                    reply = Reply(request.id, result=await self._perform(sender, request, audio, scope))
                    entry.outcome = OK
            except DejavudError as error:
                entry.fail(error)
                reply = Reply.of_error(request.id, error)
            except Exception as error:  # noqa: BLE001 - the border of one request
                _LOG.exception("control_request_failed", method=request.method)
                entry.fail(error)
                reply = _internal_error(request.id, error)
            except trio.Cancelled:  # the grace period is over
                reply = Reply.of_error(request.id, ShuttingDown())
                raise
            finally:
                del self._running[sender.identity, request.id]
                self._send(sender, reply)

    async def _perform(
        self, sender: _Sender, request: Request, audio: bytes | None, scope: trio.CancelScope
    ) -> dict[str, Any]:
        if request.method in self._uploads.methods:
            return await self._uploads.call(sender.identity, request.method, request.params, audio)
        if request.method in self._feeds.methods:
            return await self._feeds.call(sender.identity, request.method, request.params, audio)
        params = dict(request.params)
        progress = no_progress if sender.envelope else _Notifier(partial(self._send, sender), request.id, scope)
        may_read_paths = ipc_path(self._settings.endpoint) is not None
        async with self._audio(sender.identity, params, audio) as upload:
            call = Call(audio=upload, may_read_paths=may_read_paths, progress=progress)
            return await self._table.call(request.method, params, call)

    @asynccontextmanager
    async def _audio(
        self, identity: bytes, params: dict[str, Any], audio: bytes | None
    ) -> AsyncIterator[Upload | None]:
        """Give the audio that came with a request, or before it under the id that its ``upload`` (taken out) names."""
        upload_id = params.pop("upload", None)
        if upload_id is not None:
            if audio is not None:
                raise InvalidRequest(reason="send the audio with the request, or before it as an upload, not both")
            async with self._uploads.taken(identity, upload_id) as upload:
                yield upload
        elif audio is not None:
            check_chunk(audio)
            name = params.get("name") or params.get("source")
            async with self._store.receiving(name if isinstance(name, str) else "audio") as receiver:
                await receiver.write(audio)
                receiver.close()
                yield receiver.upload
        else:
            yield None

    def _send(self, sender: _Sender, reply: Reply) -> bool:
        """Send a reply; False when the client is gone, or has stopped reading."""
        try:
            frame = reply.to_bytes()
        except (TypeError, ValueError) as error:  # a command's result that is no JSON: a bug, and still one reply
            _LOG.exception("control_reply_is_no_json")
            frame = _internal_error(reply.id, error).to_bytes()
        is_sent = self._socket.send_now([sender.identity, *sender.envelope, frame])
        if not is_sent:
            _LOG.debug("control_client_left", request=reply.id)
        return is_sent


def _log_id(sender: _Sender, request_id: RequestId | None) -> str | None:
    return id_of(sender.identity.hex()[-8:], request_id)


class _Notifier:
    """Sends the progress of one request, not more often than a person can see; cancels it when nobody is there."""

    def __init__(self, send: Callable[[Reply], bool], request_id: RequestId, scope: trio.CancelScope) -> None:
        self._send = send
        self._request_id = request_id
        self._scope = scope
        self._next_s = -math.inf

    async def __call__(self, *, must_arrive: bool = False, **figures: object) -> None:
        """Send figures, or skip them where the last ones were sent a moment ago."""
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        if must_arrive or now >= self._next_s:
            self._next_s = now + _PROGRESS_INTERVAL_S
            if not self._send(Reply(self._request_id, progress=figures)):
                self._scope.cancel()


def _internal_error(request_id: RequestId | None, error: Exception) -> Reply:
    reason = f"{type(error).__name__} (the daemon's log has the details)"
    return Reply.of_error(request_id, InternalError(reason=reason))
