"""What a person or a program reads: lines and tables for the one, one JSON object a line for the other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dejavud.wire.codec import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from dejavuctl.failures import Failed

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]")
_ISOLATE, _END_ISOLATE = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"
_NO_CELL = frozenset({"Mn", "Me", "Cf"})

HEADING, GOOD, DOUBTFUL, BAD, FAINT = "1", "32", "33", "31", "2"
"""Styles, as terminals number them."""
STATES = {
    **dict.fromkeys(("listening", "ready", "running", "ok"), GOOD),
    **dict.fromkeys(("starting", "waiting", "retrying", "warn", "cancelled"), DOUBTFUL),
    **dict.fromkeys(("failed", "FAIL", "fail", "stopped"), BAD),
    **dict.fromkeys(("silent", "paused", "ended", "disabled", "done"), FAINT),
}
"""What a state looks like."""
NARROWEST_CELLS = (8, 3)
"""Characters that a shrunk column keeps, and those that it keeps where the terminal is narrower still."""
_LAST_SHRUNK = frozenset({"started", "heard", "plays", "last", "day", "hour", "id", "length"})
"""Headings of columns that are cut only where the others cannot be any more: half a moment or a number says nothing."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where answers go.

    as_json : print records for programs, not text for people.
    answers : what was asked for, text or JSON lines.
    remarks : progress, warnings and errors for people.
    color : "always", "never", or "auto": where they go to a terminal.
    """

    as_json: bool
    answers: TextIO
    remarks: TextIO
    color: str = "never"

    def show(self, record: Mapping[str, Any], text: str) -> None:
        """Print `record` for a program or `text` for a person, at once: the reader may act on each line."""
        line = encode(record).decode("utf-8", "replace") if self.as_json else text
        self.answers.write(line + "\n")
        self.answers.flush()

    def fail(self, record: Mapping[str, Any], text: str) -> None:
        """Print a failure: `record` among the answers for a program, `text` among the remarks for a person."""
        if self.as_json:
            self.show(record, text)
        else:
            self.remark(text)

    def refuse(self, failure: Failed, **record: object) -> None:
        """Print why something was not done, as `fail`; for a program `record` says what that was."""
        if self.as_json:
            self.show({**record, "error": failure.body}, "")
        else:
            self.complain(failure.message)

    def complain(self, message: str) -> None:
        """Print what is wrong, for a person."""
        self.remark(f"{self.styled('dejavuctl:', BAD, self.remarks)} {printable(message)}")

    def styled(self, text: str, style: str, stream: TextIO | None = None) -> str:
        """Return `text` in a style, where it is to be seen: on `stream`, among the answers where none is named."""
        is_seen = self.color == "always" or (self.color == "auto" and (stream or self.answers).isatty())
        return f"\x1b[{style}m{text}\x1b[0m" if is_seen and style and not self.as_json else text

    def remark(self, text: str) -> None:
        """Print a line beside the answers."""
        self.remarks.write(text + "\n")
        self.remarks.flush()


def wanted_color(given: str, environment: Mapping[str, str]) -> str:
    """Return when to use colours: as `given`, and where that is "auto", never with NO_COLOR or a terminal that has none."""
    is_plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    return "never" if given == "auto" and is_plain else given


def show_list(
    out: Output,
    heading: Sequence[str],
    rows: Sequence[Sequence[str]],
    records: Sequence[Mapping[str, Any]],
    *,
    empty: str,
) -> None:
    """Print a table for a person, a record a line for a program; where there is nothing, a person is told so beside it."""
    if records:
        table = Table(out, heading, rows)
        for row, record in zip(rows, records, strict=True):
            table.add(row, record)
    elif not out.as_json:
        out.remark(empty)


def printable(text: str) -> str:
    """Return `text` without what would move a terminal's cursor, reverse its writing or be no character at all."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def clock(seconds: float) -> str:
    """Return a position or duration as m:ss, or h:mm:ss from an hour on; part of a second counts as not yet passed."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def long_time(seconds: float) -> str:
    """Return a long duration in its two largest units."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    parts = [(days, "d"), (hour, "h"), (minute, "min"), (second, "s")]
    first = next((place for place, (value, _) in enumerate(parts) if value), len(parts) - 1)
    return " ".join(f"{value} {unit}" for value, unit in parts[first : first + 2] if value) or "0 s"


