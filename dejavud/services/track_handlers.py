"""The commands about tracks: which there are, and what is changed of them or taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

from structlog.contextvars import bind_contextvars

from dejavud.errors import NothingSelected
from dejavud.services.track_search import SORTS, STATES, State, TrackFilter, cursor_after, words_of
from dejavud.services.views import track_view
from dejavud.values import TrackEdit
from dejavud.wire.rules import AtMost, Between, Form, Matching, OneOf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.services.commands import Call, Handler
    from dejavud.services.library import Library
    from dejavud.values import Track

MAX_PAGE_TRACKS = 1000
MAX_LIST_LENGTH = 10_000
MAX_TOLD = 10_000
"""Changed tracks that an answer shows; of more it tells the number only."""
TrackId = Annotated[int, Between(0, 2**31 - 1, "a track's number, ")]
Sha1 = Annotated[str, Matching("[0-9A-Fa-f]{40}", "an SHA1 of 40 hexadecimal digits")]
_LIST = AtMost(MAX_LIST_LENGTH)
_MOMENT = Form("iso-moment", "A date or a time of ISO 8601, UTC where it names no offset.", "2026-01-31T18:00:00+01:00")
_CURSOR = Form("cursor", "The `next` of the page before, asked for in the same order.")


# -- parameters -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Parameters that say which tracks are meant: all that are given hold together.

    state : "" where nothing is said of it, which means all.
    added_after, added_before : ISO 8601; UTC where they name no offset.
    """

    ids: Annotated[tuple[TrackId, ...] | None, _LIST] = None
    sha1s: Annotated[tuple[Sha1, ...] | None, _LIST] = None
    search: str = ""
    artist: str | None = None
    album: str | None = None
    path: str | None = None
    state: Annotated[str, OneOf(("", *STATES))] = ""
    added_after: Annotated[str, _MOMENT] = ""
    added_before: Annotated[str, _MOMENT] = ""

    def __post_init__(self) -> None:
        _moment("added_after", self.added_after)
        _moment("added_before", self.added_before)

    def filter(self) -> TrackFilter:
        """Return what is meant."""
        return TrackFilter(
            ids=None if self.ids is None else frozenset(self.ids),
            sha1s=None if self.sha1s is None else frozenset(sha1.lower() for sha1 in self.sha1s),
            words=words_of(self.search),
            artist=self.artist,
            album=self.album,
            path=self.path,
            state=cast("State", self.state or "all"),
            added_after=_moment("added_after", self.added_after),
            added_before=_moment("added_before", self.added_before),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTracks(Selection):
    """Parameters of ``tracks.list``."""

    limit: Annotated[int, Between(1, MAX_PAGE_TRACKS)] = 100
    after_id: TrackId = 0
    cursor: Annotated[str | None, _CURSOR] = None
    sort: Annotated[str, OneOf(SORTS)] = "id"
    reverse: bool = False

    @property
    def start(self) -> str | None:
        """Return the cursor from which to go on: in order of id, the number of a track is as good as one."""
        is_plain = self.sort == "id" and not self.reverse and self.cursor is None
        return cursor_after(self.after_id) if is_plain and self.after_id else self.cursor

    def filter(self) -> TrackFilter:
        """Return what is meant: in any other order, tracks of higher numbers than `after_id`."""
        return replace(Selection.filter(self), after_id=self.after_id if self.start == self.cursor else 0)


@dataclass(frozen=True, slots=True)
class GetTrack:
    """Parameters of ``tracks.get``."""

    id: TrackId


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTracks(Selection):
    """Parameters of ``tracks.remove``, ``tracks.enable`` and ``tracks.disable``: every track there is has to be asked for by ``state``."""

    def __post_init__(self) -> None:
        Selection.__post_init__(self)
        given = (self.ids, self.sha1s, self.artist, self.album, self.path)
        texts = (self.search.strip(), self.state, self.added_after, self.added_before)
        if not any(texts) and all(value is None for value in given):
            how = "by 'ids', 'sha1s', 'search', 'artist', 'album', 'path', 'added_after', 'added_before' or 'state'"
            raise NothingSelected(what="tracks", how=how)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditTracks:
    """Parameters of ``tracks.edit``: which tracks, and what is to be changed of each; "" takes an artist or an album away."""

    ids: Annotated[tuple[TrackId, ...], _LIST] = ()
    sha1s: Annotated[tuple[Sha1, ...], _LIST] = ()
    title: Annotated[str | None, Matching(r"[\s\S]*\S[\s\S]*", "a text that is not empty")] = None
    artist: str | None = None
    album: str | None = None
    disabled: bool | None = None

    def __post_init__(self) -> None:
        if not self.ids and not self.sha1s:
            msg = "say which tracks, by 'ids' or by 'sha1s'"
            raise ValueError(msg)
        if (self.title, self.artist, self.album, self.disabled) == (None, None, None, None):
            msg = "say what to change: 'title', 'artist', 'album' or 'disabled'"
            raise ValueError(msg)

    def edit(self) -> TrackEdit:
        """Return what is to be changed."""
        return TrackEdit(self.title, self.artist, self.album, self.disabled)


@dataclass(frozen=True, slots=True)
class KnownTracks:
    """Parameters of ``tracks.known``."""

    sha1s: Annotated[tuple[Sha1, ...], _LIST]


def _moment(name: str, text: str) -> datetime | None:
    """Return the moment that `text` names, None where it is empty; raises `ValueError`."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        msg = f"{name!r} must be a date or a time like 2026-01-31 or 2026-01-31T18:00:00+01:00, not {text[:60]!r}"
        raise ValueError(msg) from None


# -- handlers -------------------------------------------------------------------------------------------------------


class TrackHandlers:
    """One method a command."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return the rows of the command table."""
        return (
            ("tracks.list", ListTracks, self.list),
            ("tracks.get", GetTrack, self.get),
            ("tracks.known", KnownTracks, self.known),
            ("tracks.edit", EditTracks, self.edit),
            ("tracks.enable", ChangeTracks, self.enable),
            ("tracks.disable", ChangeTracks, self.disable),
            ("tracks.remove", ChangeTracks, self.remove),
        )

    async def list(self, params: ListTracks, _call: Call) -> dict[str, Any]:
        """Return one page of the library."""
        page = await self._library.page(
            params.filter(), sort=params.sort, reverse=params.reverse, limit=params.limit, cursor=params.start
        )
        is_by_id = params.sort == "id" and not params.reverse
        return {
            "tracks": [track_view(track) for track in page.tracks],
            "n_total": page.n_total,
            "next": page.cursor,
            "next_after_id": page.tracks[-1].id if page.cursor is not None and is_by_id else None,
        }

    async def get(self, params: GetTrack, _call: Call) -> dict[str, Any]:
        """Return one track."""
        return {"track": track_view(await self._library.get(params.id))}

    async def known(self, params: KnownTracks, _call: Call) -> dict[str, Any]:
        """Return which contents are in the library already."""
        known = await self._library.known([sha1.lower() for sha1 in params.sha1s])
        return {"tracks": {sha1: track_view(track) for sha1, track in known.items()}}

    async def edit(self, params: EditTracks, call: Call) -> dict[str, Any]:
        """Change what is known of tracks."""
        found = [
            *await self._library.select(TrackFilter(ids=frozenset(params.ids))),
            *await self._library.select(TrackFilter(sha1s=frozenset(sha1.lower() for sha1 in params.sha1s))),
        ]
        return _told("updated", await self._library.edit(found, params.edit(), call.progress))

    async def enable(self, params: ChangeTracks, call: Call) -> dict[str, Any]:
        """Have tracks in answers again."""
        return await self._set(params, call, disabled=False)

    async def disable(self, params: ChangeTracks, call: Call) -> dict[str, Any]:
        """Have tracks in no answer, and keep them."""
        return await self._set(params, call, disabled=True)

    async def remove(self, params: ChangeTracks, call: Call) -> dict[str, Any]:
        """Take tracks out of the library."""
        found = await self._library.select(params.filter())
        return _told("removed", await self._library.remove(found, call.progress))

    async def _set(self, params: ChangeTracks, call: Call, *, disabled: bool) -> dict[str, Any]:
        found = await self._library.select(params.filter())
        return _told("updated", await self._library.edit(found, TrackEdit(disabled=disabled), call.progress))


def _told(what: str, tracks: Sequence[Track]) -> dict[str, Any]:
    bind_contextvars(**{f"n_{what}": len(tracks)})
    return {what: [track_view(track) for track in tracks[:MAX_TOLD]], f"n_{what}": len(tracks)}
