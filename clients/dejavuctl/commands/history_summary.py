"""``dejavuctl history summary``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.arguments import positive_count
from dejavuctl.output import Table, clock, printable
from dejavuctl.plays import add_filters, check_filters, filter_of, local_time, totals_line
from dejavud.wire.codes import EXIT_MATCHED
from dejavud.wire.moments import zone_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping
    from datetime import tzinfo

    from dejavuctl.session import Session

DESCRIPTION = "Says what was played how often and for how long: by track, artist, listener, day or hour."
EXAMPLES = """\
examples:
  dejavuctl history summary --listener kitchen --day yesterday      what played on the kitchen radio yesterday
  dejavuctl history summary --by artist --since 30d --sort heard
  dejavuctl history summary --by day --search nocturne              how often a day
  dejavuctl history summary --by hour --day today --json"""

BYS = ("track", "artist", "listener", "day", "hour")


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--by", choices=BYS, default="track", help="what plays are added up by (default: track)")
    parser.add_argument(
        "--sort",
        choices=("plays", "heard"),
        default="plays",
        help="played most often first, or heard longest (default: plays)",
    )
    parser.add_argument("--limit", metavar="N", type=positive_count, default=100, help="at most N lines (default: 100)")
    add_filters(parser)


def check(options: Namespace) -> None:
    """Have filters that can be understood."""
    check_filters(options)


def run(options: Namespace, session: Session) -> int:
    """Print a line a group, and what they all come to."""
    zone = zone_of(options.zone)
    params = {
        **filter_of(options),
        "zone": options.zone,
        "by": options.by,
        "sort": options.sort,
        "limit": options.limit,
    }
    with session.connect() as connection:
        summary = connection.call("history.summary", params)
    if session.out.as_json:
        session.out.show(summary, "")
        return EXIT_MATCHED
    groups = summary["groups"]
    if groups:
        rows = [_row(group, options.by, zone) for group in groups]
        table = Table(session.out, _heading(options.by), rows)
        for row, group in zip(rows, groups, strict=True):
            table.add(row, group)
    if summary["n_groups"] > len(groups):
        session.out.remark(f"{len(groups)} of {summary['n_groups']} lines; more with --limit")
    session.out.remark(totals_line(summary, zone))
    return EXIT_MATCHED


def _heading(by: str) -> tuple[str, ...]:
    what = ("title", "artist") if by == "track" else (by,)
    return ("plays", "heard", *what) if by in ("day", "hour") else ("plays", "heard", *what, "last")


def _row(group: Mapping[str, Any], by: str, zone: tzinfo) -> tuple[str, ...]:
    figures = (str(group["n_plays"]), clock(group["heard_s"]))
    if by in ("day", "hour"):
        return (*figures, str(group[by]).replace("T", " "))
    last = local_time(group["last_at"], zone)
    if by == "track":
        return (*figures, printable(str(group["track"]["title"])), printable(str(group["track"]["artist"] or "")), last)
    return (*figures, printable(str(group[by] or f"(no {by})")), last)
