"""The resident view while it is built and merged: adds, removals and queries go on, and being killed does no harm."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import pytest
from index_entries import TINY, meetings_of, never, new_track, open_kind, open_view, rows_of

from dejavud.fingerprint.params import Params
from dejavud.index.memory import MemoryIndex
from dejavud.index.view.upkeep import Portions
from dejavud.values import Hashes

if TYPE_CHECKING:
    from collections.abc import Callable

    from dejavud.index.view.resident import ResidentIndex

QUERY = new_track(99, 150, n_values=1000).hashes
N_TRACKS = 6
BLOCKED_S = 0.1
"""How long a change is waited for at a moment at which changes have to wait for upkeep."""


def expected(seeds: dict[int, int]) -> list[tuple[int, int, int]]:
    """Return what `QUERY` meets in tracks that were made from `seeds`, by id."""
    return meetings_of(QUERY, {track_id: new_track(seed).hashes for track_id, seed in seeds.items()})


def interrupted_at(step: int, change: Callable[[ResidentIndex], None], folder: Path, portions: Portions) -> bool:
    """Build and merge a view, make a `change` at the moment number `step` of that, and check all answers; False where there is no such moment."""
    seeds = {track_id: track_id - 1 for track_id in range(1, N_TRACKS + 1)} | {N_TRACKS + 1: 50}
    del seeds[2]
    meetings = expected(seeds)
    moments = iter(range(10_000))
    changing: list[Future[None]] = []

    def at_each_moment() -> bool:
        if next(moments) == step:
            changing.append(pool.submit(change, index))
        if changing and not wait(changing, BLOCKED_S).not_done:
            assert rows_of(index.lookup(QUERY)) == meetings
        return False

    with closing(MemoryIndex()) as store, ThreadPoolExecutor(1) as pool:
        store.add([new_track(seed) for seed in range(N_TRACKS)])
        with open_view(store, folder, Params(), portions=portions) as (index, upkeep):
            upkeep.run(at_each_moment)
            if not changing:
                return False
            changing[0].result(30)
            assert rows_of(index.lookup(QUERY)) == meetings
            assert set(index.constellations(range(20))) == {track.id for track in index.tracks()} == set(seeds)
            upkeep.run(never)
            assert index.view() is not None
            assert rows_of(index.lookup(QUERY)) == meetings
        with open_view(store, folder, Params(), portions=portions) as (index, upkeep):
            assert upkeep.run(never).refused == ()
            assert rows_of(index.lookup(QUERY)) == meetings
    return True


@pytest.mark.parametrize("late", [0, 1000], ids=["read beside writes", "read while writes wait"])
def test_a_change_at_any_moment_of_building_and_merging_is_seen(tmp_path: Path, late: int) -> None:
    """A track added and one removed, at every single step of upkeep in turn: at once, at its end, and at the next start."""
    portions = replace(TINY, late=late)

    def change(index: ResidentIndex) -> None:
        index.add([new_track(50)])
        index.remove([2])

    n_moments = 0
    while interrupted_at(n_moments, change, tmp_path / f"view{n_moments}", portions):
        n_moments += 1
    assert n_moments > 30


def test_upkeep_stops_at_once_and_goes_on_later(tmp_path: Path) -> None:
    """Stopped at every single step in turn, it leaves nothing wrong behind, and what is asked meanwhile is answered."""
    seeds = {track_id: track_id - 1 for track_id in range(1, N_TRACKS + 1)}
    with closing(MemoryIndex()) as store:
        store.add([new_track(seed) for seed in range(N_TRACKS)])
        for n_steps in range(1000):
            left = iter(range(n_steps))
            with open_view(store, tmp_path / "view", Params(), portions=TINY) as (index, upkeep):
                report = upkeep.run(lambda left=left: next(left, None) is None)
                assert rows_of(index.lookup(QUERY)) == expected(seeds)
                assert report.refused == ()
            if report.state == "ready":
                break
    assert n_steps > 10


def test_readers_see_whole_tracks_while_upkeep_runs(tmp_path: Path) -> None:
    """Beside a writer and an upkeep that never rests, a look-up meets all of a track or nothing, and all that was acknowledged."""
    n_hashes = 500
    same = Hashes(np.arange(n_hashes), np.zeros(n_hashes))
    committed: list[int] = []
    gone: list[int] = []
    done = Event()

    def keep_up() -> int:
        n_written = 0
        while not done.is_set():
            n_written += upkeep.run(never).n_written
        return n_written

    def read() -> int:
        n_reads = 0
        while not done.is_set():
            at_least = set(committed)
            ids, counts = np.unique(index.lookup(same, timeout_s=30).track_ids, return_counts=True)
            assert set(counts.tolist()) <= {n_hashes}
            assert at_least - set(gone) <= set(ids.tolist())
            n_reads += 1
        return n_reads

    with (
        open_kind("duckdb-file", tmp_path, Params()) as store,
        open_view(store, tmp_path / "view", Params(), portions=Portions(2000, 4000, 1500, 500)) as (index, upkeep),
        ThreadPoolExecutor() as pool,
    ):
        others = [pool.submit(keep_up), pool.submit(read), pool.submit(read)]
        try:
            for seed in range(60):
                committed.append(index.add([new_track(seed, hashes=same)])[0].id)
                if seed % 7 == 0:
                    gone.append(committed[seed // 2])  # announced before it happens: from here on it may be missing
                    index.remove(gone[-1:])
                    assert gone[-1] not in index.lookup(same).track_ids
        finally:
            done.set()
        assert all(other.result(60) > 0 for other in others)
        assert set(index.lookup(same).track_ids.tolist()) == set(committed) - set(gone)


ADD_AND_KEEP_UP = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from itertools import count
from pathlib import Path
from threading import Thread
from index_entries import TINY, never, new_track, open_kind, open_view
from dejavud.fingerprint.params import Params
folder = Path(sys.argv[1])
with (
    open_kind("duckdb-file", folder, Params()) as store,
    open_view(store, folder / "view", Params(), portions=TINY) as (index, upkeep),
):
    def keep_up():
        while True:
            upkeep.run(never)
    Thread(target=keep_up, daemon=True).start()
    for seed in count(int(sys.argv[2])):
        (track,) = index.add([new_track(seed)])
        if seed % 3 == 0:
            index.remove([track.id])
        print(seed, flush=True)
"""


