"""The control socket: JSON-RPC 2.0 on a ZeroMQ ROUTER, for programs of this machine, and by keys for those of others."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio
import zmq

from dejavud.errors import Busy, DejavudError, Forbidden, InvalidRequest, ShuttingDown
from dejavud.interfaces.control_feeds import ControlFeeds
from dejavud.interfaces.control_uploads import ChunkedUploads, check_chunk
from dejavud.interfaces.curve import KEY_LENGTH, USER_ID, open_door
from dejavud.interfaces.exchanges import Exchanges, Notifier, frame_of, wanted_id
from dejavud.interfaces.serving import serve_until_cancelled
from dejavud.services.access import Access
from dejavud.services.clients import LOCAL, Scope
from dejavud.services.commands import Call, no_progress
from dejavud.services.feeds import nobody_listens
from dejavud.services.requests import id_of
from dejavud.wire.messages import CHUNK_BYTES, Reply, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dejavud.interfaces.curve import CurveDoor
    from dejavud.interfaces.zmq_trio import TrioSocket
    from dejavud.services.clients import Client
    from dejavud.services.commands import CommandTable
    from dejavud.services.feeds import Feeding
    from dejavud.services.uploads import Upload, UploadStore
    from dejavud.wire.messages import RequestId

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger()
_MAX_FRAMES = 2
READY = "ready"
"""Over ipc it takes no token, as ``/readyz`` over HTTP takes none: what looks after a container has none."""


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Where to listen, for whom, and what a client may cost.

    endpoint : ``ipc://PATH``, for this user only, who may then name files by path.
    curve : an address of TCP instead, and who is let in there.
    access : who is let in over ipc, by the token of each request.
    max_requests : in work at a time, of all clients; max_client_requests : of one.
    max_client_uploads : open at a time, of one client; upload_idle_s : how long one may go without a piece.
    grace_s : how long what is in flight may go on after the end.
    """

    endpoint: str = ""
    curve: CurveDoor | None = None
    access: Access = field(default_factory=Access)
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

    async with open_door(zmq.ROUTER, settings.curve or settings.endpoint, "the control socket", configure) as (
        socket,
        endpoint,
    ):

        async def run(stop: trio.Event, *, task_status: trio.TaskStatus[str]) -> None:
            task_status.started(endpoint)
            async with trio.open_nursery() as background:
                await _Server(table, uploads, settings, socket, background, feeding=feeding).run(stop)
                background.cancel_scope.cancel()

        await serve_until_cancelled(run, grace_s=settings.grace_s, task_status=task_status)


