"""Clustering of postings in a DuckDB file: what is found stays the same, wherever it is stopped, and the file stays small."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_entries import meetings_of, never, new_track, rows_of

from dejavud.index.duckdb.clustering import KEY, Clustering, Run, Runs, Sizes, TrackSizes, due, read_runs
from dejavud.index.duckdb.connection import WriteTurns
from dejavud.index.duckdb.index import open_duckdb

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.fingerprint.params import Params
    from dejavud.index.duckdb.index import DuckDBIndex
    from dejavud.values import Hashes

SMALL = Sizes(slice=1000, tail=500, first=2000, run=20_000)
N_HASHES = 20_000


def entries_of(seeds: range, n_hashes: int = 400) -> dict[int, Hashes]:
    """Return the hashes of the tracks of these seeds, by the ids that they get in an empty index."""
    return {n + 1: new_track(seed, n_hashes).hashes for n, seed in enumerate(seeds)}


def fill(index: DuckDBIndex, seeds: range, n_hashes: int = 400) -> None:
    """Add the tracks of these seeds."""
    for seed in seeds:
        index.add([new_track(seed, n_hashes)])


def runs_in(index: DuckDBIndex) -> Runs:
    """Return what the file remembers."""
    with index.reading() as cursor:
        return read_runs(cursor)


def hashes_as_they_lie(index: DuckDBIndex, run: Run) -> list[int]:
    """Return the hashes of a run's postings in the order of the table."""
    with index.reading() as cursor:
        found = cursor.execute(
            "SELECT hash FROM postings WHERE track_id BETWEEN ? AND ? ORDER BY rowid", list(run)
        ).fetchnumpy()
    hashes: list[int] = found["hash"].tolist()
    return hashes


def test_postings_end_in_order_of_hash_and_answers_stay_the_same(tmp_path: Path, params: Params) -> None:
    """All tracks but a small tail are in few runs, each sorted from its first row to its last, and a reopened file knows it."""
    query = new_track(5, 400).hashes
    with open_duckdb(tmp_path / "index.duckdb", params) as index:
        fill(index, range(40))
        before = rows_of(index.lookup(query))
        assert before == meetings_of(query, entries_of(range(40)))
        report = Clustering(index, SMALL).run(never)
        assert not report.is_stopped
        assert report.n_moved >= 40 * 400 - SMALL.tail
        assert rows_of(index.lookup(query)) == before
        runs = runs_in(index).done
        assert 1 <= len(runs) == report.n_runs <= 4
        assert all(one.last_id < other.first_id for one, other in pairwise(runs))
        assert (40 - runs[-1].last_id) * 400 < SMALL.tail
        for run in runs:
            lying = hashes_as_they_lie(index, run)
            assert lying == sorted(lying)
            assert 0 < len(lying) <= SMALL.run
        assert Clustering(index, SMALL).run(never).n_moved == 0
    with open_duckdb(tmp_path / "index.duckdb", params) as index:
        assert runs_in(index).done == runs
        assert rows_of(index.lookup(query)) == before


@pytest.mark.parametrize("reopened", [False, True], ids=["stopped", "stopped and reopened"])
def test_stopped_after_any_slice_it_goes_on_where_it_was(tmp_path: Path, params: Params, *, reopened: bool) -> None:
    """After each single slice every answer is right, what was moved is not moved again, and the end is the same."""
    path, query, expected = tmp_path / "index.duckdb", new_track(2, 400).hashes, entries_of(range(12))
    with open_duckdb(path, params) as index:
        fill(index, range(12))
    n_moved, is_stopped = [], True
    opened = open_duckdb(path, params)
    index = opened.__enter__()
    while is_stopped:
        left = iter([False])
        report = Clustering(index, Sizes(slice=1000, tail=500, first=1 << 20, run=1 << 20)).run(
            lambda left=left: next(left, True)  # type: ignore[misc]
        )
        n_moved.append(report.n_moved)
        is_stopped = report.is_stopped
        assert rows_of(index.lookup(query)) == meetings_of(query, expected)
        if reopened:
            opened.__exit__(None, None, None)
            opened = open_duckdb(path, params)
            index = opened.__enter__()
    assert runs_in(index) == Runs((Run(1, 12),))
    opened.__exit__(None, None, None)
    assert len(n_moved) > 3
    assert sum(n_moved) == 12 * 400


