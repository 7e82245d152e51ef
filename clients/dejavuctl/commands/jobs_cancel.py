"""``dejavuctl jobs cancel``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.output import printable
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Cancels jobs, whoever asked for them.  What a job had committed by then stays: an import or a migration goes on there when it is started again."
EXAMPLES = """\
examples:
  dejavuctl jobs cancel 3f2a9c0155d1e07b-7
  dejavuctl jobs ls --state running --json | jq -r .id | xargs dejavuctl jobs cancel"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("ids", metavar="ID", nargs="+", help="of a job, as jobs ls shows it")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Cancel one after the other, and say of each whether it was still running."""
    with session.connect() as connection:
        for job_id in options.ids:
            answer = connection.call("jobs.cancel", {"id": job_id})
            job = answer["job"]
            said = "cancelled" if answer["cancelled"] else f"had ended already: {job['state']}"
            session.out.show(answer, f"{printable(job['id'])}  {printable(job['command'])}  {said}")
    return EXIT_MATCHED
