"""From distinct query hashes back to every meeting of a query hash with a posting, in numpy and within a bound.

A query asks the same hash several times (its sub-frame shifts agree, music repeats itself), so a store is asked for
each value once and the repetitions are put back here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.values import Hits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dejavud.values import Hashes

    Array = NDArray[Any]

MAX_HITS = 1 << 23
"""The most meetings of one look-up (64 MB, and 0.1 s).  A query of five seconds with all it can ask has some 25 000 a million postings, so those of libraries
to 300 million are whole.  A search for speed has ten times as many and is cut from 30 million on: of clips at other speeds in 80 million postings that
cost none of 200 at this bound, 2 in 100 at half of it.  A steady tone, whose few hashes meet one another over and over, would have billions."""


class DistinctHashes:
    """The distinct values of a query's hashes, and where in the query each of them is.

    values : uint32 or uint64 [n], ascending, without repeats.
    """

    def __init__(self, hashes: Hashes) -> None:
        order = np.argsort(hashes.values, kind="stable")
        ordered = hashes.values[order]
        is_first = np.ones(len(ordered), dtype=bool)
        np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
        self.values: Array = ordered[is_first]
        self._offsets = hashes.offsets[order]  # those of one value lie together
        self._starts = np.flatnonzero(is_first)
        self._counts = np.diff(self._starts, append=len(ordered))

    def meetings(self, which: Array, track_ids: Array, track_offsets: Array, *, max_hits: int = MAX_HITS) -> Hits:
        """Return every meeting of the query with the postings found for it.

        which : int [n], index into `values` of each posting's hash.
        track_ids, track_offsets : int32 [n], the postings.

        Where there are more than `max_hits`, values are left out whole, those with most meetings first: a hash that
        meets everything tells least.
        """
        repeats = self._counts[which]
        if repeats.sum() > max_hits:
            n_meetings = np.bincount(which, minlength=len(self.values)) * self._counts
            kept = within_bound(n_meetings, max_hits)[which]
            which, track_ids, track_offsets, repeats = (
                column[kept] for column in (which, track_ids, track_offsets, repeats)
            )
        if not len(which) or repeats.max() == 1:
            return Hits(self._offsets[self._starts[which]], track_ids, track_offsets)
        n_before = np.cumsum(repeats) - repeats
        place = np.arange(repeats.sum()) + np.repeat(self._starts[which] - n_before, repeats)
        return Hits(self._offsets[place], np.repeat(track_ids, repeats), np.repeat(track_offsets, repeats))


def within_bound(n_meetings: Array, max_hits: int) -> Array:
    """Return bool [n]: the values, rarest first, whose meetings are together at most `max_hits`.

    n_meetings : int64 [n], by value; equally rare ones are taken in their order.
    """
    order = np.argsort(n_meetings, kind="stable")
    kept = np.empty(len(order), dtype=bool)
    kept[order] = np.cumsum(n_meetings[order]) <= max_hits
    return kept
