"""WebSocket: the old exchange (an audio file in, a name out) for clients that propose no subprotocol of ours."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import structlog
import trio
from structlog.contextvars import bind_contextvars
from trio_websocket import ConnectionClosed, wrap_server_stream

from dejavud.errors import Busy, DejavudError, RateLimited, Unauthorized
from dejavud.interfaces import legacy
from dejavud.interfaces.guard import Guard
from dejavud.interfaces.serving import Gone, run_unless, serve_until_cancelled
from dejavud.interfaces.tcp import ConnectionLimits, open_listener, serve_connections, url_of
from dejavud.interfaces.websocket_v1 import SUBPROTOCOL, Session, SessionLimits
from dejavud.services.access import Access
from dejavud.services.commands import Call
from dejavud.services.requests import CANCELLED, sane_id
from dejavud.wire.codec import encode
from dejavud.wire.codes import codes_of
from dejavud.wire.endpoints import WEBSOCKET_PORT
from dejavud.wire.messages import error_body

if TYPE_CHECKING:
    import socket

    from trio_websocket import WebSocketConnection, WebSocketRequest

    from dejavud.interfaces.tcp import PacedStream
    from dejavud.interfaces.tls import Tls
    from dejavud.services.clients import Client
    from dejavud.services.commands import CommandTable
    from dejavud.services.events import EventHub
    from dejavud.services.uploads import UploadStore

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger()
TOKEN_SUBPROTOCOL = "dejavud.token."  # noqa: S105 - what stands before one
"""So begins a subprotocol that is offered and never taken: the token follows."""
_RECEIVE_BYTES = 1 << 16
_REFUSED_MAX = 32
"""Connections beyond the limit that are told so; those beyond that are closed without a word."""
_GOING_AWAY = 1001
_INTERNAL = 1011


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """Where to listen, for whom, and what a client may cost.

    socket : one that listens there already; None opens one.
    access : who is let in, by what the handshake shows (``Authorization: Bearer``).
    tls : what is spoken; None speaks plainly.
    max_message_bytes : larger messages close the connection with 1009.
    upload_s : how long the sound of one request of ``dejavud.v1`` may take to come.
    max_connections : open at a time; further handshakes are answered 503.
    handshake_s : how long a handshake may take.
    idle_s : how long a connection may go without a complete message, once its last one was answered.
    send_s : how long a client may not read its answer.
    close_s : how long a client may take to answer our goodbye.
    grace_s : how long what is in flight may go on after the end.
    """

    host: str = "127.0.0.1"
    port: int = WEBSOCKET_PORT
    socket: socket.socket | None = None
    access: Access = field(default_factory=Access)
    tls: Tls | None = None
    max_message_bytes: int = 16 << 20
    upload_s: float = 600.0
    max_connections: int = 128
    handshake_s: float = 10.0
    idle_s: float = 300.0
    send_s: float = 15.0
    close_s: float = 2.0
    grace_s: float = 10.0


async def serve_websocket(
    table: CommandTable,
    uploads: UploadStore,
    hub: EventHub,
    *,
    settings: WebSocketSettings,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve WebSocket until cancelled; then finish what is in flight within the grace period.

    Reports its URL when it can be reached.  Raises `AddressInUse`.
    """
    listener = await open_listener(settings.host, settings.port, "WebSocket", settings.socket)

    async def run(stop: trio.Event, *, task_status: trio.TaskStatus[str]) -> None:
        server = _Server(table, uploads, hub, settings, stop)
        task_status.started(url_of(listener, "ws" if settings.tls is None else "wss"))
        await serve_connections(
            listener,
            handle=server.connection,
            refuse=_close_without_a_word,
            limits=ConnectionLimits(settings.max_connections + _REFUSED_MAX, settings.send_s),
            stop=stop,
            tls=settings.tls,
        )

    await serve_until_cancelled(run, grace_s=settings.grace_s, task_status=task_status)


async def _close_without_a_word(_stream: PacedStream) -> None:
    """Refuse where even a refusal costs too much."""


