"""``dejavuctl listen`` in a real terminal, before a real daemon: what a person sees, what keys do, and how the terminal is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from daemon_process import Place, RunningDaemon, running_daemon
from real_client import RealClient
from synthetic import synthesize, write_wav
from terminals import Watched, in_terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PIECE_S = 20


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("d"))


async def watching(
    client: RealClient, look: Callable[[Watched], None], *words: str, columns: int = 100, lines: int = 24, **env: str
) -> None:
    """Run `dejavuctl listen` in a terminal while `look` looks at it."""

    def watch() -> None:
        with in_terminal(client.command("listen", *words), client.environment | env, columns, lines) as seen:
            look(seen)

    await trio.to_thread.run_sync(watch)


@asynccontextmanager
async def listening(place: Place, *, for_the_second_time: bool = False) -> AsyncIterator[RunningDaemon]:
    """Give a daemon that hears a recording in real time, perhaps after it has heard it before, and lacks another source."""
    async with running_daemon(place) as daemon:
        tape = await trio.to_thread.run_sync(a_tape, place.folder)
        await daemon.ask("fingerprint", path=str(tape), title="Nocturne", artist="Somebody")
        if for_the_second_time:
            await daemon.ask("listen.add", name="earlier", source=str(tape))
            with trio.fail_after(20):
                while not (plays := (await daemon.ask("history.list"))["plays"]) or plays[0]["outcome"] == "going":  # noqa: ASYNC110 - in another process
                    await trio.sleep(0.05)
            await daemon.ask("listen.remove", name="earlier")
        await daemon.ask("listen.add", name="kitchen", source=f"realtime:{tape}")
        await daemon.ask("listen.add", name="attic", source="/missing/tape.wav")
        yield daemon


def a_tape(folder: Path) -> Path:
    """Return a recording in a file."""
    return write_wav(folder / "tape.wav", synthesize(1, PIECE_S), 44100)


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped, as Ctrl-Z does."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_what_is_heard_is_seen_and_keys_change_it(place: Place) -> None:
    """Level, track, position, certainty, reasons and the history, in any size; a listener chosen and paused; the picture held; q leaves all whole."""
    async with listening(place, for_the_second_time=True) as daemon:

        def look(seen: Watched) -> None:
            before = seen.settings
            text = seen.sees("Nocturne \N{EN DASH} Somebody", "sure · coverage", " dB  peak ", "retrying", "earlier")
            assert re.search(r"▸ kitchen · listening · realtime:\S+tape\.wav", text)
            assert re.search(r"since \d\d:\d\d:\d\d  0:\d\d of 0:20  ", text)
            assert re.search(r"attic · retrying (now|in \d+ s): tape\.wav: there is no such file", text)
            rows = text[text.index("── played") :].splitlines()[1:]
            assert re.search(r"now  kitchen  Nocturne . Somebody", rows[0])
            assert re.search(r"0:(19|20)  earlier  Nocturne . Somebody .* source ended  (99|100)", rows[1])
            first = re.search(r"0:(\d\d) of 0:20", text)
            assert first is not None
            seen.until(lambda text: (at := re.search(r"0:(\d\d) of 0:20", text)) and at[1] > first[1])

            seen.resize(40, 24)
            text = seen.until(lambda text: "▸ kitchen listening\n" in text and "q leave  space hold  p pause" in text)
            assert re.search(r"^    0:\d\d of 0:20 · since \d\d:\d\d:\d\d$", text, re.MULTILINE)
            seen.resize(100, 24)
            seen.sees("sure · coverage", "hold the picture")

            seen.press(" ")
            held = seen.sees("held: space goes on")
            seen.press("\x1b[B")
            seen.press(" ")
            seen.until(lambda text: "▸ attic" in text and "hold the picture" in text)
            assert "▸ kitchen" in held
            seen.press("\x1b[A")
            seen.sees("▸ kitchen")
            seen.press("p")
            text = seen.sees("▸ kitchen · paused", " paused  ")
            assert "♪" not in text
            seen.press("p")
            seen.until(lambda text: "▸ kitchen · paused" not in text)
            seen.press("q")
            assert seen.ended() == 0
            assert seen.is_whole
            assert seen.settings == before

        await watching(RealClient(daemon), look)
        assert [view["listener"] for view in (await daemon.ask("listen.list"))["listeners"]] == ["kitchen", "attic"]


async def test_a_daemon_that_dies_is_said_and_had_again(place: Place) -> None:
    """After kill -9 the view stays and says why; once a daemon is back so is all it says, with what was cut off; Ctrl-C leaves all whole."""
    found = trio.Event(), trio.Event()

    def look(seen: Watched) -> None:
        seen.sees("▸ kitchen", "♪ Nocturne")
        trio.from_thread.run_sync(found[0].set)
        text = seen.sees("no daemon, trying again")
        assert "♪" in text
        assert " dB" not in text
        trio.from_thread.run_sync(found[1].set)
        text = seen.until(lambda text: "no daemon" not in text and "cut off" in text, 30)
        assert "kitchen" in text
        seen.press("\x03")
        assert seen.ended() == 130
        assert seen.is_whole

    async with trio.open_nursery() as nursery:
        async with listening(place) as daemon:
            nursery.start_soon(watching, RealClient(daemon), look)
            await found[0].wait()
            os.killpg(daemon.process.pid, signal.SIGKILL)
            await daemon.ended()
            await found[1].wait()
        again = Place(place.folder, place.options)
        async with running_daemon(again):
            while nursery.child_tasks:  # noqa: ASYNC110 - until the view was left
                await trio.sleep(0.05)


async def test_every_end_leaves_the_terminal_whole(place: Place) -> None:
    """Stopped by Ctrl-Z the terminal is the shell's, and the view's again afterwards; a signal ends it, as does the daemon's end without a view."""
    async with running_daemon(place) as daemon:
        client = RealClient(daemon)

        def stop_and_go_on(seen: Watched) -> None:
            seen.sees("the daemon listens to nothing yet")
            seen.press("\x1a")
            seen.until(lambda _: is_stopped(seen.process.pid))
            seen.until(lambda _: seen.is_whole)
            os.kill(seen.process.pid, signal.SIGCONT)
            seen.sees("the daemon listens to nothing yet")
            assert not seen.is_whole
            os.kill(seen.process.pid, signal.SIGTERM)
            assert seen.ended() == -signal.SIGTERM
            assert seen.is_whole

        def without_daemon(seen: Watched) -> None:
            assert seen.ended() == 3
            assert "no daemon is running here" in seen.text
            assert "\x1b[?1049h" not in seen.raw.decode()

        await watching(client, stop_and_go_on)
        os.killpg(daemon.process.pid, signal.SIGKILL)
        await daemon.ended()
        await trio.Path(place.folder / "c").unlink()
        await watching(client, without_daemon)


