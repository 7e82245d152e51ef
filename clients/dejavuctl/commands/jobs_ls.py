"""``dejavuctl jobs ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.jobs_book import HEADING, job_cells
from dejavuctl.output import show_list
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Lists the jobs: scans, imports, backups, checks and whatever else takes long, from whichever client and whichever door; those that run first,
then the last that have ended."""
EXAMPLES = """\
examples:
  dejavuctl jobs
  dejavuctl jobs ls --state running
  dejavuctl jobs ls --json | jq -r 'select(.state == "failed") | .error.message'"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--state", choices=("running", "done", "failed", "cancelled"), help="only those")


def check(options: Namespace) -> None:
    """Accept anything that parsed; `jobs` alone lists them all."""
    options.state = getattr(options, "state", None)


def run(options: Namespace, session: Session) -> int:
    """Print them."""
    with session.connect() as connection:
        jobs = connection.call("jobs.list", {"state": options.state} if options.state else {})["jobs"]
    show_list(session.out, HEADING, [job_cells(job) for job in jobs], jobs, empty="there are no jobs")
    return EXIT_MATCHED
