"""Hits of dejavu's own hashes to an answer: its histogram, and what it never had, a probability and a "no match".

dejavu names the track and the difference of offsets that most hashes agree on, whatever the number.  So do we, to the hash; a library that
came from dejavu has no constellations to verify against, so whether that number means anything is read off the votes themselves.
Every other (track, difference) that the same query meets shows what chance can do with this query in this library, tonal and repetitive
passages and all.  The largest of those numbers fall off exponentially, as the tails of most distributions do (peaks over a threshold:
Pickands 1975), which says how many places would by chance reach the number that the best one has.

What is counted for that are anchors, not hashes: one peak is in dozens of hashes, which agree or fail together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.coverage import Stretch
from dejavud.values import UNSCALED, Alignment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dejavud.matching.matcher import MatchRules
    from dejavud.placed_hits import AnyHits
    from dejavud.values import Array, ClassicQuery, Constellation, Scale

N_JUDGED = 8
"""Tracks whose best place is judged."""

N_TAIL = 100
"""The strongest places by chance, whose excess over the weakest of them tells how fast the tail falls."""

MIN_DECAY = 0.1
"""However few places there are to learn from, one anchor more makes a place by chance no rarer than this.  With 0.3 twice as many short
queries stay undecided; with 0.05 unknown music comes to 0.99 more often than once in a hundred."""

TWIN_ANCHORS, TWIN_SHARE = 8, 0.6
"""A place in another track that agrees with so many, and with this share of the same anchors, is the same recording and no doubt of it."""
MAX_TWINS = 3
"""More tracks than this that fit alike are a passage that fits everything."""

STEP_S = 1.0
MIN_GAP_STEPS = 2
"""dejavu's hashes are few: a second without one that agrees is no gap."""

_DELTA_BITS = 32
_DELTA_ZERO = 1 << (_DELTA_BITS - 1)


@dataclass(frozen=True, slots=True)
class Places:
    """Every (track, difference of offsets) on which hits agree, in order of (track, difference).

    track_ids, deltas : int64 [n].
    n_hashes : int64 [n], hits, as dejavu counts them.
    n_anchors : int64 [n], different frames of the query among them.
    """

    track_ids: Array
    deltas: Array
    n_hashes: Array
    n_anchors: Array

    def __len__(self) -> int:
        return len(self.track_ids)


def agreement(hits: AnyHits) -> Places:
    """Return where hits agree."""
    keys = _keys(hits)
    order = np.lexsort((hits.query_offsets, keys))
    keys, offsets = keys[order], hits.query_offsets[order]
    is_place = np.diff(keys, prepend=-1) != 0
    is_anchor = is_place | (np.diff(offsets, prepend=-1) != 0)
    starts = np.flatnonzero(is_place)
    n_hashes = np.diff(starts, append=len(keys))
    n_anchors = np.add.reduceat(is_anchor.astype(np.int64), starts) if len(starts) else np.empty(0, np.int64)
    places = keys[starts]
    return Places(places >> _DELTA_BITS, (places & ((1 << _DELTA_BITS) - 1)) - _DELTA_ZERO, n_hashes, n_anchors)


class ClassicMatcher:
    """Turns hits of dejavu's hashes into answers by one set of rules; the candidates' numbers of `MatchRules` have no part in it."""

    def __init__(self, rules: MatchRules) -> None:
        self._rules = rules

    def match(
        self,
        query: ClassicQuery,
        hits: AnyHits,
        read_constellations: Callable[[Sequence[int]], Mapping[int, Constellation]],  # noqa: ARG002 - as every matcher
        n_index_frames: float,  # noqa: ARG002 - the votes show the index's size
        scales: Sequence[Scale] = (UNSCALED,),  # noqa: ARG002 - dejavu knows one
    ) -> tuple[Alignment, ...]:
        """Return the tracks that sound in the query, most hashes first; empty when none is sure enough.

        Of equally many hashes the track of the lower id is first, and of its places the earlier one, as in dejavu's last version.
        """
        rules, places = self._rules, agreement(hits)
        min_coverage = min(rules.min_coverage, rules.enough_s / max(query.duration_s, STEP_S))
        sure: list[Alignment] = []
        for place in best_of_each_track(places)[:N_JUDGED]:
            if int(places.track_ids[place]) in {twin for answer in sure for twin in answer.twins}:
                continue  # it is another release of what is answered already
            answer = _judged(query, hits, places, place, [answer.track_id for answer in sure])
            if answer.confidence >= rules.min_confidence and answer.coverage >= min_coverage:
                sure.append(answer)
        return tuple(sure[: rules.max_matches])


