"""``dejavuctl keys new``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.failures import Usage
from dejavuctl.keys import new_key, write_key
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Makes keys on the client's machine, for who does not want the secret one to travel: writes the file, and says what lets it in. It asks no daemon;
`dejavuctl keys show` on the daemon's machine prints the two options."""
EXAMPLES = """\
examples:
  dejavuctl keys new radio.key --control tcp://radio:4343 --server SERVERKEY
  dejavuctl --key radio.key status          once the daemon lets it in"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("file", metavar="FILE", help="the file to make, which only you may read")
    parser.add_argument("--server", metavar="SERVERKEY", required=True, help="the daemon's public key")
    parser.add_argument(
        "--events", metavar="ENDPOINT", default="", help="where the daemon publishes events, tcp://HOST:PORT"
    )


def check(options: Namespace) -> None:
    """Refuse an endpoint that takes no keys."""
    for name in ("control", "events"):
        if not (getattr(options, name) or "tcp://").startswith("tcp://"):
            raise Usage(reason=f"--{name} is tcp://HOST:PORT here: over ipc no keys are needed")


def run(options: Namespace, session: Session) -> int:
    """Make the pair, and keep it."""
    key = new_key(options.server, options.control or "", options.events)
    write_key(options.file, key)
    shown = {"file": options.file, "public_key": key.public_key, "server_key": key.server_key}
    session.out.show(
        shown, f"{options.file}: on the daemon's machine, let it in:  dejavuctl keys add NAME '{key.public_key}'"
    )
    return EXIT_MATCHED
