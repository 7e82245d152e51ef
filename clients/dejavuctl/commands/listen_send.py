"""``dejavuctl listen send``."""

from __future__ import annotations

import os
import sys
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dejavuctl.failures import EXIT_INTERRUPTED
from dejavuctl.files import AudioFile
from dejavuctl.interrupts import held_back, let_in
from dejavuctl.output import clock, printable
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from dejavuctl.connection import Connection
    from dejavuctl.session import Session
    from dejavud.wire.messages import RequestId

DESCRIPTION = """\
Sends raw sound to a listener whose source is pcm, as fast as the listener takes it, until the sound ends.

The samples are those that the listener was added for (pcm is s16le at 48000 Hz in two channels); ffmpeg makes them of anything."""
EXAMPLES = """\
examples:
  dejavuctl listen add kitchen pcm:s16le:48000:2
  arecord -f S16_LE -r 48000 -c 2 -t raw | dejavuctl listen send kitchen
  ffmpeg -i show.mkv -f s16le -ar 48000 -ac 2 - | dejavuctl listen send kitchen -
  arecord -f S16_LE -r 48000 -c 2 -t raw | ssh server dejavuctl listen send kitchen"""

PIECE_BYTES = 1 << 16
"""What a pipe holds: a third of a second of s16le:48000:2."""
MAX_UNANSWERED = 3
"""Pieces under way, so that the way there and back costs no time."""
QUIET_S = 30.0


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("name", metavar="NAME", help="the listener's name, as `dejavuctl listen ls` has it")
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="a file or pipe; -, the default, is standard input"
    )


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Send until the sound ends, and say how much was taken."""
    with _opened(options.file) as descriptor, session.connect() as connection, held_back():
        feed = connection.call("feed.open", {"listener": options.name})["feed"]
        status = EXIT_MATCHED
        try:
            _send(connection, feed, descriptor)
        except KeyboardInterrupt:
            status = EXIT_INTERRUPTED
        answer = connection.call("feed.close", {"feed": feed})
    session.out.show(
        {"listener": options.name, **answer}, f"{clock(answer['heard_s'])} of sound sent to {printable(options.name)}"
    )
    return status


def _send(connection: Connection, feed: str, descriptor: int) -> None:
    """Send what comes from `descriptor`, piece by piece; raises `Failed` when the daemon takes no more."""
    unanswered: deque[RequestId] = deque()
    while piece := _read(descriptor):
        unanswered.append(connection.send("feed.append", {"feed": feed}, piece))
        while len(unanswered) >= MAX_UNANSWERED:
            _receive(connection, unanswered)
    while unanswered:
        _receive(connection, unanswered)


def _receive(connection: Connection, unanswered: deque[RequestId]) -> None:
    for reply in connection.receive(QUIET_S):
        if reply.id is not None and reply.id in unanswered:
            unanswered.remove(reply.id)
            connection.result_of(reply)


def _read(descriptor: int) -> bytes:
    with let_in():
        return os.read(descriptor, PIECE_BYTES)


@contextmanager
def _opened(name: str) -> Iterator[int]:
    if name == "-":
        yield sys.stdin.fileno()
        return
    try:
        descriptor = os.open(name, os.O_RDONLY)
    except OSError as error:
        raise AudioFile(name).failed(error) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
