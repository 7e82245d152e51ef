"""``dejavuctl scan`` against the real daemon: real recordings and a station in, timelines out."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import trio
from daemon_process import Place, running_daemon
from radio_station import RATE_HZ, as_mp3, on_air
from real_client import RealClient
from synthetic import synthesize, write_wav

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from numpy.typing import NDArray

PIECE_S = 40.0
LEAD_S = 15.0


@dataclass(frozen=True, slots=True)
class Setup(RealClient):
    """A daemon that knows two pieces, and a show in which they are played."""

    folder: Path
    show: Path


def programme(rate_hz: int) -> NDArray[Any]:
    """Return the show: something unknown, a piece, half of another."""
    second = synthesize(2, PIECE_S, rate_hz)[: round(PIECE_S / 2) * rate_hz]
    return np.concatenate([synthesize(90, LEAD_S, rate_hz), synthesize(1, PIECE_S, rate_hz), second])


@cache
def broadcast() -> bytes:
    """Return the show as a station sends it, and what it plays after that: something unknown, a piece."""
    return as_mp3(np.concatenate([programme(RATE_HZ), synthesize(91, 60.0, RATE_HZ), synthesize(2, PIECE_S, RATE_HZ)]))


@asynccontextmanager
async def set_up(folder: Path) -> AsyncIterator[Setup]:
    """Give a daemon that was taught."""
    music = folder / "music"
    music.mkdir()
    for seed in (1, 2):
        write_wav(music / f"piece {seed}.wav", synthesize(seed, PIECE_S, RATE_HZ), RATE_HZ)
    show = write_wav(folder / "show.wav", programme(16000), 16000)
    async with running_daemon(Place(folder)) as daemon:
        setup = Setup(daemon, folder, show)
        assert (await setup.ctl("fingerprint", music)).status == 0
        yield setup


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder whose path is short enough for sockets."""
    return tmp_path_factory.mktemp("s")


def check_plays(plays: list[dict[str, Any]]) -> None:
    """Check that these are the show's plays."""
    first, second = plays
    assert [play["track"]["title"] for play in plays] == ["piece 1", "piece 2"]
    assert first["start_s"] == pytest.approx(LEAD_S, abs=1)
    assert (first["end_s"], second["start_s"]) == (pytest.approx(LEAD_S + PIECE_S, abs=1),) * 2
    assert second["end_s"] == pytest.approx(LEAD_S + 1.5 * PIECE_S, abs=1)
    assert second["track_end_s"] == pytest.approx(PIECE_S / 2, abs=1)


async def test_a_show_is_scanned_by_every_door_and_in_every_format(folder: Path) -> None:
    """By path, as bytes on standard input, over HTTP as a body: one timeline; and the same in four formats."""
    async with set_up(folder) as setup:
        scanned = await setup.ctl("scan", setup.show, "--json")
        assert scanned.status == 0
        check_plays(scanned.records[:-1])
        assert scanned.records[-1]["recording"]["duration_s"] == pytest.approx(LEAD_S + 1.5 * PIECE_S, abs=0.1)

        content = await trio.Path(setup.show).read_bytes()
        piped = await setup.ctl("scan", "-", "--json", stdin=content)
        assert piped.records[:-1] == scanned.records[:-1]
        address = (await setup.daemon.ask("status"))["endpoints"]["http"][0]
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{address}/v1/scan", params={"name": "a show"}, content=content, timeout=60)
        assert answer.json()["plays"] == scanned.records[:-1]
        assert answer.json()["recording"]["source"] == "a show"

        table = await setup.ctl("scan", setup.show)
        assert [re.split(r"  +", line)[2] for line in table.out.splitlines()] == ["track", "piece 1", "piece 2"]
        rows = list(csv.DictReader((await setup.ctl("scan", setup.show, "--format", "csv")).out.splitlines()))
        assert [float(row["start_s"]) for row in rows] == [play["start_s"] for play in scanned.records[:-1]]
        cue = (await setup.ctl("scan", setup.show, "--format", "cue")).out
        assert 'FILE "show.wav" WAVE' in cue
        assert re.findall(r"INDEX 01 00:1[45]:\d\d|INDEX 01 00:5[45]:\d\d", cue) != []


async def test_a_station_is_heard_until_ctrl_c(folder: Path) -> None:
    """Each play of a stream without an end is printed when it has ended, the one that sounds at the end; and the station is left."""
    async with set_up(folder) as setup:
        with on_air(broadcast()) as station:
            process = await trio.lowlevel.open_process(
                setup.command("scan", station.url, "--json"),
                env=setup.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stdout is not None
            out = b""
            while out.count(b"\n") < 2:
                out += await process.stdout.receive_some()
            process.send_signal(signal.SIGINT)
            async for data in process.stdout:
                out += data
            assert await process.wait() == 130
            assert await trio.to_thread.run_sync(station.left.wait, 10)
        records = [json.loads(line) for line in out.splitlines()]
        check_plays(records[:2])
        assert records[-1]["recording"]["interrupted"] is True
        with trio.fail_after(10):
            while (await setup.daemon.ask("status"))["workers"]["n_busy"]:  # noqa: ASYNC110 - what another process does is no event of ours
                await trio.sleep(0.02)


async def test_ctrl_c_stops_a_long_scan_in_the_daemon(folder: Path) -> None:
    """After Ctrl-C nothing works on the recording any more, and what was found by then is printed."""
    async with set_up(folder) as setup:
        long = write_wav(folder / "long.wav", np.tile(programme(8000), 48), 8000)  # an hour
        process = await trio.lowlevel.open_process(
            setup.command("scan", long, "--json"),
            env=setup.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        out = await process.stdout.receive_some()
        process.send_signal(signal.SIGINT)
        async for data in process.stdout:
            out += data
        assert await process.wait() == 130
        assert json.loads(out.splitlines()[0])["track"]["title"] == "piece 1"
        with trio.fail_after(10):
            while (await setup.daemon.ask("status"))["workers"]["n_busy"]:  # noqa: ASYNC110 - as above
                await trio.sleep(0.02)
        assert (await setup.ctl("scan", setup.show, "-q")).status == 0


async def test_what_cannot_be_scanned_is_said(folder: Path) -> None:
    """A missing file, text, a scheme that is not fetched and a machine that refuses: exit 4 with the code of each."""
    async with set_up(folder) as setup:
        (folder / "notes.txt").write_text("no music here\n" * 100)
        wrong = {
            str(folder / "missing.mp3"): "unreadable_file",
            str(folder / "notes.txt"): "unsupported_audio",
            "ftp://host/a.mp3": "unsupported_url",
            "http://127.0.0.1:9/a.mp3": "unreachable_url",
        }
        for recording, code in wrong.items():
            ran = await setup.ctl("scan", recording, "--json")
            assert (ran.status, [record["error"]["code"] for record in ran.records]) == (4, [code])


async def test_a_worker_that_is_killed_fails_the_scan_and_nothing_else(folder: Path) -> None:
    """The client is told, and the next scan runs."""
    async with set_up(folder) as setup:
        with on_air(broadcast()) as station:
            process = await trio.lowlevel.open_process(
                setup.command("scan", station.url, "--json"),
                env=setup.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stdout is not None
            out = await process.stdout.receive_some()
            for pid in setup.daemon.workers():
                os.kill(pid, signal.SIGKILL)
            async for data in process.stdout:
                out += data
            assert await process.wait() == 4
        assert json.loads(out.splitlines()[-1])["error"]["code"] == "worker_died"
        assert (await setup.ctl("scan", setup.show, "-q")).status == 0