@dataclass(frozen=True, slots=True)
class _Sender:
    """Where replies to one message go.

    identity : the client's, as the socket has it.  envelope : the empty frame that a REQ socket puts after it.
    key : by which it came, "" over ipc.
    """

    identity: bytes
    envelope: tuple[bytes, ...]
    key: str

    @property
    def owner(self) -> bytes:
        """Whom its requests, uploads and feeds belong to: a client of another key does not get them by calling itself the same."""
        return self.key.encode() + self.identity


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
        self._feeds = ControlFeeds(
            feeding, max_of_one=settings.max_client_uploads, idle_s=settings.upload_idle_s, holders=background
        )
        self._exchanges: Exchanges[tuple[bytes, RequestId]] = Exchanges("control", table.requests)
        self._is_stopping = False

    async def run(self, stop: trio.Event) -> None:
        """Serve until `stop`; then refuse what comes until what is in work is done."""
        async with trio.open_nursery() as requests:
            self._background.start_soon(self._receive_all, requests)
            if self._settings.curve is not None:
                self._background.start_soon(self._follow_removals, self._settings.curve)
            await stop.wait()
            self._is_stopping = True

    async def _receive_all(self, requests: trio.Nursery) -> None:
        while True:
            key, (identity, *frames) = await self._socket.receive_with(USER_ID)
            is_enveloped = len(frames) > 1 and not frames[0]
            sender = _Sender(identity, (b"",) if is_enveloped else (), key)
            await self._accept(sender, frames[1:] if is_enveloped else frames, requests)

    async def _follow_removals(self, door: CurveDoor) -> None:
        """Cancel what those asked for who are let in no more."""
        while True:
            await door.keys.wait_removed()
            for owner, request_id in list(self._exchanges):
                if door.admitted(owner[:KEY_LENGTH].decode()) is None:
                    self._exchanges.cancel((owner, request_id))

    async def _accept(self, sender: _Sender, frames: list[bytes], requests: trio.Nursery) -> None:
        """Start on one message, or say at once why not."""
        request_id: RequestId | None = None
        owner, send = sender.owner, partial(self._send, sender)
        try:
            if not 1 <= len(frames) <= _MAX_FRAMES:
                raise InvalidRequest(reason="a message has one frame of JSON and at most one of audio")
            request = Request.from_bytes(frames[0])
            request_id = request.id
            client = self._admit(sender, request)
            if request.method == "cancel":
                is_cancelled = self._exchanges.cancel((owner, wanted_id(request)))
                await send(Reply(request.id, result={"cancelled": is_cancelled}))
                return
            self._check_room(owner, request)
        except DejavudError as error:
            await self._exchanges.refuse(request_id, error, _log_id(sender, request_id), send)
            return
        scope = self._exchanges.begin((owner, request.id))
        audio = frames[1] if len(frames) > 1 else None
        perform = partial(self._perform, sender, request, audio, scope, client)
        serve = partial(self._exchanges.serve, perform=perform, send=send, received_bytes=len(audio or b""))
        requests.start_soon(serve, (owner, request.id), request, _log_id(sender, request.id))

    def _admit(self, sender: _Sender, request: Request) -> Client:
        """Return who sent a request; raises `Unauthorized`, and `Forbidden` where a key was removed while its client was connected."""
        door = self._settings.curve
        if door is None and request.method == READY:
            return LOCAL
        if door is None:
            return self._settings.access.admit_owner(request.token)
        client = door.admitted(sender.key)
        if client is None:
            raise Forbidden(reason="the key that you came by is let in no more")
        return client

    def _check_room(self, owner: bytes, request: Request) -> None:
        if self._is_stopping:
            raise ShuttingDown
        self._exchanges.check_new((owner, request.id), request)
        of_client = sum(key[0] == owner for key in self._exchanges)
        if of_client >= self._settings.max_client_requests:
            raise Busy(what=f"{of_client} requests of one client")
        if len(self._exchanges) >= self._settings.max_requests:
            raise Busy(what=f"{len(self._exchanges)} requests")

    async def _perform(
        self, sender: _Sender, request: Request, audio: bytes | None, scope: trio.CancelScope, client: Client
    ) -> dict[str, Any]:
        with self._table.limits.admitted(client):
            return await self._answer(sender, request, audio, scope, client)

    async def _answer(
        self, sender: _Sender, request: Request, audio: bytes | None, scope: trio.CancelScope, client: Client
    ) -> dict[str, Any]:
        if request.method in self._uploads.methods:
            client.check("an upload", Scope.RECOGNIZE, Scope.WRITE)
            return await self._uploads.call(sender.owner, request.method, request.params, audio)
        if request.method in self._feeds.methods:
            is_to_listener = request.params.get("listener") is not None
            client.check("a feed", Scope.WRITE, *(() if is_to_listener else (Scope.RECOGNIZE,)))
            return await self._feeds.call(sender.owner, request.method, request.params, audio)
        params = dict(request.params)
        progress = no_progress if sender.envelope else Notifier(partial(self._tell, sender, scope), request.id)
        call = Call(progress=progress, client=client)
        if (feed_id := params.pop("feed", None)) is not None:
            if audio is not None or "upload" in params:
                raise InvalidRequest(reason="send the sound with the request, before it, or by a feed, not two of them")
            with self._feeds.taken(sender.owner, feed_id) as stream:
                return await self._table.call(request.method, params, replace(call, stream=stream))
        async with self._audio(sender.owner, params, audio) as upload:
            return await self._table.call(request.method, params, replace(call, audio=upload))

    @asynccontextmanager
    async def _audio(self, owner: bytes, params: dict[str, Any], audio: bytes | None) -> AsyncIterator[Upload | None]:
        """Give the audio that came with a request, or before it under the id that its ``upload`` (taken out) names."""
        upload_id = params.pop("upload", None)
        if upload_id is not None:
            if audio is not None:
                raise InvalidRequest(reason="send the audio with the request, or before it as an upload, not both")
            async with self._uploads.taken(owner, upload_id) as upload:
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

    async def _tell(self, sender: _Sender, scope: trio.CancelScope, progress: Reply) -> None:
        """Send how far a request is; where nobody is there any more, give it up."""
        if not self._is_sent(sender, progress):
            scope.cancel()

    async def _send(self, sender: _Sender, reply: Reply) -> None:
        """Send a reply, unless the client is gone, or has stopped reading."""
        if not self._is_sent(sender, reply):
            _LOG.debug("control_client_left", request=reply.id)

    def _is_sent(self, sender: _Sender, reply: Reply) -> bool:
        return self._socket.send_now([sender.identity, *sender.envelope, frame_of(reply)])


def _log_id(sender: _Sender, request_id: RequestId | None) -> str | None:
    return id_of(sender.identity.hex()[-8:], request_id)
