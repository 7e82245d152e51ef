"""WebSocket: the old exchange, whom it is for, and what a bad client costs."""

from __future__ import annotations

import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import trio
from interfaces_table import CRASH, MUSIC, NOISE, RUBBISH, SLOW
from trio_websocket import ConnectionClosed, wrap_client_stream

from dejavud.errors import AddressInUse
from dejavud.interfaces.websocket import WebSocketSettings, serve_websocket
from dejavud.services.access import Access
from dejavud.wire.codec import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from interfaces_table import Stage
    from trio_websocket import WebSocketConnection

    from dejavud.services.uploads import UploadStore

TOKEN = "s3cret"  # noqa: S105 - of a server that lives for one test
FAILED = "Error getting result, please check your input"


@asynccontextmanager
async def serving(
    stage: Stage, uploads: UploadStore, settings: WebSocketSettings | None = None
) -> AsyncIterator[tuple[str, trio.CancelScope]]:
    """Give the URL of a running server, and the scope whose cancellation ends it."""
    settings = settings or WebSocketSettings(port=0)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def serve(*, task_status: trio.TaskStatus[str]) -> None:
                with scope:
                    await serve_websocket(stage.table(), uploads, stage.hub, settings=settings, task_status=task_status)

            yield await nursery.start(serve), scope
            scope.cancel()


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[WebSocketConnection]:  # noqa: ANN401 - the library's
    """Give a client's connection, whose TCP connection is really closed in the end, however it ended."""
    address = urlsplit(url)
    stream = await trio.open_tcp_stream(address.hostname or "", address.port or 0)
    async with stream, trio.open_nursery() as nursery:
        resource = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection = await wrap_client_stream(nursery, stream, address.netloc, resource, **options)
        async with connection:
            yield connection


async def exchange(url: str, message: bytes | str, **options: Any) -> bytes | str:  # noqa: ANN401 - the library's
    """Return the answer to one message of a client of its own."""
    async with connected(url, **options) as connection:
        await connection.send_message(message)
        return await connection.get_message()


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


async def raw_until_closed(url: str, data: bytes) -> bytes:
    """Send bytes as they are and return what came back when the server has closed."""
    address = urlsplit(url)
    stream = await trio.open_tcp_stream(address.hostname or "", address.port or 0)
    answer = b""
    async with stream:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            while piece := await stream.receive_some(65536):
                answer += piece
    return answer


def is_filled(folder: Path) -> bool:
    """Tell whether anything is in `folder`."""
    return any(folder.iterdir())


async def refusal(url: str, *headers: bytes) -> tuple[int, str]:
    """Return the status and the error's code with which a handshake is refused."""
    answer = await raw_until_closed(url, HANDSHAKE + b"".join(header + b"\r\n" for header in headers) + b"\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), decode(body)["error"]["code"]


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (MUSIC, "the song"),
        (NOISE, "No result"),
        (RUBBISH, FAILED),
        (CRASH, FAILED),
        (b"", FAILED),
        ("some text", "Please send byte encoded data"),
        ("", "Please send byte encoded data"),
    ],
)
@pytest.mark.parametrize("path", ["", "/", "/any/path?at=all"])
async def test_old_exchange_is_as_it_always_was(
    stage: Stage, uploads: UploadStore, message: bytes | str, answer: str, path: str
) -> None:
    """One message in, one text out, to the letter, on any path."""
    async with serving(stage, uploads) as (url, _):
        assert await exchange(url + path, message) == answer


async def test_one_connection_asks_many_times_and_is_answered_in_order(stage: Stage, uploads: UploadStore) -> None:
    """Messages sent ahead wait their turn; an error ends one answer and not the connection."""
    messages = [MUSIC, RUBBISH, "text", NOISE, CRASH, MUSIC]
    async with serving(stage, uploads) as (url, _), connected(url) as connection:
        for message in messages:
            await connection.send_message(message)
        answers = [await connection.get_message() for _ in messages]
    assert answers == ["the song", FAILED, "Please send byte encoded data", "No result", FAILED, "the song"]


