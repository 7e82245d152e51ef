"""``dejavuctl tracks edit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.failures import Usage
from dejavuctl.output import track_name
from dejavuctl.selection import add_names, check_names, named
from dejavud.wire.codes import EXIT_FAILED, EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = "Changes what the library calls tracks; the audio files stay as they are."
EXAMPLES = """\
examples:
  dejavuctl tracks edit 7 --title Nocturne --artist Chopin
  dejavuctl tracks edit 7 8 9 --album "Nocturnes, Op. 9"
  dejavuctl tracks edit 7 --artist ""          it has none"""

_FIELDS = ("title", "artist", "album")


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    add_names(parser, nargs="+")
    parser.add_argument("--title", help="the new title")
    parser.add_argument("--artist", help='the new artist; "" for none')
    parser.add_argument("--album", help='the new album; "" for none')


def check(options: Namespace) -> None:
    """Have something to change."""
    check_names(options)
    options.change = {name: getattr(options, name) for name in _FIELDS if getattr(options, name) is not None}
    if not options.change:
        raise Usage(reason="say what to change: --title, --artist or --album")


def run(options: Namespace, session: Session) -> int:
    """Change the tracks that are there; fails when one of them is not."""
    with session.connect() as connection:
        found, missing = named(connection, options.ids, options.sha1s)
        for failure in missing:
            session.out.refuse(failure)
        if found:
            result = connection.call("tracks.edit", {"ids": [track["id"] for track in found], **options.change})
            for track in result["updated"]:
                session.out.show({"updated": track}, f"updated {track['id']}: {track_name(track)}")
    return EXIT_FAILED if missing else EXIT_MATCHED
