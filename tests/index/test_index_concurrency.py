"""Reads beside reads and beside a write: each sees whole tracks only."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import TYPE_CHECKING

import numpy as np
import pytest
from index_entries import meetings_of, new_track, open_kind, rows_of

from dejavud.errors import Timeout
from dejavud.index.duckdb.index import open_duckdb
from dejavud.values import Hashes

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.fingerprint.params import Params
    from dejavud.index.base import Index
    from dejavud.index.duckdb.index import DuckDBIndex

N_HASHES = 3000
SAME = Hashes(np.arange(N_HASHES), np.zeros(N_HASHES))
"""Hashes that every track of these tests has, each once: a look-up meets N_HASHES postings of each track it sees."""


def test_readers_see_whole_tracks_while_a_writer_adds_and_removes(index: Index) -> None:
    """A look-up never meets a part of a track, and sees at least what was committed before it began."""
    done = Event()
    committed: list[int] = []
    gone: list[int] = []

    def write() -> None:
        try:
            for seed in range(0, 60, 2):
                added = index.add([new_track(seed, hashes=SAME), new_track(seed + 1, hashes=SAME)])
                committed.extend(track.id for track in added)
                if seed % 10 == 0:
                    gone.append(added[0].id)  # announced before it happens: from here on it may be missing
                    index.remove([added[0].id])
        finally:
            done.set()

    def read() -> int:
        n_reads = 0
        while not done.is_set() or n_reads == 0:
            at_least = set(committed) - set(gone)
            ids, counts = np.unique(index.lookup(SAME, timeout_s=30).track_ids, return_counts=True)
            assert set(counts.tolist()) <= {N_HASHES}
            assert at_least - set(gone) <= set(ids.tolist())
            tracks = {track.id: track for track in index.tracks()}
            for track_id, stars in index.constellations(list(tracks)[-5:]).items():
                assert len(stars) == tracks[track_id].n_peaks
            n_reads += 1
        return n_reads

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(2)]
        pool.submit(write).result()
        assert all(reader.result() > 0 for reader in readers)
    assert index.statistics().n_tracks == len(committed) - len(gone) == 54


def test_writers_take_turns(index: Index) -> None:
    """Adds from several threads at once all succeed, and equal content is stored once."""
    start = Barrier(4)

    def add(_: int) -> list[int]:
        start.wait(30)
        return [track.id for seed in range(10) for track in index.add([new_track(seed)])]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(add, range(4)))
    assert all(answer == answers[0] for answer in answers)
    assert index.statistics().n_tracks == 10


def test_lookups_in_threads_do_not_mix(index: Index) -> None:
    """Each of many look-ups at the same time gets the answer to its own query."""
    entries = [new_track(seed, n_values=100) for seed in range(3)]
    added = index.add(entries)
    stored = {track.id: entry.hashes for track, entry in zip(added, entries, strict=True)}
    queries = [new_track(100 + seed, 150, n_values=100).hashes for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        for query, hits in zip(queries, pool.map(index.lookup, queries), strict=True):
            assert rows_of(hits) == meetings_of(query, stored)


def test_one_lookups_deadline_does_not_stop_another(tmp_path: Path, params: Params) -> None:
    """A stopped look-up stops at its deadline, long before it would have ended; one beside it, without deadline, ends whole."""
    n_hashes = 2_000_000
    big = Hashes(np.arange(n_hashes), np.zeros(n_hashes))
    with open_kind("duckdb-file", tmp_path, params) as index, ThreadPoolExecutor(1) as pool:
        index.add([new_track(1, hashes=big)])
        whole = pool.submit(index.lookup, big)
        n_stopped = 0
        while not whole.done():
            with pytest.raises(Timeout):
                index.lookup(big, timeout_s=0.001)
            n_stopped += 1
        assert len(whole.result()) == n_hashes
        assert n_stopped > 0


def test_closing_waits_for_the_calls_under_way(tmp_path: Path, params: Params) -> None:
    """A call that runs while the index closes ends as it would have; then the log is in the file and the file is free."""
    ends: list[str] = []
    began = Event()

    def call(index: DuckDBIndex) -> int:
        with index.reading() as cursor:
            began.set()
            while not index._connection._is_closed:
                time.sleep(0)
            (n_tracks,) = cursor.execute("SELECT count(*) FROM tracks").fetchall()[0]
            ends.append("call")
        return int(n_tracks)

    with ThreadPoolExecutor(1) as pool:
        with open_duckdb(tmp_path / "index.duckdb", params) as index:
            index.add([new_track(1)])
            running = pool.submit(call, index)
            assert began.wait(30)
        ends.append("close")
        assert running.result() == 1
    assert ends == ["call", "close"]
    assert not (tmp_path / "index.duckdb.wal").exists()
    with open_duckdb(tmp_path / "index.duckdb", params) as index:
        assert index.statistics().n_tracks == 1
