"""A DuckDB file written anew: nothing is lost whatever happens meanwhile, space comes back, and a crash leaves a whole file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from index_entries import meetings_of, never, new_track, rows_of
from test_index_durability import assert_whole, small_disk  # noqa: F401 - a fixture

from dejavud.errors import IndexFull
from dejavud.index.base import StoppedError
from dejavud.index.duckdb import compaction
from dejavud.index.duckdb.index import open_duckdb
from dejavud.values import TrackEdit

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params

N_HASHES = 20_000


def silent(_done: int, _total: int) -> None:
    """Tell nobody."""


def names_in(folder: Path) -> list[str]:
    """Return what is in a folder, sorted."""
    return sorted(entry.name for entry in folder.iterdir())


def test_after_most_of_a_library_was_removed_the_disk_gets_its_space_back(tmp_path: Path, params: Params) -> None:
    """The file is about as large as one that never held more; the folder it was written in is gone, and so is its log."""
    path, small = tmp_path / "index.duckdb", tmp_path / "small.duckdb"
    entries = [new_track(seed, N_HASHES, n_values=1 << 20) for seed in range(60)]
    with open_duckdb(path, params) as index:
        tracks = index.add(entries)
        index.remove([track.id for track in tracks[6:]])
        before = index.statistics().size_bytes
        done = index.compact(silent, never)
        assert (done.n_bytes_before, done.n_bytes_after) == (before, index.statistics().size_bytes)
        assert_whole(index)
    with open_duckdb(small, params) as index:
        index.add(entries[:6])
    assert names_in(tmp_path) == ["index.duckdb", "small.duckdb"]
    assert path.stat().st_size <= 1.3 * small.stat().st_size
    assert path.stat().st_size < 0.3 * before


def test_whatever_is_written_meanwhile_is_in_the_new_file(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracks that are added, removed, edited and replaced at every step of the copying are there, or gone, in the end."""
    monkeypatch.setattr(compaction, "SLICE_POSTINGS", 1000)
    monkeypatch.setattr(compaction, "LATE_POSTINGS", 1000)
    stored = {seed: new_track(seed, 400).hashes for seed in range(1, 31)}
    fresh = iter(range(100, 110))
    path = tmp_path / "index.duckdb"
    with open_duckdb(path, params) as index:
        index.add([new_track(seed, 400) for seed in stored])

        def change(_done: int, _total: int) -> None:
            seed = next(fresh, None)
            if seed is None:
                return
            (added,) = index.add([new_track(seed, 400)])
            stored[added.id] = new_track(seed, 400).hashes
            gone, replaced, edited = seed - 99, seed - 89, seed - 79
            index.remove([gone])
            del stored[gone]
            other = new_track(seed + 1000, 300)
            index.replace(replaced, other.constellation, other.hashes)
            stored[replaced] = other.hashes
            index.edit({edited: TrackEdit(title=f"edited {seed}")})

        assert index.compact(change, never).is_rewritten
        assert next(fresh, None) is None
        query = new_track(101, 400).hashes
        assert rows_of(index.lookup(query)) == meetings_of(query, stored)
        assert_whole(index)
        assert sorted(track.id for track in index.tracks()) == sorted(stored)
        titles = [track.title for track in index.tracks(ids=range(21, 31))]
        assert titles == [f"edited {seed}" for seed in range(100, 110)]
    with open_duckdb(path, params) as index:
        assert rows_of(index.lookup(query)) == meetings_of(query, stored)
        (last,) = index.add([new_track(5000)])
        assert last.id > max(stored)


