"""Daemons on a database server: several on one, without it for a while, killed while they write to it."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from daemon_process import Place, RunningDaemon, log_file, run_to_the_end, running_daemon
from databases import PASSWORD, USER, free_port
from synthetic import synthesize, write_wav

from dejavuctl.failures import Failed
from dejavud.fingerprint.params import Params
from dejavud.index.sql.index import open_sql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from databases import PostgreSQL

RATE_HZ = 8000


@pytest.fixture
def places(tmp_path_factory: pytest.TempPathFactory, postgresql_url: str) -> list[Place]:
    """Give places for two daemons on one PostgreSQL database."""
    return [Place(tmp_path_factory.mktemp(f"d{n}"), {"--dburl": postgresql_url}) for n in range(2)]


def piece(place: Place, seed: int) -> str:
    """Write a piece of music and return its path."""
    path = write_wav(place.folder / f"piece{seed}.wav", synthesize(seed, 8.0, RATE_HZ), RATE_HZ)
    return str(path)


async def until(holds: Callable[[], Awaitable[bool]], within_s: float = 30.0) -> None:
    """Return when it holds; what is watched is in another process."""
    with trio.fail_after(within_s):
        while not await holds():  # noqa: ASYNC110 - another process tells no event of ours
            await trio.sleep(0.05)


async def named(daemon: RunningDaemon, path: str) -> list[int]:
    """Return the ids of the tracks that a file is recognized as."""
    return [match["track"]["id"] for match in (await daemon.ask("recognize", path=path))["matches"]]


async def index_status(daemon: RunningDaemon) -> dict[str, Any]:
    """Return what `status` says of the index."""
    found: dict[str, Any] = (await daemon.ask("status"))["index"]
    return found


def conf(place: Place, text: str) -> Place:
    """Return the place with a conf file."""
    path = place.folder / "dejavud.toml"
    path.write_text(text)
    return replace(place, options={**place.options, "--config": str(path)})


@pytest.mark.parametrize("view", ["always", "never"])
async def test_what_one_daemon_does_the_other_answers_by_within_seconds(places: list[Place], view: str) -> None:
    """A track added, renamed, disabled, enabled and removed by one daemon, with a resident view and without."""
    one_place, two_place = (conf(place, f'[index]\nresident_view = "{view}"\npoll_s = 0.1\n') for place in places)
    path = piece(one_place, 1)
    async with running_daemon(one_place) as one, running_daemon(two_place) as two:
        expected = "view" if view == "always" else "database"
        for daemon in (one, two):

            async def answers(daemon: RunningDaemon = daemon) -> bool:
                return (await index_status(daemon))["answers_from"] == expected

            await until(answers)
        track = (await one.ask("fingerprint", path=path))["track"]

        async def is_named() -> bool:
            return await named(two, path) == [track["id"]]

        async def is_renamed() -> bool:
            return (await two.ask("tracks.get", id=track["id"]))["track"]["title"] == "renamed"

        async def is_silent() -> bool:
            return await named(two, path) == []

        await until(is_named, 5)
        again = await two.ask("fingerprint", path=path)
        assert (again["track"], again["added"]) == (track, False)
        await one.ask("tracks.edit", ids=[track["id"]], title="renamed")
        await until(is_renamed, 5)
        await one.ask("tracks.disable", ids=[track["id"]])
        await until(is_silent, 5)
        await one.ask("tracks.enable", ids=[track["id"]])
        await until(is_named, 5)
        await one.ask("tracks.remove", ids=[track["id"]])
        await until(is_silent, 5)
        assert (await two.ask("status"))["n_tracks"] == 0


async def test_without_its_server_it_answers_from_the_view_and_ingestion_waits(
    places: list[Place], postgresql_server: PostgreSQL
) -> None:
    """The server stops among ingests: known music is named still, `status` and the log say what is away, and what waited is committed."""
    place = conf(places[0], '[index]\nresident_view = "always"\npoll_s = 0.1\n')
    paths = [piece(place, seed) for seed in range(1, 7)]
    answers: list[dict[str, Any]] = []

    async def fingerprint(daemon: RunningDaemon, path: str) -> None:
        answers.append(await daemon.ask("fingerprint", path=path))

    async def is_away() -> bool:
        return not (await index_status(daemon))["reachable"]

    async def is_back() -> bool:
        return (await index_status(daemon))["reachable"]

    async with running_daemon(place) as daemon:
        known = (await daemon.ask("fingerprint", path=paths[0]))["track"]
        async with trio.open_nursery() as nursery:
            for path in paths[1:4]:
                nursery.start_soon(fingerprint, daemon, path)
            postgresql_server.stop()
            await until(is_away)
            for path in paths[4:]:
                nursery.start_soon(fingerprint, daemon, path)
            with trio.fail_after(5):
                assert await named(daemon, paths[0]) == [known["id"]]
                assert (await index_status(daemon))["answers_from"] == "view"
                with pytest.raises(Failed) as caught:
                    await daemon.ask("tracks.remove", ids=[known["id"]])
            assert caught.value.code == "index_unavailable"
            assert len(answers) < len(paths) - 1
            postgresql_server.start()
            await until(is_back)
        assert all(answer["added"] for answer in answers)
        listed = (await daemon.ask("tracks.list"))["tracks"]
        assert sorted(track["path"] for track in listed) == paths
        for path in paths:
            assert len(await named(daemon, path)) == 1
        events = [json.loads(line)["event"] for line in daemon.log.splitlines()]
        assert events.count("index_away") == events.count("index_back") == 1
        assert PASSWORD not in daemon.log


async def test_without_server_and_view_queries_are_refused_at_once(
    places: list[Place], postgresql_server: PostgreSQL
) -> None:
    """They say index_unavailable and not the password; `status` still answers; all goes on when the server is back."""
    place = conf(places[0], '[index]\nresident_view = "never"\npoll_s = 0.1\n')
    path = piece(place, 1)
    async with running_daemon(place) as daemon:
        track = (await daemon.ask("fingerprint", path=path))["track"]
        assert (await daemon.ask("status"))["n_tracks"] == 1
        postgresql_server.stop()
        with trio.fail_after(10):
            for _ in range(3):
                with pytest.raises(Failed) as caught:
                    await daemon.ask("recognize", path=path)
                assert caught.value.code == "index_unavailable"
                assert PASSWORD not in str(caught.value)
            status = await daemon.ask("status")
        assert (status["n_tracks"], status["index"]["reachable"]) == (1, False)
        assert PASSWORD not in json.dumps(status)
        postgresql_server.start()

        async def is_back() -> bool:
            return (await index_status(daemon))["reachable"]

        await until(is_back)
        assert await named(daemon, path) == [track["id"]]


async def test_it_ends_in_order_while_its_server_is_away(places: list[Place], postgresql_server: PostgreSQL) -> None:
    """What waits for the server is told so and was not acknowledged; the daemon does not wait for it longer than for anything else."""
    place = conf(places[0], "[index]\npoll_s = 0.1\n[shutdown]\ngrace_s = 0.5\n")
    path = piece(place, 1)
    async with running_daemon(place) as daemon, trio.open_nursery() as nursery:
        postgresql_server.stop()

        async def fingerprint() -> None:
            with pytest.raises(Exception, match=r"shut|lost|daemon|reached"):
                await daemon.ask("fingerprint", path=path)

        nursery.start_soon(fingerprint)

        async def is_away() -> bool:
            return not (await index_status(daemon))["reachable"]

        await until(is_away)
        daemon.process.terminate()
        assert await daemon.ended(within_s=20) == 0
    postgresql_server.start()
    async with running_daemon(place) as daemon:
        assert (await daemon.ask("status"))["n_tracks"] == 0


async def test_killed_while_it_commits_it_has_every_acknowledged_track_whole(places: list[Place]) -> None:
    """Killed again and again among commits to a server, it starts by itself; no track is there in part."""
    place = places[0]
    url = place.options["--dburl"]
    assert url is not None
    paths = [piece(place, seed) for seed in range(1, 7)]
    acknowledged: set[str] = set()

    async def fingerprint(daemon: RunningDaemon, path: str) -> None:
        try:
            acknowledged.add((await daemon.ask("fingerprint", path=path))["track"]["file_sha1"])
        except Exception:  # noqa: BLE001 - whatever a client says of a daemon that is killed
            return

    for n_kill in range(3):
        async with running_daemon(place) as daemon, trio.open_nursery() as nursery:
            for path in paths[2 * n_kill : 2 * n_kill + 2]:
                nursery.start_soon(fingerprint, daemon, path)
            with trio.move_on_after(0.3 + 0.1 * n_kill):  # the point is random, and no wait for anything
                await trio.sleep_forever()
            daemon.process.send_signal(signal.SIGKILL)
            await daemon.process.wait()
        with open_sql(url, Params()) as index:
            tracks = index.tracks()
            assert acknowledged <= {track.file_sha1 for track in tracks}
            stars = index.constellations([track.id for track in tracks])
            for track in tracks:
                assert len(index.postings(track.id, track.id)) == track.n_hashes
                assert len(stars[track.id]) == track.n_peaks
            assert index.stray_ids() == []


async def test_a_server_that_is_late_is_waited_for(places: list[Place], postgresql_server: PostgreSQL) -> None:
    """It says so in the log, and starts when the server does."""
    postgresql_server.stop()
    place = places[0]
    async with trio.open_nursery() as nursery:

        async def start_when_it_waits() -> None:
            async def is_waiting() -> bool:
                log = log_file(place)
                return log.exists() and "index_awaited" in log.read_text()

            await until(is_waiting)
            await trio.to_thread.run_sync(postgresql_server.start)

        nursery.start_soon(start_when_it_waits)
        async with running_daemon(place) as daemon:
            assert (await index_status(daemon))["reachable"]


async def test_a_server_that_does_not_come_is_an_error_in_the_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    """After `index.connect_s` the daemon says what it could not reach, without the password, and ends."""
    url = f"mysql://{USER}:{PASSWORD}@127.0.0.1:{free_port()}/music"
    place = conf(Place(tmp_path_factory.mktemp("d"), {"--dburl": url}), "[index]\nconnect_s = 0.5\n")
    done = await run_to_the_end(place)
    assert done.returncode == 4
    assert "index_unavailable" in done.stderr
    assert "cannot be reached" in done.stderr
    assert PASSWORD not in done.stderr


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
@pytest.mark.parametrize("wrong", ["password", "database"])
async def test_a_wrong_password_or_database_is_said_at_once(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, scheme: str, wrong: str
) -> None:
    """Waiting would be of no use: it ends before `index.connect_s`, and says what the server says."""
    url = str(request.getfixturevalue(f"{scheme}_url"))
    secret = "wr%40ng:w%2Frd" if wrong == "password" else PASSWORD
    url = url.replace(f":{PASSWORD}@", f":{secret}@")
    url = url if wrong == "password" else f"{url}_which_is_not_there"
    place = Place(tmp_path_factory.mktemp("d"), {"--dburl": url})
    with trio.fail_after(20):
        done = await run_to_the_end(place)
    assert done.returncode == 4
    assert "index_unavailable" in done.stderr
    assert ("denied" in done.stderr or "authentication failed" in done.stderr) == (wrong == "password")
    assert secret not in done.stderr
    assert "wr@ng:w/rd" not in done.stderr
    assert "index_awaited" not in done.stderr