async def test_a_slow_query_holds_up_nobody_else(stage: Stage, uploads: UploadStore, uploads_folder: Path) -> None:
    """While one connection waits for its answer others get theirs; no file is left at the end."""
    async with serving(stage, uploads) as (url, _):
        answers: list[bytes | str] = []

        async def ask() -> None:
            answers.append(await exchange(url, SLOW))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await stage.until(lambda: stage.working == 1)
            assert await exchange(url, MUSIC) == "the song"
            assert not answers
            stage.release.set()
        assert answers == ["the song"]
        assert not is_filled(uploads_folder)


async def test_subprotocols_are_not_taken_up(stage: Stage, uploads: UploadStore) -> None:
    """A client that proposes subprotocols is told of none, and may use the old exchange."""
    async with (
        serving(stage, uploads) as (url, _),
        connected(url, subprotocols=["mqtt", "dejavud.v9"]) as connection,
    ):
        assert connection.subprotocol is None
        await connection.send_message(MUSIC)
        assert await connection.get_message() == "the song"


@pytest.mark.parametrize("authorization", [None, b"Bearer wrong", b"Basic s3cret", b"s3cret"])
async def test_a_token_is_asked_before_anything_is_taken(
    stage: Stage, uploads: UploadStore, authorization: bytes | None
) -> None:
    """A handshake without the token is answered 401 in the one envelope."""
    headers = [] if authorization is None else [b"Authorization: " + authorization]
    async with serving(stage, uploads, WebSocketSettings(port=0, access=Access(TOKEN))) as (url, _):
        assert await refusal(url, *headers) == (401, "unauthorized")
    assert not stage.calls


async def test_the_token_opens(stage: Stage, uploads: UploadStore) -> None:
    """With the token a client may come from anywhere."""
    headers = [(b"Authorization", b"Bearer s3cret"), (b"Origin", b"https://radio.example")]
    async with serving(stage, uploads, WebSocketSettings(port=0, access=Access(TOKEN))) as (url, _):
        assert await exchange(url, MUSIC, extra_headers=headers) == "the song"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (b"http://localhost:8080", True),
        (b"http://127.0.0.1", True),
        (b"http://[::1]:4141", True),
        (b"https://evil.example", False),
        (b"http://localhost.evil.example", False),
        (b"null", False),
        (b"", False),
    ],
)
async def test_foreign_pages_are_refused(stage: Stage, uploads: UploadStore, origin: bytes, *, allowed: bool) -> None:
    """Without a token only pages of loopback's names may connect; others get 403 in the one envelope."""
    async with serving(stage, uploads) as (url, _):
        if allowed:
            assert await exchange(url, MUSIC, extra_headers=[(b"Origin", origin)]) == "the song"
            return
        assert await refusal(url, b"Origin: " + origin) == (403, "forbidden")
    assert not stage.calls


async def closed_with(connection: WebSocketConnection) -> int:
    """Return the code with which the server closes."""
    with pytest.raises(ConnectionClosed) as caught:
        await connection.get_message()
    assert caught.value.reason is not None
    return caught.value.reason.code


async def test_message_beyond_the_limit_closes_with_1009(stage: Stage, uploads: UploadStore) -> None:
    """A message that is too large closes its connection with the code for it; the limit itself is still taken."""
    settings = WebSocketSettings(port=0, max_message_bytes=1 << 20)
    async with serving(stage, uploads, settings) as (url, _):
        assert await exchange(url, MUSIC.ljust(1 << 20)) == "the song"
        async with connected(url) as connection:
            await connection.send_message(MUSIC.ljust((1 << 20) + 1))
            assert await closed_with(connection) == 1009
        assert await exchange(url, MUSIC) == "the song"


async def test_store_limit_is_an_error_like_another(stage: Stage, uploads: UploadStore) -> None:
    """A message larger than the store takes gets the old sentence."""
    async with serving(stage, uploads, WebSocketSettings(port=0, max_message_bytes=8 << 20)) as (url, _):
        assert await exchange(url, b"x" * (5 << 20)) == FAILED


