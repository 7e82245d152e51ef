"""Whether a recording that was just added is in the library already, in another file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dejavud.matching.duplicates import duplicates_of, hashes_in, windows_of
from dejavud.services.views import track_in_answer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from dejavud.index.base import Index
    from dejavud.services.profiles import Profile
    from dejavud.values import NewTrack, Track

TIMEOUT_S = 5.0
"""For the one look-up that this takes; what takes longer is not reported."""


@dataclass(frozen=True, slots=True)
class DuplicateTrack:
    """A track that holds the same recording as another, and how sure that is, 0..1."""

    track: Track
    confidence: float


class DuplicateFinder:
    """Compares new tracks with those that were there before them.

    A profile without constellations has nothing to compare: then none is found.
    """

    def __init__(self, index: Index, profile: Profile) -> None:
        self._index = index
        self._frames_per_s = profile.frames_per_s
        self._has_constellations = profile.track_hashes is not None

    def find(self, track: Track, entry: NewTrack) -> tuple[DuplicateTrack, ...]:
        """Return the tracks of lower ids that hold the recording of `track`, which was added as `entry`, the surest first.

        Of two that came at the same time so the later one is told of the earlier.  Disabled tracks are not asked.  Blocks, some
        milliseconds; raises what the index raises.
        """
        if not self._has_constellations:
            return ()
        windows = windows_of(entry.constellation.n_frames, self._frames_per_s)
        hits = self._index.lookup(hashes_in(entry.hashes, windows), timeout_s=TIMEOUT_S)
        found = duplicates_of(
            entry.constellation, windows, hits, self._index.constellations, lambda track_id: track_id < track.id
        )
        tracks = {each.id: each for each in self._index.tracks(ids=[duplicate.track_id for duplicate in found])}
        return tuple(
            DuplicateTrack(tracks[duplicate.track_id], duplicate.confidence)
            for duplicate in found
            if duplicate.track_id in tracks
        )


def duplicates_view(duplicates: Sequence[DuplicateTrack]) -> list[dict[str, Any]]:
    """Return duplicates as answers and events show them."""
    return [{**track_in_answer(each.track), "confidence": round(each.confidence, 4)} for each in duplicates]
