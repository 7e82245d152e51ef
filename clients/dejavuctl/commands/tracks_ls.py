"""``dejavuctl tracks ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.arguments import positive_count
from dejavuctl.output import Table, clock, count, printable
from dejavuctl.selection import add_filters, filter_of, listed
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from dejavuctl.session import Session

DESCRIPTION = "Lists the tracks of the library: all, or those with certain words; oldest first, or in another order."
EXAMPLES = """\
examples:
  dejavuctl tracks ls
  dejavuctl tracks ls chopin nocturne          both words, anywhere in title, artist, album or path
  dejavuctl tracks ls --artist Chopin --sort title
  dejavuctl tracks ls --sort added --reverse --limit 20      what came last
  dejavuctl tracks ls --disabled
  dejavuctl tracks ls --json | jq -r .path

Disabled tracks are listed with --disabled or --all."""

SORTS = ("id", "title", "artist", "album", "duration", "added")
_HEADING = ("id", "title", "artist", "album", "length")


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("words", metavar="WORD", nargs="*", help="only tracks with all these words")
    add_filters(parser)
    state = parser.add_mutually_exclusive_group()
    state.add_argument("--disabled", action="store_true", help="only those that are disabled")
    state.add_argument("--all", action="store_true", help="disabled ones too")
    parser.add_argument("--sort", choices=SORTS, default="id", help="the order (default: id)")
    parser.add_argument("--reverse", action="store_true", help="the other way about")
    parser.add_argument("--limit", metavar="N", type=positive_count, help="at most N tracks (default: all)")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Print the tracks, page by page as they arrive."""
    state = "disabled" if options.disabled else "all" if options.all else "enabled"
    params: dict[str, Any] = {"state": state, **filter_of(options)}
    if options.words:
        params["search"] = " ".join(options.words)
    is_narrowed = len(params) > 1 or options.disabled
    params |= {"sort": options.sort} if options.sort != "id" else {}
    params |= {"reverse": True} if options.reverse else {}
    table, n_tracks, n_total = None, 0, 0
    heading = (*_HEADING, "state") if options.all else _HEADING
    with session.connect() as connection:
        for page, n_total in listed(connection, params, options.limit):  # noqa: B007 - the last one is told below
            rows = [_row(track, with_state=options.all) for track in page]
            table = table or (Table(session.out, heading, rows) if rows else None)
            for row, track in zip(rows, page, strict=True):
                if table is not None:
                    table.add(row, track)
            n_tracks += len(page)
    if not session.out.as_json:
        session.out.remark(_summary(n_tracks, n_total, is_narrowed=is_narrowed))
    return EXIT_MATCHED


def _summary(n_tracks: int, n_total: int, *, is_narrowed: bool) -> str:
    if n_tracks < n_total:
        return f"{n_tracks} of {count(n_total, 'track')}"
    if n_tracks or is_narrowed:
        return count(n_tracks, "track")
    return "the library is empty: dejavuctl fingerprint PATH"


def _row(track: Mapping[str, Any], *, with_state: bool) -> tuple[str, ...]:
    texts = (printable(str(track.get(key) or "")) for key in ("title", "artist", "album"))
    state = ("disabled" if track.get("disabled") else "",) if with_state else ()
    return (str(track["id"]), *texts, clock(track["duration_s"]), *state)
