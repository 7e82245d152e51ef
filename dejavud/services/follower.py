"""Keeping up with a database that others write to, and that may be away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from dejavud.errors import DejavudError, IndexAway

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dejavud.services.workers import Workers

log = structlog.get_logger(__name__)


class Follower:
    """Looks again and again at what other daemons have written, and says when the database goes and comes.

    follow : takes in what was written, and returns the tracks that were touched, None for any; raises `IndexAway` where the database is.
    poll_s : between two looks.
    forget : told of those tracks.
    """

    def __init__(
        self,
        follow: Callable[[], Sequence[int] | None],
        workers: Workers,
        poll_s: float,
        forget: Callable[[Sequence[int] | None], None],
    ) -> None:
        self._follow = follow
        self._workers = workers
        self._poll_s = poll_s
        self._forget = forget

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled."""
        task_status.started()
        away_since_s: float | None = None
        complaint = ""
        while True:
            try:
                touched = await self._workers.read(self._follow)
            except IndexAway as error:
                if away_since_s is None:
                    log.warning("index_away", reason=error.message)
                    away_since_s = trio.current_time()
            except DejavudError as error:
                if error.message != complaint:  # said once, as it may stay so
                    log.warning("follow_failed", code=error.code, reason=error.message)
                complaint = error.message
            else:
                if away_since_s is not None:
                    log.info("index_back", away_s=round(trio.current_time() - away_since_s, 1))
                away_since_s, complaint = None, ""
                if touched is None or touched:
                    self._forget(touched)
            await trio.sleep(self._poll_s)
