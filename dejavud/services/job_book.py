"""The book of jobs: long work, how far it is and how it ended, whoever asked for it and by whichever door.

A job belongs to the caller that waits for it, or goes on by itself where its caller said so (HTTP: ``Prefer: respond-async``).
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.errors import Busy, DejavudError, InternalError, RequestCancelled, ShuttingDown
from dejavud.services.requests import current_request
from dejavud.wire.codec import decode, encode
from dejavud.wire.messages import error_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from contextlib import AsyncExitStack

    from dejavud.services.commands import Call, Progress
    from dejavud.services.events import EventHub
    from dejavud.services.requests import Requests

    Work = Callable[[Call], Awaitable[dict[str, Any]]]

log = structlog.get_logger(__name__)

ALWAYS = frozenset({"scan", "migrate", "compact", "check", "export", "import", "backup", "restore"})
"""Commands that may take minutes: each call of one is a job."""
WHERE_LONG = frozenset({"fingerprint"})
"""Commands that are mostly quick, and a job where they take longer than `LONG_S`, or are to go on by themselves."""
LONG_S = 1.0
PROGRESS_S = 1.0
"""Between two events about how far a job is; its caller is told oftener."""
RUNNING, DONE, FAILED, CANCELLED = STATES = ("running", "done", "failed", "cancelled")
KEEP, KEEP_BYTES = 100, 8 << 20
"""Finished jobs that are kept, and how much their results may take; the newest is kept whatever it takes."""
MAX_UNATTENDED = 64


@dataclass(slots=True, eq=False)
class Job:
    """One run of a command.

    id : that no other job has, of another life of the daemon neither.
    asked_by : the name of the client, the door it came by and its request's id there.
    is_told : the book shows it, and events tell of it.  is_forgotten : the book shows it no more.
    progress : the last figures.
    result : as JSON, once it is done.
    """

    id: str
    command: str
    asked_by: dict[str, str | None]
    is_told: bool
    is_forgotten: bool = False
    state: str = RUNNING
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    progress: Mapping[str, object] = field(default_factory=dict)
    result: bytes | None = None
    error: DejavudError | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    _started_s: float = field(default_factory=perf_counter)
    _elapsed_s: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Return how long it has run, or ran."""
        return perf_counter() - self._started_s if self._elapsed_s is None else self._elapsed_s

    def end(self, state: str, error: DejavudError | None = None) -> None:
        """Take note of how it ended."""
        self.state, self.error = state, error
        self.ended_at, self._elapsed_s = datetime.now(UTC), self.elapsed_s
        self.ended.set()

    def view(self) -> dict[str, Any]:
        """Return the job as lists and events show it: without its result, which may be long."""
        return {
            "id": self.id,
            "command": self.command,
            "state": self.state,
            "asked_by": self.asked_by,
            "started_at": self.started_at.isoformat(),
            "ended_at": None if self.ended_at is None else self.ended_at.isoformat(),
            "elapsed_s": round(self.elapsed_s, 3),
            "progress": dict(self.progress),
            "error": None if self.error is None else error_body(self.error),
        }

    def whole_view(self) -> dict[str, Any]:
        """Return the job with its result, None where there is none."""
        return {**self.view(), "result": None if self.result is None else decode(self.result)}


