"""The client against the real daemon: real music in, real answers out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import trio
from daemon_process import Place, running_daemon
from real_client import RealClient, ctl
from synthetic import synthesize, write_wav

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from client_runs import Ran

RATE_HZ = 16000
PIECE_S = 40.0
CLIP_AT_S, CLIP_S = 17.3, 6.0


@dataclass(frozen=True, slots=True)
class Setup(RealClient):
    """A running daemon, a folder with music and a clip from the middle of one piece."""

    music: Path
    clip: Path


@asynccontextmanager
async def _set_up(folder: Path) -> AsyncIterator[Setup]:
    music = folder / "music"
    music.mkdir()
    pieces = [synthesize(seed, PIECE_S, RATE_HZ) for seed in (1, 2, 3)]
    for seed, piece in enumerate(pieces, start=1):
        write_wav(music / f"piece {seed}.wav", piece, RATE_HZ)
    start = round(CLIP_AT_S * RATE_HZ)
    clip = write_wav(folder / "clip.wav", pieces[1][start : start + round(CLIP_S * RATE_HZ)], RATE_HZ)
    async with running_daemon(Place(folder)) as daemon:
        yield Setup(daemon, music, clip)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder whose path is short enough for sockets."""
    return tmp_path_factory.mktemp("e")


async def test_music_is_learned_recognized_listed_and_removed(folder: Path) -> None:
    """A folder is added once, a clip of it is found where it was cut from, another piece is not, and removal removes."""
    async with _set_up(folder) as setup:
        added = await setup.ctl("fingerprint", setup.music, "--json")
        assert (added.status, added.err) == (0, "")
        assert added.records[-1]["summary"] | {"elapsed_s": 0} == {
            "n_added": 3,
            "n_known": 0,
            "n_failed": 0,
            "n_duplicates": 0,
            "audio_s": 3 * PIECE_S,
            "elapsed_s": 0,
            "interrupted": False,
        }
        again = await setup.ctl("fingerprint", setup.music)
        assert again.out.startswith("0 tracks added, 3 known already, 0 failed")

        found = await setup.ctl("recognize", setup.clip, "--json")
        match = found.records[0]["matches"][0]
        assert found.status == 0
        assert match["track"]["title"] == "piece 2"
        assert match["track_start_s"] == pytest.approx(CLIP_AT_S, abs=0.1)
        told = await setup.ctl("recognize", "file", setup.clip)
        assert told.out.startswith(f"{setup.clip}: piece 2, at 0:17 of 0:40, confidence ")

        unknown = write_wav(folder / "unknown.wav", synthesize(99, CLIP_S, RATE_HZ), RATE_HZ)
        assert (await setup.ctl("recognize", unknown)).status == 1
        both = await setup.ctl("recognize", "--files-from", "-", "--json", stdin=f"{unknown}\n{setup.clip}\n".encode())
        assert [len(record["matches"]) > 0 for record in both.records] == [False, True]

        track_id = match["track"]["id"]
        assert "piece 2" in (await setup.ctl("tracks", "ls")).out
        assert (await setup.ctl("tracks", "show", str(track_id), "--json")).records[0]["title"] == "piece 2"
        assert (await setup.ctl("tracks", "rm", str(track_id), "--yes")).status == 0
        assert (await setup.ctl("recognize", setup.clip)).status == 1
        assert (await setup.ctl("status", "--json")).records[0]["n_tracks"] == 2


async def test_bytes_reach_the_daemon_in_every_way(folder: Path) -> None:
    """Standard input, a name that is not UTF-8 and a descriptor of the client's own are sent, and are the same content."""
    async with _set_up(folder) as setup:
        piece = (setup.music / "piece 2.wav").read_bytes()
        assert len(piece) > 2**20  # more than one chunk
        odd = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")
        trio_path = trio.Path(odd)
        await trio_path.write_bytes(piece)
        first = await setup.ctl("fingerprint", odd, "--json")
        assert first.records[0]["added"] is True
        assert first.records[0]["track"]["title"] == "caf\N{REPLACEMENT CHARACTER}"
        second = await setup.ctl("fingerprint", setup.music / "piece 2.wav", "--json")
        assert second.records[0] | {"source": ""} == first.records[0] | {"source": "", "added": False}
        clip = await trio.Path(setup.clip).read_bytes()
        for words in (("recognize", "-"), ("recognize", "file", "/dev/stdin")):
            heard = await setup.ctl(*words, "--json", stdin=clip)
            assert heard.status == 0
            assert heard.records[0]["matches"][0]["track_start_s"] == pytest.approx(CLIP_AT_S, abs=0.1)


