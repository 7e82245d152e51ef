"""``dejavuctl compact``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.failures import Interrupted
from dejavuctl.long_work import add_quiet, under_way
from dejavuctl.output import clock, size
from dejavuctl.progress import NewsLine, postings_text
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Writes the index's file anew, in the order in which it is asked and without the space that nothing uses any more, and says how much that gave back.
The daemon answers and adds tracks meanwhile; only at the end do they wait for some tenths of a second.

The daemon keeps its index in order by itself, and uses free space again: this is for giving it back to the disk, above all after removing much.
While it runs the disk has to have room for both files.  A database server does all this by itself."""
EXAMPLES = """\
examples:
  dejavuctl compact
  dejavuctl compact --json

Ctrl-C ends it, and the index is as it was.
exit status: 0 done, or nothing to do; 4 failed; 130 interrupted."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    add_quiet(parser)


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Have the index written anew, and say what that gave."""
    out = session.out
    line = NewsLine(out.remarks, postings_text, enabled=not options.quiet)
    with session.connect() as connection, under_way(line, lambda: Interrupted("the index is as it was")):
        done = connection.call("compact", {}, line.note)
    before, after = done["n_bytes_before"], done["n_bytes_after"]
    if done["is_rewritten"]:
        text = f"{size(before)} before, {size(after)} after; {clock(done['elapsed_s'])}"
    else:
        text = f"nothing to do: {size(after)}, all of it in order and in use"
    out.show(done, text)
    return EXIT_MATCHED
