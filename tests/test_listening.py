"""A real daemon that listens: to a sound card in real time, to a station that drops, to a pipe, to a device that vanishes."""

from __future__ import annotations

import http.server
import os
import threading
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
from client.radio_station import as_mp3
from daemon_process import Place, RunningDaemon, running_daemon
from synthetic import synthesize, write_wav

from dejavuctl.commands.events import subscribe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from fixtures_sound import SoundCard
    from numpy.typing import NDArray

RATE_HZ = 44100


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("d"))


class Heard:
    """What a daemon publishes about its listeners."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._came = trio.Event()

    def take(self, event: dict[str, Any]) -> None:
        """Note an event."""
        self.events.append(event)
        self._came.set()

    def of(self, topic: str) -> list[dict[str, Any]]:
        """Return the data of every event of a topic."""
        return [event["data"] for event in self.events if event["topic"] == topic]

    async def until(self, topic: str, n: int = 1, within_s: float = 40.0, **wanted: object) -> list[dict[str, Any]]:
        """Wait for `n` events of a topic whose data have these values; return the data."""
        with trio.fail_after(within_s):
            while len(found := [data for data in self.of(topic) if wanted.items() <= data.items()]) < n:
                self._came = trio.Event()
                await self._came.wait()
        return found


@asynccontextmanager
async def events_of(place: Place) -> AsyncIterator[Heard]:
    """Give what the daemon at `place` publishes from now on."""
    heard = Heard()
    async with trio.open_nursery() as nursery:

        def follow() -> None:
            for event in subscribe(f"ipc://{place.folder}/e", ["match.", "listener."]):
                trio.from_thread.run_sync(heard.take, event)

        nursery.start_soon(partial(trio.to_thread.run_sync, follow, abandon_on_cancel=True))
        yield heard
        nursery.cancel_scope.cancel()


async def begin(daemon: RunningDaemon, heard: Heard) -> None:
    """Return when events of `daemon` arrive: publishing to nobody leaves no trace."""
    number = 0
    while not heard.events:
        await daemon.ask("listen.add", name=f"probe{number}", source="/missing", once=True)
        await daemon.ask("listen.remove", name=f"probe{number}")
        await trio.sleep(0.05)
        number += 1


async def teach(daemon: RunningDaemon, folder: Path, name: str, samples: NDArray[Any], rate_hz: int = RATE_HZ) -> None:
    """Add a recording to the library."""
    await daemon.ask("fingerprint", path=str(write_wav(folder / f"{name}.wav", samples, rate_hz)), title=name)


async def test_the_microphone_can_be_asked_while_it_is_listened_to(sound_card: SoundCard, place: Place) -> None:
    """A query of the default microphone is answered while a listener hears it, and both name what plays."""
    music = synthesize(1, 20, RATE_HZ)
    path = write_wav(place.folder / "show.wav", music, RATE_HZ)
    async with running_daemon(place) as daemon, events_of(place) as heard:
        await begin(daemon, heard)
        await teach(daemon, place.folder, "piece", music)
        await daemon.ask("listen.add", name="room", source="mic")
        await heard.until("listener.state", listener="room", state="silent")
        with sound_card.playing(path):
            [started] = await heard.until("match.started")
            asked = await daemon.ask("recognize_microphone", duration_s=3.0)
        assert started["track"]["title"] == "piece"
        assert asked["matches"][0]["track"]["title"] == "piece"
        assert not heard.of("listener.overrun")


async def test_the_default_microphone_is_listened_to_out_of_the_box(sound_card: SoundCard, place: Place) -> None:
    """With nothing set the daemon says at start, in its status and in its list that it listens; the device is the one it names."""
    assert sound_card.environment
    opened = Place(place.folder, {"--config": str(place.folder / "conf.toml")})
    (place.folder / "conf.toml").write_text("")
    environment = {"DEJAVUD_LISTEN_MICROPHONE": "auto"}
    async with running_daemon(opened, environment=environment) as daemon:
        with trio.fail_after(20):
            while not (listeners := (await daemon.ask("status"))["listeners"]) or listeners[0]["state"] != "silent":  # noqa: ASYNC110 - in another process
                await trio.sleep(0.1)
        assert listeners[0]["listener"] == "microphone"
        assert "44100 Hz" in listeners[0]["format"]
        devices = (await daemon.ask("devices"))["devices"]
        assert sum(device["is_default"] for device in devices) == 1
        assert "microphone_listened_to" in daemon.log


async def test_a_device_that_vanishes_is_had_again(sound_card: SoundCard, place: Place) -> None:
    """Unplugged, the listener says so and tries again; plugged in again, it hears what is played."""
    music = synthesize(1, 14, RATE_HZ)
    path = write_wav(place.folder / "again.wav", music, RATE_HZ)
    soon = {"DEJAVUD_LISTEN_STALL_S": "3", "DEJAVUD_LISTEN_RETRY_MAX_S": "1"}
    async with running_daemon(place, environment=soon) as daemon, events_of(place) as heard:
        await begin(daemon, heard)
        await teach(daemon, place.folder, "piece", music)
        await daemon.ask("listen.add", name="room", source="mic:tape")
        await heard.until("listener.state", listener="room", state="silent")
        sound_card.unplug()
        await heard.until("listener.state", listener="room", state="retrying")
        with sound_card.plugged_in_again():
            await heard.until("listener.state", 2, listener="room", state="silent")
            with sound_card.playing(path):
                [started] = await heard.until("match.started")
        assert started["track"]["title"] == "piece"


@contextmanager
def dropping_station(programmes: list[bytes]) -> Iterator[str]:
    """Give the address of a station that drops each of its listeners after one programme; the last one it keeps."""
    asked: list[int] = []
    closing = threading.Event()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(1)
            self.send_response(200)
            self.send_header("Content-Type", "audio/mpeg")
            self.end_headers()
            self.wfile.write(programmes[min(len(asked), len(programmes)) - 1])
            if len(asked) >= len(programmes):
                closing.wait()

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://user:secret@127.0.0.1:{server.server_port}/live.mp3"
        finally:
            closing.set()
            server.shutdown()
            thread.join()


async def test_a_stream_that_drops_and_comes_back_is_one_play(place: Place) -> None:
    """A connection that is lost in the middle of a track is made again; the track that goes on is one play, and no password is shown."""
    music = synthesize(1, 40, RATE_HZ)
    halves = [as_mp3(music[: 20 * RATE_HZ]), as_mp3(np.concatenate([music[20 * RATE_HZ :], np.zeros(40 * RATE_HZ)]))]
    async with running_daemon(place) as daemon, events_of(place) as heard:
        await begin(daemon, heard)
        await teach(daemon, place.folder, "piece", music)
        with dropping_station(halves) as url:
            view = await daemon.ask("listen.add", name="radio", source=url)
            [retrying] = await heard.until("listener.state", listener="radio", state="retrying")
            assert "ended" in retrying["reason"]
            [ended] = await heard.until("match.ended")
            await daemon.ask("listen.remove", name="radio")
        assert "secret" not in str((view, daemon.log, heard.events))
        assert ended["track_start_s"] == pytest.approx(0, abs=0.5)
        assert ended["track_end_s"] == pytest.approx(40, abs=1.0)
        assert len(ended["gaps"]) <= 2
        assert len(heard.of("match.started")) == 1


async def test_a_pipe_is_listened_to_writer_after_writer(place: Place) -> None:
    """A pipe waits for a writer; what one writes is heard, and then what the next one does; where none comes, what played does no longer."""
    pipe = place.folder / "pipe"
    os.mkfifo(pipe)
    async with (
        running_daemon(place, environment={"DEJAVUD_LISTEN_MAX_GAP_S": "2"}) as daemon,
        events_of(place) as heard,
    ):
        await begin(daemon, heard)
        for seed in (1, 2):
            await teach(daemon, place.folder, f"piece {seed}", synthesize(seed, 20, RATE_HZ))
        await daemon.ask("listen.add", name="pipe", source=str(pipe))
        for seed in (1, 2):
            await heard.until("listener.state", listener="pipe", state="waiting", n=seed)
            data = write_wav(place.folder / "next.wav", synthesize(seed, 20, RATE_HZ), RATE_HZ).read_bytes()
            await trio.to_thread.run_sync(pipe.write_bytes, data)
            await heard.until("match.started", seed)
        assert [data["track"]["title"] for data in heard.of("match.started")] == ["piece 1", "piece 2"]
        *_, ended = await heard.until("match.ended", 2)
        assert ended["outcome"] == "source_lost"
        [view] = (await daemon.ask("listen.list"))["listeners"]
        assert (view["state"], view["plays"]) == ("waiting", [])
