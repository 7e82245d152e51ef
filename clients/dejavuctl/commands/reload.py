"""``dejavuctl reload``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Has the daemon read its configuration again: the conf file, .env and credentials, as SIGHUP and `systemctl reload dejavud` do.
Where anything in it is wrong nothing changes.  What takes a restart is named."""
EXAMPLES = """\
examples:
  dejavuctl reload
  dejavuctl reload --json | jq .needs_restart      what of the conf file waits for a restart

`dejavud --check-config` tells beforehand whether a conf file is right."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes: nothing of its own."""


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:  # noqa: ARG001 - what every command takes
    """Reload; fails where the configuration is refused."""
    with session.connect() as connection:
        answer = connection.call("reload", {})
    lines = [f"changed: {', '.join(answer['changed']) or 'nothing'}"]
    if answer["needs_restart"]:
        lines.append(f"needs a restart: {', '.join(answer['needs_restart'])}")
    session.out.show(answer, "\n".join(lines))
    return EXIT_MATCHED
