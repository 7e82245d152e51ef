"""How far a long run is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from dejavuctl.output import clock, count, fit, terminal_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self, TextIO

REDRAW_S = 0.1
PLAIN_LINE_S = 30.0
"""Between two lines where there is no terminal: enough to see in a log that it goes on."""
WINDOW_S = 20.0
"""The remaining time follows the rate of this last while."""
_BAR_CELLS = 16


class StatusLine:
    """One line that is redrawn on a terminal, and written now and then elsewhere; `clear` takes it off before something else is printed."""

    def __init__(self, stream: TextIO, *, enabled: bool) -> None:
        self._stream = stream
        self._enabled = enabled
        self._started = self._shown_at = time.monotonic()
        self._drawn = False
        self.is_terminal = enabled and stream.isatty()

    @property
    def elapsed_s(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._started

    @property
    def is_due(self) -> bool:
        """Whether the line was last drawn long enough ago to be drawn again."""
        waits_s = REDRAW_S if self.is_terminal else PLAIN_LINE_S
        return self._enabled and time.monotonic() - self._shown_at >= waits_s

    def draw(self, text: str) -> None:
        """Show `text` in place of what was there."""
        self._shown_at = time.monotonic()
        if self.is_terminal:
            self._stream.write("\r" + fit(text, max(20, terminal_columns() - 1)))
            self._drawn = True
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def bar(self, share: float) -> str:
        """Return a bar that is filled to its `share`, and a space; nothing where there is no terminal."""
        filled = int(min(share, 1.0) * _BAR_CELLS)
        return f"[{'#' * filled}{'-' * (_BAR_CELLS - filled)}] " if self.is_terminal else ""

    def clear(self) -> None:
        """Take the line off the terminal."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False


class NewsLine:
    """The line of what the daemon tells of its work.

    text : makes it of the daemon's figures, given the line for its bar and its time.
    """

    def __init__(
        self, stream: TextIO, text: Callable[[Mapping[str, Any], StatusLine], str], *, enabled: bool = True
    ) -> None:
        self._line = StatusLine(stream, enabled=enabled)
        self._text = text

    def note(self, figures: Mapping[str, Any]) -> None:
        """Take news from the daemon."""
        if self._line.is_due:
            self._line.draw(self._text(figures, self._line))

    def clear(self) -> None:
        """Take the line off the terminal."""
        self._line.clear()


class Progress:
    """Files, rate (seconds of audio a second) and remaining time.  Use it as a context manager."""

    def __init__(self, stream: TextIO, *, n_files: int, n_bytes: int, enabled: bool = True) -> None:
        self._line = StatusLine(stream, enabled=enabled)
        self._n_files, self._n_bytes = n_files, n_bytes
        self._n_done = 0
        self._bytes_done = 0
        self._audio_s = 0.0
        self._window = deque([(time.monotonic(), 0.0)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.clear()

    @property
    def elapsed_s(self) -> float:
        """Time since the start."""
        return self._line.elapsed_s

    @property
    def times_real_time(self) -> float:
        """Seconds of audio worked through a second."""
        return self._audio_s / max(self.elapsed_s, 1e-9)

    def add(self, *, n_bytes: int, audio_s: float) -> None:
        """Count a file that is finished; `audio_s` is 0 where none of it had to be heard."""
        self._n_done += 1
        self._bytes_done += n_bytes
        self._audio_s += audio_s

    def show(self, bytes_under_way: float = 0.0) -> None:
        """Draw, unless that was done a moment ago."""
        if self._line.is_due:
            self._line.draw(self._text(time.monotonic(), self._bytes_done + bytes_under_way))

    def clear(self) -> None:
        """Take the bar off the terminal, so that a line can be printed in its place."""
        self._line.clear()

    def _text(self, now: float, bytes_done: float) -> str:
        share = bytes_done / self._n_bytes if self._n_bytes else self._n_done / max(self._n_files, 1)
        share = min(share, 1.0)
        self._window.append((now, share))
        while len(self._window) > 2 and now - self._window[0][0] > WINDOW_S:  # noqa: PLR2004 - a rate needs two points
            self._window.popleft()
        since, share_then = self._window[0]
        rate = (share - share_then) / max(now - since, 1e-9)
        left = f"{clock((1 - share) / rate)} left" if rate > 0 else "?:?? left"
        return f"{self._line.bar(share)}{self._n_done} of {count(self._n_files, 'file')}, {self.times_real_time:.0f}x real time, {left}"


def share_of(figures: Mapping[str, Any]) -> float:
    """Return which share of what there is to do is done: ``n_done`` of ``n_total``."""
    done, total = int(figures["n_done"]), int(figures["n_total"])
    return min(done / total, 1.0) if total else 1.0


def postings_text(figures: Mapping[str, Any], line: StatusLine) -> str:
    """Return how many of the postings the daemon is through with, and perhaps how many findings there were."""
    done, total, share = int(figures["n_done"]), int(figures["n_total"]), share_of(figures)
    left = f"{clock(line.elapsed_s * (1 - share) / share)} left" if share else "?:?? left"
    found = f", {count(figures['n_findings'], 'finding')}" if figures.get("n_findings") else ""
    return f"{line.bar(share)}{done / 1e6:.1f} of {total / 1e6:.1f} M postings, {left}{found}"