def test_a_track_restored_under_its_number_meanwhile_is_there_once(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed and added again under the same number while it is being copied, it has its new contents only."""
    monkeypatch.setattr(compaction, "SLICE_POSTINGS", 300)
    steps = iter(range(3))
    with open_duckdb(tmp_path / "index.duckdb", params) as index:
        index.add([new_track(seed, 400) for seed in range(5)])

        def change(_done: int, _total: int) -> None:
            if next(steps, None) == 1:
                index.remove([3])
                index.add([new_track(77, 500, id=3)])

        index.compact(change, never)
        assert_whole(index)
        assert len(index.postings(3, 3)) == 500


def test_queries_and_adds_go_on_while_it_is_written(tmp_path: Path, params: Params) -> None:
    """Threads that ask and add all the while get every answer right, and every track that was acknowledged is there."""
    path = tmp_path / "index.duckdb"
    with open_duckdb(path, params) as index:
        index.add([new_track(seed, N_HASHES, n_values=1 << 20) for seed in range(30)])
        query = new_track(3, 300).hashes
        expected = rows_of(index.lookup(query))
        ended = threading.Event()
        wrong: list[object] = []
        added: list[int] = []

        def ask() -> None:
            while not ended.is_set():
                found = [row for row in rows_of(index.lookup(query)) if row[1] <= 30]
                if found != expected:
                    wrong.append(found)

        def add() -> None:
            seed = 1000
            while not ended.is_set():
                added.extend(track.id for track in index.add([new_track(seed, 100, n_values=1 << 20)]))
                seed += 1

        threads = [threading.Thread(target=work) for work in (ask, add)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                index.remove([track.id for track in index.tracks(ids=added[:5])])
                del added[:5]
                assert index.compact(silent, never).is_rewritten
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert not wrong
        assert added
        assert set(added) <= {track.id for track in index.tracks()}
        assert_whole(index)


def test_stopped_it_leaves_the_index_as_it_was(tmp_path: Path, params: Params) -> None:
    """StoppedError is raised, nothing of the new file is left, and the old one is used on."""
    path = tmp_path / "index.duckdb"
    with open_duckdb(path, params) as index:
        index.add([new_track(1), new_track(2)])
        with pytest.raises(StoppedError):
            index.compact(silent, lambda: True)
        assert names_in(tmp_path) == ["index.duckdb"]
        assert_whole(index)
        assert index.compact(silent, never).is_rewritten


def test_what_a_killed_compaction_left_is_deleted_at_the_next_start(tmp_path: Path, params: Params) -> None:
    """The folder beside the file goes when the file is opened, and nothing else does."""
    path, left, other = tmp_path / "index.duckdb", tmp_path / "index.duckdb.compact", tmp_path / "other.compact"
    with open_duckdb(path, params) as index:
        index.add([new_track(1)])
    for folder in (left, other):
        folder.mkdir()
        (folder / "index.duckdb").write_bytes(b"half")
    with open_duckdb(path, params) as index:
        assert_whole(index)
    assert not left.exists()
    assert other.exists()


def test_a_link_stays_a_link(tmp_path: Path, params: Params) -> None:
    """Where the index is named by a symbolic link, the file that it points to is written anew."""
    real, link = tmp_path / "disk" / "real.duckdb", tmp_path / "index.duckdb"
    real.parent.mkdir()
    with open_duckdb(real, params) as index:
        index.add([new_track(1)])
    link.symlink_to(real)
    before = real.stat().st_ino
    with open_duckdb(link, params) as index:
        assert index.compact(silent, never).is_rewritten
        assert_whole(index)
    assert link.is_symlink()
    assert real.stat().st_ino != before
    assert names_in(real.parent) == ["real.duckdb"]


def test_without_room_for_both_files_it_says_so_before_it_begins(small_disk: Path, params: Params) -> None:  # noqa: F811
    """The error names what is needed and what is there, and the index is used on."""
    with open_duckdb(small_disk / "index.duckdb", params) as index:
        index.add([new_track(1, N_HASHES)])
        with pytest.raises(IndexFull, match="MB left"):
            index.compact(silent, never)
        index.add([new_track(2, N_HASHES)])
        assert_whole(index)


def test_a_disk_that_fills_while_it_is_written_loses_nothing(
    small_disk: Path,  # noqa: F811
    params: Params,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """IndexFull, the old file goes on, and once there is room it is written anew."""
    monkeypatch.setattr(compaction, "SPARE_BYTES", 0)
    path = small_disk / "index.duckdb"
    with open_duckdb(path, params) as index:
        index.add([new_track(seed, N_HASHES, n_values=1 << 30) for seed in range(70)])
        ballast = small_disk / "ballast"

        def fill_up(_done: int, _total: int) -> None:
            left = os.statvfs(small_disk)
            ballast.write_bytes(bytes(max(0, left.f_bavail * left.f_bsize - (1 << 20))))

        with pytest.raises(IndexFull):
            index.compact(fill_up, never)
        ballast.unlink()
        assert_whole(index)
        index.add([new_track(1000, 100)])
        assert index.compact(silent, never).is_rewritten
        assert_whole(index)
    with open_duckdb(path, params) as index:
        assert_whole(index)
        assert index.statistics().n_tracks == 71


COMPACT_FOR_EVER = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
from pathlib import Path
from index_entries import never, new_track
from dejavud.fingerprint.params import Params
from dejavud.index.duckdb.index import open_duckdb
seed = int(sys.argv[2])
with open_duckdb(Path(sys.argv[1]), Params()) as index:
    print("open", flush=True)
    while True:
        seed += 1
        (track,) = index.add([new_track(seed, {N_HASHES}, n_values=1 << 20)])
        print(track.id, flush=True)
        index.compact(lambda done, total: None, never)
"""


def test_killed_at_any_point_of_it_the_file_is_whole(tmp_path: Path, params: Params) -> None:
    """A process is killed again and again while it writes the file anew; all that was acknowledged is there each time."""
    path = tmp_path / "index.duckdb"
    with open_duckdb(path, params) as index:
        index.add([new_track(seed, N_HASHES, n_values=1 << 20) for seed in range(20)])
    acknowledged = set(range(1, 21))
    chance = np.random.default_rng(7)
    for n_kill in range(8):
        command = [sys.executable, "-c", COMPACT_FOR_EVER, str(path), str(1000 * (n_kill + 1))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "open\n"
            acknowledged.add(int(child.stdout.readline()))
            time.sleep(chance.uniform(0, 0.3))  # the random point, not a wait for anything
            child.kill()
            said = child.stdout.read()
        acknowledged |= {int(line) for line in said.splitlines()[: said.count("\n")]}
        with open_duckdb(path, params) as index:
            assert_whole(index)
            assert acknowledged <= {track.id for track in index.tracks()}
        assert names_in(tmp_path) == ["index.duckdb"]
