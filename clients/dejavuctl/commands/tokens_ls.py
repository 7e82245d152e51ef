"""``dejavuctl tokens ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.output import show_list
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Lists the tokens: whose they are, what they allow, when they were made, and when they were last used (UTC). The tokens themselves nobody can show.
The one of the conf file (security.token) is not among them."""
EXAMPLES = """\
examples:
  dejavuctl tokens ls
  dejavuctl tokens ls --json | jq -r 'select(.last_used_at == null) | .name'     never used"""


def configure(parser: ArgumentParser) -> None:
    """Take nothing of its own."""


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(_options: Namespace, session: Session) -> int:
    """Print one token a line."""
    with session.connect() as connection:
        tokens = connection.call("access.list", {})["tokens"]
    rows = [
        [token["name"], ", ".join(token["scopes"]), token["created_at"][:10], _moment(token["last_used_at"])]
        for token in tokens
    ]
    empty = "there is no token; dejavuctl tokens add NAME makes one"
    show_list(session.out, ("name", "may", "made", "last used"), rows, tokens, empty=empty)
    return EXIT_MATCHED


def _moment(text: str | None) -> str:
    return "never" if text is None else text[:16].replace("T", " ")