def _judged(query: ClassicQuery, hits: AnyHits, places: Places, place: int, sounding: Sequence[int]) -> Alignment:
    """Return a place judged; tracks that are `sounding` for sure are no doubt of another that sounds with them."""
    track_id, delta = int(places.track_ids[place]), int(places.deltas[place])
    anchors = _anchors(hits, track_id, delta)
    twins = _twins(hits, places, place, anchors)
    stretch = find_stretch(query, anchors)
    return Alignment(
        track_id=track_id,
        delta_frames=float(delta),
        speed=1.0,
        pitch=1.0,
        score=float(places.n_hashes[place]),
        confidence=confidence(places, place, [*sounding, *twins]),
        coverage=stretch.coverage,
        first_frame=stretch.first,
        last_frame=stretch.last,
        gaps=stretch.gaps,
        twins=twins,
    )


def best_of_each_track(places: Places) -> list[int]:
    """Return each track's place with the most hashes, the earlier one of two; most hashes first, then the lower id."""
    order = np.lexsort((places.deltas, places.track_ids, -places.n_hashes))
    _, first = np.unique(places.track_ids[order], return_index=True)
    return order[np.sort(first)].tolist()


def confidence(places: Places, place: int, apart: Sequence[int]) -> float:
    """Return the probability, 0 to 1, that a place is not chance.

    That is 1 / (1 + e), where e is how many places chance is expected to bring to as many anchors: a true place and chance being as likely
    before the query was heard.  Chance is learned from the places in other tracks; music that repeats itself has others as strong in its
    own, which are no doubt of whose it is, so those count only where a small library has little else to learn from.

    apart : tracks that are no rivals, and of which nothing is learned.
    """
    n_anchors, own = int(places.n_anchors[place]), places.track_ids == places.track_ids[place]
    chance = ~np.isin(places.track_ids, list(apart)) & ~own
    if np.count_nonzero(chance) < N_TAIL:
        chance |= own & (np.abs(places.deltas - places.deltas[place]) > 1)
    tail = np.sort(places.n_anchors[chance])[::-1][:N_TAIL]
    if not len(tail):
        return 1.0 / (1.0 + MIN_DECAY**n_anchors)
    excess = float(np.sum(tail - tail[-1]))
    decay = max(MIN_DECAY, excess / (excess + len(tail)))
    ranks = np.arange(1, len(tail) + 1)
    expected = float(np.max(np.log(ranks) + (n_anchors - tail) * np.log(decay)))
    return float(np.exp(-np.logaddexp(0.0, expected)))


def find_stretch(query: ClassicQuery, anchors: Array) -> Stretch:
    """Return the part of the query in which the hashes of `anchors`, ascending and at least one, agree, in steps of a second.

    The coverage is the share of those steps with hashes in which one agrees: chance hardly ever does.
    """
    step = max(1, round(STEP_S / query.frame_s))
    heard, seen = np.unique(query.hashes.offsets // step), np.unique(anchors // step)
    first = 0 if seen[0] == heard[0] else int(anchors[0])
    last = round(query.duration_s / query.frame_s) if seen[-1] == heard[-1] else int(anchors[-1]) + 1
    missed = heard[(heard > seen[0]) & (heard < seen[-1]) & ~np.isin(heard, seen)]
    runs = np.split(missed, np.flatnonzero(np.diff(missed) > 1) + 1)
    gaps = tuple((int(run[0]) * step, (int(run[-1]) + 1) * step) for run in runs if len(run) >= MIN_GAP_STEPS)
    return Stretch(first, last, len(seen) / len(heard), gaps)


def _keys(hits: AnyHits) -> Array:
    deltas = hits.track_offsets.astype(np.int64) - hits.query_offsets
    return (hits.track_ids.astype(np.int64) << _DELTA_BITS) | (deltas + _DELTA_ZERO)


def _anchors(hits: AnyHits, track_id: int, delta: int) -> Array:
    """Return int32 [n], ascending: the different frames of the query whose hashes agree on a place."""
    here = (hits.track_ids == track_id) & (hits.track_offsets - hits.query_offsets == delta)
    return np.unique(hits.query_offsets[here])


def _twins(hits: AnyHits, places: Places, place: int, anchors: Array) -> tuple[int, ...]:
    """Return the tracks, few, whose best place agrees with the same anchors: other releases of one recording."""
    needed = max(TWIN_ANCHORS, TWIN_SHARE * len(anchors))
    twins = []
    for other in best_of_each_track(places)[: N_JUDGED + 1]:
        if other != place and places.n_anchors[other] >= needed:
            shared = np.isin(_anchors(hits, int(places.track_ids[other]), int(places.deltas[other])), anchors)
            if np.count_nonzero(shared) >= needed:
                twins.append(int(places.track_ids[other]))
    return tuple(sorted(twins)) if len(twins) <= MAX_TWINS else ()
