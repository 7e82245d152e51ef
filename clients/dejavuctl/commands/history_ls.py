"""``dejavuctl history`` and ``dejavuctl history ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.arguments import positive_count
from dejavuctl.output import Table, count
from dejavuctl.plays import add_filters, check_filters, filter_of, listed, play_cells
from dejavud.wire.codes import EXIT_MATCHED
from dejavud.wire.moments import zone_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Lists what the listeners have heard, newest first: when, for how long, where and what."
EXAMPLES = """\
examples:
  dejavuctl history                                  the last 50 plays
  dejavuctl history --listener kitchen --day yesterday --all
  dejavuctl history --search nocturne --since 7d
  dejavuctl history --since 2026-10-25T14:00 --until 2026-10-25T15:30 --min 30
  dejavuctl history --json --limit 1 | jq -r .track.title

other commands: dejavuctl history summary, export, rm"""

DEFAULT_LIMIT = 50
_HEADING = ("started", "heard", "listener", "title", "artist", "")


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    add_filters(parser)
    parser.add_argument("--limit", metavar="N", type=positive_count, help=f"at most N plays (default: {DEFAULT_LIMIT})")
    parser.add_argument("--all", action="store_true", help="all of them")


def check(options: Namespace) -> None:
    """Have filters that can be understood."""
    check_filters(options)


def run(options: Namespace, session: Session) -> int:
    """Print the plays, page by page as they arrive."""
    limit = options.limit or (None if options.all else DEFAULT_LIMIT)
    zone, wanted = zone_of(options.zone), filter_of(options)
    table, n_plays = None, 0
    with session.connect() as connection:
        for page in listed(connection, {**wanted, "zone": options.zone}, limit):
            rows = [play_cells(play, zone) for play in page]
            table = table or (Table(session.out, _HEADING, rows) if rows else None)
            for row, play in zip(rows, page, strict=True):
                if table is not None:
                    table.add(row, play)
            n_plays += len(page)
    if not session.out.as_json:
        more = "; all there are with --all" if limit == n_plays and not options.limit else ""
        empty = "nothing was heard like that" if wanted else "nothing was heard yet; see dejavuctl listen"
        session.out.remark(count(n_plays, "play") + more if n_plays else empty)
    return EXIT_MATCHED
