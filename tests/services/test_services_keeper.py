"""The keeper of the index: it works at the start and after changes, tries again what failed, and ends when told to."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
import structlog
import trio

from dejavud.errors import IndexFull
from dejavud.fingerprint.params import Params
from dejavud.index.duckdb.clustering import Clustering, Sizes
from dejavud.index.duckdb.index import open_duckdb
from dejavud.index.memory import MemoryIndex
from dejavud.index.open import KeptIndex, history_of
from dejavud.index.view.resident import ResidentIndex
from dejavud.index.view.segment_files import SegmentFolder
from dejavud.index.view.upkeep import Portions, Upkeep, UpkeepReport
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.keeper import RETRY_S, Keeper, keepers, tell_of_view
from dejavud.services.workers import open_workers
from dejavud.values import Constellation, Hashes, NewTrack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trio.testing import MockClock

READY = UpkeepReport("ready", is_new=False, n_written=0, refused=(), n_segments=1, n_bytes=10)


def track(number: int) -> NewTrack:
    """Return a small track."""
    stars = Constellation(np.arange(5), np.arange(5), 10, np.zeros(5))
    return NewTrack(f"{number}", None, None, None, f"{number:040x}", 1.0, stars, Hashes(np.arange(9), np.arange(9)))


class ScriptedUpkeep:
    """Does what it is told to, run by run, and says when it ran."""

    def __init__(
        self, *runs: Callable[[Callable[[], bool]], UpkeepReport], clock: Callable[[], float] = trio.current_time
    ) -> None:
        self.clock = clock
        self.runs = list(runs)
        self.times: list[float] = []
        self.tell: Callable[[], None] = lambda: None

    def run(self, should_stop: Callable[[], bool]) -> UpkeepReport:
        """Do the next thing."""
        self.times.append(self.clock())
        return self.runs.pop(0)(should_stop)

    def watch(self, tell: Callable[[], None]) -> None:
        """Remember whom to tell."""
        self.tell = tell


def ready(_: Callable[[], bool]) -> UpkeepReport:
    """Find nothing to do."""
    return READY


def full(_: Callable[[], bool]) -> UpkeepReport:
    """Find no room."""
    raise IndexFull(reason="the resident view cannot be written")


async def test_the_view_is_there_soon_after_the_start_and_grows_with_the_library(tmp_path: Path) -> None:
    """With a real index, in real threads: it is built, and written out once enough was added, without being asked."""

    def is_written() -> bool:
        return any((tmp_path / "view").glob("segment-*"))

    with closing(MemoryIndex()) as store, closing(ResidentIndex(store)) as index:
        store.add([track(1)])
        upkeep = Upkeep(index, store, SegmentFolder(tmp_path / "view", Params()), portions=Portions(loose=20))
        async with open_workers(n_processes=1, max_waiting=8) as workers, trio.open_nursery() as nursery:
            await nursery.start(Keeper("view_upkeep_failed", upkeep, workers, tell_of_view).serve)
            with trio.fail_after(20):
                while index.view() is None:  # noqa: ASYNC110 - a thread changes it
                    await trio.sleep(0.005)
                for number in (2, 3, 4):
                    await workers.write(index.add, [track(number)])
                while not is_written():  # noqa: ASYNC110
                    await trio.sleep(0.005)
            nursery.cancel_scope.cancel()


async def test_a_change_while_upkeep_runs_is_not_forgotten(autojump_clock: MockClock) -> None:  # noqa: ARG001
    """Upkeep that is told of a change while it runs runs once more; and then not again by itself."""
    upkeep = ScriptedUpkeep(lambda _: (upkeep.tell(), READY)[1], ready)
    with trio.move_on_after(10 * RETRY_S):
        await Keeper("view_upkeep_failed", upkeep, InlineWorkers(), tell_of_view).serve()
    assert len(upkeep.times) == 2
    assert upkeep.times[1] - upkeep.times[0] < 1


async def test_upkeep_that_failed_is_tried_again(autojump_clock: MockClock) -> None:  # noqa: ARG001 - used by being there
    """After a minute, or at once when the index changes; the log says what was wrong; the daemon goes on."""
    upkeep = ScriptedUpkeep(full, ready)
    with structlog.testing.capture_logs() as logs, trio.move_on_after(10 * RETRY_S):
        await Keeper("view_upkeep_failed", upkeep, InlineWorkers(), tell_of_view).serve()
    assert upkeep.times[1] - upkeep.times[0] == pytest.approx(RETRY_S)
    assert len(upkeep.times) == 2
    assert [(entry["event"], entry["code"]) for entry in logs] == [("view_upkeep_failed", "index_full")]


async def test_what_was_done_and_what_was_refused_is_logged(autojump_clock: MockClock) -> None:  # noqa: ARG001
    """One event a run that did something, and a warning for each segment that could not be used."""
    report = UpkeepReport(
        "ready", is_new=True, n_written=2, refused=("segment-1: its header is damaged",), n_segments=3, n_bytes=5
    )
    with structlog.testing.capture_logs() as logs, trio.move_on_after(1):
        await Keeper("view_upkeep_failed", ScriptedUpkeep(lambda _: report), InlineWorkers(), tell_of_view).serve()
    refused, kept = logs
    assert (refused["event"], refused["log_level"]) == ("view_segment_refused", "warning")
    assert "segment-1" in refused["reason"]
    assert (kept["event"], kept["state"], kept["n_segments"], kept["n_written"]) == ("view_kept", "ready", 3, 2)


async def test_cancelling_the_keeper_stops_what_is_under_way() -> None:
    """A long run in a thread is told to end, and is waited for."""
    began = threading.Event()
    ended: list[str] = []

    def long_run(should_stop: Callable[[], bool]) -> UpkeepReport:
        began.set()
        while not should_stop():
            pass
        ended.append("run")
        return READY

    class Threads(InlineWorkers):
        async def background(self, function: Callable[..., object], *args: object) -> object:
            return await trio.to_thread.run_sync(function, *args)

    upkeep = ScriptedUpkeep(long_run, clock=time.monotonic)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(Keeper("view_upkeep_failed", upkeep, Threads(), tell_of_view).serve)
            while not began.is_set():  # noqa: ASYNC110 - a thread sets it
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
    assert ended == ["run"]


async def test_postings_are_clustered_without_being_asked_for_it(tmp_path: Path) -> None:
    """With a real file, in real threads, and no view: what is added is in order soon, and the log says so once it is."""
    with open_duckdb(tmp_path / "index.duckdb", Params()) as store:
        store.add([track(1)])
        clustering = Clustering(store, Sizes(slice=5, tail=15, first=100, run=100))
        with structlog.testing.capture_logs() as logs:
            async with open_workers(n_processes=1, max_waiting=8) as workers, trio.open_nursery() as nursery:
                (keeper,) = keepers(KeptIndex(store, store, history_of(store), clustering=clustering), workers)
                await nursery.start(keeper.serve)
                for number in (2, 3, 4):
                    await workers.write(store.add, [track(number)])
                with trio.fail_after(20):
                    while clustering.share() < 0.5 or not logs:  # noqa: ASYNC110 - a thread changes it
                        await trio.sleep(0.005)
                nursery.cancel_scope.cancel()
    assert {entry["event"] for entry in logs} == {"postings_clustered"}
