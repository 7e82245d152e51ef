"""``dejavuctl history rm``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dejavuctl.failures import NotConfirmed, Usage
from dejavuctl.output import count
from dejavuctl.plays import add_filters, check_filters, filter_of, totals_line
from dejavud.wire.codes import EXIT_MATCHED
from dejavud.wire.moments import zone_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = (
    "Forgets plays of the history, but for those that go on.  The tracks stay in the library.  Asks before it does."
)
EXAMPLES = """\
examples:
  dejavuctl history rm --listener kitchen --until 30d
  dejavuctl history rm --id 0f3c8d21a9b6e4f7-17           one play; its id is in history ls --json
  dejavuctl history rm --track 7 --dry-run
  dejavuctl history rm --all --yes                        without asking, as a script must

`history.keep_days` in conf has the daemon forget old plays by itself."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--id", metavar="ID", action="append", help="this play; may be given again")
    add_filters(parser)
    parser.add_argument("--all", action="store_true", help="every play there is")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say how many plays it would be")


def check(options: Namespace) -> None:
    """Have it said which plays are meant."""
    check_filters(options)
    options.filters = filter_of(options) | ({"ids": options.id} if options.id else {})
    if bool(options.filters) == options.all:
        raise Usage(
            reason="say which plays: by --id, --listener, --track, --search, --day, --since, --until or --min; or --all"
        )


def run(options: Namespace, session: Session) -> int:
    """Say how many plays are meant, ask, and have them forgotten."""
    out, zone = session.out, zone_of(options.zone)
    params = {**options.filters, "zone": options.zone}
    with session.connect() as connection:
        summary = connection.call("history.summary", {**params, "limit": 1})
        if options.dry_run or not summary["n_plays"]:
            record = {"would_be_removed": summary["n_plays"]} if options.dry_run else {"n_removed": 0}
            out.show(record, f"{totals_line(summary, zone)}; nothing was removed")
            return EXIT_MATCHED
        if not options.yes:
            _ask(session, f"Forget {totals_line(summary, zone)}?")
        span = {key: summary[key] for key in ("since", "until") if summary[key]}
        meant = {key: value for key, value in params.items() if key != "day"} | span
        removed = connection.call("history.remove", {**meant, "everything": True} if options.all else meant)
    out.show({"n_removed": removed["n_removed"]}, f"forgot {count(removed['n_removed'], 'play')}")
    return EXIT_MATCHED


def _ask(session: Session, question: str) -> None:
    """Return when a person agrees; raises `NotConfirmed` otherwise."""
    if not sys.stdin.isatty():
        raise NotConfirmed(reason="nothing was removed: there is nobody to ask here; say --yes to go on without asking")
    session.out.remarks.write(f"{question} [y/N] ")
    session.out.remarks.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmed(reason="nothing was removed")
