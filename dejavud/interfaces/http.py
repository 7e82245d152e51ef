"""HTTP: the old ``/upload`` as its clients know it, and ``/v1`` for everything else."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import wrap_app
from starlette.datastructures import Headers
from structlog.contextvars import bind_contextvars

from dejavud.errors import Busy, Unauthorized
from dejavud.interfaces.cross_origin import headers_for, preflight
from dejavud.interfaces.guard import Guard
from dejavud.interfaces.http_answers import error_response, known_error
from dejavud.interfaces.http_body import Body, BodyLimits
from dejavud.interfaces.http_connection import WRITE, run_connection
from dejavud.interfaces.http_events import EventFeed
from dejavud.interfaces.http_operation import EVENTS_PATH
from dejavud.interfaces.http_pages import Pages, is_page
from dejavud.interfaces.http_routes import BODY, CLIENT, PROBE_PATHS, Routes
from dejavud.interfaces.serving import Gone, run_unless, serve_until_cancelled
from dejavud.interfaces.tcp import ConnectionLimits, open_listener, serve_connections, url_of
from dejavud.services.access import Access
from dejavud.services.requests import CANCELLED, sane_id
from dejavud.wire.codec import encode
from dejavud.wire.endpoints import HTTP_PORT
from dejavud.wire.messages import error_body

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from dejavud.interfaces.tcp import PacedStream
    from dejavud.interfaces.tls import Tls
    from dejavud.services.clients import Client
    from dejavud.services.commands import CommandTable
    from dejavud.services.events import EventHub
    from dejavud.services.requests import Request
    from dejavud.services.uploads import UploadStore

    Scope = Any  # ASGI's own loose types
    Message = Any
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger()
_HEAD_BYTES = 1 << 14
REQUEST_ID = b"x-request-id"
"""The header by which a client, or what is between us, names a request, and which each answer has."""
_SHOWN_PATH = 200


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where to listen, for whom, and what a client may cost.

    socket : one that listens there already; None opens one.
    access : who is let in; nobody has to show anything for ``/healthz`` and ``/readyz``.
    tls : what is spoken; None speaks plainly.
    max_requests : in work at a time, `Busy` beyond; max_subscribers : to events; max_connections : open at a time.
    body_idle_s, body_total_s : how long a body may pause, and take.
    send_s : how long a client may not read its answer.
    keep_alive_s : how long a connection may wait for its (next) request's head.
    heartbeat_s : how long a stream of events may be silent.
    grace_s : how long what is in flight may go on after the end.
    websockets : returns where WebSocket is, which the web page may connect to.
    """

    host: str = "127.0.0.1"
    port: int = HTTP_PORT
    socket: socket.socket | None = None
    access: Access = field(default_factory=Access)
    tls: Tls | None = None
    max_requests: int = 512
    max_subscribers: int = 1000
    max_connections: int = 1536
    body_idle_s: float = 15.0
    body_total_s: float = 600.0
    send_s: float = 15.0
    keep_alive_s: float = 15.0
    heartbeat_s: float = 15.0
    grace_s: float = 10.0
    websockets: Callable[[], Sequence[str]] = tuple


