"""How far a long evaluation is, for whoever waits for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

REDRAW_S = 0.2
PLAIN_LINE_S = 30.0
"""Between two lines where there is no terminal."""


class Progress:
    """A line that is rewritten on a terminal, and written now and then elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._started = self._shown = time.monotonic()
        self._what = ""
        self._drawn = False

    def begin(self, what: str) -> None:
        """Count from here on, under the name `what`."""
        self.end()
        self._what = what
        self._started = time.monotonic()
        self._shown = self._started - REDRAW_S if self._terminal else self._started

    def show(self, n_done: int, n_total: int) -> None:
        """Draw, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._shown < (REDRAW_S if self._terminal else PLAIN_LINE_S):
            return
        self._shown = now
        left = ""
        if n_done:
            minutes, seconds = divmod(round((now - self._started) * (n_total - n_done) / n_done), 60)
            left = f", {minutes}:{seconds:02} left"
        text = f"{self._what}: {n_done} of {n_total}{left}"
        self._stream.write(f"\r{text}\x1b[K" if self._terminal else f"{text}\n")
        self._stream.flush()
        self._drawn = self._terminal

    def end(self) -> None:
        """Take the line off the terminal."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def say(self, text: str) -> None:
        """Print a line for a person."""
        self.end()
        self._stream.write(text + "\n")
        self._stream.flush()
