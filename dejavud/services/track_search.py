"""Finding tracks: words, filters, order and pages, done here once for every kind of index."""

from __future__ import annotations

import base64
import heapq
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dejavud.errors import PageNotFound
from dejavud.index.folding import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from dejavud.index.base import Index
    from dejavud.values import Track

    Key = tuple[int, str | float, int]

State = Literal["enabled", "disabled", "all"]
STATES = ("enabled", "disabled", "all")
SORTS = ("id", "title", "artist", "album", "duration", "added")

_PAGE_TRACKS = 1000
"""Tracks read from the index at a time: a longer list would hold up other threads."""


@dataclass(frozen=True, slots=True)
class TrackFilter:
    """Which tracks are meant: those for which everything that is given holds.

    words : each is somewhere in title, artist, album or path, whatever its case and accents.
    artist, album : are these, whatever their case and accents.
    path : begins so, exactly.
    added_after, added_before : with their time zones; the moments themselves do not count.
    after_id : has a higher number.
    """

    ids: frozenset[int] | None = None
    sha1s: frozenset[str] | None = None
    words: tuple[str, ...] = ()
    artist: str | None = None
    album: str | None = None
    path: str | None = None
    state: State = "all"
    added_after: datetime | None = None
    added_before: datetime | None = None
    after_id: int = 0


EVERYTHING = TrackFilter()


@dataclass(frozen=True, slots=True)
class TrackPage:
    """Some tracks in order; where the next page begins, None after the last; how many there are on all pages."""

    tracks: tuple[Track, ...]
    cursor: str | None
    n_total: int


@dataclass(frozen=True, slots=True)
class _Folded:
    """A track with its texts as they are compared."""

    track: Track
    title: str
    artist: str
    album: str
    everything: str
    added_s: float


class TrackSearch:
    """Finds tracks of one index.  For any thread; takes time, so not for the event loop.

    What is compared of a track is kept, a few hundred bytes each: folding texts takes longer than all the rest.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._folded: dict[int, _Folded] = {}

    def select(self, wanted: TrackFilter) -> list[Track]:
        """Return all tracks that `wanted` means, ascending by id."""
        return [found.track for found in self._found(wanted)]

    def page(
        self, wanted: TrackFilter, *, sort: str = "id", reverse: bool = False, limit: int, cursor: str | None = None
    ) -> TrackPage:
        """Return at most `limit` of the tracks that `wanted` means, in order, from where the page before ended.

        A cursor names the place in the order, not a number of tracks: whatever comes and goes between two pages, no track that stays is
        left out or shown twice.  Raises `PageNotFound` where the cursor is not one of this order.
        """
        place = None if cursor is None else _place(cursor, sort, reverse=reverse)
        if wanted == EVERYTHING and sort == "id" and not reverse:
            return self._page_of_all(limit, 0 if place is None else place[2], sort)
        found = {folded.track.id: folded for folded in self._found(wanted)}
        keys = _keys(found.values(), sort, -1 if reverse else 1)
        if place is not None:
            keys = [key for key in keys if key < place] if reverse else [key for key in keys if key > place]
        chosen = heapq.nlargest(limit, keys) if reverse else heapq.nsmallest(limit, keys)
        following = _cursor(sort, reverse=reverse, place=chosen[-1]) if len(keys) > limit else None
        return TrackPage(tuple(found[key[2]].track for key in chosen), following, len(found))

    def _page_of_all(self, limit: int, after_id: int, sort: str) -> TrackPage:
        """Return a page of the whole library by id, which the index has in order."""
        tracks = self._index.tracks(limit=limit + 1, after_id=after_id)
        cursor = _cursor(sort, reverse=False, place=(0, 0.0, tracks[limit - 1].id)) if len(tracks) > limit else None
        return TrackPage(tuple(tracks[:limit]), cursor, self._index.statistics().n_tracks)

    def _found(self, wanted: TrackFilter) -> list[_Folded]:
        checks = _checks(wanted)
        found = self._all() if wanted.ids is None and wanted.sha1s is None else self._named(wanted)
        for check in checks:
            found = list(filter(check, found))
        return found

    def _named(self, wanted: TrackFilter) -> list[_Folded]:
        ids = None if wanted.ids is None else tuple(wanted.ids)
        sha1s = None if wanted.sha1s is None else tuple(wanted.sha1s)
        return [_folded(track) for track in self._index.tracks(ids=ids, sha1s=sha1s)]

    def _all(self) -> list[_Folded]:
        """Return all tracks, ascending by id, with what is kept of them brought up to date."""
        kept = self._folded
        now = {}
        for track in _listed(self._index):
            folded = kept.get(track.id)
            if folded is None or (folded.track is not track and folded.track != track):
                folded = _folded(track)
            now[track.id] = folded
        self._folded = now
        return list(now.values())


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a search text."""
    return tuple(text.split())


