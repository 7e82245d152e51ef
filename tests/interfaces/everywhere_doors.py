"""The three doors of a daemon as a client of any language finds them, each asked in the same way."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

import httpx
import trio
import zmq
from everywhere_table import CONTROL, HTTP, WEBSOCKET, Over, Row
from trio_websocket import wrap_client_stream

from dejavud.interfaces.websocket_v1 import SUBPROTOCOL
from dejavud.interfaces.zmq_trio import open_socket
from dejavud.wire.codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from trio_websocket import WebSocketConnection

    from dejavud.interfaces.zmq_trio import TrioSocket

    Params = Mapping[str, Any]


@dataclass
class Answer:
    """What came back: a result, or the body of an error; status : HTTP's, or JSON-RPC's number of an error."""

    result: Any = None
    error: dict[str, Any] | None = None
    status: int = 0


class Door(Protocol):
    """A way in."""

    async def ask(self, row: Row, params: Params, audio: bytes | None = None) -> Answer:
        """Return what a command answers."""
        ...


def _answer(reply: dict[str, Any]) -> Answer:
    error = reply.get("error")
    return Answer(reply["result"]) if error is None else Answer(error=error["data"], status=error["code"])


@dataclass
class ControlDoor:
    """The control socket."""

    socket: TrioSocket

    async def ask(self, row: Row, params: Params, audio: bytes | None = None) -> Answer:
        """Send one message and wait for its reply; sound that goes on is fed."""
        if row.command != "listen.send":
            return _answer(await self._exchange(row.command, params, audio))
        feed = (await self._exchange("feed.open", {"listener": params["name"]}))["result"]["feed"]
        await self._exchange("feed.append", {"feed": feed}, audio)
        return _answer(await self._exchange("feed.close", {"feed": feed}))

    async def _exchange(self, method: str, params: Params, audio: bytes | None = None) -> dict[str, Any]:
        request = encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        await self.socket.send([request] if audio is None else [request, audio])
        while True:
            reply: dict[str, Any] = decode((await self.socket.receive())[0])
            if "id" in reply:
                return reply


@dataclass
class WebSocketDoor:
    """A session of ``dejavud.v1``."""

    connection: WebSocketConnection

    async def ask(self, row: Row, params: Params, audio: bytes | None = None) -> Answer:
        """Send one text, and sound behind it, and wait for the reply."""
        how = "stream" if row.command == "listen.send" else True
        request = {"id": 1, "method": row.command, "params": params} | ({} if audio is None else {"audio": how})
        await self.connection.send_message(encode(request).decode())
        for piece in () if audio is None else (audio, b""):
            await self.connection.send_message(piece)
        while True:
            reply: dict[str, Any] = decode((await self.connection.get_message()).encode())
            if "id" in reply:
                return _answer(reply)


@dataclass
class HttpDoor:
    """HTTP."""

    client: httpx.AsyncClient

    async def ask(self, row: Row, params: Params, audio: bytes | None = None) -> Answer:
        """Send one request: what the path does not name goes into the object, or into the query."""
        over = row.http
        assert isinstance(over, Over)
        left = {over.renamed.get(name, name): value for name, value in params.items()}
        path = over.path
        for name in [name for name in left if f"{{{name}}}" in path]:
            value = left.pop(name)
            path = path.replace(f"{{{name}}}", quote(str(value[0] if isinstance(value, list) else value), safe=""))
        query = {name: _text(value) for name, value in left.items()} if over.sends != "object" else {}
        body: dict[str, Any] = {"json": left} if over.sends == "object" else {"content": audio or b""}
        if over.sends.startswith("{"):
            body = {"content": over.sends, "headers": {"content-type": "application/json"}}
        response = await self.client.request(over.method, path, params=query, **body)
        answer = response.json()
        if "error" in answer:
            assert list(answer) == ["error"]
            return Answer(error=answer["error"], status=response.status_code)
        return Answer(over.gives(answer) if over.gives else answer, status=response.status_code)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@asynccontextmanager
async def open_doors(control: str, websocket: str, http: str, token: str = "") -> AsyncIterator[dict[str, Door]]:
    """Give the doors at these addresses."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    address = urlsplit(websocket)
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(open_socket(zmq.DEALER, lambda raw: raw.connect(control)))
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=http, trust_env=False, timeout=60, headers=headers)
        )
        stream = await stack.enter_async_context(await trio.open_tcp_stream(address.hostname or "", address.port or 0))
        nursery = await stack.enter_async_context(trio.open_nursery())
        more = [(name.encode(), value.encode()) for name, value in headers.items()]
        session = await stack.enter_async_context(
            await wrap_client_stream(
                nursery, stream, address.netloc, "/", subprotocols=[SUBPROTOCOL], extra_headers=more
            )
        )
        yield {CONTROL: ControlDoor(socket), WEBSOCKET: WebSocketDoor(session), HTTP: HttpDoor(client)}
