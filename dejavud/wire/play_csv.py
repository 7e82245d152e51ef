"""Plays as CSV (RFC 4180) that a spreadsheet takes for what it is: no cell of text can be run as a formula.

Titles and artists come from files that anybody may have made.  A cell of text that a spreadsheet would take for a formula gets an apostrophe before it, as does one
that begins with apostrophes before such a thing, so that `text_of` has every text back exactly.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

COLUMNS = (
    "id",
    "listener",
    "source",
    "track_id",
    "title",
    "artist",
    "album",
    "file_sha1",
    "started_at",
    "ended_at",
    "heard_s",
    "coverage",
    "confidence",
    "start_s",
    "end_s",
    "track_start_s",
    "track_end_s",
    "n_gaps",
    "twins",
    "outcome",
    "daemon",
    "host",
)
_OF_TRACK = {"track_id": "id", "title": "title", "artist": "artist", "album": "album", "file_sha1": "file_sha1"}
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def heading() -> str:
    """Return the first line."""
    return _lines([COLUMNS])


def lines(plays: Iterable[Mapping[str, Any]], zone: tzinfo) -> str:
    """Return a line a play, as ``history.list`` tells it; moments in `zone`, with its offset."""
    return _lines([_cell(name, play, zone) for name in COLUMNS] for play in plays)


def cell_of(text: str) -> str:
    """Return a text as a cell holds it."""
    return f"'{text}" if _FORMULA.match(text) else text


def text_of(cell: str) -> str:
    """Return the text that a cell holds."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _cell(name: str, play: Mapping[str, Any], zone: tzinfo) -> object:
    if name in {"started_at", "ended_at"}:
        return datetime.fromisoformat(play[name]).astimezone(zone).isoformat(timespec="milliseconds")
    if name == "n_gaps":
        return len(play["gaps"])
    if name == "twins":
        return " ".join(map(str, play["twins"]))
    value = play["track"][_OF_TRACK[name]] if name in _OF_TRACK else play[name]
    return cell_of(value) if isinstance(value, str) else value


def _lines(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
