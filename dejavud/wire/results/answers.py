"""What is playing: in a query, in a recording."""

from typing import NotRequired, TypedDict

from dejavud.wire.results.tracks import Gap, NamedTrack


class Match(TypedDict):
    """A track that sounds in a query, and where."""

    track: NamedTrack
    confidence: float
    score: float
    query_start_s: float
    query_end_s: float
    track_start_s: float
    track_end_s: float
    speed: float
    pitch: float
    coverage: float
    gaps: list[Gap]
    twins: list[int]


class Query(TypedDict):
    """What was asked about."""

    source: str
    duration_s: float
    n_hashes: int


class Timings(TypedDict):
    """Where the time went."""

    decode_ms: float
    fingerprint_ms: float
    lookup_ms: float
    match_ms: float
    total_ms: float


class Engine(TypedDict):
    """By what was matched."""

    profile: str
    params: str
    frame_s: NotRequired[float]


class Recognition(TypedDict):
    """The answer to a query: the best match first, none where nothing is recognized."""

    query: Query
    matches: list[Match]
    timings: Timings
    engine: Engine
    partial: list[str]


class Recording(TypedDict):
    """What was scanned."""

    source: str
    duration_s: float
    n_damaged_packets: int


class TimelinePlay(TypedDict):
    """A track that is played in a recording, from when to when."""

    track: NamedTrack
    start_s: float
    end_s: float
    track_start_s: float
    track_end_s: float
    confidence: float
    coverage: float
    gaps: list[Gap]
    twins: list[int]


class Timeline(TypedDict):
    """What is played in a recording."""

    recording: Recording
    plays: list[TimelinePlay]
    engine: Engine
    partial: list[str]


class OldSong(TypedDict):
    """The best match as dejavu named it."""

    id: int
    match: str
    confidence: int
    offset: int
    offset_seconds: float
    file_sha1: str
    match_time: float


class OldAnswer(TypedDict):
    """What the old route answers: a song, nothing, or what is wrong."""

    message: OldSong | str | None
