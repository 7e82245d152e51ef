"""``dejavuctl tracks show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.output import clock, printable
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Shows all that the library knows of a track."
EXAMPLES = """\
examples:
  dejavuctl tracks show 7
  dejavuctl tracks show 7 --json"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("id", metavar="ID", type=int, help="the track's number, from `dejavuctl tracks ls`")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Print one track; fails when there is none of that number."""
    with session.connect() as connection:
        track = connection.call("tracks.get", {"id": options.id})["track"]
    shown = {key: value for key, value in track.items() if value is not None}
    if "disabled" in shown:
        shown["state"] = "disabled: it is in no answer" if shown.pop("disabled") else "enabled"
    if "duration_s" in shown:
        shown["duration_s"] = f"{clock(track['duration_s'])} ({track['duration_s']:g} s)"
    labels = {key: key.removesuffix("_s").removeprefix("n_").replace("_", " ") for key in shown}
    width = max(map(len, labels.values()))
    text = "\n".join(f"{labels[key]:{width}}  {printable(str(value))}" for key, value in shown.items())
    session.out.show(track, text)
    return EXIT_MATCHED
