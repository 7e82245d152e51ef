"""``dejavuctl import``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.archives import absolute, add_file, converse, taken

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Adds the tracks of a file that `dejavuctl export` or `backup` made to the library, under new numbers.  Those whose content it has
already are passed over, so an import that broke off is done again, and goes on."""
EXAMPLES = """\
examples:
  dejavuctl import library.dejavu
  dejavuctl import library.dejavu --json"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    add_file(parser, "the archive")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Have the daemon read the file."""
    params = {"file": absolute(options)}
    return converse(
        options,
        session,
        lambda connection, note: connection.call("import", params, note),
        tell=taken,
        interrupted="the tracks that came stay; run it again to go on",
    )
