"""``dejavuctl tokens rm``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Lets nobody in by a token any more: at once, and WebSocket connections and streams of events that it opened are closed. When the last one is
gone, who asks from this machine needs none again (unless conf has one), and other machines are refused."""
EXAMPLES = """\
examples:
  dejavuctl tokens rm phone
  dejavuctl tokens rm phone tablet"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("names", metavar="NAME", nargs="+", help="whose it is, as tokens ls shows it")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Remove one after the other."""
    with session.connect() as connection:
        for name in options.names:
            removed = connection.call("access.remove", {"name": name})["removed"]
            session.out.show(removed, f"the token of {name} counts no more")
    return EXIT_MATCHED
