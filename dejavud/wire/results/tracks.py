"""Tracks, and what becomes of them."""

from typing import TypedDict


class Gap(TypedDict):
    """A stretch that is not explained."""

    start_s: float
    end_s: float


class NamedTrack(TypedDict):
    """A track, as an answer names it."""

    id: int
    title: str
    artist: str | None
    album: str | None
    path: str | None
    file_sha1: str
    duration_s: float


class Track(NamedTrack):
    """A track, as the library shows it."""

    n_peaks: int
    n_hashes: int
    added_at: str
    disabled: bool


class Duplicate(NamedTrack):
    """A track that holds the same recording."""

    confidence: float


class Added(TypedDict):
    """The track of a file; `added` is false where the same bytes were there already."""

    track: Track
    added: bool
    duplicates: list[Duplicate]


class TrackPage(TypedDict):
    """A page of tracks; ask again with `next` as `cursor` until it is null."""

    tracks: list[Track]
    n_total: int
    next: str | None
    next_after_id: int | None


class OneTrack(TypedDict):
    """A track."""

    track: Track


class UpdatedTracks(TypedDict):
    """Tracks that were changed, as they are now."""

    updated: list[Track]
    n_updated: int


class RemovedTracks(TypedDict):
    """Tracks that were there and are no more."""

    removed: list[Track]
    n_removed: int


class KnownTracks(TypedDict):
    """Tracks by the SHA1 of their file."""

    tracks: dict[str, Track]
