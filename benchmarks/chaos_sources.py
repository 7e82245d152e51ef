"""Sources that can be broken in their own ways: a station over HTTP, a camera over RTSP, a pipe, and raw sound over the control socket."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from stations import HttpStation, Page, RtspStation, encoded
from synthetic import synthesize, write_wav

from dejavuctl.connection import Connection
from dejavuctl.failures import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RATE_HZ, PIECE_S, N_PIECES = 44100, 9.0, 6
_RUBBISH = np.random.default_rng(7).bytes(60_000)
_POLL_S = 0.05


def piece(n: int, rate_hz: int = RATE_HZ) -> NDArray[Any]:
    """Return one of the known pieces."""
    return synthesize(1 + n % N_PIECES, PIECE_S, rate_hz)


class Play(Protocol):
    """A source under test.  text : as `listen add` takes it."""

    text: str
    faults: tuple[str, ...]

    def play(self, n: int) -> None:
        """Have who listens hear piece `n`, soon and again and again."""
        ...

    def break_by(self, fault: str, n: int) -> None:
        """Break it in one of the ways of `faults`."""
        ...


class Radio:
    """A station over HTTP."""

    faults = ("killed", "dropped", "throttled", "corrupted", "changed in rate", "lying", "refusing", "rubbish", "empty")

    def __init__(self, stack: ExitStack) -> None:
        self._station = HttpStation({})
        self._on_air = self._station.on_air()
        self._on_air.__enter__()
        self._port = int(self._station.url.rpartition(":")[2])
        stack.callback(self._off)
        self.text = f"{self._station.url}/live"

    def _off(self) -> None:
        if self._on_air is not None:
            self._on_air.__exit__(None, None, None)
        self._on_air = None  # type: ignore[assignment]

    def play(self, n: int) -> None:
        """See `Play`."""
        self._put(Page((encoded(piece(n), RATE_HZ, "mp3"),), is_held=True))
        if self._on_air is None:
            self._on_air = self._station.on_air(self._port)
            self._on_air.__enter__()
        self._station.drop()

    def _put(self, page: Page) -> None:
        self._station.pages = {"/live": page}

    def break_by(self, fault: str, n: int) -> None:
        """See `Play`."""
        music = encoded(piece(n), RATE_HZ, "mp3")
        half = len(music) // 2
        pages = {
            "dropped": Page((music[:half],)),
            "throttled": Page((music,), bytes_per_s=2000),
            "corrupted": Page((music[:half], _RUBBISH, music[half:], _RUBBISH)),
            "changed in rate": Page((music[:half], encoded(piece(n, 22050), 22050, "mp3"), music[half:])),
            "lying": Page((encoded(piece(n), RATE_HZ, "ogg"), encoded(piece(n), RATE_HZ, "flac")), "text/html"),
            "refusing": Page(status=503),
            "rubbish": Page((_RUBBISH,)),
            "empty": Page(),
        }
        if fault == "killed":
            self._off()
            return
        self._put(pages[fault])
        self._station.drop()


class Camera:
    """A media server over RTSP."""

    faults = ("killed", "dropped", "ended", "changed in rate")

    def __init__(self, stack: ExitStack) -> None:
        self._stack = ExitStack()
        stack.callback(self._off)
        self._port = 0
        self._turn_to(0, RATE_HZ, is_held=True)
        self.text = self._station.url

    def _off(self) -> None:
        self._stack.close()

    def _turn_to(self, n: int, rate_hz: int, *, is_held: bool) -> None:
        self._off()
        self._station = RtspStation(piece(n, rate_hz), rate_hz, is_held=is_held)
        self._stack.enter_context(self._station.on_air(self._port))
        self._port = int(self._station.url.rpartition(":")[2].partition("/")[0])

    def play(self, n: int) -> None:
        """See `Play`."""
        self._turn_to(n, RATE_HZ, is_held=True)

    def break_by(self, fault: str, n: int) -> None:
        """See `Play`."""
        if fault == "killed":
            self._off()
        elif fault == "dropped":
            self._station.drop()
        else:
            self._turn_to(n, 16000 if fault == "changed in rate" else RATE_HZ, is_held=False)


class _Repeated:
    """Does something again and again in a thread, until it is to do something else."""

    def __init__(self, stack: ExitStack) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        stack.callback(self.end)

    def begin(self, do: Callable[[threading.Event], None]) -> None:
        self.end()
        self._stop.clear()

        def repeat() -> None:
            while not self._stop.is_set():
                do(self._stop)
                self._stop.wait(0.3)

        self._thread = threading.Thread(target=repeat)
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None


class Pipe:
    """A pipe that a program writes to."""

    faults = ("killed", "corrupted", "changed in rate", "rubbish", "throttled")

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._path, self._file = folder / "pipe", folder / "pipe.wav"
        os.mkfifo(self._path)
        self._writer = _Repeated(stack)
        self.text = str(self._path)

    def play(self, n: int) -> None:
        """See `Play`."""
        self._write(self._wav(n, RATE_HZ))

    def break_by(self, fault: str, n: int) -> None:
        """See `Play`."""
        music = self._wav(n, RATE_HZ)
        half = len(music) // 2
        if fault == "killed":
            self._writer.end()
            return
        self._write(
            {
                "corrupted": music[:half] + _RUBBISH[:30_001] + music[half:],
                "changed in rate": self._wav(n, 16000),
                "rubbish": _RUBBISH,
                "throttled": music,
            }[fault],
            piece_bytes=1000 if fault == "throttled" else 1 << 16,
        )

    def _wav(self, n: int, rate_hz: int) -> bytes:
        return write_wav(self._file, piece(n, rate_hz), rate_hz).read_bytes()

    def _write(self, data: bytes, piece_bytes: int = 1 << 16) -> None:
        def write(stop: threading.Event) -> None:
            with suppress(OSError):  # nobody reads, or who read has left
                descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
                try:
                    _write_all(descriptor, data, piece_bytes, stop)
                finally:
                    os.close(descriptor)

        self._writer.begin(write)


def _write_all(descriptor: int, data: bytes, piece_bytes: int, stop: threading.Event) -> None:
    at = 0
    while at < len(data) and not stop.is_set():
        try:
            at += os.write(descriptor, data[at : at + piece_bytes])
        except BlockingIOError:
            stop.wait(0.01)
        if piece_bytes < 1 << 16:
            stop.wait(0.2)


class Sender:
    """Raw sound over the control socket."""

    text = f"pcm:s16le:{RATE_HZ}:1"
    faults = ("killed", "corrupted", "throttled", "rubbish", "silent")

    def __init__(self, stack: ExitStack, control: str, name: str) -> None:
        self._control, self._name = control, name
        self._sender = _Repeated(stack)

    def play(self, n: int) -> None:
        """See `Play`."""
        self._send(_samples(n))

    def break_by(self, fault: str, n: int) -> None:
        """See `Play`."""
        music = _samples(n)
        if fault == "killed":
            self._sender.end()
        elif fault == "silent":
            self._send(music[: len(music) // 2], stays=True)
        else:
            data = {"corrupted": music[:10_001] + _RUBBISH + music, "throttled": music, "rubbish": b"OggS" + _RUBBISH}
            self._send(data[fault], piece_bytes=2000 if fault == "throttled" else 1 << 16)

    def _send(self, data: bytes, piece_bytes: int = 1 << 16, *, stays: bool = False) -> None:
        def send(stop: threading.Event) -> None:
            with (
                suppress(Failed),
                Connection(self._control) as connection,
            ):  # given up, refused, or another is still there
                feed = connection.call("feed.open", {"listener": self._name})["feed"]
                for first in range(0, len(data), piece_bytes):
                    connection.call("feed.append", {"feed": feed}, audio=data[first : first + piece_bytes])
                    if stop.wait(0.2 if piece_bytes < 1 << 16 else 0):
                        return  # without a word
                if not stays or stop.wait(3):
                    connection.call("feed.close", {"feed": feed})

        self._sender.begin(send)


def _samples(n: int) -> bytes:
    return (np.clip(piece(n), -1, 1) * 32767).astype("<i2").tobytes()