def percent(share: float) -> str:
    """Return a share of 1 in percent with two decimals, rounded down: only certainty is called 100 %."""
    return f"{int(share * 10_000) / 100:g} %"


def size(n_bytes: float) -> str:
    """Return a number of bytes in the unit that reads best."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:  # noqa: PLR2004 - SI units step by a thousand
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" or n_bytes >= 100 else f"{n_bytes:.1f} {unit}"  # noqa: PLR2004 - three digits say enough
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def count(n: int, noun: str) -> str:
    """Return `n` things in words, with the noun in its number."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def track_name(track: Mapping[str, Any]) -> str:
    """Return a track as one says it: title, and artist where known."""
    title, artist = printable(str(track.get("title"))), track.get("artist")
    return f"{title} by {printable(str(artist))}" if artist else title


def display_width(text: str) -> int:
    """Return how many terminal cells `text` takes: two for wide East Asian characters and emoji, none for marks and joiners."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width  # noqa: PLC0415 - most names are ASCII and never need it

    return sum(0 if category(char) in _NO_CELL else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def fit(text: str, width: int) -> str:
    """Return `text` in exactly `width` cells: padded, or cut with an ellipsis."""
    if display_width(text) > width:
        while text and display_width(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - display_width(text))


def isolated(text: str) -> str:
    """Return `text` kept to itself where some of it is written from right to left: a terminal that orders it pulls no neighbours along."""
    return f"{_ISOLATE}{text}{_END_ISOLATE}" if _RIGHT_TO_LEFT.search(text) else text


def terminal_columns() -> int:
    """Return the width of the terminal, 80 where there is none."""
    from shutil import get_terminal_size  # noqa: PLC0415 - most commands draw nothing, and shutil is slow to import

    return get_terminal_size().columns


class Table:
    """Rows under a heading whose columns fit the terminal.

    The layout is fixed by the first rows, so that a library of any size can be printed as it arrives.  Where the answers do
    not go to a terminal nothing is cut: later cells may then be wider than their column.
    """

    def __init__(self, out: Output, heading: Sequence[str], first_rows: Sequence[Sequence[str]]) -> None:
        self._out = out
        self._state = heading.index("state") if "state" in heading else None
        natural = [max(map(display_width, column)) for column in zip(heading, *first_rows, strict=True)]
        self._cuts = out.answers.isatty()
        self._widths = _shrunk(natural, terminal_columns(), heading) if self._cuts else natural
        self._print(heading)

    def add(self, row: Sequence[str], record: Mapping[str, Any]) -> None:
        """Print one row."""
        self._print(row, record)

    def _print(self, row: Sequence[str], record: Mapping[str, Any] | None = None) -> None:
        cells = [
            isolated(fit(cell, width)) if self._cuts else fit(cell, width) if display_width(cell) <= width else cell
            for cell, width in zip(row, self._widths, strict=True)
        ]
        if record is not None or not self._out.as_json:
            if record is None:
                cells = [self._out.styled(cell, HEADING) for cell in cells]
            elif self._state is not None:
                cells[self._state] = self._out.styled(cells[self._state], STATES.get(row[self._state], ""))
            self._out.show(record or {}, "  ".join(cells).rstrip())


def _shrunk(widths: list[int], available: int, heading: Sequence[str]) -> list[int]:
    """Return `widths` with the widest made narrower, one cell at a time, until all fit into `available` with two spaces between."""
    widths = list(widths)
    every = range(len(widths))
    others = [column for column in every if heading[column] not in _LAST_SHRUNK]
    enough, least = NARROWEST_CELLS
    for columns, narrowest in ((others, enough), (every, enough), (every, least)):
        while columns and sum(widths) + 2 * (len(widths) - 1) > available:
            widest = max(columns, key=widths.__getitem__)
            if widths[widest] <= narrowest:
                break
            widths[widest] -= 1
    return widths
