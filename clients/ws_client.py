#!/usr/bin/env python3
"""Ask dejavud over WebSocket: what a file is, as dejavu's own ws_client.py did (bytes out, one text in), and more.

ws_client.py clip.mp3                                    a name, or why there is none
ws_client.py clip.mp3 --url ws://radio.example:4242 --token TOKEN
ws_client.py clip.mp3 --json                             the whole answer, by the subprotocol dejavud.v1
arecord -f S16_LE -r 48000 -c 1 -t raw | ws_client.py --stream --pcm s16le:48000:1 -      what plays, as soon as that is certain
curl -s http://radio.example/live.mp3 | ws_client.py --stream -     the same of what is encoded; progress goes to standard error
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
    from io import BufferedReader as Sound

    from trio_websocket import WebSocketConnection

    Params = dict[str, Any]
    Connect = partial[Any]


class Refused(Exception):
    """The daemon answered with an error."""


class Session:
    """A connection that speaks ``dejavud.v1``; the events of its subscriptions come out of `events`."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self._replies: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._told, self.events = trio.open_memory_channel[dict[str, Any]](100)

    async def call(self, method: str, params: Params, sound: Sound | None = None, audio: str | bool = True) -> Params:  # noqa: FBT001, FBT002 - the protocol's
        """Return the result of a command, which hears `sound`, as a whole or with `audio` "stream" while it comes; raises `Refused`."""
        number = next(self._ids)
        self._replies[number], reply = trio.open_memory_channel[dict[str, Any]](1)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params, "audio": bool(sound) and audio}
        await self._connection.send_message(json.dumps(request))
        async with trio.open_nursery() as nursery:
            if sound:
                nursery.start_soon(self._send, sound)
            message = await reply.receive()
            nursery.cancel_scope.cancel()  # the sound may go on for ever
        if "error" in message:
            raise Refused(message["error"]["message"])
        return message["result"]

    async def _send(self, sound: Sound) -> None:
        """Send what comes as it comes; while the daemon is behind, so is this."""
        while piece := await trio.to_thread.run_sync(os.read, sound.fileno(), 1 << 16, abandon_on_cancel=True):
            with trio.CancelScope(shield=True):  # half a message would break the connection
                await self._connection.send_message(piece)
        await self._connection.send_message(b"")

    async def receive(self) -> None:
        """Take what the daemon says, until the connection ends."""
        while True:
            message = json.loads(await self._connection.get_message())
            if message.get("method") == "event":
                await self._told.send(message["params"]["event"])
            elif message.get("method") == "progress":
                show_progress(message["params"])
            elif message.get("id") in self._replies:
                await self._replies.pop(message["id"]).send(message)


@asynccontextmanager
async def open_session(connect: Connect) -> AsyncIterator[Session]:
    """Give a session of the subprotocol."""
    async with connect(subprotocols=["dejavud.v1"]) as connection, trio.open_nursery() as nursery:
        session = Session(connection)
        nursery.start_soon(session.receive)
        yield session
        nursery.cancel_scope.cancel()


async def ask(connect: Connect, audio: bytes) -> None:
    """Print the daemon's answer about `audio` as dejavu's clients know it: a name, or why there is none."""
    async with connect() as connection:
        await connection.send_message(audio)
        print(await connection.get_message())


async def recognize(connect: Connect, file: str, params: Params, audio: str | bool) -> None:  # noqa: FBT001 - the protocol's
    """Print the whole answer about a file, or about sound that is still coming, and beside that what is known meanwhile."""
    async with open_session(connect) as session:
        result = await session.call("recognize", params, opened(file), audio)
        print(json.dumps(result, ensure_ascii=False))


def show_progress(figures: dict[str, Any]) -> None:
    """Say how much was heard, how loud it is, and what it may be."""
    likely = "".join(f", {one['track']['title']}? {one['confidence']:.0%}" for one in figures["candidates"][:1])
    print(f"heard {figures['heard_s']:.1f} s at {figures['level_db']:.0f} dB{likely}", file=sys.stderr)


async def subscribe(connect: Connect, topics: list[str], count: int) -> None:
    """Print events as they come, `count` of them where that is not 0."""
    async with open_session(connect) as session:
        await session.call("events.subscribe", {"topics": topics})
        await show(session, count)


async def send(connect: Connect, listener: str, file: str) -> None:
    """Have a listener hear raw sound, and print what is heard in it."""
    async with open_session(connect) as session, trio.open_nursery() as nursery:
        await session.call("events.subscribe", {"topics": ["match.", "listener."]})
        nursery.start_soon(show, session, 0)
        print(json.dumps(await session.call("listen.send", {"name": listener}, opened(file), "stream")))
        nursery.cancel_scope.cancel()


async def show(session: Session, count: int) -> None:
    """Print the session's events, one a line; `count` of them where that is not 0."""
    for number in itertools.count(1):
        print(json.dumps(await session.events.receive(), ensure_ascii=False), flush=True)
        if number == count:
            return


def opened(file: str) -> Sound:
    """Return a file to read from, or standard input where it is ``-``; it is open to the end of the program."""
    return sys.stdin.buffer if file == "-" else Path(file).open("rb")  # type: ignore[return-value]


def main() -> None:
    """Do what was asked; a failure ends the program with a line that says what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("words", nargs="*", metavar="FILE or TOPIC", help="any audio file, - for what comes; or how topics start")
    add("--json", action="store_true", help="the whole answer")
    add("--stream", action="store_true", help="recognize sound while it comes")
    add("--pcm", metavar="FORMAT", help="what its raw samples are, such as s16le:48000:1; default: it is encoded")
    add("--subscribe", action="store_true", help="print events of these topics, of all where there are none")
    add("--send", metavar="LISTENER", help="send raw sound to a listener whose source is pcm")
    add("--count", type=int, default=0, help="end after so many events")
    add("--url", default="ws://127.0.0.1:4242/", help="default: %(default)s")
    add("--token", default=os.environ.get("DEJAVUD_TOKEN"), help="default: the variable DEJAVUD_TOKEN")
    arguments = parser.parse_args()
    words = arguments.words
    if not arguments.subscribe and len(words) != 1:
        parser.error("name one file")
    headers = [(b"Authorization", b"Bearer " + arguments.token.encode())] if arguments.token else []
    connect = partial(open_websocket_url, arguments.url, extra_headers=headers)
    try:
        if arguments.subscribe:
            trio.run(subscribe, connect, words, arguments.count)
        elif arguments.send:
            trio.run(send, connect, arguments.send, words[0])
        elif arguments.json or arguments.stream:
            params = {"source": Path(words[0]).name} | ({"pcm": arguments.pcm} if arguments.pcm else {})
            trio.run(recognize, connect, words[0], params, "stream" if arguments.stream else True)
        else:
            trio.run(ask, connect, Path(words[0]).read_bytes())
    except BaseException as error:
        reason = explained(error)
        if reason is None:
            raise
        sys.exit(reason and f"ws_client: {reason}")


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
    main()
