"""From an old dejavu to a daemon: the same songs, and the same answers as dejavu gave from its own database."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
from daemon_process import Place, RunningDaemon, running_daemon
from databases import SERVERS
from old_databases import GENERATIONS, OldDejavu, OldFile, filled
from plain_align import plain_align, plain_matches_2020, plain_matches_before
from plain_classic import plain_fingerprint
from real_client import RealClient
from synthetic import synthesize, write_wav

from dejavud.fingerprint.classic_params import GENERATIONS as CONSTANTS
from dejavud.index.duckdb.index import DuckDBIndex
from dejavud.index.open import open_index

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

RATE_HZ = 22050
"""Of the files: dejavu went by it, and kept it nowhere."""
SONGS, UNKNOWN = (1, 2, 3), 77
SONG_S = 8.0

MADE_BY = {
    "dejavu-2013-11": ["worldveil-2013 mysql", "worldveil-2013 mysql, each hash once"],
    "dejavu-2014-03": ["worldveil-2013 mysql"],
    "dejavu-0.1.3": ["worldveil-0.1.3 mysql", "worldveil-0.1.3 mysql, sha1 cut"],
    "dejavu-2020": ["worldveil-2019 mysql", "worldveil-2019 postgresql"],
    "ivlovric-1.4": [name for name in GENERATIONS if name.startswith("ivlovric")],
    "ivlovric-1.5": ["ivlovric-1.3.4 sqlite"],
}
"""The tables that programs with these constants filled."""


@cache
def song(seed: int) -> NDArray[np.int16]:
    """Return a song, int16 [2, n]: its channels differ, as those of music do."""
    left, right = synthesize(seed, SONG_S, RATE_HZ), synthesize(seed + 1000, SONG_S, RATE_HZ)
    return np.round(np.stack([left, 0.8 * left + 0.2 * right]) * 30000).astype(np.int16)


def clip(seed: int, *, noise: float = 0.0) -> NDArray[np.int16]:
    """Return four seconds of a song, from a place in the middle of a frame on, with white noise of this share of its level."""
    heard = song(seed)[:, 50_000 : 50_000 + 4 * RATE_HZ].astype(np.float64)
    heard += np.random.default_rng(seed).normal(0.0, noise * heard.std(), heard.shape)
    return np.clip(np.round(heard), -32767, 32767).astype(np.int16)


QUERIES = {
    "song 1": clip(1),
    "song 3": clip(3),
    "song 2 in noise": clip(2, noise=0.3),
    "unknown": clip(UNKNOWN),
}
CLEAR = ("song 1", "song 3")


@cache
def fingerprint(name: str, constants: str) -> list[set[tuple[str, int]]]:
    """Return (hexadecimal hash, offset) of each channel of a song or a query, as the plain implementation gives them."""
    channels = QUERIES[name] if name in QUERIES else song(int(name))
    params = replace(CONSTANTS[constants], rate_hz=RATE_HZ)
    return [plain_fingerprint(channel, params) for channel in channels]


def old_files(constants: str) -> list[OldFile]:
    """Return the songs with the union of their channels' hashes, in the order in which a set gives them."""
    return [
        OldFile(f"Piece {seed}", b"%d" % seed, list(set.union(*fingerprint(str(seed), constants)))) for seed in SONGS
    ]


def dejavus_answer(old: OldDejavu, query: str, constants: str) -> tuple[str, int, int] | None:
    """Return (name, offset, how many hashes agree), or None: what dejavu answered, asked from its own database."""
    channels = fingerprint(query, constants)
    stored = old.stored({digits for pairs in channels for digits, _ in pairs})
    if CONSTANTS[constants].query_united:
        matches = plain_matches_2020(set.union(*channels), stored)
    else:
        matches = plain_matches_before(channels, stored)
    for song_id, offset, n_agreeing in plain_align(matches):
        return old.name_of(song_id), offset, n_agreeing
    return None


def our_answer(recognition: dict[str, Any]) -> tuple[str, int, int] | None:
    """Return the same of a recognition."""
    for match in recognition["matches"]:
        start_s = match["track_start_s"] - match["query_start_s"]
        return match["track"]["title"], round(start_s / recognition["engine"]["frame_s"]), match["score"]
    return None


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("d"))


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/old.db"
        return
    with {"mysql": SERVERS.mariadb, "postgresql": SERVERS.postgresql}[kind].database() as url:
        yield url


def conf(place: Place, constants: str) -> tuple[str, str]:
    """Write a conf file for a daemon of a classic profile, and return the options that name it."""
    path = place.folder / "classic.toml"
    path.write_text(f'[engine]\nprofile = "{CONSTANTS[constants].profile}"\n')
    return "--config", str(path)


async def recognized(daemon: RunningDaemon, query: str) -> tuple[str, int, int] | None:
    """Return the daemon's answer to a query."""
    path = write_wav(daemon.place.folder / "query.wav", QUERIES[query].T / 32767, RATE_HZ)
    return our_answer(await daemon.ask("recognize", path=str(path)))


