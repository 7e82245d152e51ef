"""``dejavuctl tokens add``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.scopes import EXPLAINED, USUAL, add_scopes
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Makes a token by which a program, a page or a person comes in over HTTP and WebSocket, and prints it, once: the daemon keeps its hash only.
It counts at once. As soon as there is any token, HTTP and WebSocket want one from everybody, on this machine too."""
EXAMPLES = f"""\
examples:
  dejavuctl tokens add phone                             ask what is playing, and see what was
  dejavuctl tokens add prometheus --scope read > token   nothing else is written to standard output
  dejavuctl tokens add ada --scope recognize,write
  curl -H "Authorization: Bearer $(cat token)" http://localhost:4141/v1/status

{EXPLAINED}"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("name", metavar="NAME", help="whose it is: a letter, then letters, digits and . _ @ -")
    add_scopes(parser, "who has it")


def check(options: Namespace) -> None:
    """Accept anything that parsed: the daemon knows which names are free."""


def run(options: Namespace, session: Session) -> int:
    """Print the token."""
    scopes = options.scopes or USUAL
    with session.connect() as connection:
        made = connection.call("access.add", {"name": options.name, "scopes": scopes})["token"]
    session.out.show(made, made["token"])
    if not session.out.as_json:
        may = ", ".join(made["scopes"])
        session.out.remark(f"dejavuctl: the token of {made['name']} ({may}); keep it, nobody can show it again")
    return EXIT_MATCHED
