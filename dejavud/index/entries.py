"""What every index does with tracks on their way in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dejavud.values import Track

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from dejavud.values import NewTrack

_UNSTORABLE = re.compile("[\ud800-\udfff\0]")

MAX_ID = 2**31 - 1
"""Track ids are int32 wherever they are stored."""


def stored_track(entry: NewTrack, track_id: int, added_at: datetime) -> Track:
    """Return `entry` as the track that an index keeps."""
    return Track(
        id=track_id,
        title=_storable(entry.title),
        artist=None if entry.artist is None else _storable(entry.artist),
        album=None if entry.album is None else _storable(entry.album),
        path=None if entry.path is None else _storable(entry.path),
        file_sha1=entry.file_sha1,
        duration_s=float(entry.duration_s),
        n_peaks=len(entry.constellation),
        n_hashes=len(entry.hashes),
        added_at=added_at,
    )


def _storable(text: str) -> str:
    """Return `text` with what no database takes replaced: a file name need not be UTF-8, a tag may hold NUL."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def possible_ids(track_ids: Iterable[int]) -> list[int]:
    """Return the ids that a track could have at all, each once, ascending."""
    return sorted({track_id for track_id in track_ids if 0 < track_id <= MAX_ID})
