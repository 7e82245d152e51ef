"""Listeners, and what they hear."""

from typing import Literal, TypedDict

from dejavud.wire.results.tracks import Gap, NamedTrack


class Device(TypedDict):
    """A device that can record."""

    index: int
    name: str
    n_channels: int
    rate_hz: int
    is_default: bool


class Devices(TypedDict):
    """All devices that can record."""

    devices: list[Device]


class ListenerPlay(TypedDict):
    """A track that a listener hears."""

    listener: str
    source: str
    play: int
    track: NamedTrack
    started_at: str
    start_s: float
    end_s: float
    track_start_s: float
    track_end_s: float
    confidence: float
    coverage: float
    gaps: list[Gap]
    twins: list[int]
    exact: bool


class Listener(TypedDict):
    """A source that is listened to, and how that goes."""

    listener: str
    source: str
    state: Literal["starting", "waiting", "listening", "silent", "retrying", "paused", "ended"]
    reason: str | None
    next_try_at: str | None
    format: str | None
    level_db: float | None
    heard_s: float
    drift_ppm: float | None
    lag_s: float | None
    n_overruns: int
    n_retries: int
    n_plays: int
    remembered: bool
    plays: list[ListenerPlay]


class Listeners(TypedDict):
    """All listeners."""

    listeners: list[Listener]


class RemovedListener(TypedDict):
    """The listener that is no more."""

    removed: Listener


class HeardSound(TypedDict):
    """How much sound was taken."""

    heard_s: float


class Peaks(TypedDict):
    """Peaks in columns: when, and how high."""

    time_s: list[float]
    hz: list[float]


class TrackPeaks(Peaks):
    """The peaks of a track, laid where it plays, and which of them are heard."""

    play: int
    track_id: int
    quarter: list[int]
    is_met: list[bool]


class ListenerPeaks(TypedDict):
    """What a listener heard in its last seconds."""

    listener: str
    from_s: float
    to_s: float
    min_hz: float
    max_hz: float
    heard: Peaks
    tracks: list[TrackPeaks]
