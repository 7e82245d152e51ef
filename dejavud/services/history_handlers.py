"""The commands of the history: what was played where, how long and how often, and what of it is to be forgotten."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from structlog.contextvars import bind_contextvars

from dejavud.errors import NothingSelected, PageNotFound
from dejavud.index.entries import MAX_ID
from dejavud.index.history.plays import Place, PlayFilter
from dejavud.services.history_calendar import by_calendar
from dejavud.services.track_search import words_of
from dejavud.wire.moments import FORMS, day_of, moment_of, zone_of
from dejavud.wire.rules import AtMost, Between, Form, OneOf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.index.history.plays import Group, KeptPlay
    from dejavud.services.commands import Call, Handler
    from dejavud.services.history import PlayRecorder
    from dejavud.services.workers import Workers

MAX_PAGE_PLAYS = 1000
MAX_IDS = 1000
MAX_GROUPS = 10_000
REMOVED_AT_ONCE = 5000
"""Plays forgotten in one transaction: what else is to be written waits no longer than that takes."""
BYS = ("track", "artist", "listener", "day", "hour")
SORTS = ("plays", "heard")
_LIST = AtMost(MAX_IDS)
_MOMENT = Form("moment", f"{FORMS[0].upper()}{FORMS[1:]}.", "24h")
_DAY = Form("day", "A day: an ISO date, today or yesterday.", "yesterday")
_ZONE = Form("time-zone", "A time zone of the IANA's list, or an offset.", "Europe/Berlin")
_CURSOR = Form("play-cursor", "The `next` of the page before.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectPlays:
    """Parameters that say which plays are meant: all that are given hold together.

    tracks : ids of tracks.
    search : words, each in title, artist or album.
    since, until : of when they started; see `dejavud.wire.moments.FORMS`.  day : all of that day.
    zone : in which those are meant.
    """

    ids: Annotated[tuple[str, ...] | None, _LIST] = None
    listener: str | None = None
    tracks: Annotated[tuple[Annotated[int, Between(1, MAX_ID, "a track's number, ")], ...] | None, _LIST] = None
    search: str = ""
    since: Annotated[str, _MOMENT] = ""
    until: Annotated[str, _MOMENT] = ""
    day: Annotated[str, _DAY] = ""
    min_heard_s: Annotated[float, Between(0, 1e7, "a number of seconds ")] = 0.0
    zone: Annotated[str, _ZONE] = "UTC"

    def __post_init__(self) -> None:
        self.filter()

    def filter(self) -> PlayFilter:
        """Return what is meant, now; raises ValueError."""
        zone, now = zone_of(self.zone), datetime.now(UTC)
        since, until = (moment_of(text, now, zone) if text else None for text in (self.since, self.until))
        if self.day:
            begin, end = day_of(self.day, now, zone)
            since, until = max(since or begin, begin), min(until or end, end)
        words = words_of(self.search)
        return PlayFilter(self.ids, self.listener, self.tracks, words, since, until, self.min_heard_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPlays(SelectPlays):
    """Parameters of ``history.list``."""

    limit: Annotated[int, Between(1, MAX_PAGE_PLAYS)] = 100
    cursor: Annotated[str | None, _CURSOR] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SummarizePlays(SelectPlays):
    """Parameters of ``history.summary``.

    by : what plays are added up by.
    sort : of tracks, artists and listeners: those first that were played most often, or heard longest.
    """

    by: Annotated[str, OneOf(BYS)] = "track"
    sort: Annotated[str, OneOf(SORTS)] = "plays"
    limit: Annotated[int, Between(1, MAX_GROUPS)] = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePlays(SelectPlays):
    """Parameters of ``history.remove``; every play there is has to be asked for by `everything`."""

    everything: bool = False

    def __post_init__(self) -> None:
        SelectPlays.__post_init__(self)
        if not self.everything and self.filter() == PlayFilter():
            how = "by 'ids', 'listener', 'tracks', 'search', 'since', 'until', 'day' or 'min_heard_s', or say 'everything'"
            raise NothingSelected(what="plays", how=how)


class HistoryHandlers:
    """One method a command."""

    def __init__(self, recorder: PlayRecorder, workers: Workers) -> None:
        self._recorder = recorder
        self._history = recorder.history
        self._workers = workers

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return the rows of the command table."""
        return (
            ("history.list", ListPlays, self.list),
            ("history.summary", SummarizePlays, self.summary),
            ("history.remove", RemovePlays, self.remove),
        )

    async def list(self, params: ListPlays, _call: Call) -> dict[str, Any]:
        """Return a page of plays, newest first."""
        wanted = params.filter()
        after = None if params.cursor is None else _place(params.cursor)
        plays = await self._workers.read(self._history.page, wanted, params.limit + 1, after)
        following = _cursor(plays[params.limit - 1]) if len(plays) > params.limit else None
        shown = self._recorder.up_to_now(plays[: params.limit])
        return {"plays": [play_view(play) for play in shown], "next": following, **_span(wanted)}

    async def summary(self, params: SummarizePlays, _call: Call) -> dict[str, Any]:
        """Return how many plays there were, and of what."""
        return await self._workers.read(self._summary, params)

    async def remove(self, params: RemovePlays, call: Call) -> dict[str, Any]:
        """Forget plays, but for those that go on."""
        n_removed, wanted = 0, params.filter()
        remove = partial(self._history.remove, wanted, REMOVED_AT_ONCE)
        while n_plays := await self._workers.write(remove):
            n_removed += n_plays
            self._recorder.forget_count()
            await call.progress(n_done=n_removed)
        bind_contextvars(n_removed=n_removed)
        return {"n_removed": n_removed, **_span(wanted)}

    def _summary(self, params: SummarizePlays) -> dict[str, Any]:
        history, wanted = self._history, params.filter()
        totals = history.totals(wanted)
        groups: Sequence[dict[str, Any]]
        if params.by in ("day", "hour"):
            all_groups = by_calendar(history.quarters(wanted), params.by, zone_of(params.zone))
            groups, n_groups = all_groups[-params.limit :], len(all_groups)
        else:
            found = history.top(wanted, params.by, params.limit, longest=params.sort == "heard")
            groups = [_group_view(group, params.by) for group in found]
            n_groups = len(found) if len(found) < params.limit else history.n_groups(wanted, params.by)
        return {
            "by": params.by,
            "groups": groups,
            "n_groups": n_groups,
            "n_plays": totals.n_plays,
            "n_tracks": totals.n_tracks,
            "heard_s": round(totals.heard_s, 3),
            **_span(wanted),
        }


