from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dejavud.index.memory import MemoryIndex
from dejavud.services.constellations import ConstellationCache
from dejavud.values import Constellation, Hashes, NewTrack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

N_PEAKS = 100


class CountingIndex(MemoryIndex):
    """Notes which constellations were read from it."""

    def __init__(self, n_tracks: int) -> None:
        super().__init__()
        self.read: list[int] = []
        peaks = np.arange(N_PEAKS)
        constellation = Constellation(peaks, peaks, N_PEAKS, peaks % 4)
        self.add(
            [
                NewTrack(f"{n}", None, None, None, f"{n:040x}", 3.2, constellation, Hashes([n], [0]))
                for n in range(1, n_tracks + 1)
            ]
        )

    def constellations(self, track_ids: Sequence[int]) -> Mapping[int, Constellation]:
        """See `Index.constellations`."""
        self.read.extend(track_ids)
        return super().constellations(track_ids)


def test_a_constellation_is_read_once() -> None:
    """What was read is not read again, alone or among others."""
    index = CountingIndex(3)
    cache = ConstellationCache(index)
    assert set(cache.read([1, 2])) == {1, 2}
    assert set(cache.read([2, 3, 1])) == {1, 2, 3}
    assert index.read == [1, 2, 3]


def test_what_is_not_there_is_left_out_and_asked_for_again() -> None:
    """A track that the index does not hold may come later."""
    index = CountingIndex(1)
    cache = ConstellationCache(index)
    assert set(cache.read([1, 9])) == {1}
    assert set(cache.read([1, 9])) == {1}
    assert index.read == [1, 9, 9]


def test_the_least_recently_used_leave_when_there_are_too_many() -> None:
    """With room for two tracks, the one that was not asked for lately is read anew, and no other."""
    index = CountingIndex(3)
    cache = ConstellationCache(index, max_peaks=2 * N_PEAKS)
    cache.read([1])
    cache.read([2])
    cache.read([1])
    cache.read([3])  # drops 2
    index.read.clear()
    cache.read([1])
    cache.read([3])
    assert index.read == []
    cache.read([2])
    assert index.read == [2]


def test_a_query_that_needs_more_than_fits_is_answered() -> None:
    """Everything asked for comes back, however little is kept."""
    cache = ConstellationCache(CountingIndex(3), max_peaks=N_PEAKS)
    assert set(cache.read([1, 2, 3])) == {1, 2, 3}
