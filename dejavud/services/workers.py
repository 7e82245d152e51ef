"""Where blocking work goes: worker processes for audio, threads for files and the database, each kind with its own limit.

The one place that starts threads or processes.
"""

from __future__ import annotations

import math
import signal
import threading
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import structlog
import trio
import trio_parallel

from dejavud.errors import Busy, DejavudError, Timeout, WorkerDied, WorkerNotStarted
from dejavud.services import jobs, stream_jobs
from dejavud.services.worker_streams import StreamJob, listening, received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from contextlib import AbstractAsyncContextManager

log = structlog.get_logger(__name__)

T = TypeVar("T")

Kind = Literal["query", "ingest"]

MAX_STREAMS = 32
"""Each is a process of some 60 MB; a machine that is to follow more radio stations than that has other limits first."""

_CLOSE_GRACE_S = 2.0
"""How long a worker may take to see that its pipe was closed before it is killed."""


@dataclass(frozen=True, slots=True)
class WorkersStatus:
    """How busy the workers are.

    n_processes : jobs of one kind that run at the same time.
    n_busy, n_waiting : jobs of both kinds, and streams, running and waiting for their turn.
    n_died : worker processes that ended in the middle of a job, since the start.
    n_replaced : those that were started in the place of one that died, or was killed as its job took too long.
    n_alive : worker processes that are there, busy or not.
    n_reads_waiting, n_writes_waiting : for a turn with the database.
    n_streams : of those that are busy, those that hear a source; they take no turn from jobs.
    """

    n_processes: int
    n_busy: int
    n_waiting: int
    n_died: int
    n_replaced: int = 0
    n_alive: int = 1
    n_reads_waiting: int = 0
    n_writes_waiting: int = 0
    n_streams: int = 0


class Workers(Protocol):
    """Runs blocking functions away from the event loop.

    Every method waits for its turn, first come first served, and raises `Busy` at once when already too many wait.
    A cancelled wait leaves without a trace.  Once a *thread* runs, cancellation waits for it: its effect is never
    abandoned half done (what has none can be).  Once a *process* runs, cancellation kills it.
    """

    async def process(
        self, function: Callable[..., T], *args: object, what: str, kind: Kind = "query", timeout_s: float | None = None
    ) -> T:
        """Run an importable function of picklable arguments in a worker process.

        `what` names the work in errors.  Raises `Timeout` when it ran longer than `timeout_s` (the time it waited for
        its turn does not count; the worker is killed), `WorkerDied` when the process ended, `InternalError` for a bug in
        the function, and every `DejavudError` of the function's own.  Queries and ingests do not wait for each other.
        """
        ...

    def stream(
        self, function: Callable[..., Generator[T]], *args: object, what: str
    ) -> AbstractAsyncContextManager[AsyncIterator[T]]:
        """Give what an importable generator function of picklable arguments yields, in a process of its own, while the block goes on.

        The iterator raises what the function raises and, as `process`, `WorkerDied` and `InternalError`.  The function waits where
        its items are not taken: between the two there is never more than an item and what a socket holds.  When the block ends before
        the function, the process is killed.  No turns: a stream may be endless, so where too many run, `Busy` is raised at once.
        """
        ...

    async def read(self, function: Callable[..., T], *args: object) -> T:
        """Run a database read in a thread; several run at a time."""
        ...

    async def match(self, function: Callable[..., T], *args: object) -> T:
        """Run a look-up with its matching in a thread: numerical work, as many at a time as files are worked on, behind which no `read` waits."""
        ...

    async def write(self, function: Callable[..., T], *args: object) -> T:
        """Run a database write in a thread; one runs at a time, in the order they were asked for."""
        ...

    async def thread(self, function: Callable[..., T], *args: object, abandon: bool = False) -> T:
        """Run other blocking work, such as reading a file, in a thread.

        With `abandon`, for what only looks at something and may never return, cancellation does not wait for it.
        """
        ...

    async def background(self, function: Callable[..., T], *args: object) -> T:
        """Run long work that nobody waits for in a thread, beside all else; one such runs at a time.

        What can take long has to be told by the caller when it is to end: cancellation waits for it.
        """
        ...

    def status(self) -> WorkersStatus:
        """Return how busy the workers are."""
        ...


