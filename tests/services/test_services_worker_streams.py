from __future__ import annotations

import itertools
import os
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
import trio
import worker_functions
from test_services_workers import is_running, until_exists, until_gone

from dejavud.errors import Busy, InternalError, UnsupportedAudio, WorkerDied, WorkerNotStarted
from dejavud.services import workers as workers_module
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.workers import ProcessWorkers, Workers, open_workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def processes() -> AsyncIterator[ProcessWorkers]:
    """Give a worker process."""
    async with open_workers(n_processes=1, max_waiting=3) as opened:
        yield opened


@pytest.fixture(params=["processes", "inline"])
async def workers(request: pytest.FixtureRequest) -> AsyncIterator[Workers]:
    """Give each kind of workers."""
    if request.param == "inline":
        yield InlineWorkers()
    else:
        async with open_workers(n_processes=1, max_waiting=3) as opened:
            yield opened


async def drain(workers: Workers, n_before: int, how: str, taken: list[object]) -> None:
    """Take the items of a stream that fails."""
    async with workers.stream(worker_functions.fail_after, n_before, how, what="numbers") as items:
        async for item in items:
            taken.append(item)  # noqa: PERF401 - a comprehension would be lost with the error


def n_descriptors() -> int:
    """Return how many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_items_arrive_in_order(workers: Workers) -> None:
    """All that the function yields comes, in order, and then the iteration ends."""
    async with workers.stream(worker_functions.counted, 1000, what="numbers") as items:
        assert [item async for item in items] == list(range(1000))


async def test_a_stream_of_nothing_ends(workers: Workers) -> None:
    """A function that yields nothing gives an iteration without items."""
    async with workers.stream(worker_functions.counted, 0, what="numbers") as items:
        assert [item async for item in items] == []


@pytest.mark.parametrize(("how", "error"), [("refuse", UnsupportedAudio), ("blunder", InternalError)])
async def test_a_failure_comes_after_the_items_before_it(workers: Workers, how: str, error: type[Exception]) -> None:
    """Our own errors arrive as themselves and bugs as internal errors, when what was yielded before has been taken."""
    taken: list[object] = []
    with pytest.raises(error):
        await drain(workers, 3, how, taken)
    assert taken == [0, 1, 2]


async def test_a_bug_in_a_stream_is_logged_with_its_traceback(processes: ProcessWorkers) -> None:
    """The daemon's log shows where in the worker it happened."""
    with structlog.testing.capture_logs() as logs, pytest.raises(InternalError):
        async with processes.stream(worker_functions.fail_after, 0, "blunder", what="b.mp3") as items:
            await anext(items)
    [entry] = [log for log in logs if log["event"] == "job_failed"]
    assert "in blunder" in entry["trace"]


@pytest.mark.parametrize("n_before", [0, 5])
async def test_a_worker_that_dies_ends_the_stream(processes: ProcessWorkers, n_before: int) -> None:
    """A crash is told as one, is counted, and the next stream runs."""
    with pytest.raises(WorkerDied, match="numbers"):
        await drain(processes, n_before, "die", [])
    assert processes.status().n_died == 1
    async with processes.stream(worker_functions.counted, 2, what="numbers") as items:
        assert [item async for item in items] == [0, 1]


async def test_an_item_that_cannot_be_sent_is_a_bug(processes: ProcessWorkers) -> None:
    """What cannot be pickled is reported, and nobody waits for it."""
    with pytest.raises(InternalError):
        async with processes.stream(worker_functions.cannot_be_sent, what="numbers") as items:
            await anext(items)


async def test_leaving_the_block_kills_the_worker(processes: ProcessWorkers) -> None:
    """A stream that is not read to its end has no process when its block has ended."""
    async with processes.stream(worker_functions.own_process, 10_000_000, what="pids") as items:
        pid = await anext(items)
        assert is_running(pid)
        assert processes.status().n_streams == 1
    await until_gone(pid)
    assert processes.status().n_streams == 0
    assert processes.status().n_died == 0  # it was not its own doing
    while processes.status().n_busy:  # noqa: ASYNC110 - a worker may still be warming up
        await trio.sleep(0.01)


