"""From distinct query hashes back to every meeting of a query hash with a posting, in numpy and within a bound.

A query asks the same hash several times (its sub-frame shifts agree, music repeats itself), so a store is asked for
each value once and the repetitions are put back here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.values import Hashes, Hits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

MAX_HITS = 1 << 22
"""The most meetings of one look-up (32 MB, and 50 ms).  A query of five seconds with all it can ask has some 25 000 a million postings, so those of libraries
to 150 million are whole; a search for speed has ten times as many.  A steady tone, whose few hashes meet one another over and over, would have billions."""

_ODD, _OTHER_ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
"""Odd numbers without a pattern: multiplied by them modulo 2^64, neighbours part."""
_GREATEST_PART = 16


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

        Where there are more than `max_hits`, only some of the query's hashes count, as `worth_asking` has it.
        """
        offsets, counts = self._offsets, self._counts
        n_postings = np.bincount(which, minlength=len(self.values))
        if (n_postings * counts).sum() > max_hits:
            asked = Hashes(np.repeat(self.values, counts), offsets)
            kept = worth_asking(asked, np.repeat(n_postings, counts), max_hits)
            offsets, counts = offsets[kept], np.add.reduceat(kept, self._starts, dtype=np.int64)
            found = counts[which] > 0
            which, track_ids, track_offsets = which[found], track_ids[found], track_offsets[found]
        starts, repeats = np.cumsum(counts) - counts, counts[which]
        if not len(which) or repeats.max() == 1:
            return Hits(offsets[starts[which]], track_ids, track_offsets)
        n_before = np.cumsum(repeats) - repeats
        place = np.arange(repeats.sum()) + np.repeat(starts[which] - n_before, repeats)
        return Hits(offsets[place], np.repeat(track_ids, repeats), np.repeat(track_offsets, repeats))


def worth_asking(hashes: Hashes, n_postings: Array, max_hits: int) -> Array:
    """Return bool [n]: which of a query's hashes to ask, so that together they meet at most `max_hits` postings.

    n_postings : int64 [n], of each of `hashes`.

    All of them where they are few enough.  Otherwise what says the same twice is asked once, what meets more than a 16th of the bound by itself not at
    all, and of the rest an even sample, the same for the same hashes in any order.  To keep the rarest instead is worse: noise makes rare hashes, music
    common ones.  Of clips of five seconds in noise as loud as they are a quarter of the meetings found 90 % in that way, where all of them find 92, and the
    quarter with the rarest hashes 72.
    """
    if n_postings.sum() <= max_hits:
        return np.ones(len(hashes), dtype=bool)
    mixed = (hashes.values.astype(np.uint64) * _ODD) ^ (hashes.offsets.astype(np.uint64) * _OTHER_ODD)
    mixed *= _ODD  # the high bits depend on all that is below them
    order = np.lexsort((hashes.offsets, hashes.values, mixed))
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = np.any(
        [column[order][1:] != column[order][:-1] for column in (hashes.values, hashes.offsets)], axis=0
    )
    asked = order[is_first & (n_postings[order] <= max(1, max_hits // _GREATEST_PART))]
    kept = np.zeros(len(hashes), dtype=bool)
    kept[asked] = np.cumsum(n_postings[asked]) <= max_hits
    return kept
