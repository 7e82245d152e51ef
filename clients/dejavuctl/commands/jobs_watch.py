"""``dejavuctl jobs watch``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dejavuctl.failures import EXIT_INTERRUPTED
from dejavuctl.jobs_book import DONE, RUNNING, figures_of, job_line
from dejavuctl.output import clock, printable
from dejavuctl.progress import StatusLine
from dejavud.wire.codes import EXIT_FAILED, EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Shows how far a job is until it has ended, then how it ended; with --json the whole job, its result too."
EXAMPLES = """\
examples:
  dejavuctl jobs watch 3f2a9c0155d1e07b-7
  dejavuctl jobs watch 3f2a9c0155d1e07b-7 --json | jq .result

Ctrl-C ends the watching; the job goes on (dejavuctl jobs cancel ends it).
exit status: 0 done; 4 failed, or cancelled; 130 interrupted."""
_PAUSE_S = 0.5


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("id", metavar="ID", help="of the job, as jobs ls shows it")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Ask now and then until it has ended."""
    out = session.out
    line = StatusLine(out.remarks, enabled=not options.quiet)
    try:
        with session.connect() as connection:
            while (job := connection.call("jobs.get", {"id": options.id})["job"])["state"] == RUNNING:
                if line.is_due:
                    line.draw(", ".join([f"{printable(job['command'])}, {clock(job['elapsed_s'])}", *figures_of(job)]))
                time.sleep(_PAUSE_S)
    except KeyboardInterrupt:
        line.clear()
        out.fail({"interrupted": True}, "not watched any more; the job goes on")
        return EXIT_INTERRUPTED
    finally:
        line.clear()
    out.show(job, job_line(job))
    return EXIT_MATCHED if job["state"] == DONE else EXIT_FAILED