async def test_idle_connection_is_closed(stage: Stage, uploads: UploadStore) -> None:
    """A connection without a whole message for `idle_s` is closed with 1001."""
    async with (
        serving(stage, uploads, WebSocketSettings(port=0, idle_s=0.1)) as (url, _),
        connected(url) as connection,
    ):
        assert await closed_with(connection) == 1001


async def test_connections_beyond_the_limit_get_503(stage: Stage, uploads: UploadStore) -> None:
    """A handshake too many is refused as busy, and taken once there is room."""
    async with serving(stage, uploads, WebSocketSettings(port=0, max_connections=1)) as (url, _):
        async with connected(url):
            assert await refusal(url) == (503, "busy")
        assert await exchange(url, MUSIC) == "the song"


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
        HANDSHAKE.replace(b"localhost", b"a..b") + b"\r\n",
        HANDSHAKE.replace(b"localhost", b"xn--\xff") + b"\r\n",
        HANDSHAKE + b"Sec-WebSocket-Protocol: \xff\xfe\r\n\r\n",
        HANDSHAKE + b"Sec-WebSocket-Extensions: \xff\r\n\r\n",
        HANDSHAKE + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        HANDSHAKE + b"\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        HANDSHAKE + b"\r\n\x81\x05hello",  # not masked
        HANDSHAKE + b"\r\n\x81\x82\x00\x00\x00\x00\xff\xfe",  # a text that is not UTF-8
        HANDSHAKE + b"\r\n\x80\x80\x00\x00\x00\x00",  # a continuation of nothing
        HANDSHAKE + b"\r\n\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # an absurd length
        HANDSHAKE + b"\r\n\x88\x82\x00\x00\x00\x00\x00\x01",  # a close code that is none
    ],
)
async def test_broken_clients_end_their_connection_and_nothing_else(
    stage: Stage, uploads: UploadStore, rubbish: bytes
) -> None:
    """Whatever bytes come, the server closes that connection in time and goes on serving the others."""
    async with serving(stage, uploads, WebSocketSettings(port=0, handshake_s=0.2, idle_s=0.2, close_s=0.2)) as (url, _):
        await raw_until_closed(url, rubbish)
        assert await exchange(url, MUSIC) == "the song"


async def test_client_that_leaves_takes_its_query_along(
    stage: Stage, uploads: UploadStore, uploads_folder: Path
) -> None:
    """When a client is gone before its answer, the recognition is cancelled and its bytes are deleted."""
    async with serving(stage, uploads) as (url, _):
        async with connected(url) as connection:
            await connection.send_message(SLOW)
            await stage.until(lambda: stage.working == 1)
        await stage.until(lambda: stage.abandoned == 1)
        assert await exchange(url, MUSIC) == "the song"
        assert not is_filled(uploads_folder)


async def test_shutdown_answers_what_is_in_work_and_says_goodbye(stage: Stage, uploads: UploadStore) -> None:
    """After the end idle connections are closed with 1001 at once, and a query in work gets its answer first."""
    async with (
        serving(stage, uploads) as (url, scope),
        connected(url) as idle,
        connected(url) as busy,
    ):
        await busy.send_message(SLOW)
        await stage.until(lambda: stage.working == 1)
        scope.cancel()
        assert await closed_with(idle) == 1001
        stage.release.set()
        assert await busy.get_message() == "the song"
        assert await closed_with(busy) == 1001


async def test_shutdown_does_not_wait_longer_than_its_grace(stage: Stage, uploads: UploadStore) -> None:
    """A query that does not end is cancelled when the grace period is over."""
    async with (
        serving(stage, uploads, WebSocketSettings(port=0, grace_s=0.1)) as (url, scope),
        connected(url) as connection,
    ):
        await connection.send_message(SLOW)
        await stage.until(lambda: stage.working == 1)
        scope.cancel()
        await stage.until(lambda: stage.abandoned == 1)


async def test_taken_port_is_refused(stage: Stage, uploads: UploadStore) -> None:
    """A port in use is `AddressInUse`."""
    async with serving(stage, uploads) as (url, _):
        with pytest.raises(AddressInUse):
            await serve_websocket(
                stage.table(), uploads, stage.hub, settings=WebSocketSettings(port=urlsplit(url).port or 0)
            )