def test_tracks_come_and_go_between_the_slices(tmp_path: Path, params: Params) -> None:
    """What is added, removed or replaced while a run is made is there, or gone, when it is done."""
    stored = entries_of(range(20))
    changes = iter(range(100, 106))
    with open_duckdb(tmp_path / "index.duckdb", params) as index:
        fill(index, range(20))

        def change() -> bool:
            seed = next(changes, None)
            if seed is not None:
                (added,) = index.add([new_track(seed, 400)])
                stored[added.id] = new_track(seed, 400).hashes
                gone, changed = seed - 99, seed - 90
                index.remove([gone])
                del stored[gone]
                fresh = new_track(seed + 100, 300)
                assert index.replace(changed, fresh.constellation, fresh.hashes)
                stored[changed] = fresh.hashes
            return False

        Clustering(index, SMALL).run(change)
        assert next(changes, None) is None
        query = new_track(101, 400).hashes
        assert rows_of(index.lookup(query)) == meetings_of(query, stored)
        assert len(index.postings(1, 10_000)) == sum(map(len, stored.values()))


def test_runs_that_cannot_be_read_are_made_anew(tmp_path: Path, params: Params) -> None:
    """Whatever stands in meta, answers are right and the postings end in order."""
    query = new_track(5, 400).hashes
    with open_duckdb(tmp_path / "index.duckdb", params) as index:
        fill(index, range(10))
        before = rows_of(index.lookup(query))
        for text in ("", "{}", "[]", '{"done": [[1]], "making": null}', '{"done": [], "making": [1, "x", 2]}'):
            with index.reading() as cursor:
                cursor.execute("DELETE FROM meta WHERE key = ?", [KEY])
                cursor.execute("INSERT INTO meta VALUES (?, ?)", [KEY, text])
            assert runs_in(index) == Runs()
            Clustering(index, SMALL).run(never)
            assert rows_of(index.lookup(query)) == before
            assert runs_in(index).last_id > 0


@given(
    counts=st.lists(st.integers(0, 3000), max_size=60),
    n_done=st.integers(0, 20),
    lengths=st.lists(st.integers(1, 10), max_size=5),
)
def test_the_next_run_is_of_consecutive_tracks_and_within_its_bounds(
    counts: list[int], n_done: int, lengths: list[int]
) -> None:
    """It begins at a run or after the last one, swallows runs whole, is due only with a long tail, and is no longer than it may be."""
    ids = np.arange(1, len(counts) + 1, dtype=np.int32)
    tracks = TrackSizes(ids, np.array(counts, np.int32))
    ends = np.cumsum(lengths[: n_done or None])
    done = tuple(Run(int(end - length + 1), int(end)) for end, length in zip(ends, lengths, strict=False))
    runs = Runs(done)
    found = due(tracks, runs, SMALL)
    tail = tracks.within(runs.last_id + 1, 10_000)
    assert (found is None) == (tail < SMALL.tail)
    if found is not None:
        assert found.first_id in {run.first_id for run in done} | {runs.last_id + 1}
        assert found.last_id > runs.last_id
        own = tracks.within(*found)
        swallowed = sum(tracks.within(*run) for run in done if run.first_id >= found.first_id)
        assert own <= SMALL.run or swallowed == 0
        assert own - swallowed <= max(SMALL.first, counts[runs.last_id])


def test_a_writer_goes_before_upkeep() -> None:
    """While a writer waits for its turn upkeep does not take another; a writer waits for one slice at most."""
    turns = WriteTurns()
    order: list[str] = []
    waits = threading.Event()

    def write() -> None:
        waits.set()
        with turns.of_a_writer():
            order.append("writer")

    thread = threading.Thread(target=write)
    with turns.of_upkeep():
        thread.start()
        waits.wait()
        while not turns._n_waiting:
            threading.Event().wait(0.001)
    with turns.of_upkeep():
        order.append("upkeep")
    thread.join()
    assert order == ["writer", "upkeep"]


def test_a_file_does_not_grow_with_tracks_that_come_and_go(tmp_path: Path, params: Params) -> None:
    """After many rounds of adding and removing as much again, clustered in between, it is hardly larger than after the first few."""
    path = tmp_path / "index.duckdb"
    sizes = Sizes(slice=200_000, tail=100_000, first=400_000, run=2_000_000)
    n_bytes = []
    with open_duckdb(path, params) as index:
        for round_ in range(12):
            added = index.add([new_track(100 * round_ + n, N_HASHES, n_values=1 << 20) for n in range(20)])
            Clustering(index, sizes).run(never)
            if round_ >= 2:
                oldest = index.tracks(limit=20)
                index.remove([track.id for track in oldest])
            assert len(added) == 20
            n_bytes.append(index.statistics().size_bytes)
    assert n_bytes[-1] < 1.5 * max(n_bytes[3:6])
