"""Hits to candidates: a histogram of (track, delta), the classic of the field (Wang 2003), without a loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.ballots import ballots

if TYPE_CHECKING:
    from dejavud.matching.ballots import Ballots
    from dejavud.placed_hits import AnyHits
    from dejavud.values import Array

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

    def __getitem__(self, chosen: Array) -> Candidates:
        return Candidates(self.track_ids[chosen], self.scales[chosen], self.deltas[chosen], self.votes[chosen])


_NOBODY = Candidates(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
_ENOUGH = 4
"""Diagonals with so many votes are looked for first: with the hits of chance, of which there are a few in a hundred frames, few have.  Where there are
more than one a frame, with so many times more."""
_NEXT_BUT_ONE = 2


def vote(hits: AnyHits, n_candidates: int) -> Candidates:
    """Return the `n_candidates` (track, scale, delta) triples that the most hits agree on; fewer when there are fewer.

    A true alignment lies between two frames as often as not, so its votes fall on neighbouring deltas: each triple counts its
    neighbours' votes too, and one that is not the greater of two neighbours is still a candidate of its own.  No track takes more than its
    share of the places while others wait (`shared_out`).
    """
    groups = [_counted(group, n_candidates * TRACKS_AT_LEAST) for group in ballots(hits)]
    if len(groups) == 1:
        found = groups[0]
    else:
        columns = zip(*((g.track_ids, g.scales, g.deltas, g.votes) for g in [_NOBODY, *groups]), strict=True)
        found = Candidates(*map(np.concatenate, columns))
    order = np.lexsort((found.deltas, found.scales, found.track_ids, -found.votes))
    found = found[order[: n_candidates * TRACKS_AT_LEAST]]
    return found[shared_out(found.track_ids, n_candidates)]


def _counted(group: Ballots, n_best: int) -> Candidates:
    """Return the candidates of one group, in no order: at least the `n_best` with most votes."""
    numbers = group.numbers
    numbers.sort()
    n_a_frame = len(numbers) // (1 + int(numbers[-1]) - int(numbers[0])) if len(numbers) else 0
    n_enough = _ENOUGH << n_a_frame.bit_length()
    elected, votes = _elected(numbers, n_enough)
    while len(votes) < n_best and n_enough > 1:
        n_enough //= 2
        elected, votes = _elected(numbers, n_enough)
    if len(votes) > n_best:
        best = np.argpartition(-votes, n_best - 1)[:n_best]
        elected, votes = elected[best], votes[best]
    diagonals = group.diagonals(elected)
    return Candidates(diagonals.track_ids, diagonals.scales, diagonals.deltas, votes[diagonals.which])


def _elected(numbers: Array, n_enough: int) -> tuple[Array, Array]:
    """Return the distinct `numbers` with at least `n_enough` votes, their own and their two neighbours', and these, float64.

    numbers : ascending.
    """
    if (
        n_enough > 1
    ):  # so many in three neighbouring numbers are as many in a row, the last next but one to the first or nearer
        n_rows = max(0, len(numbers) - n_enough + 1)
        first = np.flatnonzero(numbers[n_enough - 1 :] - numbers[:n_rows] <= _NEXT_BUT_ONE)
        is_near = np.zeros(len(numbers), bool)
        for step in range(n_enough):
            is_near[first + step] = True
        numbers = numbers[is_near]
    starts = np.flatnonzero(np.append(np.ones(min(1, len(numbers)), bool), numbers[1:] != numbers[:-1]))
    distinct = numbers[starts]
    counts = np.diff(starts, append=len(numbers)).astype(np.float64)
    votes = counts.copy()
    adjacent = np.flatnonzero(np.diff(distinct) == 1)
    votes[adjacent] += counts[adjacent + 1]
    votes[adjacent + 1] += counts[adjacent]
    elected = votes >= n_enough
    return distinct[elected], votes[elected]


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
