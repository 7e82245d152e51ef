"""``dejavuctl hooks ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.hooks import HEADING, hook_cells
from dejavuctl.output import show_list
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Lists the hooks that the daemon's conf switches on, and how each is."
EXAMPLES = """\
examples:
  dejavuctl hooks ls
  dejavuctl hooks ls --json | jq -r 'select(.state != "ready") | .last_error'"""


def configure(parser: ArgumentParser) -> None:
    """Take nothing of its own."""


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(_options: Namespace, session: Session) -> int:
    """Print them."""
    with session.connect() as connection:
        hooks = connection.call("hooks.list", {})["hooks"]
    empty = "no hook is switched on; see [hooks] in the daemon's conf"
    show_list(session.out, HEADING, [hook_cells(view) for view in hooks], hooks, empty=empty)
    return EXIT_MATCHED
