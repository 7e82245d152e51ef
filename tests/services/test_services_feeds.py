"""Raw sound that is sent to a listener: heard in a worker process, slowed where it is too fast, refused where it is none."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
from service_parts import PARAMS, RATE_HZ, WatchedIndex, published
from stations import HttpStation, Page, encoded
from test_services_listeners import Bench, index, library, piece

from dejavud.errors import (
    Busy,
    IndexAway,
    InvalidRequest,
    ListenerNotFound,
    NotListening,
    SourceStalled,
    UnsupportedAudio,
)
from dejavud.matching.tracker import TrackerRules
from dejavud.services.commands import Call
from dejavud.services.events import EventHub
from dejavud.services.listen_handlers import ListenHandlers, NamedListener
from dejavud.services.listeners import Listeners, ListenSettings
from dejavud.services.workers import open_workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

    from dejavud.services.feeds import Feeder
    from dejavud.values import Hashes, Hits

__all__ = ["index"]

SOURCE = f"pcm:s16le:{RATE_HZ}:1"


@asynccontextmanager
async def listening(index: WatchedIndex, *, stall_s: float = 20.0) -> AsyncIterator[Bench]:
    """Give listeners over real worker processes, of which `kitchen` is to be sent sound."""
    hub = EventHub()
    events = published(hub)
    settings = ListenSettings(TrackerRules(max_gap_s=1.0, min_play_s=3.0), stall_s=stall_s)
    with trio.fail_after(60):
        async with open_workers(n_processes=1, max_waiting=10) as workers, trio.open_nursery() as nursery:
            listeners = Listeners(workers, hub, PARAMS, library=library(index), settings=settings)
            await nursery.start(listeners.serve, ())
            await listeners.add("kitchen", SOURCE)
            yield Bench(listeners, events)
            nursery.cancel_scope.cancel()


def samples(sound: NDArray[Any]) -> bytes:
    """Return `sound` as 16-bit samples."""
    return (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()


async def until(bench: Bench, topic: str, n: int = 1) -> None:
    """Wait until so many events of a topic were published."""
    while len([event for event in bench.events if event.topic == topic]) < n:  # noqa: ASYNC110 - of many kinds
        await trio.sleep(0.01)


async def keep_sending(feeder: Feeder) -> None:
    """Send silence until that is refused."""
    while True:
        await feeder.send(bytes(1 << 16))


async def test_what_is_sent_is_heard_sender_after_sender(index: WatchedIndex) -> None:
    """Each sender's track is recognized; between two the listener waits and says for what."""
    async with listening(index) as bench:
        assert (await bench.until("kitchen", "waiting"))["reason"] == "nobody sends sound"
        for n, seed in enumerate((1, 2), start=1):
            data = samples(piece(seed, 12))
            with bench.listeners.feeding("kitchen") as feeder:
                for first in range(0, len(data), 7777):
                    await feeder.send(data[first : first + 7777])
                assert feeder.heard_s == pytest.approx(12, abs=0.01)
            await until(bench, "match.started", n)
            assert (await bench.until("kitchen", "waiting"))["reason"] == "who sent sound has left"
            await until(bench, "match.ended", n)
        started = [event.data["track"]["title"] for event in bench.events if event.topic == "match.started"]
        assert started == ["piece 1", "piece 2"]
        assert bench.listeners.view_of("kitchen")["n_retries"] == 0


