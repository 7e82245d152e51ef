"""The WebSocket subprotocol ``dejavud.v1``: every command, audio one-shot or as a stream, and events, on one connection.

Texts are JSON-RPC 2.0, the same messages as on the control socket.  A request with ``"audio": true`` or ``"audio": "stream"`` is followed by
binary messages, its sound, and an empty binary message, its end: one such request sends at a time, others go on beside it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trio_websocket import ConnectionClosed

from dejavud.errors import Busy, DejavudError, InvalidRequest, ShuttingDown, TooLarge
from dejavud.interfaces.audio_channel import AudioChannel
from dejavud.interfaces.exchanges import Exchanges, Notifier, frame_of, wanted_id
from dejavud.interfaces.serving import Gone, run_unless
from dejavud.services.clients import EVENTS
from dejavud.services.commands import Call, parse_params
from dejavud.services.event_handlers import Topics
from dejavud.services.requests import id_of, new_id
from dejavud.wire.codec import decode
from dejavud.wire.messages import CHUNK_BYTES, Reply, Request

if TYPE_CHECKING:
    from trio_websocket import WebSocketConnection

    from dejavud.services.clients import Client
    from dejavud.services.commands import CommandTable
    from dejavud.services.events import Delivery, EventHub, Subscription
    from dejavud.services.uploads import UploadStore
    from dejavud.wire.messages import RequestId

SUBPROTOCOL = "dejavud.v1"
CANCEL, PING, SUBSCRIBE, UNSUBSCRIBE = "cancel", "ping", "events.subscribe", "events.unsubscribe"
METHODS = (CANCEL, PING, SUBSCRIBE, UNSUBSCRIBE)
"""What the transport itself answers."""
_KEYS = frozenset({"jsonrpc", "id", "method", "params", "audio", "token"})
_MAX_TEXT = CHUNK_BYTES
_PING_S = 30.0


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one connection may cost.

    max_requests : in work at a time; max_subscriptions : at a time.
    audio_idle_s, audio_total_s : how long the sound of a one-shot request may pause, and take.
    idle_s : how long it may go without a message while nothing is in work or subscribed to, and without an answer to a ping.
    """

    max_requests: int = 64
    max_subscriptions: int = 16
    audio_idle_s: float = 15.0
    audio_total_s: float = 600.0
    idle_s: float = 300.0


