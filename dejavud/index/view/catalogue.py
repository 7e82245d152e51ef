"""All tracks of an index in memory: who asks which they are need not wait for a database."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dejavud.values import Track


class Catalogue:
    """Tracks by id and by content, disabled ones too.  For any thread.

    tracks : ascending by id; a kilobyte each.
    """

    def __init__(self, tracks: Sequence[Track]) -> None:
        self._lock = threading.Lock()
        self._ids = [track.id for track in tracks]
        self._by_id = {track.id: track for track in tracks}
        self._ids_by_sha1 = {track.file_sha1: track.id for track in tracks}

    def __contains__(self, track_id: int) -> bool:
        return track_id in self._by_id

    def add(self, tracks: Iterable[Track]) -> None:
        """Take in tracks whose ids are greater than all before."""
        with self._lock:
            for track in tracks:
                self._ids.append(track.id)
                self._by_id[track.id] = track
                self._ids_by_sha1[track.file_sha1] = track.id

    def replace(self, tracks: Iterable[Track]) -> None:
        """Have these tracks as they are now; those that are not there are no matter."""
        with self._lock:
            self._by_id.update((track.id, track) for track in tracks if track.id in self._by_id)

    def disabled(self) -> list[int]:
        """Return the ids of disabled tracks."""
        with self._lock:
            return [track.id for track in self._by_id.values() if track.disabled]

    def remove(self, tracks: Iterable[Track]) -> None:
        """Forget tracks; those that are not there are no matter."""
        with self._lock:
            for track in tracks:
                if self._by_id.pop(track.id, None) is not None:
                    del self._ids[bisect_left(self._ids, track.id)]
                    del self._ids_by_sha1[track.file_sha1]

    def select(
        self, *, ids: Sequence[int] | None, sha1s: Sequence[str] | None, limit: int | None, after_id: int
    ) -> Sequence[Track]:
        """See `dejavud.index.base.Index.tracks`."""
        with self._lock:
            if ids is None and sha1s is None:
                first = bisect_right(self._ids, after_id)
                chosen = self._ids[first : None if limit is None else first + limit]
                return [self._by_id[track_id] for track_id in chosen]
            wanted = set(self._by_id) if ids is None else self._by_id.keys() & set(ids)
            if sha1s is not None:
                wanted &= {self._ids_by_sha1[sha1] for sha1 in sha1s if sha1 in self._ids_by_sha1}
            return [self._by_id[track_id] for track_id in sorted(wanted) if track_id > after_id][:limit]
