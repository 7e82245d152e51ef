"""``dejavuctl listen add``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dejavuctl.listeners import listener_line
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from dejavuctl.connection import Connection
    from dejavuctl.session import Session

_SETTLES_S, _LOOKS_S = 2.0, 0.1
"""How long to wait for a word on the source, which most have within a second, and how often to look."""

DESCRIPTION = "Has the daemon listen to one more source, now and after it is started again."
EXAMPLES = """\
examples:
  dejavuctl listen add kitchen mic                         the default microphone
  dejavuctl listen add bar "mic:USB Audio"                 one of `dejavuctl devices`, by name or number
  dejavuctl listen add radio https://example.org/live.mp3  a stream
  dejavuctl listen add door rtsp://camera.lan/stream1      a camera, or another media server
  dejavuctl listen add hall pcm:s16le:48000:2              raw samples that `dejavuctl listen send hall` or a program sends
  dejavuctl listen add tape /srv/tape.flac                 a file, as fast as it goes; realtime:/srv/tape.flac at its own pace
  dejavuctl listen add pipe /run/sound.fifo --once         what a program writes to a pipe, until the daemon ends"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("name", metavar="NAME", help="what the listener is called in events")
    parser.add_argument(
        "source", metavar="SOURCE", help="mic, mic:DEVICE, an address, a file, a pipe, or pcm:ENCODING:RATE:CHANNELS"
    )
    parser.add_argument("--once", action="store_true", help="forget it when the daemon ends")


def check(options: Namespace) -> None:
    """Accept anything that parsed: what a source is, the daemon says."""


def run(options: Namespace, session: Session) -> int:
    """Add it, and print how it is."""
    params = {"name": options.name, "source": _absolute(options.source), "once": options.once}
    with session.connect() as connection:
        view: Mapping[str, Any] = connection.call("listen.add", params)
        if not session.out.as_json:
            view = _settled(connection, view)
    session.out.show(view, listener_line(view))
    return EXIT_MATCHED


def _settled(connection: Connection, view: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how the listener is once its source was opened or refused, or soon, where that takes long."""
    until_s = time.monotonic() + _SETTLES_S
    while view["state"] == "starting" and time.monotonic() < until_s:
        time.sleep(_LOOKS_S)
        views = connection.call("listen.list", {})["listeners"]
        view = next((one for one in views if one["listener"] == view["listener"]), view)
    return view


def _absolute(source: str) -> str:
    """Return `source` with a file of this machine by its whole path: the daemon's working directory is another."""
    mark = "realtime:" if source.startswith("realtime:") else ""
    path = Path(source.removeprefix(mark))
    if "://" in source or source == "mic" or source.startswith("mic:") or not path.exists():
        return source
    return f"{mark}{path.absolute()}"
