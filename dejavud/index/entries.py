"""What every index does with tracks on their way in."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from dejavud.errors import TrackIdTaken
from dejavud.values import Track

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from dejavud.values import NewTrack, TrackEdit

_UNSTORABLE = re.compile("[\ud800-\udfff\0]")

MAX_ID = 2**31 - 1
"""Track ids are int32 wherever they are stored."""


def stored_track(entry: NewTrack, track_id: int, added_at: datetime) -> Track:
    """Return `entry` as the track that an index keeps."""
    return Track(
        id=track_id,
        title=storable(entry.title),
        artist=None if entry.artist is None else storable(entry.artist),
        album=None if entry.album is None else storable(entry.album),
        path=None if entry.path is None else storable(entry.path),
        file_sha1=entry.file_sha1,
        duration_s=float(entry.duration_s),
        n_peaks=len(entry.constellation),
        n_hashes=len(entry.hashes),
        added_at=entry.added_at or added_at,
        disabled=entry.disabled,
    )


def stored_tracks(
    entries: Sequence[NewTrack], next_id: int, taken: Collection[int], added_at: datetime
) -> tuple[list[Track], int]:
    """Return `entries`, no two of one content, as the tracks that an index keeps, and the id that the next one gets.

    next_id : greater than all ids that were ever given.
    taken : ids that tracks have; of those that entries bring at least.

    Raises `TrackIdTaken`.
    """
    tracks: list[Track] = []
    used = set(taken)
    for entry in entries:
        track_id = next_id if entry.id is None else entry.id
        if track_id in used:
            raise TrackIdTaken(track_id=track_id)
        used.add(track_id)
        tracks.append(stored_track(entry, track_id, added_at))
        next_id = max(next_id, track_id + 1)
    return tracks, next_id


def edited(track: Track, edit: TrackEdit) -> Track:
    """Return `track` with the changes of `edit`."""
    return replace(
        track,
        title=track.title if edit.title is None else storable(edit.title),
        artist=track.artist if edit.artist is None else storable(edit.artist) or None,
        album=track.album if edit.album is None else storable(edit.album) or None,
        disabled=track.disabled if edit.disabled is None else edit.disabled,
    )


def storable(text: str) -> str:
    """Return `text` with what no database takes replaced: a file name need not be UTF-8, a tag may hold NUL."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def possible_ids(track_ids: Iterable[int]) -> list[int]:
    """Return the ids that a track could have at all, each once, ascending."""
    return sorted({track_id for track_id in track_ids if 0 < track_id <= MAX_ID})
