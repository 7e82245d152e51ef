"""``dejavuctl listen ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.listeners import listener_line
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
    """Print one listener a line."""
    with session.connect() as connection:
        listeners = connection.call("listen.list", {})["listeners"]
    for view in listeners:
        session.out.show(view, listener_line(view))
    if not listeners:
        session.out.remark("the daemon listens to nothing; see dejavuctl listen add --help")
    return EXIT_MATCHED
