#!/usr/bin/env python3
"""Ask dejavud over WebSocket: what a file is, as dejavu's own ws_client.py did (bytes out, one text in), and more.

ws_client.py clip.mp3                                    a name, or why there is none
ws_client.py clip.mp3 --url ws://radio.example:4242 --token TOKEN
ws_client.py clip.mp3 --json                             the whole answer, by the subprotocol dejavud.v1
ws_client.py --subscribe match. listener.                what happens, one JSON object a line, until Ctrl-C
arecord -f S16_LE -r 48000 -c 2 -t raw | ws_client.py --send kitchen -      raw sound to a listener on pcm, and what it hears
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError, open_websocket_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from io import BufferedReader

    from trio_websocket import WebSocketConnection

PIECE_BYTES = 1 << 16


class Refused(Exception):
    """The daemon answered with an error."""


class Session:
    """A connection that speaks ``dejavud.v1``.

    events : where the events of its subscriptions come out.
    """

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self._replies: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._told, self.events = trio.open_memory_channel[dict[str, Any]](100)

    async def call(
        self, method: str, params: dict[str, Any], sound: BufferedReader | None = None, *, is_stream: bool = False
    ) -> dict[str, Any]:
        """Return the result of a command, which hears `sound` where there is any; raises `Refused`."""
        number = next(self._ids)
        self._replies[number], reply = trio.open_memory_channel[dict[str, Any]](1)
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        if sound:
            request["audio"] = "stream" if is_stream else True
        await self._connection.send_message(json.dumps(request))
        async with trio.open_nursery() as nursery:
            if sound:
                nursery.start_soon(self._send, sound)
            message = await reply.receive()
            nursery.cancel_scope.cancel()
        if "error" in message:
            raise Refused(message["error"]["message"])
        return message["result"]

    async def _send(self, sound: BufferedReader) -> None:
        while piece := await trio.to_thread.run_sync(sound.read1, PIECE_BYTES, abandon_on_cancel=True):
            with trio.CancelScope(shield=True):  # half a message would break the connection
                await self._connection.send_message(piece)
        await self._connection.send_message(b"")

    async def receive(self) -> None:
        """Take what the daemon says, until the connection ends."""
        while True:
            message = json.loads(await self._connection.get_message())
            if message.get("method") == "event":
                await self._told.send(message["params"]["event"])
            elif message.get("id") in self._replies:
                await self._replies.pop(message["id"]).send(message)


@asynccontextmanager
async def open_session(url: str, token: str | None) -> AsyncIterator[Session]:
    """Give a session of the subprotocol."""
    async with (
        open_websocket_url(url, subprotocols=["dejavud.v1"], extra_headers=headers_of(token)) as connection,
        trio.open_nursery() as nursery,
    ):
        session = Session(connection)
        nursery.start_soon(session.receive)
        yield session
        nursery.cancel_scope.cancel()


async def ask(url: str, audio: bytes, token: str | None) -> None:
    """Print the daemon's answer about `audio` as dejavu's clients know it: a name, or why there is none."""
    async with open_websocket_url(url, extra_headers=headers_of(token)) as connection:
        await connection.send_message(audio)
        print(await connection.get_message())


async def recognize(url: str, file: str, token: str | None) -> None:
    """Print the whole answer about a file."""
    async with open_session(url, token) as session:
        result = await session.call("recognize", {"source": Path(file).name}, opened(file))
        print(json.dumps(result, ensure_ascii=False))


async def subscribe(url: str, topics: list[str], token: str | None, count: int) -> None:
    """Print events as they come, `count` of them where that is not 0."""
    async with open_session(url, token) as session:
        await session.call("events.subscribe", {"topics": topics})
        await show(session, count)


async def send(url: str, listener: str, file: str, token: str | None) -> None:
    """Have a listener hear raw sound, and print what is heard in it."""
    async with open_session(url, token) as session, trio.open_nursery() as nursery:
        await session.call("events.subscribe", {"topics": ["match.", "listener."]})
        nursery.start_soon(show, session, 0)
        print(json.dumps(await session.call("listen.send", {"name": listener}, opened(file), is_stream=True)))
        nursery.cancel_scope.cancel()


async def show(session: Session, count: int) -> None:
    """Print the session's events, one a line."""
    for number in itertools.count(1):
        print(json.dumps(await session.events.receive(), ensure_ascii=False), flush=True)
        if number == count:
            return


def opened(file: str) -> BufferedReader:
    """Return a file to read from, or standard input where it is ``-``; it is open to the end of the program."""
    return sys.stdin.buffer if file == "-" else Path(file).open("rb")  # type: ignore[return-value]


def headers_of(token: str | None) -> list[tuple[bytes, bytes]]:
    """Return what a handshake says of who asks."""
    return [(b"Authorization", b"Bearer " + token.encode())] if token else []


def main() -> int:
    """Do what was asked; return 0 when there was an answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "words", nargs="*", metavar="FILE or TOPIC", help="any audio file, or a part of one; or how topics start"
    )
    parser.add_argument("--json", action="store_true", help="the whole answer")
    parser.add_argument(
        "--subscribe", action="store_true", help="print events of these topics, of all where there are none"
    )
    parser.add_argument("--send", metavar="LISTENER", help="send raw sound to a listener whose source is pcm")
    parser.add_argument("--count", type=int, default=0, help="end after so many events")
    parser.add_argument("--url", default="ws://127.0.0.1:4242/", help="default: %(default)s")
    parser.add_argument("--token", default=os.environ.get("DEJAVUD_TOKEN"), help="default: the variable DEJAVUD_TOKEN")
    arguments = parser.parse_args()
    url, token, words = arguments.url, arguments.token, arguments.words
    if not arguments.subscribe and len(words) != 1:
        parser.error("name one file")
    try:
        if arguments.subscribe:
            trio.run(subscribe, url, words, token, arguments.count)
        elif arguments.send:
            trio.run(send, url, arguments.send, words[0], token)
        elif arguments.json:
            trio.run(recognize, url, words[0], token)
        else:
            trio.run(partial(ask, url, Path(words[0]).read_bytes(), token))
    except BaseException as error:
        reason = explained(error)
        if reason is None:
            raise
        sys.exit(reason and f"ws_client: {reason}")
    return 0


def explained(error: BaseException) -> str | None:
    """Return what to say of an error, nothing of Ctrl-C; None where it is a bug."""
    while isinstance(error, BaseExceptionGroup):  # trio's, of what went on side by side
        error = error.exceptions[0]
    match error:
        case ConnectionRejected():
            return f"refused with status {error.status_code}: {(error.body or b'').decode('utf-8', 'replace')}"
        case ConnectionClosed():
            return f"the daemon closed the connection: {error.reason}"
        case HandshakeError() | OSError() | Refused():
            return str(error.__cause__ or error)
        case KeyboardInterrupt():
            return ""
    return None


if __name__ == "__main__":
    sys.exit(main())
