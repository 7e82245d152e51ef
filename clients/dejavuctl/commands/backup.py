"""``dejavuctl backup``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.archives import absolute, add_file, converse, written

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Writes all that is needed to have the same library again into one file, while the daemon goes on: what is added or removed meanwhile is
in it or not, and never in part."""
EXAMPLES = """\
examples:
  dejavuctl backup /var/backups/library.dejavu
  dejavuctl backup "$HOME/library-$(date +%F).dejavu" --quiet       for cron

The file is written by the daemon, which must be allowed to; an older archive of that name stays until the new one is whole."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    add_file(parser, "the archive to write; one that is there is replaced, any other file is not")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Have the daemon write the file."""
    params = {"file": absolute(options)}
    return converse(
        options,
        session,
        lambda connection, note: connection.call("backup", params, note),
        tell=written,
        interrupted="nothing of the file is left",
    )
