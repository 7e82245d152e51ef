"""How far a scan is, and what it hears: a line that is redrawn on a terminal, one now and then elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.output import clock, count, track_name
from dejavuctl.progress import StatusLine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

_BAR_CELLS = 16


class ScanProgress:
    """The line; `clear` takes it off the terminal before something else is printed."""

    def __init__(self, stream: TextIO, *, enabled: bool) -> None:
        self._line = StatusLine(stream, enabled=enabled)

    def show(self, done_s: float, total_s: float | None, n_plays: int, sounding: Sequence[Mapping[str, Any]]) -> None:
        """Draw, unless that was done a moment ago."""
        line = self._line
        if line.is_due:
            line.draw(_text(done_s, total_s, line.elapsed_s, n_plays, sounding, with_bar=line.is_terminal))

    def clear(self) -> None:
        """Take the line off the terminal."""
        self._line.clear()


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