class Session:
    """One connection."""

    def __init__(
        self,
        table: CommandTable,
        uploads: UploadStore,
        hub: EventHub,
        connection: WebSocketConnection,
        limits: SessionLimits,
        *,
        client: Client,
    ) -> None:
        self._client = client
        self._table = table
        self._uploads = uploads
        self._hub = hub
        self._connection = connection
        self._limits = limits
        self._exchanges: Exchanges[RequestId] = Exchanges("websocket", table.requests)
        self._subscriptions: dict[int, trio.CancelScope] = {}
        self._numbers = itertools.count(1)
        self._incoming: AudioChannel | None = None  # whose sound is being sent
        self._is_held_up = False
        self._is_stopping = False
        self._reason = "shutting down"
        self._log_id = new_id()[:8]
        self._over = trio.Event()
        self._told = trio.Event()
        self._life = trio.CancelScope()

    async def run(self, stop: trio.Event) -> str:
        """Serve until `stop`, or until nothing has happened for long, and return why it is over: what is in work is done then.

        Raises `ConnectionClosed` when the client closed; what it had in work is given up.
        """
        with self._life:
            async with trio.open_nursery() as background:
                background.start_soon(self._end_with, stop)
                background.start_soon(self._ping)
                async with trio.open_nursery() as followers:
                    async with trio.open_nursery() as requests:
                        background.start_soon(self._receive_all, requests, followers)
                        await self._over.wait()
                        self._is_stopping = True
                    self._told.set()
                background.cancel_scope.cancel()
        if self._life.cancelled_caught or self._connection.closed is not None:
            raise ConnectionClosed(self._connection.closed)
        return self._reason

    async def _end_with(self, stop: trio.Event) -> None:
        await stop.wait()
        self._over.set()

    async def _ping(self) -> None:
        """See that the client is there, and that what is between us sees it too."""
        while True:
            await trio.sleep(_PING_S)
            with trio.move_on_after(self._limits.idle_s) as patience:
                try:
                    await self._connection.ping()
                except ConnectionClosed:
                    self._life.cancel()
            if patience.cancelled_caught and not self._is_held_up:
                self._life.cancel()

    # -- what comes -------------------------------------------------------------------------------------------------

    async def _receive_all(self, requests: trio.Nursery, followers: trio.Nursery) -> None:
        while True:
            message: str | bytes | None = None
            with trio.move_on_after(self._limits.idle_s):
                try:
                    message = await self._connection.get_message()
                except ConnectionClosed:
                    self._life.cancel()
                    await trio.sleep_forever()
            if isinstance(message, bytes):
                await self._take_audio(message)
            elif message is not None:
                await self._accept(message, requests, followers)
            elif not self._exchanges and not self._subscriptions:
                self._reason = "idle"
                self._over.set()

    async def _take_audio(self, piece: bytes) -> None:
        if self._incoming is None:
            reason = 'a binary message is the sound of a request with "audio", and none is being sent'
            await self._send(Reply.of_error(None, InvalidRequest(reason=reason)))
        elif not piece:
            self._incoming.end()
            self._incoming = None
        else:
            self._is_held_up = True
            await self._incoming.put(piece)
            self._is_held_up = False

    async def _accept(self, text: str, requests: trio.Nursery, followers: trio.Nursery) -> None:
        """Start on one request, or say at once why not."""
        request_id: RequestId | None = None
        channel: AudioChannel | None = None
        try:
            message = _decoded(text)
            request_id = _id_of(message)
            request = _request(message)
            channel = self._channel(message.get("audio", False))
            if request.method in {CANCEL, PING, UNSUBSCRIBE}:
                await self._send(Reply(request.id, result=self._answered(request)))
                return
            self._check_room(request)
            if request.method == SUBSCRIBE:
                self._follow_more(request, followers)
                return
        except DejavudError as error:
            if channel is not None:
                channel.drop()
            await self._exchanges.refuse(request_id, error, id_of(self._log_id, request_id), self._send)
            return
        self._exchanges.begin(request.id)
        requests.start_soon(self._serve, request, channel)

    def _channel(self, audio: object) -> AudioChannel | None:
        """Return what the sound that follows a request goes into, None where none does."""
        if audio is False:
            return None
        if audio is not True and audio != "stream":
            raise InvalidRequest(reason='"audio" must be true, "stream" or false')
        if self._incoming is not None:
            reason = "the sound of another request is still being sent: end it with an empty binary message"
            raise InvalidRequest(reason=reason)
        self._incoming = AudioChannel(is_stream=audio == "stream")
        return self._incoming

    def _answered(self, request: Request) -> dict[str, Any]:
        """Return the result of what needs no work."""
        if request.method == PING:
            return {"pong": True}
        if request.method == CANCEL:
            return {"cancelled": self._exchanges.cancel(wanted_id(request))}
        scope = self._subscriptions.get(parse_params(Unsubscribe, request.params).subscription)
        if scope is not None:
            scope.cancel()
        return {"unsubscribed": scope is not None}

    def _check_room(self, request: Request) -> None:
        if self._is_stopping:
            raise ShuttingDown
        self._exchanges.check_new(request.id, request)
        if len(self._exchanges) >= self._limits.max_requests:
            raise Busy(what=f"{len(self._exchanges)} requests of one connection")

    # -- commands ---------------------------------------------------------------------------------------------------

    async def _serve(self, request: Request, channel: AudioChannel | None) -> None:
        async def perform() -> dict[str, Any]:
            try:
                with self._table.limits.admitted(self._client):
                    return await self._perform(request, channel)
            finally:
                if channel is not None:
                    channel.drop()

        log_id = id_of(self._log_id, request.id)
        await self._exchanges.serve(request.id, request, log_id, perform=perform, send=self._send)

    async def _perform(self, request: Request, channel: AudioChannel | None) -> dict[str, Any]:
        limits, call = self._limits, Call(progress=Notifier(self._send, request.id), client=self._client)
        if channel is None or channel.is_stream:
            return await self._table.call(request.method, request.params, replace(call, stream=channel))
        self._table.check(request.method, self._client)
        name = request.params.get("name") or request.params.get("source")
        async with self._uploads.receiving(name if isinstance(name, str) else "audio") as receiver:
            upload = await channel.received(receiver, idle_s=limits.audio_idle_s, total_s=limits.audio_total_s)
            return await self._table.call(request.method, request.params, replace(call, audio=upload))

    # -- events -----------------------------------------------------------------------------------------------------

    def _follow_more(self, request: Request, followers: trio.Nursery) -> None:
        """Begin a subscription; raises `Forbidden`, `InvalidRequest` or `Busy`."""
        self._client.check(SUBSCRIBE, EVENTS)
        topics = parse_params(Topics, request.params)
        if len(self._subscriptions) >= self._limits.max_subscriptions:
            raise Busy(what=f"{len(self._subscriptions)} subscriptions of one connection")
        number = next(self._numbers)
        self._subscriptions[number] = scope = trio.CancelScope()
        followers.start_soon(self._follow, number, scope, request, topics)

    async def _follow(self, number: int, scope: trio.CancelScope, request: Request, topics: Topics) -> None:
        """Answer a subscription's request and send its events: in the end those that are there, too."""
        hub = self._hub
        try:
            with scope, hub.subscribe(*topics.topics, after=topics.after, daemon=topics.daemon) as subscription:
                result = {"subscription": number, "daemon": hub.daemon, "seq": hub.seq}
                await self._send(Reply(request.id, result=result))
                try:
                    await run_unless(self._told.wait, partial(self._tell_all, number, subscription))
                except Gone:
                    for delivery in subscription.queued():
                        await self._tell(number, delivery)
        finally:
            del self._subscriptions[number]

    async def _tell_all(self, number: int, subscription: Subscription) -> None:
        async for delivery in subscription:
            await self._tell(number, delivery)

    async def _tell(self, number: int, delivery: Delivery) -> None:
        head = b'{"jsonrpc":"2.0","method":"event","params":{"subscription":%d,"event":' % number
        await self._send_frame(head + delivery.body + b"}}")

    # -- what goes --------------------------------------------------------------------------------------------------

    async def _send(self, reply: Reply) -> None:
        await self._send_frame(frame_of(reply))

    async def _send_frame(self, frame: bytes) -> None:
        """Send a text; where the client is gone, or does not read for too long, the connection is over.

        Nothing cancels it: half a message would end the connection for all that is sent over it.  The stream has its own deadline.
        """
        with trio.CancelScope(shield=True):
            try:
                await self._connection.send_message(frame.decode())
            except ConnectionClosed:
                self._life.cancel()


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Parameters of ``events.unsubscribe``."""

    subscription: int


def _decoded(text: str) -> dict[str, Any]:
    """Return the object that a text is; raises `TooLarge` or `InvalidRequest`."""
    if len(text) > _MAX_TEXT:
        raise TooLarge(what="a text message", limit_bytes=_MAX_TEXT)
    message = decode(text.encode("utf-8", "surrogatepass"))
    if not isinstance(message, dict):
        raise InvalidRequest(reason="a request is a JSON object")
    return message


def _request(message: dict[str, Any]) -> Request:
    """Return the request that a message is; raises `InvalidRequest`."""
    unknown = sorted(message.keys() - _KEYS)
    if unknown:
        raise InvalidRequest(reason=f"unknown key {unknown[0][:80]!r}; a request has: id, method, params, audio")
    return Request.from_message({"jsonrpc": "2.0", **message})


def _id_of(message: dict[str, Any]) -> RequestId | None:
    request_id = message.get("id")
    return request_id if isinstance(request_id, int | str) and not isinstance(request_id, bool) else None
