"""``dejavuctl keys show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.keys import reachable
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Shows the daemon's public key and where it is reached by keys: what a client needs that makes its own."
EXAMPLES = """\
examples:
  dejavuctl keys show
  dejavuctl keys show --json | jq -r .server_key"""


def configure(parser: ArgumentParser) -> None:
    """Take nothing of its own."""


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(_options: Namespace, session: Session) -> int:
    """Print the key, and the command that uses it."""
    with session.connect() as connection:
        found = connection.call("keys.list", {})
    shown = {"server_key": found["server_key"], "endpoints": found["endpoints"]}
    control = reachable(found["endpoints"]["control"], None)
    events = reachable(found["endpoints"]["events"], None)
    line = f"dejavuctl keys new FILE --control {control or 'tcp://HOST:PORT'} --server '{found['server_key']}'"
    text = f"{found['server_key']}\n\non the client:  {line}" + (f" --events {events}" if events else "")
    session.out.show(shown, text)
    if not control:
        session.out.remark(
            "dejavuctl: the daemon cannot be reached by keys yet: set control.listen in its conf, and restart it"
        )
    return EXIT_MATCHED
