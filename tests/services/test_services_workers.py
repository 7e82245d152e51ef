from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
import trio
import worker_functions

from dejavud.errors import Busy, InternalError, Timeout, UnsupportedAudio, WorkerDied
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.workers import ProcessWorkers, open_workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = Path(__file__).parent


@pytest.fixture
async def workers() -> AsyncIterator[ProcessWorkers]:
    """Give two worker processes."""
    async with open_workers(n_processes=2, max_waiting=3) as opened:
        yield opened


def is_running(pid: int) -> bool:
    """Tell whether the process is there and has not ended; it has when its last thread has, not its first."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


async def until_gone(pid: int) -> None:
    """Return when the process has ended; the test's own time limit guards it."""
    while is_running(pid):  # noqa: ASYNC110 - another process tells no event of ours
        await trio.sleep(0.01)


async def until_exists(path: Path) -> None:
    """Return when the file is there; the test's own time limit guards it."""
    while not path.exists():  # noqa: ASYNC110, ASYNC240 - another process tells no event of ours; tmpfs does not block
        await trio.sleep(0.01)


async def test_work_runs_in_another_process_that_stays(workers: ProcessWorkers) -> None:
    """A job runs outside the daemon's process, and the next one needs no new process."""
    first = await workers.process(worker_functions.pid, what="pid")
    second = await workers.process(worker_functions.pid, what="pid")
    assert first == second != os.getpid()


async def test_a_worker_is_warm_and_light(workers: ProcessWorkers) -> None:
    """A worker has its decoder and engine loaded before its first job, and not what only the daemon needs."""
    modules = await workers.process(worker_functions.loaded_modules, what="modules")
    assert {"av", "numpy", "dejavud.audio.decode", "dejavud.fingerprint.extractor"} <= modules
    assert not {"trio", "duckdb", "zmq", "structlog", "starlette"} & modules


async def test_a_worker_keeps_to_one_core(workers: ProcessWorkers) -> None:
    """Workers share the cores among themselves: none takes threads for its arithmetic, beside the one that ends it."""
    assert len(await workers.process(worker_functions.thread_names, what="threads")) == 2


async def test_a_worker_that_dies_costs_one_job(workers: ProcessWorkers) -> None:
    """The job's caller is told, the next job runs, and the death is counted."""
    with pytest.raises(WorkerDied, match=r"song\.mp3"):
        await workers.process(worker_functions.die, what="song.mp3")
    assert isinstance(await workers.process(worker_functions.pid, what="pid"), int)
    assert workers.status().n_died == 1


async def test_a_job_beyond_its_deadline_is_killed(workers: ProcessWorkers, tmp_path: Path) -> None:
    """The caller gets `Timeout` and the process that did not end is ended."""
    await workers.process(worker_functions.pid, what="warm")
    with pytest.raises(Timeout, match=r"slow\.mp3 took longer than 0\.5 s"):
        await workers.process(worker_functions.hang, tmp_path / "pid", what="slow.mp3", timeout_s=0.5)
    assert not is_running(int((tmp_path / "pid").read_text()))
    assert isinstance(await workers.process(worker_functions.pid, what="pid"), int)


