"""A radio station for tests: mp3 over HTTP, without a length and without an end."""

from __future__ import annotations

import http.server
import io
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RATE_HZ = 44100


def as_mp3(samples: NDArray[Any]) -> bytes:
    """Return `samples`, float32 [n] at `RATE_HZ`, as mp3."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=RATE_HZ, layout="mono")
        stream.bit_rate = 96_000
        fifo = av.AudioFifo()
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None, :], format="fltp", layout="mono")
        frame.sample_rate = RATE_HZ
        fifo.write(frame)
        for part in fifo.read_many(stream.codec_context.frame_size or 1152):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return file.getvalue()


class Station:
    """What is on air.

    url : where it is heard.
    left : set when a listener has left.
    """

    def __init__(self, url: str, left: threading.Event) -> None:
        self.url = url
        self.left = left


@contextmanager
def on_air(programme: bytes) -> Iterator[Station]:
    """Send `programme` to each listener, as fast as it takes it, and then nothing more, without an end, while the block goes on."""
    left, closing = threading.Event(), threading.Event()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "audio/mpeg")
            self.end_headers()
            try:
                self.wfile.write(programme)
                while not closing.wait(0.05):
                    self.wfile.write(b"\0")  # no audio, and how to learn that nobody listens any more
            except OSError:
                left.set()

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Station(f"http://127.0.0.1:{server.server_port}/live.mp3", left)
        finally:
            closing.set()
            server.shutdown()
            thread.join()
