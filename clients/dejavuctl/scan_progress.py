"""How far a scan is, and what it hears: a line that is redrawn on a terminal, one now and then elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.output import clock, count, track_name
from dejavuctl.progress import StatusLine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO


class ScanProgress:
    """The line; `clear` takes it off the terminal before something else is printed."""

    def __init__(self, stream: TextIO, *, enabled: bool) -> None:
        self._line = StatusLine(stream, enabled=enabled)

    def show(self, done_s: float, total_s: float | None, n_plays: int, sounding: Sequence[Mapping[str, Any]]) -> None:
        """Draw, unless that was done a moment ago."""
        line = self._line
        if line.is_due:
            line.draw(_text(line, done_s, total_s, n_plays, sounding))

    def clear(self) -> None:
        """Take the line off the terminal."""
        self._line.clear()


def _text(
    line: StatusLine, done_s: float, total_s: float | None, n_plays: int, sounding: Sequence[Mapping[str, Any]]
) -> str:
    now = f", now: {' and '.join(track_name(play['track']) for play in sounding)}" if sounding else ""
    played = f"{count(n_plays, 'play')}{now}"
    if not total_s:
        return f"{clock(done_s)} heard, {played}"
    share = min(done_s / total_s, 1.0)
    left = f"{clock(line.elapsed_s * (1 - share) / share)} left" if share else "?:?? left"
    return f"{line.bar(share)}{clock(done_s)} of {clock(total_s)}, {left}, {played}"