async def test_a_cancelled_job_is_killed(workers: ProcessWorkers, tmp_path: Path) -> None:
    """Nobody waits for a job whose caller has left."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: workers.process(worker_functions.hang, tmp_path / "pid", what="x"))
        await until_exists(tmp_path / "pid")
        nursery.cancel_scope.cancel()
    assert not is_running(int((tmp_path / "pid").read_text()))


async def test_an_idle_worker_that_was_killed_is_replaced() -> None:
    """A worker that somebody killed between two jobs costs no job."""
    async with open_workers(n_processes=1, max_waiting=3) as workers:
        pid = await workers.process(worker_functions.pid, what="pid")
        os.kill(pid, signal.SIGKILL)
        await until_gone(pid)
        assert await workers.process(worker_functions.pid, what="pid") != pid


async def test_too_many_waiting_jobs_are_refused(tmp_path: Path) -> None:
    """Beyond `max_waiting` a job is `Busy` at once; those that wait are done in order."""
    results: list[int] = []
    async with open_workers(n_processes=1, max_waiting=2) as workers:

        async def job(n: int) -> None:
            results.append(await workers.process(worker_functions.wait_for, tmp_path / "go", n, what="x"))

        await workers.process(worker_functions.pid, what="warm")
        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(job, n)
                await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Busy, match="2 audio jobs waiting"):
                await workers.process(worker_functions.pid, what="x")
            assert workers.status().n_waiting == 2
            (tmp_path / "go").touch()
    assert results == [0, 1, 2]


async def test_a_query_does_not_wait_for_ingests(tmp_path: Path) -> None:
    """While every ingest slot is taken, a query is answered."""
    async with open_workers(n_processes=1, max_waiting=2) as workers, trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: workers.process(worker_functions.wait_for, tmp_path / "go", 0, what="x", kind="ingest")
        )
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(await workers.process(worker_functions.pid, what="x", kind="query"), int)
        (tmp_path / "go").touch()


@pytest.mark.parametrize("inline", [False, True])
async def test_errors_of_ours_arrive_and_bugs_are_contained(workers: ProcessWorkers, *, inline: bool) -> None:
    """A `DejavudError` arrives as itself, whatever stood behind it; anything else becomes `InternalError`."""
    either = InlineWorkers() if inline else workers
    with pytest.raises(UnsupportedAudio) as caught:
        await either.process(worker_functions.refuse, "a.mp3", what="a.mp3")
    assert caught.value.details == {"source": "a.mp3", "reason": "no"}
    with pytest.raises(InternalError, match="KeyError: 'a bug'"):
        await either.process(worker_functions.blunder, what="b.mp3")


async def test_a_bug_in_a_worker_is_logged_with_its_traceback(workers: ProcessWorkers) -> None:
    """The daemon's log shows where in the worker it happened."""
    with structlog.testing.capture_logs() as logs, pytest.raises(InternalError):
        await workers.process(worker_functions.blunder, what="b.mp3")
    [entry] = [log for log in logs if log["event"] == "job_failed"]
    assert "in blunder" in entry["trace"]


async def test_workers_are_deaf_to_the_terminals_signals(workers: ProcessWorkers) -> None:
    """Ctrl-C and a SIGTERM to the process group leave the workers to the daemon."""
    pid = await workers.process(worker_functions.pid, what="pid")
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    assert await workers.process(worker_functions.pid, what="pid") == pid


async def test_workers_inherit_no_sockets() -> None:
    """A listening socket is the daemon's alone: its port is free as soon as the daemon closes it."""
    with socket.create_server(("127.0.0.1", 0)):
        async with open_workers(n_processes=1, max_waiting=2) as workers:
            assert await workers.process(worker_functions.open_sockets, what="sockets") == []


async def test_no_worker_outlives_the_block() -> None:
    """When the context ends, idle workers and those killed before it are gone."""
    async with open_workers(n_processes=2, max_waiting=2) as workers:
        pid = await workers.process(worker_functions.pid, what="pid")
    assert not is_running(pid)


async def test_workers_that_were_killed_do_not_disturb_the_end() -> None:
    """The daemon's orderly end does not depend on how its workers ended."""
    async with open_workers(n_processes=1, max_waiting=2) as workers:
        os.kill(await workers.process(worker_functions.pid, what="pid"), signal.SIGKILL)


_PARENT = """
import sys, trio
sys.path.insert(0, sys.argv[1])
import worker_functions
from pathlib import Path
from dejavud.services.workers import open_workers

async def main():
    async with open_workers(n_processes=2, max_waiting=2) as workers:
        print(await workers.process(worker_functions.pid, what="idle"), flush=True)
        await workers.process(worker_functions.hang, Path(sys.argv[2]), what="busy")

trio.run(main)
"""


async def test_workers_end_with_a_daemon_that_is_killed(tmp_path: Path) -> None:
    """Kill -9 of the daemon leaves neither idle workers nor one that hangs in a job."""
    script = tmp_path / "parent.py"
    script.write_text("if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in _PARENT.splitlines()))
    parent = await trio.lowlevel.open_process(
        [sys.executable, str(script), str(HERE), str(tmp_path / "pid")], stdout=subprocess.PIPE
    )
    await until_exists(tmp_path / "pid")
    assert parent.stdout is not None
    idle = int(await parent.stdout.receive_some(100))
    busy = int((tmp_path / "pid").read_text())
    assert is_running(busy)
    parent.kill()
    await parent.wait()
    await parent.stdout.aclose()
    with trio.fail_after(5):
        await until_gone(busy)
        await until_gone(idle)


async def test_writes_run_one_at_a_time_in_order(workers: ProcessWorkers) -> None:
    """Two writes never overlap, and reads do not wait for them."""
    running: list[int] = []
    order: list[int] = []

    def write(n: int) -> None:
        running.append(n)
        assert running == [n]
        time.sleep(0.02)
        order.append(n)
        running.remove(n)

    async with trio.open_nursery() as nursery:
        for n in range(3):
            nursery.start_soon(workers.write, write, n)
            await trio.testing.wait_all_tasks_blocked()
        assert await workers.read(lambda: 7) == 7
    assert order == [0, 1, 2]
