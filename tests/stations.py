"""Stations of every kind for tests and benchmarks: what one can meet over HTTP and RTSP, well behaved or not."""

from __future__ import annotations

import http.server
import io
import socket
import socketserver
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import soundfile  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_CODECS = {"mp3": "libmp3lame", "flac": "flac", "mpegts": "mp2", "adts": "aac", "webm": "libopus", "wav": "pcm_s16le"}
_ICY_BYTES = 4000
_PIECE_BYTES = 4096
_RTP_SAMPLES = 480


def encoded(samples: NDArray[Any], rate_hz: int, kind: str, layout: str = "mono") -> bytes:
    """Return `samples`, float32 [n], as a stream of a kind: mp3, ogg (Vorbis), flac, mpegts, adts (AAC), webm (Opus) or wav."""
    file = io.BytesIO()
    if kind == "ogg":
        channels = samples[:, None].repeat(2, axis=1) if layout == "stereo" else samples
        soundfile.write(file, channels, rate_hz, format="OGG", subtype="VORBIS")
        return file.getvalue()
    with av.open(file, "w", format=kind) as out:
        stream: Any = out.add_stream(_CODECS[kind], rate=rate_hz, layout=layout)
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate_hz)
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None, :], format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        fifo = av.AudioFifo()
        for part in resampler.resample(frame):
            fifo.write(part)
        for part in fifo.read_many(stream.codec_context.frame_size or 1152, partial=True):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return file.getvalue()


@dataclass(frozen=True)
class Page:
    """What is sent for an address.

    parts : of its body, one after another.
    bytes_per_s : as fast as it is taken where None.
    has_icy : titles are put between the sound for who asks for them.
    is_held : the connection stays open when all is sent.
    """

    parts: tuple[bytes, ...] = ()
    kind: str = "audio/mpeg"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    bytes_per_s: float | None = None
    has_icy: bool = False
    is_held: bool = False


class HttpStation:
    """A server whose pages can be changed while it runs.

    pages : by path.
    asked : the paths that were asked for.
    """

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self.pages = dict(pages)
        self.asked: list[str] = []
        self.url = ""
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()

    def drop(self) -> None:
        """Break every connection off."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has just ended by itself

    @contextmanager
    def on_air(self, port: int = 0) -> Iterator[HttpStation]:
        """Serve while the block goes on."""
        station = self

        class Listener(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                station._open.add(self.connection)
                try:
                    station._answer(self)
                except OSError:
                    return  # who listened has left
                finally:
                    station._open.discard(self.connection)

            def log_message(self, *_args: object) -> None:
                pass

        self._closing.clear()
        with _Server(("127.0.0.1", port), Listener) as server:
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            with _served(server):
                yield self
                self._closing.set()
                self.drop()

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        page = self.pages.get(request.path, Page(status=404))
        icy = page.has_icy and request.headers.get("Icy-MetaData") == "1"
        request.send_response(page.status)
        for name, value in {"Content-Type": page.kind, **page.headers}.items():
            request.send_header(name, value)
        if icy:
            request.send_header("icy-metaint", str(_ICY_BYTES))
        request.end_headers()
        data = b"".join(page.parts)
        self._send(request, _with_titles(data) if icy else data, page.bytes_per_s)
        if page.is_held:
            self._closing.wait()

    def _send(self, request: http.server.BaseHTTPRequestHandler, data: bytes, bytes_per_s: float | None) -> None:
        started, view = time.monotonic(), memoryview(data)
        for first in range(0, len(data), _PIECE_BYTES):
            request.wfile.write(view[first : first + _PIECE_BYTES])
            if bytes_per_s is not None and self._closing.wait(
                max(0.0, started + first / bytes_per_s - time.monotonic())
            ):
                return


def _with_titles(data: bytes) -> bytes:
    """Return `data` with a title, or that there is none, after every `_ICY_BYTES`."""
    title = b"StreamTitle='somebody - something';"
    block = bytes([(len(title) + 15) // 16]) + title.ljust((len(title) + 15) // 16 * 16, b"\0")
    pieces = [data[first : first + _ICY_BYTES] for first in range(0, len(data), _ICY_BYTES)]
    return b"".join(piece + (block if n % 2 else b"\0") for n, piece in enumerate(pieces))


class RtspStation:
    """A media server that plays mono 16-bit samples over RTSP, interleaved with the requests (TCP).

    is_held : the connection stays open when all is sent.
    """

    def __init__(self, samples: NDArray[Any], rate_hz: int, *, is_held: bool = False) -> None:
        self.url = ""
        self._data = (np.clip(samples, -1, 1) * 32767).astype(">i2").tobytes()
        self._rate_hz = rate_hz
        self._is_held = is_held
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()

    def drop(self) -> None:
        """Break every connection off."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has just ended by itself

    @contextmanager
    def on_air(self, port: int = 0) -> Iterator[RtspStation]:
        """Serve while the block goes on."""
        station = self

        class Camera(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                station._open.add(self.connection)
                try:
                    station._converse(self)
                except OSError:
                    return  # who listened has left
                finally:
                    station._open.discard(self.connection)

        self._closing.clear()
        with _Server(("127.0.0.1", port), Camera) as server:
            self.url = f"rtsp://127.0.0.1:{server.server_address[1]}/live"
            with _served(server):
                yield self
                self._closing.set()
                self.drop()

    def _converse(self, request: socketserver.StreamRequestHandler) -> None:
        while line := request.rfile.readline():
            if line[:1] == b"$":  # a report of the player's, whose length the next bytes tell
                request.rfile.read(max(0, struct.unpack(">H", line[2:4])[0] + 4 - len(line)))
                continue
            method = line.split()[0].decode()
            number = b"0"
            while (header := request.rfile.readline().strip()) != b"":
                if header.lower().startswith(b"cseq:"):
                    number = header.partition(b":")[2].strip()
            self._reply(request, method, number.decode())
            if method == "PLAY":
                self._play(request)

    def _reply(self, request: socketserver.StreamRequestHandler, method: str, number: str) -> None:
        headers, body = {"CSeq": number, "Session": "1;timeout=60"}, ""
        if method == "OPTIONS":
            headers["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
        elif method == "DESCRIBE":
            lines = (
                "v=0",
                "o=- 1 1 IN IP4 127.0.0.1",
                "s=live",
                "t=0 0",
                "m=audio 0 RTP/AVP 96",
                f"a=rtpmap:96 L16/{self._rate_hz}/1",
                "a=control:track1",
            )
            body = "".join(f"{line}\r\n" for line in lines)
            headers |= {
                "Content-Type": "application/sdp",
                "Content-Base": f"{self.url}/",
                "Content-Length": f"{len(body)}",
            }
        elif method == "SETUP":
            headers["Transport"] = "RTP/AVP/TCP;unicast;interleaved=0-1"
        told = tuple(f"{name}: {value}" for name, value in headers.items())
        request.wfile.write(("\r\n".join(("RTSP/1.0 200 OK", *told, "", "")) + body).encode())

    def _play(self, request: socketserver.StreamRequestHandler) -> None:
        for n, first in enumerate(range(0, len(self._data), 2 * _RTP_SAMPLES)):
            payload = self._data[first : first + 2 * _RTP_SAMPLES]
            head = struct.pack(">BBHII", 0x80, 96, n & 0xFFFF, n * _RTP_SAMPLES, 7)
            request.wfile.write(b"$\0" + struct.pack(">H", len(head) + len(payload)) + head + payload)
        if self._is_held:
            self._closing.wait()
        request.connection.shutdown(socket.SHUT_WR)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


@contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
