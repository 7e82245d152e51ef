"""The terminal as the live view has it: its keys, its size, its signals, and all as it was when the view is left."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import zmq

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

Key = Literal["leave", "hold", "pause", "up", "down"]

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""Another screen, no cursor, and lines that are cut and not wrapped."""
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_KEYS: dict[bytes, Key] = {
    b"q": "leave",
    b"Q": "leave",
    b" ": "hold",
    b"p": "pause",
    b"P": "pause",
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
}
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNALS = (*_ENDS, signal.SIGWINCH, signal.SIGTSTP)


class Terminal:
    """A terminal that is drawn on and read from without echo.  Make it by `opened`; for the main thread only.

    ended_by : the signal that asked the view to leave; 0 where none did.
    was_changed : whether what was drawn is no longer there: another size, or back from being stopped.
    """

    def __init__(self, stream: TextIO, wakeup: int) -> None:
        self.ended_by = 0
        self.was_changed = True
        self._stream = stream
        self._wakeup = wakeup
        self._is_stopping = False
        self._typed = b""
        self._input = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._before: list[Any] | None = None

    @property
    def size(self) -> os.terminal_size:
        """Return columns and lines as they are now; 80 x 24 of a terminal that does not know."""
        columns, lines = os.get_terminal_size(self._stream.fileno())
        return os.terminal_size((columns or 80, lines or 24))

    def write(self, text: str) -> None:
        """Write, and have it shown; a terminal that is gone is a reason to leave."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self.ended_by = self.ended_by or signal.SIGHUP

    def wait(self, sockets: Sequence[zmq.Socket[bytes]], timeout_s: float) -> list[Key]:
        """Wait for a key, a signal or one of `sockets`; return the keys.  Stops the process and comes back where Ctrl-Z was typed."""
        poller = zmq.Poller()
        for readable in (*sockets, self._wakeup, *([] if self._input is None else [self._input])):
            poller.register(readable, zmq.POLLIN)
        came = dict(poller.poll(max(0, round(timeout_s * 1000))))
        if self._wakeup in came:
            os.read(self._wakeup, 4096)
        if self._is_stopping:
            self._is_stopping = False
            self.leave()
            os.kill(os.getpid(), signal.SIGSTOP)
            self.enter()
        return self._read_keys() if self._input in came else []

    def enter(self) -> None:
        """Take the terminal."""
        if self._input is not None:
            self._before = termios.tcgetattr(self._input)
            tty.setcbreak(self._input, termios.TCSANOW)
        self.was_changed = True
        self.write(_ENTER)

    def leave(self) -> None:
        """Give the terminal back as it was; what was typed and not read is nobody's."""
        self.write(_LEAVE)
        if self._input is not None and self._before is not None:
            try:
                termios.tcflush(self._input, termios.TCIFLUSH)
                termios.tcsetattr(self._input, termios.TCSANOW, self._before)
            except termios.error:
                self.ended_by = self.ended_by or signal.SIGHUP

    def note(self, number: int) -> None:
        """Take a signal; called between any two instructions, so it only takes note."""
        if number == signal.SIGWINCH:
            self.was_changed = True
        elif number == signal.SIGTSTP:
            self._is_stopping = True
        else:
            self.ended_by = number

    def _read_keys(self) -> list[Key]:
        try:
            read = os.read(self._input or 0, 1024)
        except OSError:
            read = b""
        if not read:
            self.ended_by = self.ended_by or signal.SIGHUP
        self._typed += read
        keys: list[Key] = []
        while self._typed:
            known = next((key for key in _KEYS if self._typed.startswith(key)), None)
            if known is None and any(key.startswith(self._typed) for key in _KEYS):
                break  # the rest of an arrow is still to come
            if known is not None:
                keys.append(_KEYS[known])
            self._typed = self._typed[len(known or b"?") :]
        return keys


@contextmanager
def opened(stream: TextIO) -> Iterator[Terminal]:
    """Give the terminal until the block ends, however it ends; `stream` writes to it.

    Signals that would end the process, and Ctrl-Z, are the terminal's to take note of meanwhile.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    terminal = Terminal(stream, reading)
    before = {number: signal.signal(number, lambda number, _frame: terminal.note(number)) for number in _SIGNALS}
    wakeup_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        terminal.enter()
        try:
            yield terminal
        finally:
            terminal.leave()
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
