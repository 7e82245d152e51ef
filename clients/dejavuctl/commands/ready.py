"""``dejavuctl ready``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import NoDaemon, Usage
from dejavud.wire.codes import EXIT_MATCHED, EXIT_NO_MATCH

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Says whether the daemon can answer queries: its index is there, and its workers are alive.
Exit status 0 where it can, 1 where it cannot yet, 3 where no daemon runs; what stands in the way is named by its code."""
EXAMPLES = """\
examples:
  dejavuctl ready                                   of use to a container's health check
  dejavuctl ready --wait 30 && dejavuctl fingerprint ~/Music      first let it start"""

_PAUSE_S = 0.1


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="for so long, until it can (default: not at all)"
    )


def check(options: Namespace) -> None:
    """Raise `Usage` for a time that is none."""
    if not 0 <= options.wait < float("inf"):
        raise Usage(reason="--wait takes a number of seconds, such as 30")


def run(options: Namespace, session: Session) -> int:
    """Ask until it is ready, or the time is over."""
    deadline = time.monotonic() + options.wait
    while True:
        try:
            answer = _asked(session)
        except NoDaemon:
            if time.monotonic() >= deadline:
                raise
            answer = None
        if answer is not None and (answer["ready"] or time.monotonic() >= deadline):
            break
        time.sleep(_PAUSE_S)  # a daemon that is not there tells nobody when it will be
    lacking = ", ".join(f"{name}: {code}" for name, code in answer["checks"].items() if code != "ok")
    session.out.show(answer, "ready" if answer["ready"] else f"not ready ({lacking})")
    return EXIT_MATCHED if answer["ready"] else EXIT_NO_MATCH


def _asked(session: Session) -> dict[str, Any]:
    with session.connect() as connection:
        return connection.call("ready", {})
