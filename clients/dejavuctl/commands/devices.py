"""``dejavuctl devices``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.output import printable, show_list
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
    """Print them."""
    with session.connect() as connection:
        devices = connection.call("devices", {})["devices"]
    rows = [
        (
            str(device["index"]),
            printable(device["name"]),
            str(device["n_channels"]),
            f"{device['rate_hz']} Hz",
            "default" if device["is_default"] else "",
        )
        for device in devices
    ]
    empty = "no device of the daemon's machine can record; is one plugged in? dejavuctl doctor says more"
    show_list(session.out, ("device", "name", "channels", "rate", ""), rows, devices, empty=empty)
    return EXIT_MATCHED if devices else EXIT_NO_MATCH
