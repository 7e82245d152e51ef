"""The Python client against a real daemon, under trio and under asyncio."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
import trio
from daemon_process import Place, running_daemon
from synthetic import synthesize, write_wav

from dejavud.wire.codes import TABLE
from dejavud_client import Dejavud, Error, Recognition, Track
from dejavud_client.answers import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = [  # httpx leaves the generators inside it to the garbage collector, which trio complains of; their connection is closed by then
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]
RATE_HZ = 16_000
PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text("utf-8")
CLIENT = Path(sys.modules["dejavud_client"].__file__ or "").parent


async def in_asyncio(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run what a program does under asyncio, in a thread of its own."""
    await trio.to_thread.run_sync(asyncio.run, scenario())  # type: ignore[arg-type]


async def in_trio(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run what a program does under trio."""
    await scenario()


def music(folder: Path, seed: int) -> Path:
    """Return a piece of music in a file."""
    return write_wav(folder / f"piece {seed}.wav", synthesize(seed, 20.0, RATE_HZ), RATE_HZ)


async def code_of(request: Awaitable[object]) -> tuple[str, int | None]:
    """Return how a request was refused."""
    with pytest.raises(Error) as caught:
        await request
    assert str(caught.value) == caught.value.message
    return caught.value.code, caught.value.status


async def tour(url: str, folder: Path) -> None:
    """Use all that there is."""
    path = music(folder, 1)
    unknown = await trio_free_read(music(folder, 2))
    data = await trio_free_read(path)
    clip = data[:44] + data[44 + 2 * 5 * RATE_HZ : 44 + 2 * 11 * RATE_HZ]

    async def pieces() -> AsyncIterator[bytes]:
        for first in range(0, len(clip), 10_000):
            yield clip[first : first + 10_000]

    async with Dejavud(url) as daemon, daemon.events("track.") as events:
        assert (await daemon.status())["n_tracks"] == 0
        first = await daemon.add(path, artist="Öyvind")
        assert (first.added, first.track.title, first.track.artist) == (True, "piece 1", "Öyvind")
        again = await daemon.add(data, name="other.wav")
        assert (again.added, again.track.id) == (False, first.track.id)

        for audio in (clip, pieces()):
            answer = await daemon.recognize(audio)
            assert answer.best is not None
            assert answer.best.track.id == first.track.id
            assert answer.best.track_start_s == pytest.approx(5.0, abs=0.1)
            assert answer.raw["matches"][0]["track"]["title"] == "piece 1"
        assert (await daemon.recognize(str(path), limit_s=3)).best is not None
        assert (await daemon.recognize(unknown)).matches == ()

        assert [track.title async for track in daemon.tracks(search="oyvind", limit=1)] == ["piece 1"]
        changed = await daemon.edit(first.track.id, title="Nocturne", disabled=True)
        assert (changed.title, changed.disabled) == ("Nocturne", True)
        assert changed.added_at is not None
        assert (await daemon.track(first.track.id)) == changed
        assert (await daemon.remove(first.track.id)).title == "Nocturne"
        assert await code_of(daemon.track(first.track.id)) == ("track_not_found", 404)
        assert await code_of(daemon.recognize(b"rubbish")) == ("unsupported_audio", 415)
        with anyio.fail_after(20):
            told = [await anext(events) for _ in range(3)]
        assert [event.topic for event in told] == ["track.added", "track.updated", "track.removed"]
        assert told[0].data["track"]["title"] == "piece 1"

        made = await daemon.listen("kitchen / 1", "pcm:s16le:8000:1", once=True)
        assert (made.listener, made.source) == ("kitchen / 1", "pcm:s16le:8000:1")
        assert (await daemon.pause("kitchen / 1")).state in {"starting", "waiting", "paused"}
        assert (await daemon.resume("kitchen / 1")).listener == "kitchen / 1"
        assert [one.listener for one in await daemon.listeners()] == ["kitchen / 1"]
        assert (await daemon.forget("kitchen / 1")).listener == "kitchen / 1"
        assert await code_of(daemon.forget("kitchen / 1")) == ("listener_not_found", 404)
        assert [play async for play in daemon.history(since="24h")] == []
        await jobs(daemon, folder)


async def jobs(daemon: Dejavud, folder: Path) -> None:
    """Begin long work, and wait for it, or not."""
    piece = await daemon.add(music(folder, 3))
    job = await daemon.scan(music(folder, 3))
    assert job.command == "scan"
    figures: list[dict[str, object]] = []
    done = await daemon.wait(job.id, figures.append)
    assert done.result is not None
    assert [play["track"]["id"] for play in done.result["plays"]] == [piece.track.id]
    assert job.id in {one.id for one in await daemon.jobs(state="done")}
    assert (await daemon.cancel(job.id)).state == "done"
    assert (await code_of(daemon.job("nobody")))[0] == "job_not_found"
    await daemon.remove(piece.track.id)


async def trio_free_read(path: Path) -> bytes:
    """Return a file's bytes, whichever library runs."""
    return await anyio.Path(path).read_bytes()


async def test_everything_that_a_program_asks_for(tmp_path: Path) -> None:
    """Recognize, add, edit, remove, listen, history, events and jobs, with typed answers and errors, by either library."""
    async with running_daemon(Place(tmp_path)) as daemon:
        url = (await daemon.ask("status"))["endpoints"]["http"][0]
        for run in (in_trio, in_asyncio):
            with trio.fail_after(60):
                await run(partial(tour, url, tmp_path))


async def test_events_go_on_where_the_daemon_comes_back(tmp_path: Path) -> None:
    """A daemon that is killed and started again is found again by itself, and what it told since its start comes first."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    place = Place(tmp_path, {"--http": address})
    seen: dict[str, list[str]] = {"trio": [], "asyncio": []}
    ready = {name: [trio.Event(), trio.Event()] for name in seen}
    token = trio.lowlevel.current_trio_token()

    async def follow(name: str) -> None:
        async with Dejavud(f"http://{address}") as daemon, daemon.events("daemon.ready", after="0") as events:
            for event in ready[name]:
                seen[name].append((await anext(events)).daemon)
                token.run_sync_soon(event.set)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_trio, partial(follow, "trio"))  # before there is a daemon
            nursery.start_soon(in_asyncio, partial(follow, "asyncio"))
            for n in range(2):
                async with running_daemon(place):
                    for events in ready.values():
                        await events[n].wait()
    assert seen["trio"] == seen["asyncio"]
    assert len(set(seen["trio"])) == 2


async def test_where_no_daemon_is_that_is_said() -> None:
    """One error for all that can be wrong with a connection, which names the address."""
    async with Dejavud("http://127.0.0.1:1") as daemon:
        with pytest.raises(Error, match=r"no daemon answers at http://127\.0\.0\.1:1") as caught:
            await daemon.status()
    assert (caught.value.code, caught.value.status) == ("unreachable", None)


def test_answers_are_read_whatever_else_is_in_them() -> None:
    """Keys of later versions are ignored, what is left out has its default, and what must be there is missed by name."""
    track = {"id": 7, "title": "t", "album": None, "new": 1, "added_at": "2026-10-25T11:00:00+00:00"}
    told = read(Track, track)
    assert (told.id, told.album, told.added_at is not None, told.n_hashes) == (7, None, True, None)
    assert read(Recognition, {"matches": []}).best is None
    with pytest.raises(Error, match="no 'title'"):
        read(Track, {"id": 7})
    assert "unreachable" not in TABLE


def test_the_client_is_small_and_needs_nothing_of_the_daemon() -> None:
    """Each of its files has fewer than 200 lines, and none imports what is installed with the daemon only."""
    for path in CLIENT.glob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) < 200, path
        assert "from dejavud." not in text
        assert "trio." not in text.partition('"""')[2].partition('"""')[2]


async def test_the_pages_example_runs_as_it_stands_there(tmp_path: Path) -> None:
    """The first program of docs/clients.md, with the daemon's address put in, does what it says."""
    program = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    path = music(tmp_path, 1).rename(tmp_path / "song.flac")
    (tmp_path / "clip.mp3").write_bytes(await trio_free_read(path))
    async with running_daemon(Place(tmp_path)) as daemon:
        url = (await daemon.ask("status"))["endpoints"]["http"][0]
        done = await trio.run_process(
            [sys.executable, "-c", program.replace("http://127.0.0.1:4141", url)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(CLIENT.parent)},
            capture_stdout=True,
        )
    assert done.stdout.decode().splitlines() == [
        "1 song new",
        "song, 0.0 s in, 100.00%",
        "1 song",
        "track_not_found",
    ]


def test_the_page_has_every_method() -> None:
    """What the client can do is written down, and what is written down it can."""
    table = PAGE.partition("| method | gives |")[2].partition("\n\n")[0]
    named = {
        name for cell in re.findall(r"^\| (.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)\(", cell)
    }
    assert named == {name for name in vars(Dejavud) if not name.startswith("_")}
