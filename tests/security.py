"""What the tests of security share: a daemon behind tokens, and clients that show them, or not."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import httpx
import trio
from trio_websocket import wrap_client_stream

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

    from daemon_process import Place, RunningDaemon
    from trio_websocket import WebSocketConnection


SWITCHING = 101


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run of dejavuctl ended."""

    status: int
    out: str
    remarks: str


async def ctl(place: Place, *words: str) -> Ran:
    """Run dejavuctl, asking the daemon of `place`."""
    done = await trio.run_process(
        [sys.executable, "-m", "dejavuctl", "--control", place.control, *words],
        env=place.environment,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


async def made_token(daemon: RunningDaemon, name: str, *scopes: str) -> str:
    """Return a new token."""
    made = await daemon.ask("access.add", name=name, scopes=list(scopes))
    return str(made["token"]["token"])


async def reached(daemon: RunningDaemon, door: str) -> str:
    """Return the address of a door, as a program of this machine reaches it."""
    url: str = (await daemon.ask("status"))["endpoints"][door][0]
    return url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - it is replaced


def bearer(token: str | None) -> dict[str, str]:
    """Return the header that shows a token."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def http_client(url: str, token: str | None = None, **options: Any) -> httpx.AsyncClient:  # noqa: ANN401 - httpx's own
    """Return a client that shows a token with each request."""
    return httpx.AsyncClient(base_url=url, headers=bearer(token), trust_env=False, timeout=20, **options)


def code_of(answer: httpx.Response) -> str:
    """Return the code of an error's answer, "ok" of any other."""
    return "ok" if answer.is_success else str(answer.json()["error"]["code"])


class Socket:
    """A WebSocket client of ``dejavud.v1``."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection
        self._last_id = 0

    async def send(self, method: str, **params: object) -> None:
        """Send a request."""
        self._last_id += 1
        await self.connection.send_message(json.dumps({"id": self._last_id, "method": method, "params": params}))

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = json.loads(await self.connection.get_message())
        return message

    async def ask(self, method: str, **params: object) -> str:
        """Return the code of what a request was answered with, "ok" where it succeeded."""
        await self.send(method, **params)
        answer = await self.receive()
        return str(answer["error"]["data"]["code"]) if "error" in answer else "ok"


@asynccontextmanager
async def websocket(
    url: str, token: str | None = None, *subprotocols: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Socket]:
    """Give a connection; a token is shown in the handshake's header."""
    address = urlsplit(url)
    shown = [(name.encode(), value.encode()) for name, value in bearer(token).items()]
    async with await opened(address, tls) as stream, trio.open_nursery() as nursery:
        offered = ("dejavud.v1", *subprotocols)
        connection = await wrap_client_stream(
            nursery, stream, address.netloc, "/", subprotocols=offered, extra_headers=shown
        )
        async with connection:
            yield Socket(connection)


async def opened(address: SplitResult, tls: ssl.SSLContext | None = None) -> trio.abc.Stream:
    """Return a connection to where a URL points."""
    stream = await trio.open_tcp_stream(address.hostname or "", address.port or 0)
    if tls is None:
        return stream
    return trio.SSLStream(stream, tls, server_hostname="localhost", https_compatible=True)


async def shaken(url: str, **headers: str | None) -> tuple[int, str]:
    """Return the status and the error's code that a WebSocket handshake with these headers is answered with; None leaves one out."""
    usual = {
        "host": urlsplit(url).netloc,
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
    }
    given = {**usual, "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value is not None]
    async with await opened(urlsplit(url)) as stream:
        await stream.send_all("\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (piece := await stream.receive_some(65536)):
            answer += piece
        status = int(answer.split()[1])
        if status == SWITCHING:
            return status, "ok"
        while piece := await stream.receive_some(65536):
            answer += piece
    return status, str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"])


async def make_certificate(folder: Path, name: str = "localhost", days: int = 2) -> tuple[Path, Path]:
    """Return the files of a new certificate of `name`, signed by itself, and of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    make = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days {days} -subj /CN={name} -addext subjectAltName=DNS:{name} -addext keyUsage=critical,digitalSignature,keyCertSign"
    await trio.run_process([*make.split(), "-keyout", str(key), "-out", str(certificate)], capture_stderr=True)
    return certificate, key
