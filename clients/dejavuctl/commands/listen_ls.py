"""``dejavuctl listen ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.listeners import HEADING, listener_cells
from dejavuctl.output import show_list
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Lists what the daemon listens to, and how each source is."
EXAMPLES = """\
examples:
  dejavuctl listen ls
  dejavuctl listen ls --json | jq -r 'select(.state == "retrying") | .listener'"""


def configure(parser: ArgumentParser) -> None:
    """Take nothing of its own."""


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(_options: Namespace, session: Session) -> int:
    """Print them."""
    with session.connect() as connection:
        listeners = connection.call("listen.list", {})["listeners"]
    empty = "the daemon listens to nothing; see dejavuctl listen add --help"
    show_list(session.out, HEADING, [listener_cells(view) for view in listeners], listeners, empty=empty)
    return EXIT_MATCHED
