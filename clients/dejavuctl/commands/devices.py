"""``dejavuctl devices``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.output import printable
from dejavud.wire.codes import EXIT_MATCHED, EXIT_NO_MATCH

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Lists the devices of the daemon's machine that can record; exits with 1 where there are none."
EXAMPLES = """\
examples:
  dejavuctl devices
  dejavuctl listen add kitchen "mic:USB Audio"      listen to one of them
  dejavuctl recognize mic --device 3"""


def configure(parser: ArgumentParser) -> None:
    """Take nothing of its own."""


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(_options: Namespace, session: Session) -> int:
    """Print one device a line."""
    with session.connect() as connection:
        devices = connection.call("devices", {})["devices"]
    for device in devices:
        default = "  (default)" if device["is_default"] else ""
        name = f"{device['index']:3}  {printable(device['name'])}"
        session.out.show(device, f"{name}  {device['n_channels']} ch, {device['rate_hz']} Hz{default}")
    if not devices:
        session.out.remark("no device of the daemon's machine can record")
    return EXIT_MATCHED if devices else EXIT_NO_MATCH
