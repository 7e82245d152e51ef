"""Hits to candidates: a histogram of (track, delta), the classic of the field (Wang 2003), without a loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.fingerprint.scaling import split_offsets

if TYPE_CHECKING:
    from dejavud.values import Array, Hits

DELTA_BITS, SCALE_BITS = 24, 8
_DELTA_ZERO = 1 << (DELTA_BITS - 1)


TRACKS_AT_LEAST = 4
"""So many tracks share the candidates, where so many have hits: one that repeats itself shall not crowd out another that sounds under it."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Alignments worth a closer look, most votes first.

    track_ids : int64 [n].
    scales : int64 [n], which of the scales that were asked for (0 where only one was).
    deltas : int64 [n], frame of the track at the start of the query.
    votes : float64 [n], hits at the delta and its two neighbours.
    """

    track_ids: Array
    scales: Array
    deltas: Array
    votes: Array

    def __len__(self) -> int:
        return len(self.track_ids)


def vote(hits: Hits, n_candidates: int) -> Candidates:
    """Return the `n_candidates` (track, scale, delta) triples that the most hits agree on; fewer when there are fewer.

    A true alignment lies between two frames as often as not, so its votes fall on neighbouring deltas: each triple counts its
    neighbours' votes too, and one that is not the greater of two neighbours is still a candidate of its own.  No track takes more than its
    share of the places while others wait (`shared_out`).
    """
    scales, frames = split_offsets(hits.query_offsets)
    deltas = hits.track_offsets.astype(np.int64) - frames + _DELTA_ZERO
    owners = (hits.track_ids.astype(np.int64) << SCALE_BITS) | scales
    keys, counts = np.unique((owners << DELTA_BITS) | deltas, return_counts=True)
    votes = counts.astype(np.float64)
    adjacent = np.flatnonzero(np.diff(keys) == 1)
    votes[adjacent] += counts[adjacent + 1]
    votes[adjacent + 1] += counts[adjacent]
    best, n_looked_at = np.arange(len(keys)), n_candidates * TRACKS_AT_LEAST
    if len(keys) > n_looked_at:
        best = np.argpartition(-votes, n_looked_at - 1)[:n_looked_at]
    best = best[np.lexsort((keys[best], -votes[best]))]
    best = best[shared_out(keys[best] >> (DELTA_BITS + SCALE_BITS), n_candidates)]
    owners, deltas = keys[best] >> DELTA_BITS, (keys[best] & ((1 << DELTA_BITS) - 1)) - _DELTA_ZERO
    return Candidates(owners >> SCALE_BITS, owners & ((1 << SCALE_BITS) - 1), deltas, votes[best])


def shared_out(owners: Array, n_places: int) -> Array:
    """Return int [n], ascending: which of the first come get one of `n_places`, no owner more than its share while others wait.

    owners : int [n], in the order in which they come.
    """
    order = np.argsort(owners, kind="stable")
    starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    turn = np.empty(len(owners), np.int64)
    turn[order] = np.arange(len(owners)) - np.repeat(starts, np.diff(np.append(starts, len(owners))))
    waits = turn >= max(1, n_places // TRACKS_AT_LEAST)
    return np.sort(np.argsort(waits, kind="stable")[:n_places])
