"""``dejavuctl restore``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dejavuctl.archives import absolute, add_file, converse, taken
from dejavuctl.failures import Failed, NotConfirmed
from dejavuctl.output import count
from dejavud.errors import LibraryNotEmpty

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from dejavuctl.connection import Connection
    from dejavuctl.output import Output
    from dejavuctl.session import Session

DESCRIPTION = """\
Makes the library what it was when `dejavuctl backup` wrote the file: the same tracks, under the same numbers, from the same days.  Into an
empty library, or, with --replace, in place of what is there."""
EXAMPLES = """\
examples:
  dejavuctl restore /var/backups/library.dejavu
  dejavuctl restore /var/backups/library.dejavu --replace           asks before anything goes
  dejavuctl restore /var/backups/library.dejavu --replace --yes

The file is read through before anything changes.  What is missing comes first and what is too much goes last; a restore that broke
off is done again, and goes on."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    add_file(parser, "the archive, of a whole library")
    parser.add_argument("--replace", action="store_true", help="remove what the library holds and the backup does not")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Have the daemon read the file; a library that is not empty is replaced after asking only."""

    def ask(connection: Connection, note: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        params: dict[str, Any] = {"file": absolute(options)}
        if options.replace and options.yes:
            return connection.call("restore", {**params, "replace": True}, note)
        try:
            return connection.call("restore", params, note)
        except Failed as failure:
            if failure.code != LibraryNotEmpty.code or not options.replace:
                raise
            _confirm(session.out, int(failure.details["n_tracks"]))
        return connection.call("restore", {**params, "replace": True}, note)

    return converse(
        options,
        session,
        ask,
        tell=taken,
        interrupted="the library is between what it was and the backup; run it again to go on",
    )


def _confirm(out: Output, n_tracks: int) -> None:
    """Return when a person agrees; raises `NotConfirmed` otherwise."""
    if not sys.stdin.isatty():
        raise NotConfirmed(reason="nothing was changed: there is nobody to ask here; say --yes to go on without asking")
    question = (
        f"The library has {count(n_tracks, 'track')}; those that are not in the backup will go.  Replace it? [y/N] "
    )
    out.remarks.write(question)
    out.remarks.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmed(reason="nothing was changed")
