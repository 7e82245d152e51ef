"""``dejavuctl doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.examination import daemon_status, machine, running, sockets
from dejavuctl.output import STATES, count, printable
from dejavud.wire.codes import EXIT_FAILED, EXIT_MATCHED
from dejavud.wire.findings import FAIL, WARN

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from dejavuctl.output import Output
    from dejavuctl.session import Session
    from dejavud.wire.findings import Finding

DESCRIPTION = """\
Examines the daemon and its machine: whether it can be reached, its sockets, configuration, database, disk, microphone, codecs,
libraries and clock; and says for each what is wrong the command that mends it. No daemon has to run: the machine is looked at anyhow.
Exits with 0 where nothing fails (what only warns may be), else with 4."""
EXAMPLES = """\
examples:
  dejavuctl doctor
  dejavuctl doctor --config /etc/dejavud/dejavud.toml
  sudo dejavuctl doctor                                      the system's daemon, whose files are its own
  dejavuctl doctor --json | jq 'select(.state != "ok")'"""

_WIDTH = 14


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--config", metavar="FILE", help="the daemon's conf file, where it is not in its usual place")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Print what is found, one thing after the other."""
    states: list[str] = []
    for finding in _findings(options, session):
        states.append(finding.state)
        session.out.show(finding.to_json(), _lines(finding, session.out))
    n_failed, n_warned = states.count(FAIL), states.count(WARN)
    if not session.out.as_json:
        session.out.remark(f"{count(len(states), 'check')}: {n_failed} failed, {count(n_warned, 'warning')}")
    return EXIT_FAILED if n_failed else EXIT_MATCHED


def _findings(options: Namespace, session: Session) -> Iterator[Finding]:
    found, status = daemon_status(session)
    yield from found
    yield from sockets(session, status)
    if status is not None:
        yield from running(status)
    yield from machine(options.config, session, status)


def _lines(finding: Finding, out: Output) -> str:
    """Return a finding for a person: what mends it stands below it, as it can be typed."""
    state = out.styled(f"{finding.state:4}", STATES.get(finding.state, ""))
    line = f"{state}  {printable(f'{finding.check:{_WIDTH}}  {finding.said}')}"
    return line + (f"\n{'':{_WIDTH + 8}}mend: {printable(finding.mend)}" if finding.mend else "")
