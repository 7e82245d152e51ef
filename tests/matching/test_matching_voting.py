from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dejavud.matching.voting import vote
from dejavud.values import Hits

ROWS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3), st.integers(0, 40)), max_size=60)


def hits_of(rows: list[tuple[int, int, int]]) -> Hits:
    """Return (query offset, track, track offset) rows as hits."""
    return Hits(*(np.array([row[column] for row in rows], np.int32) for column in range(3)))


@given(ROWS)
def test_votes_are_those_of_the_plain_histogram(rows: list[tuple[int, int, int]]) -> None:
    """Each (track, delta) has the hits that agree on it and on its two neighbours, and every pair that was hit is there."""
    counts = Counter((track, track_offset - query_offset) for query_offset, track, track_offset in rows)
    expected = {(t, d): n + counts[t, d - 1] + counts[t, d + 1] for (t, d), n in counts.items()}
    found = vote(hits_of(rows), 1000)
    assert (
        dict(zip(zip(found.track_ids.tolist(), found.deltas.tolist(), strict=True), found.votes, strict=True))
        == expected
    )


@given(ROWS, st.integers(1, 5))
def test_the_best_come_first_and_no_more_than_asked_for(rows: list[tuple[int, int, int]], n: int) -> None:
    """Cutting the list never drops one of a track with more votes than another of it that is kept."""
    everything, best = vote(hits_of(rows), 1000), vote(hits_of(rows), n)
    assert len(best) == min(n, len(everything))
    assert best.votes[:1].tolist() == everything.votes[:1].tolist()
    assert best.votes.tolist() == sorted(best.votes, reverse=True)
    for track in set(best.track_ids.tolist()):
        kept = best.votes[best.track_ids == track].tolist()
        assert kept == everything.votes[everything.track_ids == track][: len(kept)].tolist()


def test_a_track_that_repeats_itself_leaves_room_for_others() -> None:
    """Each of four tracks is sure of a quarter of the places; what nobody takes goes by votes again."""
    loud = [(0, 1, 10 * k) for k in range(20) for _ in range(3)]
    soft = [(0, 2, 10 * k) for k in range(20)]
    assert vote(hits_of(loud + soft), 8).track_ids.tolist() == [1] * 6 + [2] * 2
    assert vote(hits_of(loud), 8).track_ids.tolist() == [1] * 8


def test_a_delta_before_the_track_begins_is_a_delta() -> None:
    """A query that starts before its track has a negative delta, which stays with its track."""
    found = vote(hits_of([(100, 7, 3), (101, 7, 4)]), 10)
    assert (found.track_ids[0], found.deltas[0], found.votes[0]) == (7, -97, 2)
