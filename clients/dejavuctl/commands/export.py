"""``dejavuctl export``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.archives import absolute, add_file, converse, written
from dejavuctl.selection import add_filters, filter_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Writes the library, or the tracks that you choose, into one file: names, fingerprints, states; not the audio.  The daemon goes on
meanwhile.  `dejavuctl import` adds them to any other library of the same profile, whatever its database."""
EXAMPLES = """\
examples:
  dejavuctl export library.dejavu
  dejavuctl export chopin.dejavu --artist Chopin
  dejavuctl export new.dejavu --added-after 2026-01-01

The file is written by the daemon, which must be allowed to; it is there when it is whole, and not before."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    add_file(parser, "the archive to write; one that is there is replaced, any other file is not")
    parser.add_argument("--search", metavar="WORDS", help="all these words in title, artist, album or path")
    add_filters(parser)
    parser.add_argument("--state", choices=("enabled", "disabled"), help="only tracks in this state")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Have the daemon write the file."""
    params: dict[str, Any] = {"file": absolute(options), **filter_of(options)}
    params |= {name: getattr(options, name) for name in ("search", "state") if getattr(options, name)}
    return converse(
        options,
        session,
        lambda connection, note: connection.call("export", params, note),
        tell=written,
        interrupted="nothing of the file is left",
    )