@pytest.mark.timeout(120)
def test_killed_at_any_point_of_upkeep_the_index_answers_as_its_store_does(tmp_path: Path) -> None:
    """A process is killed again and again while it adds, removes, writes and merges; the next one finds every acknowledged track."""
    chance = np.random.default_rng(7)
    acknowledged: set[int] = set()
    for n_kill in range(8):
        command = [sys.executable, "-c", ADD_AND_KEEP_UP, str(tmp_path), str(1000 * n_kill + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            said = "".join(child.stdout.readline() for _ in range(chance.integers(1, 25)))
            time.sleep(chance.uniform(0, 0.03))  # the random point, not a wait for anything
            child.kill()
            said += child.stdout.read()
        acknowledged |= {int(line) for line in said.splitlines(keepends=True) if line.endswith("\n")}
        with (
            open_kind("duckdb-file", tmp_path, Params()) as store,
            open_view(store, tmp_path / "view", Params(), portions=TINY) as (index, upkeep),
        ):
            upkeep.run(never)
            assert index.view() is not None
            titles = {track.title for track in index.tracks()}
            assert {f"Title {seed}" for seed in acknowledged if seed % 3} <= titles
            assert not {f"Title {seed}" for seed in acknowledged if seed % 3 == 0} & titles
            assert rows_of(index.lookup(QUERY)) == rows_of(store.lookup(QUERY))
            assert len(list((tmp_path / "view").iterdir())) <= 5
    assert len(acknowledged) > 50
