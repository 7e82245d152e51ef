"""The clients of `load.py`, each kind in a process of its own so that none waits for another: ``python benchmarks/load_clients.py KIND …``.

A process connects, prints ``ready``, waits for a line, loads the daemon for so many seconds, and prints what it saw as one JSON object.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import trio
from trio_websocket import open_websocket_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trio_websocket import WebSocketConnection

PROBE_PAUSE_S = 0.02
BUSY_PAUSE_S = 0.2
_AT_ONCE = 50
"""Connections that are opened at a time."""
_PIECE_S = 0.25
"""Of the sound that a stream sends, in real time."""
_WAV_HEAD_BYTES = 44


def start_together() -> None:
    """Say that all connections are there, and wait for the word."""
    print("ready", flush=True)
    sys.stdin.readline()


# -- /healthz -----------------------------------------------------------------------------------------------------------


def probe(url: str, seconds: float) -> dict[str, Any]:
    """Ask /healthz again and again over one connection; return percentiles of the time to an answer, in ms."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    start_together()
    times_ms, deadline = [], time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        asked = time.perf_counter()
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        times_ms.append((time.perf_counter() - asked) * 1000)
        assert answer.status == http.client.OK
        time.sleep(PROBE_PAUSE_S)
    p50, p99, most = np.percentile(times_ms, [50, 99, 100])
    return {"n": len(times_ms), "p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "max_ms": round(most, 1)}


# -- recognitions over HTTP ------------------------------------------------------------------------------------------------


class HttpClient:
    """One kept-alive connection, read by hand: a library's client would take the processor from the daemon."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url)
        self._stream: trio.SocketStream | None = None
        self._left = b""

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(self._place.hostname or "", self._place.port or 80)
        head = f"POST {path} HTTP/1.1\r\nHost: {self._place.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        await self._stream.send_all(head.encode() + body)
        while b"\r\n\r\n" not in self._left:
            await self._more()
        told, _, self._left = self._left.partition(b"\r\n\r\n")
        lines = told.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        while len(self._left) < length:
            await self._more()
        answer, self._left = self._left[:length], self._left[length:]
        if b"connection: close" in lines:
            await self._stream.aclose()
            self._stream, self._left = None, b""
        return int(told.split()[1]), answer

    async def _more(self) -> None:
        assert self._stream is not None
        piece = await self._stream.receive_some()
        if not piece:
            raise ConnectionResetError
        self._left += piece


class Tally:
    """What became of queries: answered rightly or wrongly, refused as busy, or failed."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.times_s: list[float] = []

    def answered(
        self, name: str, matches: Sequence[dict[str, Any]], asked_s: float, answered_s: float | None = None
    ) -> None:
        """Take an answer, of now where no time is given, about a clip whose track its name says: ``TITLE_NUMBER.wav``, ``unknown`` where it is in no library."""
        title = name.partition("_")[0]
        found = matches[0]["track"]["title"] if matches else "unknown"
        self.outcomes["right" if found == title else "missed" if found == "unknown" else "wrong"] += 1
        self.times_s.append((answered_s or time.perf_counter()) - asked_s)

    def result(self, seconds: float) -> dict[str, Any]:
        """Return all of it."""
        p50, p99 = np.percentile(self.times_s or [0.0], [50, 99])
        rate = len(self.times_s) / seconds
        return {**self.outcomes, "a_second": round(rate, 1), "p50_s": round(p50, 2), "p99_s": round(p99, 2)}


async def recognize(url: str, seconds: float, n: int, clips: Sequence[Path]) -> dict[str, Any]:
    """Ask `n` queries at a time; one that is refused as busy is asked again a little later."""
    tally, bodies = Tally(), [(path.name, path.read_bytes()) for path in clips]
    start_together()

    async def ask(number: int) -> None:
        client, place = HttpClient(url), number
        while True:
            name, body = bodies[place % len(bodies)]
            asked_s = time.perf_counter()
            status, answer = await client.post(f"/v1/recognize?name={name}", body)
            told = json.loads(answer)
            if status == http.client.OK:
                tally.answered(name, told["matches"], asked_s)
                place += n
            else:
                tally.outcomes[told["error"]["code"]] += 1
                await trio.sleep(BUSY_PAUSE_S)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for number in range(n):
                nursery.start_soon(ask, number)
    return tally.result(seconds)


# -- streams over WebSocket ------------------------------------------------------------------------------------------------


class StreamClient:
    """One connection of the subprotocol, over which clip after clip is sent in real time, each until it is recognized or over."""

    def __init__(self, socket: WebSocketConnection, tally: Tally) -> None:
        self._socket = socket
        self._tally = tally

    async def ask(self, number: int, name: str, wav: bytes) -> None:
        """Send a clip as raw sound, and take the answer."""
        rate_hz = int.from_bytes(wav[24:28], "little")
        params, asked_s = {"pcm": f"s16le:{rate_hz}:1", "source": name}, time.perf_counter()
        request = {"id": number, "method": "recognize", "params": params, "audio": "stream"}
        await self._socket.send_message(json.dumps(request))
        is_over = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, wav[_WAV_HEAD_BYTES:], 2 * round(rate_hz * _PIECE_S), is_over)
            while (told := json.loads(await self._socket.get_message())).get("id") != number:
                pass
            answered_s = time.perf_counter()
            is_over.set()
        if "result" in told:
            self._tally.answered(name, told["result"]["matches"], asked_s, answered_s)
        else:
            self._tally.outcomes[told["error"]["data"]["code"]] += 1
            await trio.sleep(BUSY_PAUSE_S)

    async def _send(self, sound: bytes, piece_bytes: int, is_over: trio.Event) -> None:
        for start in range(0, len(sound), piece_bytes):
            await self._socket.send_message(sound[start : start + piece_bytes])
            with trio.move_on_after(_PIECE_S):
                await is_over.wait()
                break
        await self._socket.send_message(b"")