class ProcessWorkers:
    """`Workers` over trio-parallel's processes and trio's threads."""

    def __init__(
        self, context: trio_parallel.WorkerContext, nursery: trio.Nursery, *, n_processes: int, max_waiting: int
    ) -> None:
        self._context = context
        self._nursery = nursery
        self._n_processes = n_processes
        self._max_waiting = max_waiting
        self._n_died = self._n_replaced = 0
        self._n_streams = 0
        # Queries have processes of their own beside the ingests': one over a folder that is being fingerprinted shares the
        # cores with it, instead of waiting for its files.
        self._decode: dict[Kind, trio.CapacityLimiter] = {
            "query": trio.CapacityLimiter(n_processes),
            "ingest": trio.CapacityLimiter(n_processes),
        }
        self._db_read = trio.CapacityLimiter(max(4, n_processes))
        self._match = trio.CapacityLimiter(max(2, n_processes))
        self._db_write = trio.CapacityLimiter(1)
        self._files = trio.CapacityLimiter(4)
        self._background = trio.CapacityLimiter(1)

    async def process(
        self, function: Callable[..., T], *args: object, what: str, kind: Kind = "query", timeout_s: float | None = None
    ) -> T:
        """See `Workers.process`."""
        limiter = self._decode[kind]
        self._refuse_when_full(limiter, f"{self._max_waiting} audio jobs waiting")
        async with limiter:
            limit_s = math.inf if timeout_s is None else timeout_s
            with trio.move_on_after(limit_s):
                return await self._run(function, args, what)
            self._replace_worker()
            raise Timeout(what=what, limit_s=timeout_s)

    @asynccontextmanager
    async def stream(
        self, function: Callable[..., Generator[T]], *args: object, what: str
    ) -> AsyncIterator[AsyncIterator[T]]:
        """See `Workers.stream`."""
        if self._n_streams >= MAX_STREAMS:
            raise Busy(what=f"{MAX_STREAMS} streams at a time")
        self._n_streams += 1
        try:
            async with listening() as listener:
                job = StreamJob(what)
                # in the workers' own nursery: an error in the block leaves it as it is, not in a group
                self._nursery.start_soon(self._run_stream, job, listener, function, args)
                items = received(listener, job)
                try:
                    yield items
                finally:
                    job.scope.cancel()
                    with trio.CancelScope(shield=True):
                        await job.ended.wait()
                        await items.aclose()
        finally:
            self._n_streams -= 1

    async def _run_stream(
        self,
        job: StreamJob,
        listener: trio.socket.SocketType,
        function: Callable[..., Generator[T]],
        args: tuple[object, ...],
    ) -> None:
        try:
            with job.scope:
                await self._run(stream_jobs.send_items, (function, args, listener.getsockname()), job.what)
        except DejavudError as error:
            job.error = error
        finally:
            listener.close()
            job.ended.set()

    async def read(self, function: Callable[..., T], *args: object) -> T:
        """See `Workers.read`."""
        self._refuse_when_full(self._db_read, f"{self._max_waiting} database reads waiting")
        return await trio.to_thread.run_sync(function, *args, limiter=self._db_read)

    async def match(self, function: Callable[..., T], *args: object) -> T:
        """See `Workers.match`."""
        self._refuse_when_full(self._match, f"{self._max_waiting} look-ups waiting")
        return await trio.to_thread.run_sync(function, *args, limiter=self._match)

    async def write(self, function: Callable[..., T], *args: object) -> T:
        """See `Workers.write`."""
        self._refuse_when_full(self._db_write, f"{self._max_waiting} database writes waiting")
        return await trio.to_thread.run_sync(function, *args, limiter=self._db_write)

    async def thread(self, function: Callable[..., T], *args: object, abandon: bool = False) -> T:
        """See `Workers.thread`."""
        self._refuse_when_full(self._files, f"{self._max_waiting} files waiting to be read")
        return await trio.to_thread.run_sync(function, *args, limiter=self._files, abandon_on_cancel=abandon)

    async def background(self, function: Callable[..., T], *args: object) -> T:
        """See `Workers.background`."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._background)

    def status(self) -> WorkersStatus:
        """See `Workers.status`."""
        figures = [limiter.statistics() for limiter in self._decode.values()]
        processes = self._context.statistics()
        return WorkersStatus(
            n_processes=self._n_processes,
            n_busy=sum(f.borrowed_tokens for f in figures) + self._n_streams,
            n_waiting=sum(f.tasks_waiting for f in figures),
            n_died=self._n_died,
            n_replaced=self._n_replaced,
            n_alive=processes.idle_workers + processes.running_workers,
            n_reads_waiting=self._db_read.statistics().tasks_waiting + self._match.statistics().tasks_waiting,
            n_writes_waiting=self._db_write.statistics().tasks_waiting,
            n_streams=self._n_streams,
        )

    async def _run(self, function: Callable[..., T], args: tuple[object, ...], what: str) -> T:
        try:
            result = await self._context.run_sync(
                jobs.contained, function, args, kill_on_cancel=True, limiter=nullcontext()
            )
        except trio_parallel.BrokenWorkerError as error:
            self._n_died += 1
            log.warning("worker_died", what=what, exit_code=_exit_code(error))
            self._replace_worker()
            raise WorkerDied(source=what) from None
        except OSError as error:  # those of the job come as `Failed`
            log.warning("worker_cannot_start", what=what, reason=str(error))
            raise WorkerNotStarted(source=what, reason=error.strerror or str(error)) from error
        if isinstance(result, jobs.Failed):
            if result.trace:
                log.error("job_failed", what=what, trace=result.trace)
            raise result.error
        return result

    def _refuse_when_full(self, limiter: trio.CapacityLimiter, what: str) -> None:
        if limiter.statistics().tasks_waiting >= self._max_waiting:
            raise Busy(what=what)

    def _replace_worker(self) -> None:
        """Have a warm worker again before somebody asks for it."""
        self._n_replaced += 1
        self._nursery.start_soon(self.warm)

    def allow_waiting(self, n_jobs: int) -> None:
        """Have so many pieces of work wait at most, from now on."""
        self._max_waiting = n_jobs

    async def prove(self, timeout_s: float) -> bool:
        """Return whether a worker process answers within `timeout_s`; one that does not is killed.

        It waits for no turn: where all are busy one more is started, which shows that one can be.
        """
        with trio.move_on_after(timeout_s):
            try:
                await self._context.run_sync(jobs.no_job, kill_on_cancel=True, limiter=nullcontext())
            except (trio_parallel.BrokenWorkerError, OSError) as error:
                log.warning("worker_cannot_start", reason=str(error))
                return False
            return True
        self._n_died += 1
        log.warning("worker_stalled", patience_s=timeout_s)
        return False

    async def warm(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start one worker, unless an idle one is there; started when it has its turn."""
        async with self._decode["query"]:
            task_status.started()
            try:
                await self._context.run_sync(jobs.no_job, kill_on_cancel=True, limiter=nullcontext())
            except trio_parallel.BrokenWorkerError as error:
                self._n_died += 1
                log.exception("worker_cannot_start", exit_code=_exit_code(error))
            except OSError as error:
                log.warning("worker_cannot_start", reason=str(error))


