"""What was acknowledged is there whole, what was not is not there at all: killed, out of room, interrupted."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from index_entries import new_track, rows_of, sha1_of

from dejavud.errors import IndexFull
from dejavud.index.duckdb.clustering import Clustering, Sizes
from dejavud.index.duckdb.index import open_duckdb
from dejavud.index.view.resident import ResidentIndex
from dejavud.index.view.segment_files import SegmentFolder
from dejavud.index.view.upkeep import Portions, Upkeep
from dejavud.values import Constellation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.fingerprint.params import Params
    from dejavud.index.duckdb.index import DuckDBIndex

N_HASHES = 20_000

ADD_FOR_EVER = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from itertools import count
from pathlib import Path
from index_entries import new_track
from dejavud.fingerprint.params import Params
from dejavud.index.duckdb.index import open_duckdb
with open_duckdb(Path(sys.argv[1]), Params()) as index:
    print("open", flush=True)
    for seed in count(int(sys.argv[2]), 3):
        entries = [new_track(seed + n, {N_HASHES}) for n in range(3)]
        print("adding", flush=True)
        index.add(entries)
        print(*(entry.file_sha1 for entry in entries), flush=True)
"""


def assert_whole(index: DuckDBIndex) -> None:
    """Check that every track has its constellation and every posting, and that there is nothing else."""
    tracks = index.tracks()
    constellations = index.constellations([track.id for track in tracks])
    with index.reading() as cursor:
        n_postings = dict(cursor.execute("SELECT track_id, count(*) FROM postings GROUP BY track_id").fetchall())
        (n_constellations,) = cursor.execute("SELECT count(DISTINCT track_id) FROM constellations").fetchall()[0]
    assert {track.id: track.n_hashes for track in tracks} == n_postings
    assert {track.id: track.n_peaks for track in tracks} == {key: len(stars) for key, stars in constellations.items()}
    assert n_constellations == len(tracks)
    assert len({track.file_sha1 for track in tracks}) == len(tracks)