async def stream(url: str, seconds: float, n: int, clips: Sequence[Path]) -> dict[str, Any]:
    """Keep `n` streams going."""
    tally, bodies = Tally(), [(path.name, path.read_bytes()) for path in clips]

    async def ask(client: StreamClient, number: int) -> None:
        for place in range(number, sys.maxsize, n):
            await client.ask(place, *bodies[place % len(bodies)])

    async with AsyncExitStack() as connections:
        clients = []
        for _ in range(n):
            socket = await connections.enter_async_context(open_websocket_url(url, subprotocols=["dejavud.v1"]))
            clients.append(StreamClient(socket, tally))
        await trio.to_thread.run_sync(start_together)
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for number, client in enumerate(clients):
                    nursery.start_soon(ask, client, number)
    return tally.result(seconds)


# -- subscribers to events -------------------------------------------------------------------------------------------------


class Subscriber:
    """Reads a stream of server-sent events: how many came, how many were lost, and whether their numbers only grow."""

    n_events = n_lost = n_out_of_order = 0
    seq = 0

    async def follow(self, stream: trio.SocketStream) -> None:
        """Take events for ever."""
        rest = b""
        while piece := await stream.receive_some(1 << 16):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"data: "):
                    self._take(line)

    def _take(self, line: bytes) -> None:
        start = line.index(b'"seq":') + 6
        seq = int(line[start : line.index(b",", start)])
        self.n_events += 1
        self.n_out_of_order += seq <= self.seq
        if b'"lost":' in line[-30:]:
            self.n_lost += json.loads(line[6:])["lost"]
        self.seq = seq


@asynccontextmanager
async def subscribed(url: str, n: int) -> AsyncIterator[list[Subscriber]]:
    """Give `n` subscribers to everything, connected."""
    place = urlsplit(url)
    subscribers: list[Subscriber] = []
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def connect(nursery: trio.Nursery) -> None:
        async with limiter:
            stream = await trio.open_tcp_stream(place.hostname or "", place.port or 80)
            await stream.send_all(f"GET /v1/events HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
            head = await stream.receive_some()
            assert b" 200 " in head.split(b"\r\n")[0], head
        subscribers.append(Subscriber())
        nursery.start_soon(subscribers[-1].follow, stream)

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as connecting:
            for _ in range(n):
                connecting.start_soon(connect, nursery)
        yield subscribers
        nursery.cancel_scope.cancel()


async def subscribe(url: str, seconds: float, n: int) -> dict[str, Any]:
    """Follow everything that is told, `n` times over; return what each had, at least and at most."""
    async with subscribed(url, n) as subscribers:
        await trio.to_thread.run_sync(start_together)
        await trio.sleep(seconds)
    counts = [subscriber.n_events + subscriber.n_lost for subscriber in subscribers]
    return {
        "n": len(subscribers),
        "events_each": [min(counts), max(counts)],
        "n_lost": sum(subscriber.n_lost for subscriber in subscribers),
        "n_out_of_order": sum(subscriber.n_out_of_order for subscriber in subscribers),
    }


def main() -> None:
    """Be one kind of client."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=("probe", "recognize", "stream", "subscribe"))
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--n", type=int, default=1, help="at a time")
    parser.add_argument("--clips", type=Path, help="a folder of wav files")
    options = parser.parse_args()
    clips = sorted(options.clips.iterdir()) if options.clips else []
    if options.kind == "probe":
        result = probe(options.url, options.seconds)
    elif options.kind == "subscribe":
        result = trio.run(partial(subscribe, options.url, options.seconds, options.n))
    else:
        ask = recognize if options.kind == "recognize" else stream
        result = trio.run(partial(ask, options.url, options.seconds, options.n, clips))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
