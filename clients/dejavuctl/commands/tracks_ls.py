"""``dejavuctl tracks ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.arguments import positive_count
from dejavuctl.output import Table, clock, count, printable
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping

    from dejavuctl.connection import Connection
    from dejavuctl.session import Session

DESCRIPTION = "Lists the tracks of the library, oldest first."
EXAMPLES = """\
examples:
  dejavuctl tracks ls
  dejavuctl tracks ls --limit 20
  dejavuctl tracks ls --json | jq -r .path"""

PAGE = 500
"""Tracks asked for at a time."""

_HEADING = ("id", "title", "artist", "album", "length")


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--limit", metavar="N", type=positive_count, help="at most N tracks (default: all)")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Print the library, page by page as it arrives."""
    table, n_tracks = None, 0
    with session.connect() as connection:
        for page in _pages(connection, options.limit):
            rows = [_row(track) for track in page]
            table = table or Table(session.out, _HEADING, rows)
            for row, track in zip(rows, page, strict=True):
                table.add(row, track)
            n_tracks += len(page)
    if not session.out.as_json:
        session.out.remark(count(n_tracks, "track") if n_tracks else "the library is empty: dejavuctl fingerprint PATH")
    return EXIT_MATCHED


def _pages(connection: Connection, limit: int | None) -> Iterator[list[dict[str, Any]]]:
    left, after_id = limit, 0
    while left is None or left > 0:
        params = {"limit": PAGE if left is None else min(PAGE, left), "after_id": after_id}
        page = connection.call("tracks.list", params)
        tracks: list[dict[str, Any]] = page["tracks"]
        if tracks:
            yield tracks
        if page["next_after_id"] is None:
            return
        after_id = page["next_after_id"]
        left = None if left is None else left - len(tracks)


def _row(track: Mapping[str, Any]) -> tuple[str, ...]:
    texts = (printable(str(track.get(key) or "")) for key in ("title", "artist", "album"))
    return (str(track["id"]), *texts, clock(track["duration_s"]))