class _Server:
    """What all connections share."""

    def __init__(
        self,
        table: CommandTable,
        uploads: UploadStore,
        hub: EventHub,
        settings: WebSocketSettings,
        stop: trio.Event,
    ) -> None:
        self._table = table
        self._uploads = uploads
        self._hub = hub
        self._settings = settings
        self._stop = stop
        self._guard = Guard(settings.host, settings.access)
        self._n_connections = 0

    async def connection(self, stream: PacedStream) -> None:
        """Shake hands, converse and say goodbye."""
        async with trio.open_nursery() as nursery:
            request: WebSocketRequest | None = None
            with trio.move_on_after(self._settings.handshake_s):
                request = await wrap_server_stream(
                    nursery,
                    stream,
                    message_queue_size=0,
                    max_message_size=self._settings.max_message_bytes,
                    receive_buffer_size=_RECEIVE_BYTES,
                )
            if request is not None:
                self._n_connections += 1
                try:
                    await self._converse(request, stream.address)
                finally:
                    self._n_connections -= 1
                await stream.linger()
            nursery.cancel_scope.cancel()

    async def _converse(self, request: WebSocketRequest, address: str) -> None:
        try:
            with self._table.requests.opened("websocket", _request_id(request)) as handshake:
                handshake.fields["handshake"] = True
                client = self._admit(request, address)
        except DejavudError as error:
            body = encode({"error": error_body(error)})
            headers = [(b"Content-Type", b"application/json")]
            if isinstance(error, RateLimited):
                headers.append((b"Retry-After", str(math.ceil(error.retry_after_s)).encode()))
            await request.reject(codes_of(error.code).http, extra_headers=headers, body=body)
            return
        is_v1 = SUBPROTOCOL in request.proposed_subprotocols
        connection = await request.accept(subprotocol=SUBPROTOCOL if is_v1 else None)
        try:
            serve = partial(self._serve_v1 if is_v1 else self._exchange, connection, client)
            reason = await run_unless(partial(self._guard.access.until_shut_out, client), serve)
            await self._close(connection, _GOING_AWAY, reason)
        except Gone:
            await self._close(connection, codes_of(Unauthorized.code).close, Unauthorized.code)
        except ConnectionClosed as closed:
            _LOG.debug("websocket_closed", reason=str(closed.reason))
        except Exception:
            await self._close(connection, _INTERNAL, "internal_error")
            raise

    async def _serve_v1(self, connection: WebSocketConnection, client: Client) -> str:
        limits = SessionLimits(audio_total_s=self._settings.upload_s, idle_s=self._settings.idle_s)
        return await Session(self._table, self._uploads, self._hub, connection, limits, client=client).run(self._stop)

    async def _exchange(self, connection: WebSocketConnection, client: Client) -> str:
        return await _OldExchange(self._table, self._uploads, connection, client).run(self._settings.idle_s, self._stop)

    async def _close(self, connection: WebSocketConnection, code: int, reason: str) -> None:
        with trio.move_on_after(self._settings.close_s):
            await connection.aclose(code, reason)

    def _admit(self, request: WebSocketRequest, address: str) -> Client:
        address = self._guard.access.sender_of(request.headers, address)
        bind_contextvars(client=address)
        host = request._event.host.encode()  # noqa: SLF001 - trio-websocket shows every header but this one
        self._guard.check_sender([(b"host", host), *request.headers])
        client = self._guard.admit(request.headers, address, _offered_token(request))
        self._table.limits.count(client)
        if self._n_connections > self._settings.max_connections:
            raise Busy(what=f"{self._settings.max_connections} WebSocket connections")
        return client


def _offered_token(request: WebSocketRequest) -> str | None:
    """Return the token that stands among the subprotocols, as browsers cannot send it otherwise; what is no letter there is %-encoded."""
    for offered in request.proposed_subprotocols:
        if offered.startswith(TOKEN_SUBPROTOCOL):
            return unquote(offered.removeprefix(TOKEN_SUBPROTOCOL))
    return None


def _request_id(request: WebSocketRequest) -> str | None:
    given = next((value for name, value in request.headers if name == b"x-request-id"), b"")
    return sane_id(given.decode("latin-1"))


class _OldExchange:
    """Dejavu's own exchange on one connection: each message gets one text, in order."""

    def __init__(
        self, table: CommandTable, uploads: UploadStore, connection: WebSocketConnection, client: Client
    ) -> None:
        self._client = client
        self._table = table
        self._uploads = uploads
        self._connection = connection
        self._ahead: list[bytes | str] = []  # what came while the message before it was in work: one at most

    async def run(self, idle_s: float, stop: trio.Event) -> str:
        """Answer messages; return the reason to close when nothing came for `idle_s`, or after `stop`.

        Raises `ConnectionClosed` when the client closed; its message in work is then given up.
        """
        while True:
            message: bytes | str | None = None
            with trio.move_on_after(idle_s):
                try:
                    message = await run_unless(stop.wait, self._next_message)
                except Gone:
                    return "shutting down"
            if message is None:
                return "idle"
            await self._connection.send_message(await self._answer(message))

    async def _next_message(self) -> bytes | str:
        return self._ahead.pop() if self._ahead else await self._connection.get_message()

    async def _answer(self, message: bytes | str) -> str:
        if isinstance(message, str):
            return legacy.WS_WANTS_BYTES
        with self._table.requests.opened("websocket") as request:
            request.fields["received_bytes"] = len(message)
            try:
                with self._table.limits.admitted(self._client):
                    found = await run_unless(self._until_closed, partial(self._recognize, message))
            except Gone:
                request.outcome = CANCELLED
                raise ConnectionClosed(self._connection.closed) from None
            except Exception as error:  # noqa: BLE001 - the border of one message: the old clients know one sentence for all
                if not isinstance(error, DejavudError):
                    _LOG.exception("websocket_message_failed")
                request.fail(error)
                return legacy.WS_FAILED
        return legacy.song_name(found["matches"][0]["track"]) if found["matches"] else legacy.WS_NO_RESULT

    async def _recognize(self, message: bytes) -> dict[str, Any]:
        async with self._uploads.receiving("websocket") as receiver:
            await receiver.write(message)
            receiver.close()
            return await self._table.call("recognize", {}, Call(audio=receiver.upload, client=self._client))

    async def _until_closed(self) -> None:
        """Return when the client has closed; keep the message that it may send ahead of our answer."""
        try:
            self._ahead.append(await self._connection.get_message())
        except ConnectionClosed:
            return
        await trio.sleep_forever()
