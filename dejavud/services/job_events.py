"""Long work is told to whoever listens to events: that it begins, how far it is, and how it ended."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from dejavud.errors import DejavudError, InternalError
from dejavud.services.requests import CANCELLED, OK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.services.commands import Call, Progress
    from dejavud.services.events import EventHub

JOBS = frozenset({"scan", "migrate", "compact", "check", "export", "import", "backup", "restore"})
"""Commands that may take minutes.  Of a folder that is fingerprinted each track is told (`track.added`)."""
PROGRESS_S = 1.0
"""Between two events about how far a job is; its caller is told oftener."""


class JobEvents:
    """Publishes ``job.started``, ``job.progress`` and ``job.ended``."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._ids = itertools.count(1)

    @contextmanager
    def told(self, command: str, call: Call) -> Iterator[Call]:
        """Give the call with which to run `command`, a job, while the block goes on: its progress is published too."""
        job = {"job": next(self._ids), "command": command}
        started, outcome = perf_counter(), OK
        self._hub.publish("job.started", job)
        try:
            yield replace(call, progress=_Told(call.progress, self._hub, job))
        except DejavudError as error:
            outcome = error.code
            raise
        except Exception:
            outcome = InternalError.code
            raise
        except BaseException:
            outcome = CANCELLED
            raise
        finally:
            elapsed_s = round(perf_counter() - started, 3)
            self._hub.publish("job.ended", {**job, "outcome": outcome, "elapsed_s": elapsed_s})


class _Told:
    """Tells the caller of a job how far it is, and now and then everybody."""

    def __init__(self, tell: Progress, hub: EventHub, job: dict[str, object]) -> None:
        self._tell = tell
        self._hub = hub
        self._job = job
        self._told_at = perf_counter()

    async def __call__(self, *, must_arrive: bool = False, **figures: object) -> None:
        now = perf_counter()
        if now - self._told_at >= PROGRESS_S:
            self._told_at = now
            self._hub.publish("job.progress", {**self._job, "figures": figures})
        await self._tell(must_arrive=must_arrive, **figures)