@pytest.mark.parametrize("constants", MADE_BY)
async def test_a_migrated_library_answers_as_dejavu_did(place: Place, tmp_path: Path, constants: str) -> None:
    """Whatever generation of tables, constants and database: the same song, the same offset and as many hashes as dejavu's own matching of its database."""
    async with running_daemon(place, *conf(place, constants)) as daemon:
        for name in MADE_BY[constants]:
            generation = GENERATIONS[name]
            (folder := tmp_path / name).mkdir()
            with empty_database(generation.kind, folder) as url:
                with closing(OldDejavu(url, generation)) as old:
                    for file in old_files(constants):
                        old.add(file)
                    expected = {query: dejavus_answer(old, query, constants) for query in QUERIES}
                ran = await RealClient(daemon).ctl("migrate", url, "--json")
            assert (ran.status, ran.records[0]["n_added"]) == (0, len(SONGS)), (name, ran.err)
            answers = {query: await recognized(daemon, query) for query in QUERIES}
            assert answers["unknown"] is None
            for query in CLEAR:
                assert answers[query] == expected[query] is not None, (name, query)
            assert answers["song 2 in noise"] in (expected["song 2 in noise"], None)
            listed = (await daemon.ask("tracks.list"))["tracks"]
            await daemon.ask("tracks.remove", ids=[track["id"] for track in listed])


def many_files(n_files: int, n_pairs: int) -> list[OldFile]:
    """Return small songs, each with its own hashes."""
    return [
        OldFile(f"Small {n}", b"small %d" % n, [(f"{n * n_pairs + i:016x}0000", i // 8) for i in range(n_pairs)])
        for n in range(n_files)
    ]


async def test_a_killed_daemon_has_whole_songs_and_goes_on(place: Place, tmp_path: Path) -> None:
    """Killed again and again while it migrates: after each start every song is there whole or not at all, and in the end all are, once."""
    url, files = f"sqlite:///{tmp_path}/old.db", many_files(400, 200)
    filled(url, GENERATIONS["ivlovric-2018 sqlite"], files)
    options, there = conf(place, "ivlovric-1.4"), 0
    for _ in range(2):
        async with running_daemon(place, *options) as daemon, trio.open_nursery() as nursery:
            nursery.start_soon(RealClient(daemon).ctl, "migrate", url)
            with trio.fail_after(30):
                while (n_tracks := (await daemon.ask("status"))["n_tracks"]) == there < len(files):  # noqa: ASYNC110 - another process tells no event of ours
                    await trio.sleep(0.002)
            daemon.process.kill()
            await daemon.ended()
        there = n_whole_tracks(place, 200)
        assert there >= n_tracks
    async with running_daemon(place, *options) as daemon:
        ran = await RealClient(daemon).ctl("migrate", url, "--json")
        assert (ran.records[0]["n_known"], ran.records[0]["n_added"]) == (there, len(files) - there)
        listed = (await daemon.ask("tracks.list", limit=1000))["tracks"]
    assert sorted(track["title"] for track in listed) == sorted(file.name for file in files)
    assert n_whole_tracks(place, 200) == len(files)


def n_whole_tracks(place: Place, n_hashes: int) -> int:
    """Return how many tracks the index of a daemon that has ended holds; each has all its hashes, and no hash is without its track."""
    with open_index(f"duckdb:///{place.folder}/data/dejavud.duckdb", CONSTANTS["ivlovric-1.4"]) as index:
        tracks = index.tracks()
        assert isinstance(index, DuckDBIndex)
        ids, counts = np.unique(index.postings(1, 1_000_000).track_ids, return_counts=True)
    assert ids.tolist() == [track.id for track in tracks]
    assert set(counts.tolist()) <= {n_hashes}
    return len(tracks)


READ = """
import re, sys
from pathlib import Path
from dejavud.index.old.database import OldDatabase

def kilobytes(figure):  # of this program alone: getrusage's begin with what its parent had
    return int(re.search(figure + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

database = OldDatabase(sys.argv[1])
catalogue = database.catalogue()
before = kilobytes("VmRSS")
n_hashes = sum(
    len(song.hashes) for batch in database.read(catalogue, [song.id for song in catalogue.songs]) for song in batch.songs
)
database.close()
print(n_hashes, kilobytes("VmHWM") - before)
"""


@pytest.mark.parametrize(
    ("name", "n_songs", "max_mb"),
    [
        ("worldveil-2019 mysql", 25, 18),
        ("worldveil-2019 postgresql", 25, 18),
        ("ivlovric-2018 sqlite", 25, 18),
        ("ivlovric-2018 sqlite", 1, 65),
    ],
)
def test_memory_depends_on_a_song_and_not_on_the_database(tmp_path: Path, name: str, n_songs: int, max_mb: int) -> None:
    """Fingerprints that in memory, as rows, would be 200 MB, take a fraction of that; of one song, what its hashes are and to sort them."""
    n_rows, generation = 1_000_000, GENERATIONS[name]
    per_song = n_rows // n_songs + 1
    with empty_database(generation.kind, tmp_path) as url:
        with closing(OldDejavu(url, generation)) as old:
            for n in range(n_songs):
                old.complete(old.begin(OldFile(f"{n}", b"%d" % n, [])))
            old.generate(n_rows, per_song)
        done = subprocess.run(
            [sys.executable, "-c", READ, url], check=True, capture_output=True, text=True, env=os.environ
        )
    n_hashes, more_kb = map(int, done.stdout.split())
    assert n_hashes == n_rows
    assert more_kb / 1000 < max_mb
