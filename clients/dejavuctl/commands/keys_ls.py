"""``dejavuctl keys ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.output import show_list
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Lists the clients that are let in by a key, and what each may do."
EXAMPLES = """\
examples:
  dejavuctl keys ls
  dejavuctl keys ls --json | jq -r 'select(.scopes | index("admin")) | .name'"""


def configure(parser: ArgumentParser) -> None:
    """Take nothing of its own."""


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(_options: Namespace, session: Session) -> int:
    """Print one client a line."""
    with session.connect() as connection:
        keys = connection.call("keys.list", {})["keys"]
    rows = [[key["name"], ", ".join(key["scopes"]), key["added_at"][:10], key["key"]] for key in keys]
    empty = "nobody is let in by a key; dejavuctl keys add NAME makes one"
    show_list(session.out, ("name", "may", "added", "public key"), rows, keys, empty=empty)
    return EXIT_MATCHED
