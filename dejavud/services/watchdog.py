"""Proof, again and again, that the daemon works: its event loop turns and its worker processes answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

PROOFS = 4
"""In the time after which the service manager gives us up: so many chances to feed it, each with the patience of one part."""


class Provable(Protocol):
    """What can show that it works."""

    async def prove(self, timeout_s: float) -> bool:
        """Return whether a worker process did a piece of work that takes no time within `timeout_s`; one that did not is replaced."""
        ...


class Watchdog:
    """Feeds the service manager's watchdog, and only while a proof succeeds.

    A loop that stands still cannot feed.  A worker that does not answer is killed and another asked, so that one that hangs costs nothing else; where
    none answers, nothing is fed, and the service manager starts us again.

    feed : tells the service manager that we are well.
    period_s : after which it would give us up.
    """

    def __init__(self, workers: Provable, feed: Callable[[], None], period_s: float) -> None:
        self._workers = workers
        self._feed = feed
        self._part_s = period_s / PROOFS

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Feed until cancelled."""
        was_well = True
        task_status.started()
        await trio.sleep(self._part_s)  # it has just been shown that everything works
        while True:
            is_well = await self._workers.prove(self._part_s)
            if is_well:
                self._feed()
            elif was_well:
                log.error("workers_do_not_answer", patience_s=self._part_s)
            if is_well and not was_well:
                log.info("workers_answer_again")
            was_well = is_well
            await trio.sleep(self._part_s if is_well else min(1.0, self._part_s))
