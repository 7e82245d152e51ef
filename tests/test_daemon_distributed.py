"""Daemons on an index that is spread over several servers, one of which goes away, comes back, or is killed."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import trio
from daemon_process import Place, RunningDaemon, running_daemon
from shards import ROLE_PASSWORD
from synthetic import synthesize, write_wav

from dejavud.fingerprint.params import Params
from dejavud.index.sql.index import open_sql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest
    from shards import Cluster

RATE_HZ = 8000


def place_of(folders: pytest.TempPathFactory, cluster: Cluster, view: str) -> Place:
    """Return a place for a daemon on the cluster."""
    place = folders.mktemp("d")
    conf = place / "dejavud.toml"
    conf.write_text(f'[index]\nresident_view = "{view}"\npoll_s = 0.1\n')
    return Place(place, {"--dburl": cluster.url, "--config": str(conf)})


def piece(place: Place, seed: int) -> str:
    """Write a piece of music and return its path."""
    return str(write_wav(place.folder / f"piece{seed}.wav", synthesize(seed, 8.0, RATE_HZ), RATE_HZ))


async def until(holds: Callable[[], Awaitable[bool]], within_s: float = 15.0) -> None:
    """Return when it holds; what is watched is in another process."""
    with trio.fail_after(within_s):
        while not await holds():  # noqa: ASYNC110 - another process tells no event of ours
            await trio.sleep(0.05)


async def named(daemon: RunningDaemon, path: str) -> list[int]:
    """Return the ids of the tracks that a file is recognized as."""
    return [match["track"]["id"] for match in (await daemon.ask("recognize", path=path))["matches"]]


async def test_without_a_shard_both_daemons_answer_in_part_and_ingestion_waits(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Known music is named still, and the shard with it; a daemon with a view sees everything; back, it heals and what waited is stored."""
    bare_place, seeing_place = (place_of(tmp_path_factory, cluster, view) for view in ("never", "always"))
    paths = [piece(bare_place, seed) for seed in range(1, 4)]
    later: list[dict[str, Any]] = []
    async with running_daemon(bare_place) as bare, running_daemon(seeing_place) as seeing:
        track, gone = [(await bare.ask("fingerprint", path=path))["track"] for path in paths[:2]]

        async def is_seen() -> bool:
            status = (await seeing.ask("status"))["index"]
            return status["answers_from"] == "view" and await named(seeing, paths[0]) == [track["id"]]

        await until(is_seen)
        assert (await bare.ask("recognize", path=paths[0]))["partial"] == []
        cluster.shards[1].stop()
        async with trio.open_nursery() as nursery:

            async def fingerprint() -> None:
                later.append(await bare.ask("fingerprint", path=paths[2]))

            nursery.start_soon(fingerprint)
            for _ in range(2):
                answer = await bare.ask("recognize", path=paths[0])
                assert [match["track"]["id"] for match in answer["matches"]] == [track["id"]]
                [unseen] = answer["partial"]
                assert unseen.startswith("shard2: ")
                assert ROLE_PASSWORD not in unseen
            whole = await seeing.ask("recognize", path=paths[0])
            assert ([match["track"]["id"] for match in whole["matches"]], whole["partial"]) == ([track["id"]], [])
            await bare.ask("tracks.remove", ids=[gone["id"]])
            assert await named(bare, paths[1]) == []
            assert later == []
            cluster.shards[1].start()
        assert [answer["added"] for answer in later] == [True]

        async def is_whole() -> bool:
            answers = [await daemon.ask("recognize", path=paths[2]) for daemon in (bare, seeing)]
            ids = [[match["track"]["id"] for match in answer["matches"]] for answer in answers]
            return ids == [[later[0]["track"]["id"]]] * 2 and not any(answer["partial"] for answer in answers)

        await until(is_whole)
        assert (
            await named(bare, paths[1]) == await named(seeing, paths[1]) == []
        )  # what the shard has of it is no answer
        assert ROLE_PASSWORD not in bare.log + seeing.log + json.dumps(await bare.ask("status"))


async def test_killed_while_it_commits_it_leaves_no_track_in_part(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Killed twice among commits to four servers, it starts by itself; every acknowledged track is there whole, no other in part."""
    place = place_of(tmp_path_factory, cluster, "never")
    paths = [piece(place, seed) for seed in range(1, 5)]
    acknowledged: set[str] = set()

    async def fingerprint(daemon: RunningDaemon, path: str) -> None:
        try:
            acknowledged.add((await daemon.ask("fingerprint", path=path))["track"]["file_sha1"])
        except Exception:  # noqa: BLE001 - whatever a client says of a daemon that is killed
            return

    for n_kill in range(2):
        async with running_daemon(place) as daemon, trio.open_nursery() as nursery:
            for path in paths[2 * n_kill : 2 * n_kill + 2]:
                nursery.start_soon(fingerprint, daemon, path)
            with trio.move_on_after(0.5 + 0.2 * n_kill):  # the point is random, and no wait for anything
                await trio.sleep_forever()
            daemon.process.send_signal(signal.SIGKILL)
            await daemon.process.wait()
        with open_sql(cluster.url, Params()) as index:
            tracks = index.tracks()
            assert acknowledged <= {track.file_sha1 for track in tracks}
            for track in tracks:
                assert len(index.postings(track.id, track.id)) == track.n_hashes