async def test_what_is_no_audio_is_refused_with_a_reason(folder: Path) -> None:
    """Text, and a file that is not there, are failures with the daemon's codes; the rest of the run goes on."""
    async with _set_up(folder) as setup:
        text = folder / "notes.txt"
        text.write_text("no music here\n" * 100)
        ran = await setup.ctl("fingerprint", text, folder / "missing.mp3", setup.music / "piece 1.wav", "--json")
        assert ran.status == 4
        codes = {record["source"]: record["error"]["code"] for record in ran.records if "error" in record}
        assert codes == {str(text): "unsupported_audio", str(folder / "missing.mp3"): "unreadable_file"}
        assert ran.records[-1]["summary"]["n_added"] == 1


async def test_events_tell_what_the_client_did(folder: Path) -> None:
    """Who subscribes sees each track that is added."""
    async with _set_up(folder) as setup, trio.open_nursery() as nursery:
        seen: list[Ran] = []

        async def subscribe() -> None:
            seen.append(await setup.ctl("events", "track.", "--json", "-n", "1"))
            nursery.cancel_scope.cancel()

        nursery.start_soon(subscribe)
        for number in range(1000):  # a subscriber that came late misses events: give it more
            piece = write_wav(folder / "more.wav", synthesize(100 + number, 2.0, 8000), 8000)
            await setup.ctl("fingerprint", piece)
    event = seen[0].records[0]
    assert event["topic"] == "track.added"
    assert event["data"]["track"]["title"] == "more"


async def test_ctrl_c_stops_the_work_in_the_daemon(folder: Path) -> None:
    """After Ctrl-C nothing of the run is in work any more, and what was added before stays."""
    async with _set_up(folder) as setup:
        long = folder / "long"
        long.mkdir()
        minute = np.tile(synthesize(7, 30.0, 8000), 120)
        for number in range(4):
            write_wav(long / f"{number}.wav", minute, 8000)
            minute[0] = 0.01 * (number + 1)  # another content
        process = await trio.lowlevel.open_process(
            setup.command("fingerprint", setup.music / "piece 1.wav", long, "--json", "--jobs", "2"),
            env=setup.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        out = b""
        while b"\n" not in out:
            out += await process.stdout.receive_some()
        process.send_signal(signal.SIGINT)
        async for data in process.stdout:
            out += data
        assert await process.wait() == 130
        summary = json.loads(out.splitlines()[-1])["summary"]
        assert summary["interrupted"] is True
        assert summary["n_added"] >= 1
        status = (await setup.ctl("status", "--json")).records[0]
        assert status["workers"]["n_busy"] == 0
        assert status["n_tracks"] == summary["n_added"]


async def test_a_killed_daemon_is_noticed(folder: Path) -> None:
    """SIGKILL in the middle of a run: exit 3 within moments, and the summary says what had been added."""
    async with _set_up(folder) as setup:
        long = write_wav(folder / "long.wav", np.tile(synthesize(7, 30.0, 8000), 120), 8000)
        process = await trio.lowlevel.open_process(
            setup.command("fingerprint", setup.music / "piece 1.wav", long, "--jobs", "1"),
            env=setup.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with trio.fail_after(30):
            while (await setup.daemon.ask("status"))["n_tracks"] == 0:  # noqa: ASYNC110 - what another process does is no event of ours
                await trio.sleep(0.01)
        setup.daemon.process.kill()
        with trio.fail_after(10):
            assert await process.wait() == 3
        assert process.stdout is not None
        assert (await process.stdout.receive_some()).startswith(b"1 track added")


async def test_ready_waits_for_a_daemon_that_starts(folder: Path) -> None:
    """Asked before there is one it answers when that can, at once where it does, and where none comes it says so in the end."""
    place = Place(folder)
    absent = await ctl(place, "ready", "--wait", "0.3")
    assert (absent.status, absent.out) == (3, "")
    async with trio.open_nursery() as nursery:
        waited: list[Ran] = []

        async def wait() -> None:
            waited.append(await ctl(place, "ready", "--wait", "30", "--json"))

        nursery.start_soon(wait)
        async with running_daemon(place) as daemon:
            assert (await RealClient(daemon).ctl("ready")).out == "ready\n"
    assert (waited[0].status, waited[0].records[0]["ready"]) == (0, True)


async def test_shutdown_ends_the_daemon(folder: Path) -> None:
    """The command returns when the daemon is on its way out, which then exits 0; the next command finds none."""
    async with _set_up(folder) as setup:
        assert (await setup.ctl("shutdown")).out == "the daemon has stopped\n"
        assert await setup.daemon.ended() == 0
        assert (await setup.ctl("status")).status == 3
