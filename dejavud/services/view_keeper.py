"""The upkeep of the index's resident view, in the background for as long as the daemon runs."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import TYPE_CHECKING

import structlog
import trio

from dejavud.errors import IndexUnavailable

if TYPE_CHECKING:
    from dejavud.index.upkeep import Upkeep
    from dejavud.services.workers import Workers

log = structlog.get_logger(__name__)

RETRY_S = 60.0
"""When upkeep that failed is tried again, unless the index changes before."""


class ViewKeeper:
    """Runs upkeep at the start, and again after every change of the index."""

    def __init__(self, upkeep: Upkeep, workers: Workers) -> None:
        self._upkeep = upkeep
        self._workers = workers
        self._changed = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the view until cancelled.  Started at once: while there is no view, the database answers.

        Cancellation ends what is under way within milliseconds; what was not finished is done after the next start.
        """
        token = trio.lowlevel.current_trio_token()
        self._upkeep.watch(lambda: token.run_sync_soon(self._change))
        task_status.started()
        stop = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_set_when_cancelled, stop)
            while True:
                self._changed = trio.Event()
                with trio.move_on_after(RETRY_S if not await self._run(stop) else float("inf")):
                    await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()

    async def _run(self, stop: threading.Event) -> bool:
        """Run upkeep once; return whether it succeeded."""
        started = perf_counter()
        try:
            report = await self._workers.background(self._upkeep.run, stop.is_set)
        except IndexUnavailable as error:
            log.warning("view_upkeep_failed", code=error.code, reason=error.message)
            return False
        for reason in report.refused:
            log.warning("view_segment_refused", reason=reason)
        if report.n_written or report.is_new:
            is_news = report.n_segments > 0 or report.state != "ready"  # an empty library is none
            (log.info if is_news else log.debug)(
                "view_kept",
                state=report.state,
                n_segments=report.n_segments,
                n_bytes=report.n_bytes,
                n_written=report.n_written,
                elapsed_s=round(perf_counter() - started, 3),
            )
        return True


async def _set_when_cancelled(stop: threading.Event) -> None:
    """Set `stop` as soon as the nursery is cancelled, even while its other task waits for a thread."""
    try:
        await trio.sleep_forever()
    finally:
        stop.set()
