"""How far a scan is, and what it hears: a line that is redrawn on a terminal, one now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dejavuctl.output import clock, count, fit, terminal_columns, track_name
from dejavuctl.progress import PLAIN_LINE_S, REDRAW_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

_BAR_CELLS = 16


class ScanProgress:
    """The line; `clear` takes it off the terminal before something else is printed."""

    def __init__(self, stream: TextIO, *, enabled: bool) -> None:
        self._stream = stream
        self._terminal = enabled and stream.isatty()
        self._enabled = enabled
        self._started = self._shown_at = time.monotonic()
        self._drawn = False

    def show(self, done_s: float, total_s: float | None, n_plays: int, sounding: Sequence[Mapping[str, Any]]) -> None:
        """Draw, unless that was done a moment ago."""
        now = time.monotonic()
        if not self._enabled or now - self._shown_at < (REDRAW_S if self._terminal else PLAIN_LINE_S):
            return
        self._shown_at = now
        text = _text(done_s, total_s, now - self._started, n_plays, sounding, with_bar=self._terminal)
        if self._terminal:
            self._stream.write("\r" + fit(text, max(20, terminal_columns() - 1)))
            self._drawn = True
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line off the terminal."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False


def _text(
    done_s: float,
    total_s: float | None,
    elapsed_s: float,
    n_plays: int,
    sounding: Sequence[Mapping[str, Any]],
    *,
    with_bar: bool,
) -> str:
    now = f", now: {' and '.join(track_name(play['track']) for play in sounding)}" if sounding else ""
    played = f"{count(n_plays, 'play')}{now}"
    if not total_s:
        return f"{clock(done_s)} heard, {played}"
    share = min(done_s / total_s, 1.0)
    filled = int(share * _BAR_CELLS)
    bar = f"[{'#' * filled}{'-' * (_BAR_CELLS - filled)}] " if with_bar else ""
    left = f"{clock(elapsed_s * (1 - share) / share)} left" if share else "?:?? left"
    return f"{bar}{clock(done_s)} of {clock(total_s)}, {left}, {played}"