def play_view(play: KeptPlay) -> dict[str, Any]:
    """Return a play as JSON shows it."""
    track = {"id": play.track_id, "title": play.title, "artist": play.artist, "album": play.album}
    return {
        "id": play.id,
        "listener": play.listener,
        "source": play.source,
        "track": {**track, "file_sha1": play.file_sha1},
        "started_at": play.started_at.isoformat(),
        "ended_at": play.ended_at.isoformat(),
        "start_s": play.start_s,
        "end_s": play.end_s,
        "track_start_s": play.track_start_s,
        "track_end_s": play.track_end_s,
        "heard_s": play.heard_s,
        "coverage": play.coverage,
        "confidence": play.confidence,
        "gaps": [{"start_s": start_s, "end_s": end_s} for start_s, end_s in play.gaps],
        "twins": list(play.twins),
        "outcome": play.outcome,
        "daemon": play.daemon,
        "host": play.host,
    }


def _group_view(group: Group, by: str) -> dict[str, Any]:
    what: object = group.key
    if by == "track":
        what = {"id": group.key, "title": group.title, "artist": group.artist, "album": group.album}
    return {
        by: what,
        "n_plays": group.n_plays,
        "heard_s": round(group.heard_s, 3),
        "first_at": group.first_at.isoformat(),
        "last_at": group.last_at.isoformat(),
    }


def _span(wanted: PlayFilter) -> dict[str, str | None]:
    """Return from when to when was asked for."""
    moments = {"since": wanted.since, "until": wanted.until}
    return {name: None if at is None else at.isoformat() for name, at in moments.items()}


def _cursor(play: KeptPlay) -> str:
    return base64.urlsafe_b64encode(json.dumps([play.started_at.isoformat(), play.id]).encode()).decode()


def _place(cursor: str) -> Place:
    """Return the place that `cursor` names; raises `InvalidRequest`."""
    try:
        started_at, play_id = json.loads(base64.b64decode(cursor, b"-_", validate=True))
        moment = datetime.fromisoformat(started_at)
        if moment.tzinfo is None or not isinstance(play_id, str):
            raise ValueError  # noqa: TRY301 - all ways to be no cursor end alike
        return Place(moment.astimezone(UTC), play_id)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise PageNotFound from None
