"""A program in a terminal: a real pseudo-terminal, and an emulator that says what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from select import select
from typing import TYPE_CHECKING, Any

import pyte

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_ALTERNATE = "\x1b[?1049h", "\x1b[?1049l"


@dataclass
class Watched:
    """A program and the terminal that it runs in.  raw : all that it has written."""

    process: subprocess.Popen[bytes]
    screen: pyte.Screen
    _stream: pyte.ByteStream
    _ours: int
    _theirs: int
    raw: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        """What is on the screen, without the blanks at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    @property
    def settings(self) -> list[Any]:
        """How the terminal is set: echo, line by line or not, and the like."""
        return termios.tcgetattr(self._theirs)

    @property
    def is_whole(self) -> bool:
        """Whether the program has left the other screen, shows the cursor and wraps lines."""
        raw = self.raw.decode(errors="replace")
        back = all(
            raw.rfind(off) < raw.rfind(on)
            for off, on in (_ALTERNATE, ("\x1b[?25l", "\x1b[?25h"), ("\x1b[?7l", "\x1b[?7h"))
        )
        return back and self.settings[3] & termios.ECHO != 0 and self.settings[3] & termios.ICANON != 0

    def until(self, is_so: Callable[[str], object], within_s: float = 20.0) -> str:
        """Return what is on the screen once `is_so` of it; fails with what is there instead."""
        deadline = time.monotonic() + within_s
        while not is_so(self.text):
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"after {within_s:g} s this is on the screen:\n{self.text}"
            self._read(min(left_s, 0.1))  # what is waited for may be no output
        return self.text

    def sees(self, *words: str, within_s: float = 20.0) -> str:
        """Return what is on the screen once all `words` are."""
        return self.until(lambda text: all(word in text for word in words), within_s)

    def look(self, duration_s: float) -> None:
        """Take what is written for a while."""
        deadline = time.monotonic() + duration_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._read(left_s)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal another size, as a window manager does."""
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def ended(self, within_s: float = 10.0) -> int:
        """Return the program's exit status, once all it wrote is read."""
        deadline = time.monotonic() + within_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it goes on:\n{self.text}"
            self._read(0.1)
        while self._read(0.0):
            pass
        return self.process.returncode

    def _read(self, timeout_s: float) -> bool:
        if not select([self._ours], [], [], timeout_s)[0]:
            return False
        piece = os.read(self._ours, 1 << 16)
        self.raw += piece
        # the emulator has one screen, and takes what it does not know of this for text
        self._stream.feed(piece.replace(b"\x1b[?1049h", b"\x1b[2J\x1b[H").replace(b"\x1b[?1049l", b"\x1b[2J\x1b[H"))
        return True


@contextmanager
def in_terminal(
    command: Sequence[str], environment: Mapping[str, str], columns: int = 100, lines: int = 30
) -> Iterator[Watched]:
    """Start a program in a terminal of its own; what still runs at the end is killed."""
    ours, theirs = pty.openpty()
    screen = pyte.Screen(columns, lines)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    kept = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command,
        env={"TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONUTF8": "1", **kept},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no thread of ours holds a lock
    )
    try:
        yield Watched(process, screen, pyte.ByteStream(screen), ours, theirs)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