class JobBook:
    """Keeps the jobs that run and the last that have ended, and publishes ``job.started``, ``job.progress`` and ``job.ended``.

    keep, keep_bytes : how many that have ended are kept, and how much their results may take.
    """

    def __init__(self, hub: EventHub, *, keep: int = KEEP, keep_bytes: int = KEEP_BYTES) -> None:
        self._hub = hub
        self._keep, self._keep_bytes = keep, keep_bytes
        self._numbers = itertools.count(1)
        self._running: dict[str, Job] = {}
        self._ended: OrderedDict[str, Job] = OrderedDict()
        self._unattended: trio.Nursery | None = None
        self._n_unattended = 0

    async def serve(
        self, *, grace_s: float = 10.0, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Have jobs go on by themselves until cancelled; those there are then may go on for `grace_s`, and are cancelled."""
        stop, scope = trio.Event(), trio.CancelScope()

        async def keep(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                async with trio.open_nursery() as nursery:
                    self._unattended = nursery
                    task_status.started()
                    await stop.wait()
                    self._unattended = None

        async with trio.open_nursery() as nursery:
            await nursery.start(keep)
            scope.shield = True  # from here on, and not before: a cancellation becomes `stop`, which has a deadline
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                stop.set()
                scope.deadline = trio.current_time() + grace_s

    @staticmethod
    def may_take_long(command: str) -> bool:
        """Tell whether a command may be a job."""
        return command in ALWAYS or command in WHERE_LONG

    def __iter__(self) -> Iterator[Job]:
        """Give those that run, then those that have ended: the last one that began, or ended, first."""
        yield from (job for job in reversed(self._running.values()) if job.is_told and not job.is_forgotten)
        yield from reversed(self._ended.values())

    def get(self, job_id: str) -> Job | None:
        """Return a job, None where there is none of this id, or no longer."""
        job = self._running.get(job_id) or self._ended.get(job_id)
        return job if job is not None and job.is_told and not job.is_forgotten else None

    def forget(self, job: Job) -> None:
        """Show a job no more; one that runs is not ended by that."""
        job.is_forgotten = True
        self._ended.pop(job.id, None)

    async def run(self, command: str, call: Call, work: Work) -> dict[str, Any]:
        """Return what `work` returns, which is a job meanwhile; raises `RequestCancelled` where the job is cancelled."""
        job = self._begun(command, call, is_told=command in ALWAYS)
        if not job.is_told and self._unattended is not None:
            self._unattended.start_soon(self._tell_late, job)
        return await self._run(job, call, work)

    async def _tell_late(self, job: Job) -> None:
        """Have a job told that turns out to be long."""
        with trio.move_on_after(LONG_S):
            await job.ended.wait()
            return
        job.is_told = True
        self._hub.publish("job.started", {"job": job.view()})

    def begin(self, command: str, call: Call, work: Work, *, requests: Requests, kept: AsyncExitStack) -> Job:
        """Return a job that goes on by itself.

        kept : what it needs until it has ended, such as its audio; left to the caller where this raises `Busy` or `ShuttingDown`.
        """
        if self._unattended is None:
            raise ShuttingDown
        if self._n_unattended >= MAX_UNATTENDED:
            raise Busy(what=f"{MAX_UNATTENDED} jobs that go on by themselves")
        job = self._begun(command, call, is_told=True)
        self._n_unattended += 1
        self._unattended.start_soon(partial(self._go_on, job, call, work, requests, kept.pop_all()))
        return job

    async def _go_on(self, job: Job, call: Call, work: Work, requests: Requests, kept: AsyncExitStack) -> None:
        """Run a job that nobody waits for: the border that contains its errors."""
        try:
            async with kept:
                with requests.opened(job.asked_by["transport"] or "", job.asked_by["request_id"]) as request:
                    request.fields["job"] = job.id
                    try:
                        await requests.run(job.command, partial(self._run, job, call, work))
                    except DejavudError as error:
                        request.fail(error)
        finally:
            self._n_unattended -= 1

    def _begun(self, command: str, call: Call, *, is_told: bool) -> Job:
        request = current_request()
        asked_by = {
            "client": call.client.name,
            "transport": None if request is None else request.transport,
            "request_id": None if request is None else request.id,
        }
        job = Job(f"{self._hub.daemon}-{next(self._numbers)}", command, asked_by, is_told)
        self._running[job.id] = job
        if is_told:
            self._hub.publish("job.started", {"job": job.view()})
        return job

    async def _run(self, job: Job, call: Call, work: Work) -> dict[str, Any]:
        try:
            with job.scope:
                result = await work(replace(call, progress=_Told(call.progress, self._hub, job)))
                if job.is_told:
                    job.result = encode(result)
                job.end(DONE)
                return result
        except DejavudError as error:
            job.end(CANCELLED if isinstance(error, RequestCancelled) else FAILED, error)
            raise
        except Exception as error:
            job.end(FAILED, InternalError(reason=f"{type(error).__name__} (the daemon's log has the details)"))
            raise
        except BaseException:
            job.end(CANCELLED, RequestCancelled())
            raise
        else:  # its own scope was cancelled, and swallowed that
            cancelled = RequestCancelled()
            job.end(CANCELLED, cancelled)
            raise cancelled
        finally:
            self._close(job)

    def _close(self, job: Job) -> None:
        """Put a job among those that have ended, and let go of the oldest there are too many of."""
        del self._running[job.id]
        if not job.is_told:
            return
        self._hub.publish("job.ended", {"job": job.view()})
        if job.is_forgotten:
            return
        self._ended[job.id] = job
        n_bytes = sum(len(ended.result or b"") for ended in self._ended.values())
        while len(self._ended) > self._keep or (n_bytes > self._keep_bytes and len(self._ended) > 1):
            _, gone = self._ended.popitem(last=False)
            n_bytes -= len(gone.result or b"")


class _Told:
    """Tells the caller of a job how far it is, and now and then everybody."""

    def __init__(self, tell: Progress, hub: EventHub, job: Job) -> None:
        self._tell = tell
        self._hub = hub
        self._job = job
        self._told_s = 0.0

    async def __call__(self, *, must_arrive: bool = False, **figures: object) -> None:
        job = self._job
        job.progress = figures
        if job.is_told and job.elapsed_s - self._told_s >= PROGRESS_S:
            self._told_s = job.elapsed_s
            self._hub.publish("job.progress", {"job": job.view()})
        await self._tell(must_arrive=must_arrive, **figures)
