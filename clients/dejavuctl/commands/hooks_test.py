"""``dejavuctl hooks test``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.hooks import failures_line, outcome_line
from dejavud.wire.codes import EXIT_FAILED, EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = (
    "Sends a sample through the hooks, or through one, and says what became of it. Its listener is called sample."
)
EXAMPLES = """\
examples:
  dejavuctl hooks test
  dejavuctl hooks test mqtt
  dejavuctl hooks test diary && echo it arrives"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="one hook, as `dejavuctl hooks ls` has it (all)")


def check(options: Namespace) -> None:
    """Accept anything that parsed: what there is, the daemon knows."""


def run(options: Namespace, session: Session) -> int:
    """Print what became of the sample, a line a hook; exit 4 where one failed."""
    with session.connect() as connection:
        outcomes = connection.call("hooks.test", {} if options.name is None else {"name": options.name})["tests"]
    for outcome in outcomes:
        session.out.show(outcome, outcome_line(outcome))
    if all(outcome["ok"] for outcome in outcomes):
        return EXIT_MATCHED
    session.out.remark(failures_line(outcomes))
    return EXIT_FAILED
