"""The nouns of the history: a play as it is kept, what is asked for, and what is answered."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from dejavud.index.entries import MAX_ID, storable
from dejavud.index.folding import fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Outcome = Literal["going", "unheard", "source_lost", "source_ended", "paused", "stopped", "cut_off"]
GOING, CUT_OFF = "going", "cut_off"
OUTCOMES: tuple[Outcome, ...] = ("going", "unheard", "source_lost", "source_ended", "paused", "stopped", "cut_off")
"""How a play ended: it goes on still; the track was heard no more; the source went away, or had no more; its listener was paused, or was stopped or
ended with the daemon; or nobody saw the end, because the daemon crashed."""

By = Literal["track", "artist", "listener", "day", "hour"]

QUARTER_S = 900
"""All time zones there are begin their days, and their hours, at a quarter of UTC's hours; so those can be added up to any zone's."""


@dataclass(frozen=True, slots=True)
class KeptPlay:
    """One play of a track that a listener heard.  The track is named as it was then: it may be called otherwise now, or be gone.

    id : of the daemon's life and of the play in it; the same play always has the same.
    daemon, host : who wrote it: a daemon's data folder, and the name of its machine.
    source : what was listened to, without a password.
    started_at, ended_at : with time zone UTC; while it goes on the latter is up to when it was heard so far.
    start_s, end_s : the same on the listener's clock.
    heard_s : without the gaps.
    coverage : heard_s by the whole, 0 to 1.
    gaps : (start, end) on the listener's clock, in seconds.
    twins : ids of other tracks that hold the same recording.
    updated_at : when this was last written; with time zone UTC.
    """

    id: str
    daemon: str
    host: str
    listener: str
    source: str
    track_id: int
    title: str
    artist: str | None
    album: str | None
    file_sha1: str
    started_at: datetime
    ended_at: datetime
    start_s: float
    end_s: float
    track_start_s: float
    track_end_s: float
    heard_s: float
    coverage: float
    confidence: float
    gaps: tuple[tuple[float, float], ...]
    twins: tuple[int, ...]
    outcome: str
    updated_at: datetime


FIELDS = tuple(field.name for field in fields(KeptPlay))
COLUMNS = (*FIELDS, "words")
"""Of the table: those of a play, and its texts as they are searched."""
MOMENTS = ("started_at", "ended_at", "updated_at")
_TEXTS = ("id", "daemon", "host", "listener", "source", "title", "artist", "album", "file_sha1", "outcome")


def row_of(play: KeptPlay) -> dict[str, object]:
    """Return `play` as a row of the table: moments without their zone, which is UTC, and lists as JSON."""
    row: dict[str, object] = {name: getattr(play, name) for name in FIELDS}
    for name in MOMENTS:
        row[name] = naive(getattr(play, name))
    for name in _TEXTS:
        text = getattr(play, name)
        row[name] = None if text is None else storable(text)
    row["gaps"], row["twins"] = _json(play.gaps), _json(play.twins)
    row["words"] = "\n".join(fold(storable(text)) for text in (play.title, play.artist or "", play.album or ""))
    return row


def play_of(row: Sequence[object]) -> KeptPlay:
    """Return the play of a row whose columns are `FIELDS`."""
    values = dict(zip(FIELDS, row, strict=True))
    for name in MOMENTS:
        values[name] = aware(values[name])
    values["gaps"] = tuple((start, end) for start, end in json.loads(str(values["gaps"])))
    values["twins"] = tuple(json.loads(str(values["twins"])))
    return KeptPlay(**values)  # type: ignore[arg-type]  # as the columns are declared


def as_json(play: KeptPlay) -> dict[str, object]:
    """Return `play` as an archive holds it."""
    values: dict[str, object] = {name: getattr(play, name) for name in FIELDS}
    return values | {name: getattr(play, name).isoformat() for name in MOMENTS}


def of_json(values: Mapping[str, object]) -> KeptPlay:
    """Return the play that `as_json` made `values` of; raises ValueError, KeyError or TypeError where they are not of one."""
    found = {name: values[name] for name in FIELDS}
    for name in MOMENTS:
        moment = datetime.fromisoformat(str(values[name]))
        if moment.tzinfo is None:
            msg = f"{name} has no time zone"
            raise ValueError(msg)
        found[name] = moment.astimezone(UTC)
    for name in _TEXTS:
        if not isinstance(found[name], str) and not (found[name] is None and name in {"artist", "album"}):
            msg = f"{name} is no text"
            raise TypeError(msg)
    for name in ("start_s", "end_s", "track_start_s", "track_end_s", "heard_s", "coverage", "confidence"):
        found[name] = float(values[name])  # type: ignore[arg-type]  # raises where it is no number
    found["gaps"] = tuple((float(start), float(end)) for start, end in values["gaps"])  # type: ignore[attr-defined]
    found["twins"] = tuple(int(twin) for twin in values["twins"])  # type: ignore[attr-defined]
    track_id = found["track_id"] = int(values["track_id"])  # type: ignore[call-overload]
    if not 0 < track_id <= MAX_ID or found["outcome"] not in OUTCOMES:
        msg = "it is no play"
        raise ValueError(msg)
    return KeptPlay(**found)  # type: ignore[arg-type]  # checked above


def naive(moment: datetime) -> datetime:
    """Return a moment as a column holds it."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def aware(moment: object) -> datetime:
    """Return the moment that a column held."""
    if not isinstance(moment, datetime):
        msg = f"a column of moments held {moment!r}"
        raise TypeError(msg)
    return moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PlayFilter:
    """Which plays are meant: those for which everything that is given holds.

    words : each is somewhere in title, artist or album, whatever its case and accents.
    since, until : of when they started, with time zones; `since` itself counts, `until` does not.
    min_heard_s : heard for at least so long.
    """

    ids: tuple[str, ...] | None = None
    listener: str | None = None
    track_ids: tuple[int, ...] | None = None
    words: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    min_heard_s: float = 0.0


EVERY_PLAY = PlayFilter()


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the order a play stands: newest first, by when it started and, of those that started at once, by id."""

    started_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Totals:
    """How many plays there are of how many tracks, and how long they were heard, in seconds."""

    n_plays: int
    n_tracks: int
    heard_s: float


@dataclass(frozen=True, slots=True)
class Group:
    """What plays that have something in common come to.

    key : what they have in common: a track's id, an artist's name (None where there is none), a listener's name; of quarters of an hour
        the number since 1970.
    title, artist, album : of a track, as its last play calls it.
    first_at, last_at : when the first and the last of them started.
    """

    key: int | str | None
    n_plays: int
    heard_s: float
    first_at: datetime
    last_at: datetime
    title: str = ""
    artist: str | None = None
    album: str | None = None


def _json(values: object) -> str:
    return json.dumps(values, separators=(",", ":"))
