"""What who watches is told where something is wrong: at once, whatever hangs."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import trio
from service_parts import PARAMS, WatchedIndex

from dejavud.errors import IndexUnavailable
from dejavud.services import watching
from dejavud.services.commands import Call, NoParameters
from dejavud.services.events import EventHub
from dejavud.services.handlers import Daemon
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.library import Library
from dejavud.services.loop_meter import LoopMeter
from dejavud.services.requests import Requests
from dejavud.services.watching import Watching
from dejavud.services.workers import WorkersStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from dejavud.values import IndexStatistics

T = TypeVar("T")


class ThreadWorkers(InlineWorkers):
    """With real threads for what may never return, and as many processes as a test says."""

    n_alive = 1

    async def thread(self, function: Callable[..., T], *args: object, abandon: bool = False) -> T:
        """See `Workers.thread`."""
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=abandon)

    def status(self) -> WorkersStatus:
        """See `Workers.status`."""
        return WorkersStatus(n_processes=1, n_busy=0, n_waiting=0, n_died=0, n_alive=self.n_alive)


class TroubledIndex(WatchedIndex):
    """Hangs, or fails, where it is told to."""

    error: Exception | None = None

    def __init__(self) -> None:
        super().__init__()
        self.n_asked = 0
        self.goes_on = threading.Event()
        self.goes_on.set()

    def statistics(self) -> IndexStatistics:
        """See `Index.statistics`."""
        self.n_asked += 1
        self.goes_on.wait(20)
        if self.error is not None:
            raise self.error
        return super().statistics()


class Bench:
    """Who watches, and what there is to see."""

    def __init__(self) -> None:
        self.index, self.hub, self.stop = TroubledIndex(), EventHub(keep=2), trio.Event()
        self.workers = ThreadWorkers()
        self.listeners: list[dict[str, Any]] = []
        services: Any = SimpleNamespace(
            library=Library(self.index, self.workers, self.hub),
            workers=self.workers,
            hub=self.hub,
            listeners=SimpleNamespace(view=lambda: self.listeners),
            hooks=SimpleNamespace(view=list),
            recorder=SimpleNamespace(status=self._history),
            requests=Requests(),
            loop=LoopMeter(),
            params=PARAMS,
            daemon=Daemon(0.0, "memory://", {}, self.stop),
        )
        self.watching = Watching(services)

    async def _history(self) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"n_plays": None, "n_waiting": 0, "n_dropped": 0}

    async def ready(self) -> dict[str, Any]:
        """Return what is said of being ready."""
        return await self.watching.ready(NoParameters(), Call())

    async def page(self) -> str:
        """Return the page of figures."""
        return str((await self.watching.metrics(NoParameters(), Call()))["text"])


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench whose patience with the index is short, and where nothing that was said is good a moment later."""
    monkeypatch.setattr(watching, "INDEX_S", 0.2)
    monkeypatch.setattr(watching, "READY_S", 0.0)
    return Bench()


async def test_an_index_that_hangs_holds_nobody_up(bench: Bench) -> None:
    """Who asks is told in time that it does not answer, what it held last is still shown, and no second question hangs behind the first."""
    assert (await bench.ready())["ready"]
    assert "dejavud_index_up 1\n" in await bench.page()
    bench.index.goes_on.clear()
    try:
        n_before = bench.index.n_asked
        with trio.fail_after(5):
            assert await bench.ready() == {"ready": False, "checks": {"index": "timeout", "workers": "ok"}}
            text = await bench.page()
        assert "dejavud_index_up 0\n" in text
        assert "dejavud_index_postings 0\n" in text
        assert bench.index.n_asked == n_before + 1
    finally:
        bench.index.goes_on.set()
    with trio.fail_after(5):
        while not (await bench.ready())["ready"]:  # noqa: ASYNC110 - a thread tells no event of ours
            await trio.sleep(0.01)


async def test_an_index_that_fails_is_said_by_its_code(bench: Bench) -> None:
    """The code of the error is what stands in the way, and the page says so by a figure."""
    bench.index.error = IndexUnavailable(reason="gone")
    assert (await bench.ready())["checks"] == {"index": "index_unavailable", "workers": "ok"}
    assert "dejavud_index_up 0\n" in await bench.page()


async def test_a_daemon_that_stops_is_not_ready(bench: Bench) -> None:
    """Whoever sends it queries is to send them elsewhere."""
    bench.stop.set()
    assert await bench.ready() == {
        "ready": False,
        "checks": {"index": "ok", "workers": "ok", "daemon": "shutting_down"},
    }


async def test_many_questions_are_one_to_the_index(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask whether it is ready, a thousand times a second: the index is asked once."""
    monkeypatch.setattr(watching, "READY_S", 60.0)
    answers: list[bool] = []

    async def ask() -> None:
        answers.append((await bench.ready())["ready"])

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(ask)
    assert bench.index.n_asked == 1
    assert answers == [True] * 1000


async def test_listeners_and_lost_events_are_on_the_page(bench: Bench) -> None:
    """Each listener by its name with what it counted, unknown figures left out; what a slow subscriber missed is counted."""
    bench.listeners = [
        {
            "listener": 'the "hall"',
            "state": "retrying",
            "plays": [],
            "n_plays": 7,
            "n_overruns": 2,
            "n_retries": 3,
            "drift_ppm": None,
            "lag_s": 0.5,
            "level_db": None,
        }
    ]
    with bench.hub.subscribe() as subscription:
        for _ in range(5):
            bench.hub.publish("track.added", {})
        assert subscription.n_lost == 3
    text = await bench.page()
    for line in (
        'dejavud_listeners{state="retrying"} 1',
        'dejavud_listener_up{listener="the \\"hall\\""} 0',
        'dejavud_listener_plays_total{listener="the \\"hall\\""} 7',
        'dejavud_listener_lag_seconds{listener="the \\"hall\\""} 0.5',
        'dejavud_events_total{topic="track.added"} 5',
        "dejavud_events_lost_total 3",
    ):
        assert f"\n{line}\n" in text, line
    assert "dejavud_listener_drift_ratio{" not in text
