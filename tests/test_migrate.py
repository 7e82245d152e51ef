"""From an old dejavu to a daemon: the same songs, and the same answers as dejavu gave from its own database."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from daemon_process import Place, RunningDaemon, running_daemon
from databases import SERVERS
from old_databases import GENERATIONS, OldDejavu, OldFile
from plain_align import plain_align, plain_matches_2020, plain_matches_before
from plain_classic import plain_fingerprint
from real_client import RealClient
from synthetic import synthesize, write_wav

from dejavud.fingerprint.classic_params import GENERATIONS as CONSTANTS

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
