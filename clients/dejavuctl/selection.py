"""Which tracks a command is about: the options that say so, and the tracks that they choose."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import Failed, NotConfirmed, Usage
from dejavuctl.output import count, track_name
from dejavud.errors import TrackNotFound

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping, Sequence

    from dejavuctl.connection import Connection
    from dejavuctl.output import Output

PAGE = 500
"""Tracks asked for at a time."""
_SHOWN = 10
"""Tracks named in a question; more are only counted."""
_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
_FILTERS = ("artist", "album", "path", "added_after", "added_before")


def add_filters(parser: ArgumentParser) -> None:
    """Add the options by which tracks are chosen."""
    parser.add_argument("--artist", metavar="NAME", help="by this artist; case and accents do not matter")
    parser.add_argument("--album", metavar="NAME", help="of this album; case and accents do not matter")
    parser.add_argument("--path", metavar="START", help="whose file's path begins so")
    parser.add_argument("--added-after", metavar="TIME", help="added after a date or a time: 2026-01-31")
    parser.add_argument("--added-before", metavar="TIME", help="added before it")


def add_names(parser: ArgumentParser, *, nargs: str = "*") -> None:
    """Add the tracks that are named one by one."""
    parser.add_argument("tracks", metavar="ID|SHA1", nargs=nargs, help="the tracks' numbers, or their files' SHA1")


def check_names(options: Namespace) -> None:
    """Sort what was named into `options.ids` and `options.sha1s`; raises `Usage`."""
    options.ids, options.sha1s = [], []
    for name in dict.fromkeys(options.tracks):
        if _SHA1.fullmatch(name):
            options.sha1s.append(name.lower())
        elif name.isdecimal() and name.isascii():
            options.ids.append(int(name))
        else:
            raise Usage(reason=f"{name!r} is neither a track's number nor a SHA1 of 40 digits; words go to --search")


def filter_of(options: Namespace) -> dict[str, Any]:
    """Return the filters of a command line as parameters of the daemon's commands."""
    given = {name: getattr(options, name) for name in _FILTERS}
    return {name: value for name, value in given.items() if value is not None}


def listed(
    connection: Connection, params: Mapping[str, Any], limit: int | None = None
) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield the tracks that `params` choose, a page at a time, each page with the number of tracks on all of them."""
    left, cursor = limit, None
    while left is None or left > 0:
        asked = {**params, "limit": PAGE if left is None else min(PAGE, left)}
        page = connection.call("tracks.list", asked if cursor is None else {**asked, "cursor": cursor})
        tracks: list[dict[str, Any]] = page["tracks"]
        yield tracks, page["n_total"]
        cursor = page["next"]
        if cursor is None:
            return
        left = None if left is None else left - len(tracks)


def named(
    connection: Connection, ids: Sequence[int], sha1s: Sequence[str]
) -> tuple[list[dict[str, Any]], list[Failed]]:
    """Return the tracks of these numbers and contents, each once, and a failure for each that is not there."""
    found: dict[int, dict[str, Any]] = {}
    missing: list[Failed] = []
    for key, name, wanted in (("ids", "id", ids), ("sha1s", "file_sha1", sha1s)):
        for first in range(0, len(wanted), PAGE):
            part = list(wanted[first : first + PAGE])
            [(tracks, _)] = list(listed(connection, {key: part}, PAGE))
            by_name = {track[name]: track for track in tracks}
            found |= {by_name[each]["id"]: by_name[each] for each in part if each in by_name}
            missing += [Failed.of(TrackNotFound(track=each)) for each in part if each not in by_name]
    return list(found.values()), missing


def ask(out: Output, tracks: Sequence[Mapping[str, Any]], *, verb: str, done: str) -> None:
    """Return when a person agrees that `tracks` be changed; raises `NotConfirmed` otherwise.

    verb, done : what would be done to them, "Remove … from the library", and what was not: "removed".
    """
    if not sys.stdin.isatty():
        raise NotConfirmed(reason=f"nothing was {done}: there is nobody to ask here; say --yes to go on without asking")
    for track in tracks[:_SHOWN]:
        out.remark(f"  {track['id']}: {track_name(track)}")
    if len(tracks) > _SHOWN:
        out.remark(f"  and {len(tracks) - _SHOWN} more")
    out.remarks.write(f"{verb.format(count(len(tracks), 'track'))}? [y/N] ")
    out.remarks.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmed(reason=f"nothing was {done}")
