from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dejavud.index.meetings import worth_asking
from dejavud.values import Hashes

QUERIES = st.lists(st.tuples(st.integers(0, 20), st.integers(-3, 8)), max_size=80)
N_POSTINGS = [value % 5 for value in range(21)]


def chosen(rows: list[tuple[int, int]], max_hits: int) -> list[tuple[int, int]]:
    """Return the (hash, offset) rows that are worth asking, where each hash has as many postings as `N_POSTINGS` says."""
    hashes = Hashes(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))
    kept = worth_asking(hashes, np.array([N_POSTINGS[row[0]] for row in rows], np.int64), max_hits)
    return [row for row, is_kept in zip(rows, kept, strict=True) if is_kept]


def n_meetings(rows: list[tuple[int, int]]) -> int:
    """Return how many postings `rows` meet."""
    return sum(N_POSTINGS[value] for value, _ in rows)


@given(QUERIES, st.integers(1, 120))
def test_the_bound_holds(rows: list[tuple[int, int]], max_hits: int) -> None:
    """All are asked where that is within the bound; otherwise none twice, and together they are within it."""
    kept = chosen(rows, max_hits)
    if n_meetings(rows) <= max_hits:
        assert kept == rows
    else:
        assert n_meetings(kept) <= max_hits
        assert len(set(kept)) == len(kept)


@given(QUERIES, st.integers(1, 120), st.randoms(use_true_random=False))
def test_the_order_of_the_query_does_not_matter(rows: list[tuple[int, int]], max_hits: int, random: object) -> None:
    """The same rows are asked in any order."""
    mixed = list(rows)
    random.shuffle(mixed)  # type: ignore[attr-defined] - hypothesis gives a `random.Random`
    assert sorted(chosen(mixed, max_hits)) == sorted(chosen(rows, max_hits))