async def test_cancellation_kills_the_worker(processes: ProcessWorkers, tmp_path: Path) -> None:
    """Cancelled while it waits for an item that never comes, a stream takes its process with it."""
    with trio.CancelScope() as scope:
        async with processes.stream(worker_functions.endless, tmp_path / "pid", what="numbers") as items:
            assert await anext(items) == 1
            await until_exists(tmp_path / "pid")
            scope.cancel()
            await anext(items)
    await until_gone(int((tmp_path / "pid").read_text()))


async def test_an_error_in_the_block_leaves_as_it_is(workers: Workers) -> None:
    """What the block raises is not wrapped in a group."""
    with pytest.raises(KeyError):
        async with workers.stream(worker_functions.counted, 10, what="numbers"):
            raise KeyError


async def test_the_function_waits_for_whoever_takes_its_items(processes: ProcessWorkers, tmp_path: Path) -> None:
    """While nobody takes items, no more than a few are made, however many there could be."""
    notes = tmp_path / "notes"
    async with processes.stream(worker_functions.large_items, notes, 50, what="items") as items:
        for n_taken in range(1, 6):
            assert len(await anext(items)) == 1 << 20
            await trio.sleep(0.02)  # time to run ahead in, were there nothing to hold it
            assert len(notes.read_text().split()) <= n_taken + 2


async def test_streams_are_bounded_in_number(processes: ProcessWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stream too many is refused at once, and may run when another has ended."""
    monkeypatch.setattr(workers_module, "MAX_STREAMS", 1)
    async with processes.stream(worker_functions.counted, 1, what="one"):
        with pytest.raises(Busy):
            async with processes.stream(worker_functions.counted, 1, what="two"):
                pass
    async with processes.stream(worker_functions.counted, 1, what="three") as items:
        assert [item async for item in items] == [0]


async def test_queries_do_not_wait_for_streams(processes: ProcessWorkers) -> None:
    """A stream has a process of its own beside the jobs'."""
    async with processes.stream(worker_functions.own_process, 2, what="pids") as items:
        assert await processes.process(worker_functions.pid, what="pid") != await anext(items) != os.getpid()


async def test_nothing_is_left_of_a_stream(
    processes: ProcessWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket and descriptors are gone with it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = n_descriptors()
    for n_taken in (0, 1, 5):
        async with processes.stream(worker_functions.counted, 5, what="numbers") as items:
            for _ in range(n_taken):
                await anext(items)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - the path's own method is refused in async functions
    assert n_descriptors() <= before + 1  # a worker that replaces a killed one


@contextmanager
def room_for(n_descriptors: int) -> Iterator[None]:
    """Have this process open no more than so many descriptors while the block goes on."""
    taken = {int(link.name) for link in Path("/proc/self/fd").iterdir()}
    free = (number for number in itertools.count() if number not in taken)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, n_descriptors, None)), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_where_no_worker_can_be_started_only_the_stream_fails(processes: ProcessWorkers) -> None:
    """Without descriptors for one more process a stream and a warm worker are not had, which is said; with some again they are, and nothing else ended."""
    async with processes.stream(worker_functions.own_process, 10_000_000, what="first") as first:
        await anext(first)
        while processes.status().n_busy > 1:  # noqa: ASYNC110 - a worker may still be warming up
            await trio.sleep(0.01)
        async with processes.stream(worker_functions.own_process, 10_000_000, what="second") as second:
            await anext(second)
            with room_for(3), pytest.raises(WorkerNotStarted, match="Too many open files"):
                async with processes.stream(worker_functions.own_process, 1, what="third") as third:
                    await anext(third)
            with room_for(1):
                await processes.warm()
            async with processes.stream(worker_functions.own_process, 1, what="third") as third:
                assert await anext(third)
            assert await anext(second)
