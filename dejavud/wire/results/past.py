"""What happened: events, and the history."""

from typing import Any, NotRequired, TypedDict

from dejavud.wire.results.tracks import Gap

JsonObject = dict[str, Any]


class Event(TypedDict):
    """Something that happened."""

    version: int
    daemon: str
    topic: str
    seq: int
    time: str
    data: JsonObject
    lost: NotRequired[int]


class Events(TypedDict):
    """Events that are kept; ask again with `next` as `after` until it is null."""

    daemon: str
    seq: int
    lost: int
    events: list[Event]
    next: int | None


class PlayedTrack(TypedDict):
    """A track as it was called when it played."""

    id: int
    title: str
    artist: str | None
    album: str | None
    file_sha1: str


class Play(TypedDict):
    """A play of the history."""

    id: str
    listener: str
    source: str
    track: PlayedTrack
    started_at: str
    ended_at: str
    start_s: float
    end_s: float
    track_start_s: float
    track_end_s: float
    heard_s: float
    coverage: float
    confidence: float
    gaps: list[Gap]
    twins: list[int]
    outcome: str
    daemon: str
    host: str


class Plays(TypedDict):
    """A page of the history, newest first."""

    plays: list[Play]
    next: str | None
    since: str | None
    until: str | None


class SummedTrack(TypedDict):
    """A track of a summary."""

    id: int
    title: str
    artist: str | None
    album: str | None


class PlayGroup(TypedDict):
    """Plays that have something in common, which is named by the key that the summary is by."""

    track: NotRequired[SummedTrack]
    artist: NotRequired[str | None]
    listener: NotRequired[str]
    day: NotRequired[str]
    hour: NotRequired[str]
    since: NotRequired[str]
    until: NotRequired[str]
    n_plays: int
    heard_s: float
    first_at: str
    last_at: str


class PlaySummary(TypedDict):
    """Plays, added up."""

    by: str
    groups: list[PlayGroup]
    n_groups: int
    n_plays: int
    n_tracks: int
    heard_s: float
    since: str | None
    until: str | None


class RemovedPlays(TypedDict):
    """How many plays were forgotten."""

    n_removed: int
    since: str | None
    until: str | None