def _folded(track: Track) -> _Folded:
    title, artist, album = fold(track.title), fold(track.artist or ""), fold(track.album or "")
    everything = "\n".join((title, artist, album, fold(track.path or "")))
    return _Folded(track, title, artist, album, everything, track.added_at.timestamp())


def _listed(index: Index) -> Iterator[Track]:
    page = index.tracks(limit=_PAGE_TRACKS)
    while page:
        yield from page
        page = index.tracks(limit=_PAGE_TRACKS, after_id=page[-1].id)


def _checks(wanted: TrackFilter) -> list[Callable[[_Folded], bool]]:
    """Return what a track has to pass, the cheapest first."""
    checks: list[Callable[[_Folded], bool]] = []
    if wanted.after_id:
        checks.append(lambda found: found.track.id > wanted.after_id)
    if wanted.state != "all":
        is_disabled = wanted.state == "disabled"
        checks.append(lambda found: found.track.disabled == is_disabled)
    if wanted.artist is not None:
        artist = fold(wanted.artist)
        checks.append(lambda found: found.artist == artist)
    if wanted.album is not None:
        album = fold(wanted.album)
        checks.append(lambda found: found.album == album)
    if wanted.path is not None:
        path = wanted.path
        checks.append(lambda found: found.track.path is not None and found.track.path.startswith(path))
    if wanted.added_after is not None:
        after = wanted.added_after
        checks.append(lambda found: found.track.added_at > after)
    if wanted.added_before is not None:
        before = wanted.added_before
        checks.append(lambda found: found.track.added_at < before)
    checks.extend(_contains(fold(word)) for word in wanted.words)
    return checks


def _contains(word: str) -> Callable[[_Folded], bool]:
    return lambda found: word in found.everything


def _keys(found: Iterable[_Folded], sort: str, sign: int) -> list[Key]:
    """Return by what tracks are ordered: (rank, value, id).  What has no name comes last, in both directions."""
    if sort == "title":
        return [(0, each.title, each.track.id) for each in found]
    if sort == "artist":
        return [(0 if each.artist else sign, each.artist, each.track.id) for each in found]
    if sort == "album":
        return [(0 if each.album else sign, each.album, each.track.id) for each in found]
    if sort == "duration":
        return [(0, each.track.duration_s, each.track.id) for each in found]
    if sort == "added":
        return [(0, each.added_s, each.track.id) for each in found]
    return [(0, 0.0, each.track.id) for each in found]


def cursor_after(track_id: int) -> str:
    """Return the cursor of the page that begins after `track_id`, in order of id."""
    return _cursor("id", reverse=False, place=(0, 0.0, track_id))


def _cursor(sort: str, *, reverse: bool, place: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort, reverse, *place]).encode()).decode()


def _place(cursor: str, sort: str, *, reverse: bool) -> Key:
    """Return the place that `cursor` names; raises `PageNotFound`."""
    try:
        of_sort, of_reverse, rank, value, track_id = json.loads(base64.b64decode(cursor, b"-_", validate=True))
        kind = str if sort in {"title", "artist", "album"} else float
        if (of_sort, of_reverse) != (sort, reverse) or not isinstance(rank, int) or not isinstance(track_id, int):
            raise ValueError  # noqa: TRY301 - all ways to be no cursor of this order end alike
        return (rank, kind(value), track_id)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise PageNotFound from None
