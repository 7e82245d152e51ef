"""``dejavuctl tracks rm``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import Failed, NotConfirmed
from dejavuctl.output import count, track_name
from dejavud.errors import TrackNotFound
from dejavud.wire.codes import EXIT_FAILED, EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from dejavuctl.connection import Connection
    from dejavuctl.output import Output
    from dejavuctl.session import Session

DESCRIPTION = "Removes tracks from the library; the audio files stay where they are.  Asks before it does."
EXAMPLES = """\
examples:
  dejavuctl tracks rm 7
  dejavuctl tracks rm 7 8 9 --yes      without asking, as a script must"""

_SHOWN = 10
"""Tracks named in the question; more are only counted."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("id", metavar="ID", type=int, nargs="+", help="the tracks' numbers")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Remove the tracks that are there; fails when one of them is not."""
    wanted = list(dict.fromkeys(options.id))
    with session.connect() as connection:
        found, missing = _look_up(connection, wanted)
        for failure in missing:
            session.out.fail({"error": failure.body}, f"dejavuctl: {failure.message}")
        if found:
            if not options.yes:
                _ask(session.out, found)
            connection.call("tracks.remove", {"ids": [track["id"] for track in found]})
            for track in found:
                session.out.show({"removed": track}, f"removed {track['id']}: {track_name(track)}")
    return EXIT_FAILED if missing else EXIT_MATCHED


def _look_up(connection: Connection, ids: Sequence[int]) -> tuple[list[dict[str, Any]], list[Failed]]:
    found, missing = [], []
    for track_id in ids:
        try:
            found.append(connection.call("tracks.get", {"id": track_id})["track"])
        except Failed as failure:
            if failure.code != TrackNotFound.code:
                raise
            missing.append(failure)
    return found, missing


def _ask(out: Output, tracks: Sequence[dict[str, Any]]) -> None:
    """Return when a person agrees; raises `NotConfirmed` otherwise."""
    if not sys.stdin.isatty():
        raise NotConfirmed(
            reason="nothing was removed: there is nobody to ask here; say --yes to remove without asking"
        )
    for track in tracks[:_SHOWN]:
        out.remark(f"  {track['id']}: {track_name(track)}")
    if len(tracks) > _SHOWN:
        out.remark(f"  and {len(tracks) - _SHOWN} more")
    out.remarks.write(f"Remove {count(len(tracks), 'track')} from the library? [y/N] ")
    out.remarks.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmed(reason="nothing was removed")
