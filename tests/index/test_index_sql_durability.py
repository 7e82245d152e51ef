"""What was acknowledged is in the database whole, what was not is not there at all: killed, out of room."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from index_entries import new_track, url_of

from dejavud.index.sql.index import open_sql
from dejavud.values import Constellation

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.index.sql.index import SqlIndex

N_HASHES = 4000

_BEGINNING = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from itertools import count
from index_entries import new_track
from dejavud.errors import IndexFull
from dejavud.fingerprint.params import Params
from dejavud.index.sql.index import open_sql
"""
ADD_FOR_EVER = f"""{_BEGINNING}
with open_sql(sys.argv[1], Params()) as index:
    print("open", flush=True)
    for seed in count(int(sys.argv[2]), 3):
        entries = [new_track(seed + n, {N_HASHES}) for n in range(3)]
        print("adding", flush=True)
        index.add(entries)
        print(*(entry.file_sha1 for entry in entries), flush=True)
"""
FILL = f"""{_BEGINNING}
with open_sql(sys.argv[1], Params()) as index:
    for seed in count():
        try:
            print(index.add([new_track(seed, {N_HASHES})])[0].file_sha1, flush=True)
        except IndexFull as error:
            assert "free some space" in error.message
            assert len(index.lookup(new_track(0, {N_HASHES}).hashes)) > 0
            break
"""


def assert_whole(index: SqlIndex) -> None:
    """Check that every track has its constellation and every posting, and that there is nothing else."""
    tracks = index.tracks()
    stars = index.constellations([track.id for track in tracks])
    assert {track.id: track.n_peaks for track in tracks} == {key: len(each) for key, each in stars.items()}
    postings = index.postings(1, 2**31 - 1)
    ids, counts = np.unique(postings.track_ids, return_counts=True)
    assert {track.id: track.n_hashes for track in tracks} == dict(zip(ids.tolist(), counts.tolist(), strict=True))
    assert index.stray_ids() == []
    assert len({track.file_sha1 for track in tracks}) == len(tracks)


@pytest.mark.parametrize("kind", ["sqlite-file", "postgresql", "mariadb"])
def test_killed_at_any_point_a_database_has_every_acknowledged_track_whole(
    kind: str, tmp_path: Path, params: Params
) -> None:
    """A process is killed again and again while it adds, from its very start; the database opens each time."""
    url = url_of(kind, tmp_path)
    chance = np.random.default_rng(5)
    acknowledged: set[str] = set()
    for n_kill in range(5):
        command = [sys.executable, "-c", ADD_FOR_EVER, url, str(10_000 * n_kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            if n_kill > 0:  # the first is killed while it makes the tables or soon after
                assert child.stdout.readline() == "open\n"
                for _ in range(chance.integers(1, 8)):
                    acknowledged |= set(child.stdout.readline().split()) - {"adding"}
            time.sleep(chance.uniform(0, 0.03) if n_kill else 0.9)  # the random point, not a wait for anything
            child.kill()
            said = child.stdout.read()
        lines = said.splitlines() if said.endswith("\n") else said.splitlines()[:-1]
        acknowledged |= {sha1 for line in lines for sha1 in line.split()} - {"adding", "open"}
        with open_sql(url, params) as index:
            assert_whole(index)
            assert acknowledged <= {track.file_sha1 for track in index.tracks()}
            assert index.statistics().n_tracks % 3 == 0
    assert acknowledged


def test_a_full_disk_loses_nothing_of_sqlite(tmp_path: Path, params: Params) -> None:
    """The add that finds no room is undone and says so, reads go on, and the next process adds again where there is room."""
    url = url_of("sqlite-file", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", FILL, url],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with open_sql(url, params) as index:
        assert_whole(index)
        assert [track.file_sha1 for track in index.tracks()] == done.stdout.split()
        index.add([new_track(99_999, N_HASHES)])


@pytest.mark.parametrize("kind", ["sqlite-file", "postgresql", "mariadb"])
def test_an_add_that_fails_half_way_leaves_nothing(kind: str, tmp_path: Path, params: Params) -> None:
    """One entry that cannot be stored undoes its whole batch, and the next add works."""
    broken = new_track(2, constellation=Constellation([5, 4], [1, 1], 10, [0, 0]))
    with open_sql(url_of(kind, tmp_path), params) as index:
        with pytest.raises(ValueError, match="ascending"):
            index.add([new_track(1), broken])
        assert list(index.tracks()) == []
        index.add([new_track(1)])
        assert_whole(index)
