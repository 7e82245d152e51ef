"""A real daemon's history: killed in the middle of a play, without its database for a while, and asked by real clients."""

from __future__ import annotations

import csv
import io
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from daemon_process import Place, RunningDaemon, running_daemon
from synthetic import synthesize, write_wav

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from databases import PostgreSQL

RATE_HZ = 8000


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("d"))


async def plays_until(daemon: RunningDaemon, outcome: str, **params: object) -> list[dict[str, Any]]:
    """Return the history once its newest play ended so."""
    with trio.fail_after(20):
        while True:
            plays: list[dict[str, Any]] = (await daemon.ask("history.list", **params))["plays"]
            if plays and plays[0]["outcome"] == outcome:
                return plays
            await trio.sleep(0.05)


async def waiting_is(daemon: RunningDaemon, n_plays: int) -> None:
    """Return once so many plays wait for the database."""
    with trio.fail_after(20):
        while (await daemon.ask("status"))["history"]["n_waiting"] != n_plays:  # noqa: ASYNC110 - in another process
            await trio.sleep(0.05)


@asynccontextmanager
async def hearing_a_piece(place: Place) -> AsyncIterator[RunningDaemon]:
    """Give a daemon that hears a piece of half a minute in real time, and has said so in its history."""
    path = write_wav(place.folder / "piece.wav", synthesize(1, 30, RATE_HZ), RATE_HZ)
    async with running_daemon(place) as daemon:
        await daemon.ask("fingerprint", path=str(path), title="=The piece")
        await daemon.ask("listen.add", name="kitchen", source=f"realtime:{path}", once=True)
        await plays_until(daemon, "going", listener="kitchen")
        yield daemon


async def test_a_play_that_a_crash_cut_off_is_in_the_history(place: Place) -> None:
    """Its row is there from its start on; after kill -9 it is closed as it was known, and the next life writes beside it."""
    async with hearing_a_piece(place) as daemon:
        os.killpg(daemon.process.pid, signal.SIGKILL)
        await daemon.ended()
    async with hearing_a_piece(place) as daemon:
        going, crashed = (await daemon.ask("history.list"))["plays"]
        assert (going["outcome"], crashed["outcome"]) == ("going", "cut_off")
        assert (going["daemon"], going["track"]) == (crashed["daemon"], crashed["track"])
        assert crashed["ended_at"] <= going["started_at"]
        await daemon.ask("listen.remove", name="kitchen")
        stopped, _ = await plays_until(daemon, "stopped")
        assert stopped["id"] == going["id"]
        assert (await daemon.ask("status"))["history"]["n_plays"] == 2
        [url] = (await daemon.ask("status"))["endpoints"]["http"]
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            answer = await client.get("/v1/matches.csv", params={"listener": "kitchen", "day": "today"})
            rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
            assert [(row["title"], row["outcome"]) for row in rows] == [
                ("'=The piece", "stopped"),
                ("'=The piece", "cut_off"),
            ]
            summary = (await client.get("/v1/matches/summary?by=listener")).json()
            assert [(group["listener"], group["n_plays"]) for group in summary["groups"]] == [("kitchen", 2)]
        daemon.process.send_signal(signal.SIGTERM)
        assert await daemon.ended() == 0


async def test_a_play_that_ends_while_the_database_is_away_is_written_when_it_is_back(
    place: Place, postgresql_server: PostgreSQL, postgresql_url: str
) -> None:
    """Nothing is lost, `status` says what waits, and what the daemon tells last before it ends is there after it."""
    with_database = Place(place.folder, {"--dburl": postgresql_url})
    async with hearing_a_piece(with_database) as daemon:
        await trio.to_thread.run_sync(postgresql_server.stop)
        await daemon.ask("listen.remove", name="kitchen")
        await waiting_is(daemon, 1)
        await trio.to_thread.run_sync(postgresql_server.start)
        await waiting_is(daemon, 0)  # until it has found the database back, it refuses to ask there
        [play] = await plays_until(daemon, "stopped")
        assert (await daemon.ask("status"))["history"]["n_dropped"] == 0
        await daemon.ask("listen.add", name="again", source=f"realtime:{place.folder}/piece.wav", once=True)
        await plays_until(daemon, "going", listener="again")
        daemon.process.send_signal(signal.SIGTERM)
        assert await daemon.ended() == 0
    async with running_daemon(with_database) as daemon:
        plays = (await daemon.ask("history.list"))["plays"]
        assert [found["outcome"] for found in plays] == ["stopped", "stopped"]
        assert plays[1] == play