async def serve_http(
    table: CommandTable,
    uploads: UploadStore,
    hub: EventHub,
    *,
    settings: HttpSettings,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP until cancelled; then finish what is in flight within the grace period.

    Reports its URL when it can be reached.  Raises `AddressInUse`.
    """
    listener = await open_listener(settings.host, settings.port, "HTTP", settings.socket)
    config = _hypercorn_config(settings)

    async def run(stop: trio.Event, *, task_status: trio.TaskStatus[str]) -> None:
        feed = EventFeed(hub, stop, settings.heartbeat_s)
        app = wrap_app(
            _Application(Routes(table, uploads, feed, lambda: settings.access.asks), uploads, settings), 0, "asgi"
        )
        context = WorkerContext(None)

        async def handle(stream: PacedStream) -> None:
            await run_connection(app, config, context, stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_close_idle_connections, stop, context)
            task_status.started(url_of(listener, "http" if settings.tls is None else "https"))
            await serve_connections(
                listener,
                handle=handle,
                refuse=_refuse_connection,
                limits=ConnectionLimits(settings.max_connections, settings.send_s),
                stop=stop,
                tls=settings.tls,
            )

    await serve_until_cancelled(run, grace_s=settings.grace_s, task_status=task_status)


def _hypercorn_config(settings: HttpSettings) -> Config:
    config = Config()
    config.keep_alive_timeout = settings.keep_alive_s
    config.h11_max_incomplete_size = _HEAD_BYTES
    config.include_server_header = False
    config.errorlog = None  # what goes wrong is logged here, with its request
    return config


async def _close_idle_connections(stop: trio.Event, context: WorkerContext) -> None:
    await stop.wait()
    await context.terminated.set()


async def _refuse_connection(stream: PacedStream) -> None:
    body = encode({"error": error_body(Busy(what="connections"))})
    head = (
        f"HTTP/1.1 503 \r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    await stream.send_all(head.encode() + body)
    await stream.linger()


class _Application:
    """The ASGI application: the border of each request, where everything that goes wrong becomes an answer."""

    def __init__(self, routes: Routes, uploads: UploadStore, settings: HttpSettings) -> None:
        self._guard = Guard(settings.host, settings.access)
        self._body_limits = BodyLimits(settings.body_idle_s, settings.body_total_s)
        self._requests = _Room(settings.max_requests, "requests")
        self._subscribers = _Room(settings.max_subscribers, "subscribers to events")
        self._uploads = uploads
        self._log, self._limits = routes.requests, routes.limits
        self._router = routes.router(Pages(settings.websockets).routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        body = Body(dict(headers), receive, self._body_limits, self._uploads.max_bytes)
        with self._log.opened("http", sane_id(headers.get(REQUEST_ID.decode(), ""))) as request:
            for_page = headers_for(scope["headers"], self._guard.access.allowed_origins)
            has_chunks = scope["http_version"] == "1.1" and scope["method"] != "HEAD"
            exchange = _Exchange(send, body, request.id, for_page, write=scope["state"][WRITE] if has_chunks else None)
            try:
                await self._answer(scope, body, exchange, request)
                await exchange.finish()
            except Gone:
                request.outcome = CANCELLED
            request.fields |= {
                "method": scope["method"],
                "path": scope["path"][:_SHOWN_PATH],
                "status": exchange.status,
            }
            request.fields |= {"received_bytes": body.n_bytes, "sent_bytes": exchange.n_bytes}

    async def _answer(self, scope: Scope, body: Body, exchange: _Exchange, request: Request) -> None:
        """Answer one request, well or with an error; raises `Gone` when nobody waits for it."""
        scope = {**scope, "app": self, "state": {BODY: body}}
        headers, path = scope["headers"], scope["path"]
        address = self._guard.access.sender_of(headers, scope["client"][0])
        bind_contextvars(client=address)
        try:
            self._guard.check_sender(headers, is_get=scope["method"] in {"GET", "HEAD"})
            if exchange.is_of_allowed_page and (answer := preflight(scope["method"], headers)) is not None:
                await answer(scope, body.receive, exchange.send)
                return
            if path in PROBE_PATHS or is_page(path):
                await self._router(scope, body.receive, exchange.send)
                return
            scope["state"][CLIENT] = client = self._guard.admit(headers, address)
            room = self._subscribers if path == EVENTS_PATH else self._requests
            route = partial(self._router, scope, body.receive, exchange.send)
            with self._limits.admitted(client), room.taken():
                await (self._while_let_in(client, route, exchange) if client.proof or path == EVENTS_PATH else route())
        except Gone:
            raise
        except Exception as error:  # noqa: BLE001 - the border of one request
            known = known_error(scope, error)
            request.fail(known)
            await error_response(scope, known)(scope, body.receive, exchange.send)

    async def _while_let_in(self, client: Client, route: Callable[[], Awaitable[None]], exchange: _Exchange) -> None:
        """Do what was asked, for as long as its client would be let in; raises `Unauthorized`, or `Gone` where an answer has begun already."""
        access = self._guard.access
        try:
            await run_unless(partial(access.until_shut_out, client), route)
        except Gone:
            if not access.lets_in(client) and not exchange.status:
                raise Unauthorized from None
            raise


class _Room:
    """So many at a time."""

    def __init__(self, n_places: int, what: str) -> None:
        self._n_places = n_places
        self._n_taken = 0
        self._what = what

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take a place while the block goes on; raises `Busy` where there is none."""
        if self._n_taken >= self._n_places:
            raise Busy(what=f"{self._n_places} {self._what}")
        self._n_taken += 1
        try:
            yield
        finally:
            self._n_taken -= 1


class _Exchange:
    """The sending side of one request, which keeps the end of the answer back while the client still sends.

    hypercorn closes a connection whose request was not read to its end; the reset can then overtake the answer, and the
    full queue of unread pieces would keep hypercorn's own last message from ever being delivered.

    write : sends bytes as they are; None where an answer of unknown length does not go in chunks.  All pieces of such an answer but the first, before
        which hypercorn sends the head, are made into chunks here: a thousand streams of events cost half.
    """

    def __init__(
        self,
        send: Send,
        body: Body,
        request_id: str,
        for_page: list[tuple[bytes, bytes]],
        *,
        write: Callable[[bytes], Awaitable[None]] | None,
    ) -> None:
        self.status = self.n_bytes = 0
        self._write = write
        self._has_begun = False
        self.is_of_allowed_page = bool(for_page)
        self._headers = [(REQUEST_ID, request_id.encode()), *for_page]
        self._send = send
        self._body = body

    async def send(self, message: Message) -> None:
        """Send all of a message but the end of the answer, which `finish` sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            if any(name == b"content-length" for name, _ in message["headers"]):
                self._write = None
        if message["type"] == "http.response.body":
            piece = message.get("body", b"")
            self.n_bytes += len(piece)
            if self._has_begun and self._write is not None:
                if piece:
                    await self._write(b"%x\r\n%b\r\n" % (len(piece), piece))
                return
            self._has_begun = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Send the end of the answer."""
        await self._body.drain()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._body.until_gone)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()
