"""The upkeep of the index, in the background for as long as the daemon runs."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import structlog
import trio

from dejavud.errors import IndexUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from dejavud.index.duckdb.clustering import ClusteringReport
    from dejavud.index.open import KeptIndex
    from dejavud.index.view.upkeep import UpkeepReport
    from dejavud.services.workers import Workers

log = structlog.get_logger(__name__)

RETRY_S = 60.0
"""When upkeep that failed is tried again, unless the index changes before."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Chore(Protocol[T_co]):
    """Something to be done at the start and after changes of the index."""

    def run(self, should_stop: Callable[[], bool]) -> T_co:
        """Do all that there is to do, in the calling thread, and return what was done; end soon where `should_stop()` is true."""
        ...

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, in any thread, when there may be something to do."""
        ...


class Keeper(Generic[T]):
    """Runs a chore at the start, and again after every change of the index.

    failed : the event that the log has where it fails.
    tell : puts what was done into the log, with the seconds that it took.
    """

    def __init__(self, failed: str, chore: Chore[T], workers: Workers, tell: Callable[[T, float], None]) -> None:
        self._failed = failed
        self._chore = chore
        self._workers = workers
        self._tell = tell
        self._changed = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep it done until cancelled.  Started at once: the index answers without.

        Cancellation ends what is under way soon; what was not finished is done after the next start.
        """
        token = trio.lowlevel.current_trio_token()
        self._chore.watch(lambda: token.run_sync_soon(self._change))
        task_status.started()
        stop = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(set_when_cancelled, stop)
            while True:
                self._changed = trio.Event()
                with trio.move_on_after(RETRY_S if not await self._run(stop) else float("inf")):
                    await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()

    async def _run(self, stop: threading.Event) -> bool:
        """Run the chore once; return whether it succeeded."""
        started = perf_counter()
        try:
            report = await self._workers.background(self._chore.run, stop.is_set)
        except IndexUnavailable as error:
            log.warning(self._failed, code=error.code, reason=error.message)
            return False
        self._tell(report, round(perf_counter() - started, 3))
        return True


def keepers(kept: KeptIndex, workers: Workers) -> list[Keeper[UpkeepReport] | Keeper[ClusteringReport]]:
    """Return who keeps this index; the view comes first, as it makes answers quick."""
    found: list[Keeper[UpkeepReport] | Keeper[ClusteringReport]] = []
    if kept.upkeep is not None:
        found.append(Keeper("view_upkeep_failed", kept.upkeep, workers, tell_of_view))
    if kept.clustering is not None:
        found.append(Keeper("clustering_failed", kept.clustering, workers, tell_of_clustering))
    return found


def tell_of_view(report: UpkeepReport, elapsed_s: float) -> None:
    """Log what was done for the view, where anything was, and what could not be used."""
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
            elapsed_s=elapsed_s,
        )


def tell_of_clustering(report: ClusteringReport, elapsed_s: float) -> None:
    """Log what was moved, where anything was."""
    if report.n_moved:
        log.info(
            "postings_clustered",
            n_postings=report.n_moved,
            n_runs=report.n_runs,
            is_stopped=report.is_stopped,
            elapsed_s=elapsed_s,
        )


async def set_when_cancelled(stop: threading.Event) -> None:
    """Set `stop` as soon as the nursery is cancelled, even while its other task waits for a thread."""
    try:
        await trio.sleep_forever()
    finally:
        stop.set()
