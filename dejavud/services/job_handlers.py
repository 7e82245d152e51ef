"""The commands about jobs: which there are, how far one is, and its end before its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from structlog.contextvars import bind_contextvars

from dejavud.errors import JobNotFound
from dejavud.services.clients import Scope, scope_of
from dejavud.services.job_book import RUNNING, STATES
from dejavud.wire.rules import OneOf

if TYPE_CHECKING:
    from dejavud.services.commands import Call, Handler
    from dejavud.services.job_book import Job, JobBook

_SHOWN_ID = 80


@dataclass(frozen=True, slots=True)
class ListJobs:
    """Parameters of ``jobs.list``.  state : only those in it; "" for all."""

    state: Annotated[str, OneOf(("", *STATES))] = ""


@dataclass(frozen=True, slots=True)
class NamedJob:
    """Parameters of the commands about one job."""

    id: str


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Parameters of ``jobs.cancel``.  forget : the book shows it no more."""

    id: str
    forget: bool = False


class JobHandlers:
    """One method a command.

    Who may read what the daemon knows sees every job; a client who may not sees those of commands that he may use.  Who could have begun a job may
    cancel it.
    """

    def __init__(self, book: JobBook) -> None:
        self._book = book

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return the rows of the command table."""
        return (
            ("jobs.list", ListJobs, self.list),
            ("jobs.get", NamedJob, self.get),
            ("jobs.cancel", CancelJob, self.cancel),
        )

    async def list(self, params: ListJobs, call: Call) -> dict[str, Any]:
        """Return the jobs that run and the last that have ended."""
        jobs = (job for job in self._book if params.state in {"", job.state} and _may_see(job, call))
        return {"jobs": [job.view() for job in jobs]}

    async def get(self, params: NamedJob, call: Call) -> dict[str, Any]:
        """Return one job, with its result."""
        return {"job": self._job(params.id, call).whole_view()}

    async def cancel(self, params: CancelJob, call: Call) -> dict[str, Any]:
        """Cancel a job that runs, and forget it where that is asked for."""
        job = self._job(params.id, call)
        call.client.check(f"to cancel a job of {job.command!r}", scope_of(job.command) or Scope.ADMIN)
        is_running = job.state == RUNNING
        if is_running:
            job.scope.cancel()
        if params.forget:
            self._book.forget(job)
        bind_contextvars(job=job.id)
        return {"job": job.view(), "cancelled": is_running}

    def _job(self, job_id: str, call: Call) -> Job:
        """Return a job; raises `JobNotFound`, for one that this client may not see too."""
        job = self._book.get(job_id)
        if job is None or not _may_see(job, call):
            raise JobNotFound(job=job_id[:_SHOWN_ID])
        return job


def _may_see(job: Job, call: Call) -> bool:
    return call.client.may(Scope.READ) or call.client.may(scope_of(job.command))
