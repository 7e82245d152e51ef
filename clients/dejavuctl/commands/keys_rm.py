"""``dejavuctl keys rm``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Lets clients in no more: at once, their open connections included."
EXAMPLES = """\
examples:
  dejavuctl keys rm laptop
  dejavuctl keys rm laptop phone"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("names", metavar="NAME", nargs="+", help="the client's, as keys ls shows it")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Remove one after the other."""
    with session.connect() as connection:
        for name in options.names:
            removed = connection.call("keys.remove", {"name": name})["removed"]
            session.out.show(removed, f"{name} is let in no more")
    return EXIT_MATCHED
