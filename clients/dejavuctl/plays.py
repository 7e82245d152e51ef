"""Which plays of the history a command is about: the options that say so, the zone that they are meant in, and the plays themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import Usage
from dejavuctl.output import clock, count, long_time, printable
from dejavud.wire.moments import FORMS, moment_of, zone_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping
    from datetime import tzinfo

    from dejavuctl.connection import Connection

PAGE = 1000
"""Plays asked for at a time."""
OUTCOMES = {
    "going": "playing now",
    "source_lost": "source lost",
    "source_ended": "source ended",
    "paused": "paused",
    "stopped": "stopped",
    "cut_off": "cut off",
}
"""What is said of how a play ended; nothing where the track was just heard no more."""
_LOCALTIME, _TIMEZONE = Path("/etc/localtime"), Path("/etc/timezone")
_OPTIONS = {
    "listener": "listener",
    "track": "tracks",
    "search": "search",
    "since": "since",
    "until": "until",
    "day": "day",
}


def add_filters(parser: ArgumentParser) -> None:
    """Add the options by which plays are chosen."""
    parser.add_argument("--listener", metavar="NAME", help="only what this listener heard")
    parser.add_argument(
        "--track", metavar="ID", type=int, action="append", help="only plays of this track; may be given again"
    )
    parser.add_argument("--search", metavar="WORDS", help="all these words in title, artist or album")
    parser.add_argument("--day", metavar="DAY", help="only that day: yesterday, today, 2026-10-25")
    parser.add_argument("--since", metavar="TIME", help=f"started then or later: {FORMS}")
    parser.add_argument("--until", metavar="TIME", help="started before that")
    parser.add_argument("--min", metavar="SECONDS", type=float, help="heard for at least so long")
    parser.add_argument(
        "--zone", metavar="ZONE", help="the time zone of all this: Europe/Berlin, UTC, +01:00 (default: this machine's)"
    )


def check_filters(options: Namespace) -> None:
    """Have times that can be understood and a zone that there is; raises `Usage`."""
    if options.day and (options.since or options.until):
        raise Usage(reason="--day says from when to when already: leave out --since and --until")
    options.zone = options.zone or local_zone()
    try:
        zone = zone_of(options.zone)
        for text in (options.day, options.since, options.until):
            if text:
                moment_of(text, datetime.now(UTC), zone)
    except ValueError as error:
        raise Usage(reason=str(error)) from None


def filter_of(options: Namespace) -> dict[str, Any]:
    """Return the filters of a command line as parameters of the daemon's commands; empty where there are none."""
    given = {key: getattr(options, name) for name, key in _OPTIONS.items()}
    return {key: value for key, value in {**given, "min_heard_s": options.min}.items() if value is not None}


def local_zone() -> str:
    """Return the time zone of this machine, or of whoever set TZ: by its name, or its offset now where nothing names it."""
    import os  # noqa: PLC0415

    names = []
    given = os.environ.get("TZ")
    if given is not None:
        names.append(given.removeprefix(":") or "UTC")
    else:
        names.append(os.path.realpath(_LOCALTIME).partition("zoneinfo/")[2].removeprefix("posix/"))
        if not names[0] and _TIMEZONE.is_file():
            names.append(_TIMEZONE.read_text("utf-8", "replace").strip())
    for name in filter(None, names):
        try:
            zone_of(name)
        except ValueError:
            continue
        return name
    return datetime.now().astimezone().isoformat()[-6:]


def listed(
    connection: Connection, params: Mapping[str, Any], limit: int | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Yield the plays that `params` choose, newest first, a page at a time.

    One that goes on may turn out to have started earlier, and be on the next page again: it is left out there.
    """
    left, cursor = limit, None
    going: set[str] = set()
    while left is None or left > 0:
        asked = {**params, "limit": PAGE if left is None else min(PAGE, left)}
        page = connection.call("history.list", asked if cursor is None else {**asked, "cursor": cursor})
        plays = [play for play in page["plays"] if play["id"] not in going]
        going.update(play["id"] for play in plays if play["outcome"] == "going")
        yield plays
        cursor = page["next"]
        if cursor is None:
            return
        left = None if left is None else left - len(plays)


def local_time(moment: str, zone: tzinfo) -> str:
    """Return a moment as a person in `zone` says it."""
    return datetime.fromisoformat(moment).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def play_cells(play: Mapping[str, Any], zone: tzinfo) -> tuple[str, ...]:
    """Return a play as a row: when, how long, where, what, and how it ended where that is worth a word."""
    track = play["track"]
    texts = (printable(str(text or "")) for text in (play["listener"], track["title"], track["artist"]))
    return (local_time(play["started_at"], zone), clock(play["heard_s"]), *texts, OUTCOMES.get(play["outcome"], ""))


def totals_line(summary: Mapping[str, Any], zone: tzinfo) -> str:
    """Return what a summary comes to in one sentence."""
    span = [
        f"{word} {local_time(summary[key], zone)}" for word, key in (("from", "since"), ("to", "until")) if summary[key]
    ]
    told = f"{count(summary['n_plays'], 'play')} of {count(summary['n_tracks'], 'track')}, {long_time(summary['heard_s'])} heard"
    return f"{told}, {' '.join(span)}" if span else told