async def test_nothing_but_text_where_it_is_not_a_view(place: Place) -> None:
    """Piped, with --plain, or with TERM=dumb there are lines; without colour there is a view in black and white."""
    async with running_daemon(place) as daemon:
        tape = await trio.to_thread.run_sync(a_tape, place.folder)
        await daemon.ask("fingerprint", path=str(tape), title="Nocturne", artist="Somebody")
        await daemon.ask("listen.add", name="attic", source="/missing/tape.wav")
        client = RealClient(daemon)

        def lines(seen: Watched) -> None:
            seen.sees("attic  ")
            seen.press("\x03")
            assert seen.ended() == 130
            assert b"\x1b" not in seen.raw

        def black_and_white(seen: Watched) -> None:
            seen.sees("▸ attic", "q leave")
            seen.press("q")
            assert seen.ended() == 0
            assert not re.search(rb"\x1b\[[\d;]*(3[0-7]|9[0-7]|4[0-7]|38;\d)[\d;]*m", seen.raw)

        def in_colours(seen: Watched) -> None:
            seen.sees("▸ attic", "q leave")
            seen.press("q")
            assert seen.ended() == 0
            assert re.search(rb"\x1b\[[\d;]*36[\d;]*m", seen.raw)

        async def piped() -> None:
            process = await trio.lowlevel.open_process(
                client.command("listen", "-n", "1"),
                env=client.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            assert process.stdout is not None
            out, hears = b"", False
            async for piece in process.stdout:
                out += piece
                if not hears and re.search(rb"^\d\d:", out, re.MULTILINE):  # an event: it is subscribed
                    hears = True
                    await daemon.ask("listen.add", name="kitchen", source=f"realtime:{tape}")
                if b" started " in out:
                    await daemon.ask("listen.pause", name="kitchen")
            assert await process.wait() == 0
            assert re.search(r"^\d\d:\d\d:\d\d  kitchen  ended  Nocturne . Somebody, ", out.decode(), re.MULTILINE)
            assert b"\x1b" not in out

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watching, client, lines, "--plain")
                nursery.start_soon(partial(watching, client, lines, TERM="dumb"))
                nursery.start_soon(partial(watching, client, black_and_white, "--no-color"))
                nursery.start_soon(partial(watching, client, black_and_white, NO_COLOR="1"))
                nursery.start_soon(watching, client, in_colours)
                nursery.start_soon(piped)