def test_killed_at_any_point_an_index_has_every_acknowledged_track_whole(tmp_path: Path, params: Params) -> None:
    """A process is killed again and again while it adds, from its very start; the file opens by itself each time."""
    path = tmp_path / "index.duckdb"
    chance = np.random.default_rng(4)
    acknowledged: set[str] = set()
    for n_kill in range(9):
        command = [sys.executable, "-c", ADD_FOR_EVER, str(path), str(10_000 * n_kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            if n_kill > 0:  # the first is killed while it makes the file or soon after
                assert child.stdout.readline() == "open\n"
                for _ in range(chance.integers(1, 12)):
                    acknowledged |= set(child.stdout.readline().split()) - {"adding"}
            time.sleep(chance.uniform(0, 0.03) if n_kill else 0.3)  # the random point, not a wait for anything
            child.kill()
            said = child.stdout.read()
        lines = said.splitlines() if said.endswith("\n") else said.splitlines()[:-1]
        acknowledged |= {sha1 for line in lines for sha1 in line.split()} - {"adding", "open"}
        with open_duckdb(path, params) as index:
            assert_whole(index)
            assert acknowledged <= {track.file_sha1 for track in index.tracks()}
            assert index.statistics().n_tracks % 3 == 0
    assert acknowledged


def test_an_add_that_fails_half_way_leaves_nothing(tmp_path: Path, params: Params) -> None:
    """One entry that cannot be stored undoes its whole batch, and the next add works."""
    broken = new_track(2, constellation=Constellation([5, 4], [1, 1], 10, [0, 0]))
    with open_duckdb(tmp_path / "index.duckdb", params) as index:
        with pytest.raises(ValueError, match="ascending"):
            index.add([new_track(1), broken])
        assert list(index.tracks()) == []
        index.add([new_track(1)])
        assert_whole(index)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a file system of 24 MB: more than DuckDB's log may grow before it is moved into the file."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk; the test with a file size limit covers the rest")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(index: DuckDBIndex, *, batch: int) -> list[str]:
    """Add tracks until the index is full; return the content hashes of those that were acknowledged."""
    acknowledged: list[str] = []
    for seed in range(0, 10_000, batch):
        try:
            added = index.add([new_track(seed + n, N_HASHES) for n in range(batch)])
        except IndexFull as error:
            assert "free some space" in error.message  # noqa: PT017 - it is raised some time, and pytest.fail is below
            return acknowledged
        acknowledged += [track.file_sha1 for track in added]
    pytest.fail("never full")


@pytest.mark.parametrize("batch", [1, 20], ids=["in the checkpoint", "in the commit"])
def test_a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room(
    small_disk: Path, params: Params, batch: int
) -> None:
    """The add that found no room is undone, reads go on, and the same index adds again once there is room."""
    path = small_disk / "index.duckdb"
    with open_duckdb(path, params) as index:
        acknowledged = fill(index, batch=batch)
        assert acknowledged
        assert_whole(index)
        assert [track.file_sha1 for track in index.tracks()] == acknowledged
        assert len(index.lookup(new_track(0, N_HASHES).hashes)) > 0
        subprocess.run(["mount", "-o", "remount,size=96m", str(small_disk)], check=True)
        index.add([new_track(99_999, N_HASHES)])
    with open_duckdb(path, params) as index:
        assert_whole(index)
        assert {track.file_sha1 for track in index.tracks()} == {*acknowledged, sha1_of(99_999)}


def test_closing_on_a_full_disk_loses_nothing(small_disk: Path, params: Params) -> None:
    """The checkpoint at the end finds no room: the tracks stay in the log and are there the next time."""
    path = small_disk / "index.duckdb"
    with open_duckdb(path, params) as index:
        acknowledged = fill(index, batch=1)
        left = os.statvfs(small_disk)
        (small_disk / "ballast").write_bytes(bytes(left.f_bavail * left.f_bsize))
    subprocess.run(["mount", "-o", "remount,size=96m", str(small_disk)], check=True)
    with open_duckdb(path, params) as index:
        assert_whole(index)
        assert [track.file_sha1 for track in index.tracks()] == acknowledged


def test_an_index_is_not_made_where_there_is_no_room(small_disk: Path, params: Params) -> None:
    """A disk that is full from the start is said to be, and no half of a file stays."""
    left = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(bytes(left.f_bavail * left.f_bsize))
    with pytest.raises(IndexFull), open_duckdb(small_disk / "index.duckdb", params):
        pytest.fail("opened")
    assert [entry.name for entry in small_disk.iterdir()] == ["ballast"]


def test_a_limit_on_file_sizes_is_a_full_disk(tmp_path: Path, params: Params) -> None:
    """RLIMIT_FSIZE, which needs no root: the add is undone and everything before it stays."""
    path = tmp_path / "index.duckdb"
    program = (
        "import sys\n"
        f"sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}\n"
        "from pathlib import Path\n"
        "from dejavud.fingerprint.params import Params\n"
        "from dejavud.index.duckdb.index import open_duckdb\n"
        "from test_index_durability import assert_whole, fill\n"
        "with open_duckdb(Path(sys.argv[1]), Params()) as index:\n"
        "    acknowledged = fill(index, batch=1)\n"
        "    assert_whole(index)\n"
        "    print(*acknowledged)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with open_duckdb(path, params) as index:
        assert_whole(index)
        assert [track.file_sha1 for track in index.tracks()] == done.stdout.split()
        index.add([new_track(99_999, N_HASHES)])


def test_clustering_on_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(
    small_disk: Path, params: Params
) -> None:
    """The slice that finds no room is undone, what was asked is still answered, and later all is sorted."""
    path = small_disk / "index.duckdb"
    sizes = Sizes(slice=200_000, tail=100_000, first=4_000_000, run=8_000_000)
    with open_duckdb(path, params) as index:
        tracks = index.add([new_track(seed, N_HASHES, n_values=1 << 30) for seed in range(60)])
        query = new_track(7, 300, n_values=1 << 30).hashes
        before = rows_of(index.lookup(query))
        left = os.statvfs(small_disk)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(left.f_bavail * left.f_bsize - (1 << 19)))
        with pytest.raises(IndexFull):
            Clustering(index, sizes).run(lambda: False)
        assert_whole(index)
        assert rows_of(index.lookup(query)) == before
        ballast.unlink()
        assert not Clustering(index, sizes).run(lambda: False).is_stopped
        assert_whole(index)
    with open_duckdb(path, params) as index:
        assert_whole(index)
        assert len(index.tracks()) == len(tracks)
        assert rows_of(index.lookup(query)) == before
        assert Clustering(index, sizes).share() == 1.0


def test_a_view_that_finds_no_room_leaves_the_answers_to_the_database(small_disk: Path, params: Params) -> None:
    """IndexFull is said, the database answers, tracks are still added and removed, and once there is room the view is made."""
    with open_duckdb(small_disk / "index.duckdb", params) as store, closing(ResidentIndex(store)) as index:
        index.add([new_track(seed, N_HASHES) for seed in range(40)])
        upkeep = Upkeep(index, store, SegmentFolder(small_disk / "view", params), portions=Portions(loose=1))
        left = os.statvfs(small_disk)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(left.f_bavail * left.f_bsize - (2 << 20)))
        with pytest.raises(IndexFull):
            upkeep.run(lambda: False)
        query = new_track(7, 300).hashes
        answer = rows_of(store.lookup(query))
        assert rows_of(index.lookup(query)) == answer
        index.remove([40])
        index.add([new_track(99, 100)])
        ballast.unlink()
        assert upkeep.run(lambda: False).state == "ready"
        assert index.view() is not None
        assert rows_of(index.lookup(query)) == rows_of(store.lookup(query))
        assert_whole(store)
