from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dejavud.matching.voting import vote
from dejavud.placed_hits import BLOCK_BITS, Axis, PlacedHits
from dejavud.values import Hits

SCALE_BITS = 20
LENGTHS = (2, 1, 3)
"""Blocks of the three tracks."""
LONGEST = 60
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, LONGEST), st.integers(1, 3), st.integers(0, 1023)), max_size=60
)


def axis_of(first_id: int = 1) -> Axis:
    """Return an axis of three tracks whose frames begin with 0."""
    blocks = np.repeat(np.arange(3), LENGTHS)
    first_places = ((np.cumsum(LENGTHS) - LENGTHS) << BLOCK_BITS).astype(np.uint32)
    return Axis((blocks + first_id).astype(np.int32), np.uint32(0) - first_places[blocks])


def placed(rows: list[tuple[int, int, int, int]], axis: Axis, first_id: int = 1) -> PlacedHits:
    """Return (scale, frame of the query, track, frame of the track) rows as hits on `axis`."""
    starts = (np.cumsum(LENGTHS) - LENGTHS) << BLOCK_BITS
    offsets = np.array([scale << SCALE_BITS | frame for scale, frame, _, _ in rows], np.int32)
    places = np.array([starts[track - first_id] + frame for _, _, track, frame in rows], np.uint32)
    return PlacedHits(offsets, places, (axis,), (len(rows),))


def in_columns(hits: PlacedHits) -> Hits:
    """Return the same hits in columns."""
    return Hits(hits.query_offsets, hits.track_ids, hits.track_offsets)


def votes_of(hits: Hits | PlacedHits) -> dict[tuple[int, int, int], float]:
    """Return the votes of every candidate."""
    found = vote(hits, 10_000)
    return dict(
        zip(
            zip(found.track_ids.tolist(), found.scales.tolist(), found.deltas.tolist(), strict=True),
            found.votes.tolist(),
            strict=True,
        )
    )


@given(ROWS)
def test_votes_on_an_axis_are_those_of_the_columns(rows: list[tuple[int, int, int, int]]) -> None:
    """Every candidate of the columns has its votes, and more only where a track borders on the one before."""
    hits = placed(rows, axis_of())
    found, expected = votes_of(hits), votes_of(in_columns(hits))
    for key, n_votes in expected.items():
        assert found[key] >= n_votes
        if 0 <= key[2] <= 1023 - LONGEST:
            assert found[key] == n_votes


@given(ROWS, ROWS)
def test_axes_share_no_votes(one: list[tuple[int, int, int, int]], other: list[tuple[int, int, int, int]]) -> None:
    """Hits on two axes are voted on apart, as those of different tracks."""
    late = [(scale, frame, track + 3, at) for scale, frame, track, at in other]
    first, second = placed(one, axis_of()), placed(late, axis_of(4), 4)
    both = PlacedHits(
        np.concatenate([first.query_offsets, second.query_offsets]),
        np.concatenate([first.places, second.places]),
        (*first.axes, *second.axes),
        (*first.n_hits, *second.n_hits),
    )
    assert both.track_ids.tolist() == [row[2] for row in one + late]
    assert both.track_offsets.tolist() == [row[3] for row in one + late]
    assert votes_of(both) == votes_of(first) | votes_of(second)


def test_a_query_that_begins_before_the_first_track_of_an_axis() -> None:
    """The diagonal lies before the axis, and is the first track's alone."""
    found = votes_of(placed([(0, 50, 1, 3), (0, 51, 1, 4)], axis_of()))
    assert found == {(1, 0, -47): 2}


def test_a_diagonal_on_the_border_is_either_tracks() -> None:
    """A query that begins before its track, which follows another, is a candidate of both: the evidence tells them apart."""
    found = votes_of(placed([(0, 50, 2, 3), (0, 51, 2, 4)], axis_of()))
    assert found == {(2, 0, -47): 2, (1, 0, 2 * 1024 - 47): 2}


def test_removed_tracks_have_no_diagonals() -> None:
    """Blocks of nobody take no votes, also those on the border of another track."""
    axis = axis_of()
    without = Axis(np.where(axis.track_ids == 1, np.int32(0), axis.track_ids), axis.shifts)
    assert votes_of(placed([(0, 50, 2, 3), (0, 51, 2, 4)], without)) == {(2, 0, -47): 2}
