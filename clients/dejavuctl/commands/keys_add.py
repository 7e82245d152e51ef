"""``dejavuctl keys add``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.keys import new_key, reachable, write_key
from dejavuctl.scopes import EXPLAINED, USUAL, add_scopes
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Lets a client of another machine in, over ZeroMQ on TCP (control.listen and events.listen in the daemon's conf). Makes its keys and prints
the file that it needs, once: the daemon keeps the public key only. Run it on the daemon's machine, or there by ssh."""
EXAMPLES = f"""\
examples:
  ssh radio dejavuctl keys add laptop > radio.key      makes the key, on the laptop …
  dejavuctl --key radio.key recognize clip.wav         … where it is used from then on (or DEJAVUD_KEY=radio.key)
  dejavuctl keys add kitchen --scope write --to kitchen.key
  dejavuctl keys add laptop PUBLICKEY                  of a client that made its keys itself (dejavuctl keys new)

{EXPLAINED}"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("name", metavar="NAME", help="what the client is called")
    parser.add_argument("public", metavar="PUBLICKEY", nargs="?", help="the client's own (default: makes a pair)")
    add_scopes(parser, "it")
    parser.add_argument(
        "--to", metavar="FILE", help="write the client's file there, for you alone, instead of printing it"
    )
    parser.add_argument("--host", metavar="NAME", help="how the client reaches this machine (default: its own name)")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Add the key, and print or write what the client needs."""
    scopes = options.scopes or USUAL
    with session.connect() as connection:
        before = connection.call("keys.list", {})
        places = {door: reachable(found, options.host) for door, found in before["endpoints"].items()}
        key = None if options.public else new_key(before["server_key"], **places)
        public = options.public if key is None else key.public_key
        added = connection.call("keys.add", {"name": options.name, "key": public, "scopes": scopes})
    if not places["control"]:
        session.out.remark(
            "dejavuctl: the daemon cannot be reached by keys yet: set control.listen in its conf, and restart it"
        )
    if key is None:
        control = f"--control {places['control']} " if places["control"] else ""
        session.out.show(
            added,
            f"{options.name} is let in; its client needs the daemon's key: {control}--server {added['server_key']}",
        )
    elif options.to is not None:
        write_key(options.to, key)
        session.out.show(
            {**added, "file": options.to}, f"{options.to}: the key of {options.name}; only who has it may come in by it"
        )
    else:
        session.out.show({**added, "text": key.text}, key.text.rstrip("\n"))
    return EXIT_MATCHED
