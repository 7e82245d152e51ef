"""One HTTP/1.1 connection, as hypercorn reads and writes it, and nothing but HTTP/1.1.

hypercorn takes up HTTP/2 and WebSocket wherever a client proposes them.  Both have their limits elsewhere or nowhere: here
an ``Upgrade`` is not followed, which HTTP allows, and bytes of HTTP/2 are a request like any other that is not one.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

if TYPE_CHECKING:
    from hypercorn.config import Config
    from hypercorn.trio.worker_context import WorkerContext
    from hypercorn.typing import AppWrapper

    from dejavud.interfaces.tcp import PacedStream


WRITE = "write"
"""In a request's ``scope["state"]``: sends bytes past the protocol, for who knows what the protocol would make of them."""


async def run_connection(app: AppWrapper, config: Config, context: WorkerContext, stream: PacedStream) -> None:
    """Serve the requests of one connection until either side closes it."""
    stream_as_hypercorn_types_it: Any = stream
    await _Connection(app, config, context, ConnectionState({}), stream_as_hypercorn_types_it).run()


class _Connection(TCPServer):
    _is_over = False

    async def run(self) -> None:
        """Do what hypercorn's own does, with a protocol that cannot turn into another."""
        socket = self.stream.socket
        try:
            async with TaskGroup() as tasks:
                self._task_group = tasks
                protocol: Any = _Http1(
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState({WRITE: self._write}),
                    ssl=False,
                    client=parse_socket_addr(socket.family, socket.getpeername()),
                    server=parse_socket_addr(socket.family, socket.getsockname()),
                    send=self.protocol_send,
                )
                self.protocol = protocol
                await self.idle_task.restart(tasks, self._idle_timeout)
                await self._read_data()
                self._is_over = True
                await self.idle_task.stop()  # or a closed connection keeps its place for the rest of its idle time
        finally:
            await self._close()

    async def _write(self, data: bytes) -> None:
        """Send bytes as they are, in their turn."""
        await self.protocol_send(RawData(data))

    async def protocol_send(self, event: Event) -> None:
        """Do as hypercorn's own, but wait for no next request on a connection that is over."""
        if not (self._is_over and isinstance(event, Updated)):
            await super().protocol_send(event)


class _Http1(H11Protocol):
    async def _check_protocol(self, event: h11.Request) -> None:
        """Change to no other protocol."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Begin a request, as plain HTTP whatever it would like to become."""
        names = {name for name, _ in request.headers}
        has_two_lengths = names >= {
            b"content-length",
            b"transfer-encoding",
        }  # whoever is before us may go by the other one
        if request.http_version not in {b"1.0", b"1.1"} or not request.target.isascii() or has_two_lengths:
            await self._send_error_response(HTTPStatus.BAD_REQUEST)
            await self.send(Closed())
            return
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        await super()._create_stream(
            h11.Request(
                method=request.method, target=request.target, headers=headers, http_version=request.http_version
            )
        )