async def test_who_sends_too_fast_is_slowed(index: WatchedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the listener hears nothing, a sender gets rid of some seconds and then waits; nothing is lost."""
    go_on = threading.Event()

    lookup = index.lookup

    def slow(hashes: Hashes, *, timeout_s: float | None = None) -> Hits:
        go_on.wait()
        return lookup(hashes, timeout_s=timeout_s)

    monkeypatch.setattr(index, "lookup", slow)
    data = samples(np.concatenate([piece(1), piece(90, 60)]))
    async with listening(index) as bench:
        with bench.listeners.feeding("kitchen") as feeder:
            with trio.move_on_after(1) as patience:
                for first in range(0, len(data), 1 << 14):
                    await feeder.send(data[first : first + (1 << 14)])
            assert patience.cancelled_caught
            n_sent = feeder.n_bytes
            assert n_sent < len(data) / 2
            go_on.set()
            await feeder.send(data[n_sent:])
            assert feeder.n_bytes == len(data)
        await until(bench, "match.ended")
        view = await bench.until("kitchen", "waiting")
        assert view["heard_s"] == pytest.approx(len(data) / 2 / RATE_HZ, abs=2)


async def test_an_index_that_is_away_holds_sound_up_that_can_wait(
    index: WatchedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is away the listener says so and goes on being it; when it is back, the same sound is recognized."""
    away = threading.Event()
    away.set()

    lookup = index.lookup

    def far(hashes: Hashes, *, timeout_s: float | None = None) -> Hits:
        if away.is_set():
            raise IndexAway(url="there", reason="the line is down")
        return lookup(hashes, timeout_s=timeout_s)

    monkeypatch.setattr(index, "lookup", far)
    async with listening(index) as bench:
        with bench.listeners.feeding("kitchen") as feeder:
            await feeder.send(samples(piece(1, 12)))
            while "line is down" not in str(bench.listeners.view_of("kitchen")["reason"]):  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert bench.listeners.view_of("kitchen")["state"] == "waiting"
            away.clear()
        await until(bench, "match.started")
        await until(bench, "match.ended")


async def test_what_is_live_passes_unheard_while_the_index_is_away(
    index: WatchedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A station is not held up: the listener says why nothing is recognized, stays connected, and hears what comes when the index is back."""
    away = threading.Event()
    away.set()
    lookup = index.lookup

    def far(hashes: Hashes, *, timeout_s: float | None = None) -> Hits:
        if away.is_set():
            raise IndexAway(url="there", reason="the line is down")
        return lookup(hashes, timeout_s=timeout_s)

    monkeypatch.setattr(index, "lookup", far)
    first, second = (
        encoded(np.concatenate([piece(seed, 8), np.zeros(8 * RATE_HZ)]), RATE_HZ, "mp3") for seed in (1, 2)
    )
    station = HttpStation({"/live": Page((first,), is_held=True)})
    with station.on_air():
        async with listening(index) as bench:
            await bench.listeners.add("station", f"{station.url}/live")
            while (view := bench.listeners.view_of("station"))["heard_s"] < 12:  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert (view["state"], view["n_retries"]) == ("waiting", 0)
            assert "nothing can be recognized: " in view["reason"]
            assert "line is down" in view["reason"]
            away.clear()
            station.pages = {"/live": Page((second,), is_held=True)}
            station.drop()
            await until(bench, "match.started")
            [started] = [event.data for event in bench.events if event.topic == "match.started"]
            assert started["track"]["title"] == "piece 2"


async def test_what_is_wrong_with_sound_is_told_to_its_sender(index: WatchedIndex) -> None:
    """A file, a second sender, a listener that is paused, removed or hears something else: each is refused with what it is."""
    async with listening(index) as bench:
        listeners = bench.listeners
        await listeners.add("station", "http://127.0.0.1:1/")
        with listeners.feeding("kitchen") as feeder:
            with pytest.raises(UnsupportedAudio, match=r"a wav file.*ffmpeg -i … -f s16le"):
                await feeder.send(b"RIFF....WAVEfmt ")
            with pytest.raises(Busy, match="one sender"), listeners.feeding("kitchen"):
                pass
        with pytest.raises(InvalidRequest, match="one that does has the source pcm"), listeners.feeding("station"):
            pass
        with pytest.raises(ListenerNotFound), listeners.feeding("cellar"):
            pass
        with listeners.feeding("kitchen") as feeder:
            await feeder.send(bytes(1 << 16))
            await listeners.pause("kitchen", paused=True)
            with pytest.raises(NotListening, match="paused or removed"):
                await keep_sending(feeder)
        with pytest.raises(NotListening, match="it is paused"), listeners.feeding("kitchen"):
            pass
        await listeners.pause("kitchen", paused=False)
        with listeners.feeding("kitchen") as feeder:
            await feeder.send(bytes(1 << 16))


async def test_who_sends_nothing_is_given_up(index: WatchedIndex) -> None:
    """A sender that falls silent without leaving is told so and makes room for another."""
    async with listening(index, stall_s=0.5) as bench:
        with bench.listeners.feeding("kitchen") as feeder:
            await feeder.send(samples(piece(1, 4)))
            view = await bench.until("kitchen", "listening")
            view = await bench.until("kitchen", "waiting")
            assert "nothing has come for 0.5 s" in view["reason"]
            with pytest.raises(SourceStalled):
                await feeder.send(bytes(100))
            with bench.listeners.feeding("kitchen") as other:
                await other.send(bytes(100))


async def test_a_command_hears_a_stream_to_its_end(index: WatchedIndex) -> None:
    """`listen.send` takes what comes while it comes; sound that is refused ends it at once, without waiting for more."""

    class Stream:
        def __init__(self, *pieces: bytes, is_open: bool = False) -> None:
            self._pieces, self._is_open = pieces, is_open

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for data in self._pieces:
                await trio.lowlevel.checkpoint()
                yield data
            if self._is_open:
                await trio.sleep_forever()

    async with listening(index, stall_s=0.5) as bench:
        send = partial(ListenHandlers(bench.listeners, None).send, NamedListener("kitchen"))  # type: ignore[arg-type]
        data = samples(piece(3, 10))
        answer = await send(Call(stream=Stream(data[:50_000], data[50_000:])))
        assert answer == {"heard_s": 10.0}
        await until(bench, "match.started")
        await bench.until("kitchen", "waiting")
        with pytest.raises(SourceStalled):
            await send(Call(stream=Stream(data, is_open=True)))
        with pytest.raises(InvalidRequest, match="over the control socket with feed"):
            await send(Call())