def _exit_code(error: trio_parallel.BrokenWorkerError) -> int | None:
    """Return the dead process's exit code, negative for the signal that killed it."""
    code: int | None = getattr(error.args[-1], "exitcode", None)
    return code


def keep_signals_from_children() -> None:
    """Have SIGINT and SIGTERM go to an idle thread of this process, so that whatever it starts from now on has them blocked.

    Ctrl-C goes to every process of the terminal, and a worker that is just starting would answer it with a traceback
    before it has had a chance to say that it does not care.  Handlers still run in the main thread.  For the main thread.
    """
    resource_tracker.ensure_running()  # multiprocessing's own helper; starting it later would unblock the signals again
    threading.Thread(target=threading.Event().wait, name="signals", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, jobs.DAEMON_SIGNALS)


@asynccontextmanager
async def open_workers(*, n_processes: int, max_waiting: int) -> AsyncIterator[ProcessWorkers]:
    """Give workers of which `n_processes` are started, and warm themselves, while the block goes on.

    When the block ends, running jobs are killed and every worker process is gone.
    """
    try:
        async with (
            trio_parallel.open_worker_context(
                idle_timeout=math.inf, init=jobs.prepare_worker, grace_period=_CLOSE_GRACE_S
            ) as context,
            trio.open_nursery() as nursery,
        ):
            workers = ProcessWorkers(context, nursery, n_processes=n_processes, max_waiting=max_waiting)
            for _ in range(n_processes):
                await nursery.start(workers.warm)
            yield workers
            nursery.cancel_scope.cancel()
    except trio_parallel.BrokenWorkerError as error:  # one that had died while idle, or had to be killed just now
        log.warning("worker_ended_badly", reason=str(error))
