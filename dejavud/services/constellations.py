"""Constellations kept at hand: every query verifies against some, and unpacking them costs more than matching.

An index with a resident view unpacks them in some 20 us each: then none are kept (`max_peaks` is 0).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dejavud.index.base import Index
    from dejavud.values import Constellation

MAX_PEAKS = 32_000_000
"""Peaks kept, at 7 bytes each: about 5 000 tracks in a quarter of a gigabyte."""


class ConstellationCache:
    """The least recently used constellations leave when there are too many.  For any thread.

    Ids are never given again but where a backup is restored, which says so (`forget`): else what is kept never goes stale. That a track was removed
    is seen where its track is read.
    """

    def __init__(self, index: Index, max_peaks: int = MAX_PEAKS) -> None:
        self._index = index
        self._max_peaks = max_peaks
        self._kept: OrderedDict[int, Constellation] = OrderedDict()
        self._n_peaks = 0
        self._n_forgotten = 0
        self._lock = threading.Lock()

    def read(self, track_ids: Sequence[int]) -> Mapping[int, Constellation]:
        """Return the constellations of these tracks; ids that are not in the index are left out."""
        with self._lock:
            n_forgotten = self._n_forgotten
            found = {track_id: self._kept[track_id] for track_id in track_ids if track_id in self._kept}
            for track_id in found:
                self._kept.move_to_end(track_id)
        missing = [track_id for track_id in track_ids if track_id not in found]
        if missing:
            fresh = self._index.constellations(missing)
            self._keep(fresh, n_forgotten)
            found.update(fresh)
        return found

    def forget(self, track_ids: Iterable[int] | None) -> None:
        """Keep nothing of these tracks (None: of any), nor of what is being read now: their ids may have been given to others."""
        with self._lock:
            self._n_forgotten += 1
            for track_id in list(self._kept) if track_ids is None else track_ids:
                dropped = self._kept.pop(track_id, None)
                self._n_peaks -= 0 if dropped is None else len(dropped)

    def _keep(self, fresh: Mapping[int, Constellation], n_forgotten: int) -> None:
        with self._lock:
            if n_forgotten != self._n_forgotten:
                return
            for track_id, constellation in fresh.items():
                if track_id not in self._kept:  # another query may have read it at the same time
                    self._kept[track_id] = constellation
                    self._n_peaks += len(constellation)
            while self._n_peaks > self._max_peaks:
                _, dropped = self._kept.popitem(last=False)
                self._n_peaks -= len(dropped)
