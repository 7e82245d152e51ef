"""``dejavuctl shutdown``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.arguments import positive_number
from dejavud.wire.codes import EXIT_FAILED, EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Stops the daemon: it finishes what is in flight, commits and ends.  Waits until it is gone."
EXAMPLES = """\
examples:
  dejavuctl shutdown
  dejavuctl shutdown --wait 5      give up waiting after 5 s (the daemon goes on stopping)

A daemon that systemd runs is stopped with `systemctl stop dejavud` instead."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--wait", metavar="SECONDS", type=positive_number, default=60.0, help="default: 60")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Stop the daemon; fails when it is still there after the wait."""
    with session.connect() as connection:
        connection.call("shutdown", {})
        stopped = connection.wait_until_gone(options.wait)
    text = "the daemon has stopped" if stopped else f"the daemon is still finishing its work after {options.wait:g} s"
    session.out.show({"stopped": stopped}, text)
    return EXIT_MATCHED if stopped else EXIT_FAILED
