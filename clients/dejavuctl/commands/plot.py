"""``dejavuctl plot``."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from dejavuctl.arguments import positive_number
from dejavuctl.failures import Usage
from dejavuctl.handover import hand_over
from dejavud.evaluation.settings import PlotSettings

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import NoReturn

    from dejavuctl.session import Session

DESCRIPTION = """\
Draws the spectrogram of a recording with its constellation: the peaks that it is recognized by.
No daemon is needed."""
EXAMPLES = """\
examples:
  dejavuctl plot song.mp3                                 the first 10 seconds, as song.png
  dejavuctl plot song.mp3 --start 60 --seconds 20 --out chorus.png
  dejavuctl plot song.mp3 --size 2400x1200"""

MAX_DURATION_S = 600.0
MIN_PX, MAX_PX = 200, 10_000


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    default = PlotSettings(file="")
    parser.add_argument("file", metavar="FILE", help="a recording")
    parser.add_argument("--start", metavar="S", type=float, default=0.0, help="where to begin, in seconds (0)")
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=positive_number,
        default=default.duration_s,
        help=f"how much to draw ({default.duration_s:g})",
    )
    parser.add_argument("--out", metavar="PNG", help="the picture (the recording's name with .png, here)")
    parser.add_argument(
        "--size",
        metavar="WxH",
        type=_size,
        default=(default.width_px, default.height_px),
        help=f"in pixels ({default.width_px}x{default.height_px})",
    )


def check(options: Namespace) -> None:
    """Refuse a stretch that is none."""
    if not 0 <= options.start < float("inf"):
        raise Usage(reason=f"--start {options.start:g}: a recording begins at 0")
    if options.seconds > MAX_DURATION_S:
        raise Usage(
            reason=f"--seconds {options.seconds:g}: no picture shows the peaks of more than {MAX_DURATION_S:g} s"
        )
    if options.out is not None and not options.out.lower().endswith(".png"):
        raise Usage(reason=f"--out {options.out}: pictures are PNG files; end the name with .png")


def run(options: Namespace, _session: Session) -> NoReturn:
    """Draw, in the process that this one becomes."""
    file = Path(options.file).expanduser()
    out = f"{file.stem}.png" if options.out is None else str(Path(options.out).expanduser())
    width_px, height_px = options.size
    hand_over(
        "plot",
        PlotSettings(str(file), options.start, options.seconds, out, width_px, height_px, as_json=options.json),
    )


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    width_px, height_px = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (MIN_PX <= width_px <= MAX_PX and MIN_PX <= height_px <= MAX_PX):
        msg = f"{text} is not a size such as 1600x800, of {MIN_PX} to {MAX_PX} pixels a side"
        raise ArgumentTypeError(msg)
    return width_px, height_px
