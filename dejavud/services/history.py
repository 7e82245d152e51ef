"""Every play that a listener tells is written down, as it starts, while it goes on, and when it has ended."""

from __future__ import annotations

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.errors import DejavudError
from dejavud.index.history.plays import CUT_OFF, GOING, KeptPlay, PlayFilter, as_json, of_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from dejavud.index.history.history import History
    from dejavud.services.events import EventHub, Subscription
    from dejavud.services.workers import Workers

log = structlog.get_logger(__name__)

TOPICS = ("match.started", "match.updated", "match.ended")
BATCH_PLAYS = 500
"""Written in one transaction: a few milliseconds, for which other writers wait."""
MAX_PENDING = 10_000
"""Plays that wait for a database that is away, of a kilobyte each: a day of all listeners that there may be.  Beyond it the oldest are lost, and said."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
"""Between two tries to write; doubled with each that fails."""
REFRESH_S = 60.0
"""So often what goes on is written as far as it was heard: what a crash may cost of the end of a play."""
PRUNE_S, PRUNE_PLAYS = 3600.0, 5000
"""How often what is too old is forgotten, and how many plays in one transaction."""
FLUSH_S = 5.0
"""For what is not written yet when the daemon ends."""
COUNTED_S = 30.0
"""How old the number of plays may be that `status` tells: in a server's database counting takes longer than telling."""

NAME_FILE, UNWRITTEN_FILE = "daemon-name", "history-unwritten.json"
_NAME_DIGITS = 64


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """What is kept, and for how long.

    enabled : without it nothing is written or forgotten; what is there can be asked for.
    keep_days : plays that started longer ago are forgotten; 0 keeps them for ever.
    """

    enabled: bool = True
    keep_days: float = 0.0


@dataclass(slots=True)
class HistoryStatus:
    """How the history is.

    n_plays : that are kept, as last counted; None where the database has not been asked yet.
    n_waiting : that the database has not taken yet.
    n_dropped : that were lost since the start, because too many waited or came too fast.
    reason : why the last try to write failed; None where it did not.
    """

    enabled: bool
    keep_days: float
    n_plays: int | None = None
    n_waiting: int = 0
    n_dropped: int = 0
    reason: str | None = None


class PlayRecorder:
    """Follows what listeners tell and writes it down.

    history : what it writes to.
    listeners : returns every listener, with the plays that go on there, as JSON shows them.
    folder : of the daemon's own, for the name by which it knows its plays again, and for those that a database did not take before the end.
    """

    def __init__(
        self,
        history: History,
        workers: Workers,
        hub: EventHub,
        settings: HistorySettings,
        *,
        listeners: Callable[[], Iterable[Mapping[str, Any]]],
        folder: Path,
    ) -> None:
        self.history = history
        self._workers, self._hub = workers, hub
        self._settings = settings
        self._folder = folder
        self._daemon, self._host = "", socket.gethostname()
        self._listeners = listeners
        self._going: dict[str, datetime] = {}  # by id, when its listener's clock stood at 0
        self._pending: dict[str, KeptPlay] = {}
        self._changed = trio.Event()
        self._status = HistoryStatus(settings.enabled, settings.keep_days)
        self._counted_at = -COUNTED_S

    def keep_for(self, keep_days: float) -> None:
        """Forget what started longer ago than so many days, from the next time on; 0 keeps all."""
        self._settings = replace(self._settings, keep_days=keep_days)
        self._status.keep_days = keep_days

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write down what is told from now on, until cancelled; then what is not written yet, for `FLUSH_S` at most.

        What the database does not take then is kept in a file, which the next life begins with.
        """
        if not self._settings.enabled:
            task_status.started()
            await trio.sleep_forever()
        self._daemon = await self._workers.thread(daemon_name, self._folder / NAME_FILE)
        for play in await self._workers.thread(read_unwritten, self._folder / UNWRITTEN_FILE):
            self._put(play)
        with self._hub.subscribe(*TOPICS) as subscription:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._follow, subscription)
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._refresh)
                    nursery.start_soon(self._prune)
                    task_status.started()
            finally:
                with trio.CancelScope(shield=True):
                    await self._write_last(subscription)

    async def status(self) -> dict[str, Any]:
        """Return how the history is, as JSON shows it."""
        now = trio.current_time()
        if now - self._counted_at >= COUNTED_S:
            try:
                self._status.n_plays = await self._workers.read(self.history.count)
                self._counted_at = now
            except DejavudError as error:
                log.debug("history_not_counted", reason=error.message)
        self._status.n_waiting = len(self._pending)
        return asdict(self._status)

    def forget_count(self) -> None:
        """Have plays counted anew when they are next asked for."""
        self._counted_at = -COUNTED_S

    # -- what is told -----------------------------------------------------------------------------------------------

    async def _follow(self, subscription: Subscription) -> None:
        async for delivery in subscription:
            self._missed(delivery.lost)
            self._take(delivery.event.topic, delivery.event.data)

    def _take(self, topic: str, told: Mapping[str, Any]) -> None:
        """Take note of what an event tells; a play whose beginning was missed is one all the same."""
        play_id = self._id_of(told)
        if play_id not in self._going:
            self._going[play_id] = datetime.fromisoformat(told["started_at"]) - timedelta(seconds=told["start_s"])
        outcome = str(told["outcome"]) if topic == "match.ended" else GOING
        self._put(self._kept(play_id, told, outcome))
        if outcome != GOING:
            del self._going[play_id]

    def _id_of(self, told: Mapping[str, Any]) -> str:
        return f"{self._hub.daemon}-{told['play']}"

    def _kept(self, play_id: str, told: Mapping[str, Any], outcome: str) -> KeptPlay:
        """Return a play as it is kept; its moments are told by its listener's clock, so that they move only where the record does."""
        track, clock_zero = told["track"], self._going[play_id]
        return KeptPlay(
            id=play_id,
            daemon=self._daemon,
            host=self._host,
            listener=told["listener"],
            source=told["source"],
            track_id=track["id"],
            title=track["title"],
            artist=track["artist"],
            album=track["album"],
            file_sha1=track["file_sha1"],
            started_at=clock_zero + timedelta(seconds=told["start_s"]),
            ended_at=clock_zero + timedelta(seconds=told["end_s"]),
            start_s=told["start_s"],
            end_s=told["end_s"],
            track_start_s=told["track_start_s"],
            track_end_s=told["track_end_s"],
            heard_s=round((told["end_s"] - told["start_s"]) * told["coverage"], 3),
            coverage=told["coverage"],
            confidence=told["confidence"],
            gaps=tuple((gap["start_s"], gap["end_s"]) for gap in told["gaps"]),
            twins=tuple(told["twins"]),
            outcome=outcome,
            updated_at=datetime.now(UTC),
        )

    def _put(self, play: KeptPlay) -> None:
        """Have a play written; where too many wait, the one that has waited longest is lost."""
        self._pending.pop(play.id, None)
        self._pending[play.id] = play
        while len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]
            self._missed(1)
        self._changed.set()

    def _missed(self, n_plays: int) -> None:
        if n_plays:
            before, self._status.n_dropped = self._status.n_dropped, self._status.n_dropped + n_plays
            if before == 0 or self._status.n_dropped // 1000 > before // 1000:
                log.error("history_dropped", n_dropped=self._status.n_dropped, reason=self._status.reason)

    async def _refresh(self) -> None:
        """Write what goes on as far as it was heard, again and again."""
        while True:
            await trio.sleep(REFRESH_S)
            for play in self._as_heard().values():
                self._put(play)

    def _as_heard(self) -> dict[str, KeptPlay]:
        """Return what goes on here as far as it was heard, by id."""
        told = {self._id_of(play): play for listener in self._listeners() for play in listener["plays"]}
        return {play_id: self._kept(play_id, told[play_id], GOING) for play_id in told.keys() & self._going.keys()}

    def up_to_now(self, plays: Sequence[KeptPlay]) -> list[KeptPlay]:
        """Return `plays`, those of them that go on here as far as they were heard, which is written down every minute only."""
        heard = self._as_heard() if any(play.outcome == GOING for play in plays) else {}
        return [heard.get(play.id, play) if play.outcome == GOING else play for play in plays]

    # -- writing ----------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Write what waits, as soon as it does; where the database does not take it, again and again."""
        await self._insist(self._close_left)
        while self._pending:
            await self._insist(self._write_batch)
        await self._workers.thread(write_unwritten, self._folder / UNWRITTEN_FILE, [])  # what was there is written
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            while self._pending:
                await self._insist(self._write_batch)

    async def _insist(self, step: Callable[[], Any]) -> None:
        """Do a step until it succeeds, with longer and longer pauses."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await step()
            except DejavudError as error:
                if self._status.reason is None:
                    log.warning("history_waits", reason=error.message, n_waiting=len(self._pending))
                self._status.reason = error.message
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                if self._status.reason is not None:
                    self._status.reason = None
                    log.info("history_goes_on", n_waiting=len(self._pending), n_dropped=self._status.n_dropped)
                return

    async def _write_batch(self) -> None:
        """Write the plays that have waited longest; what changes of them meanwhile waits for the next time."""
        batch = [play for _, play in zip(range(BATCH_PLAYS), self._pending.values(), strict=False)]
        await self._workers.write(self.history.record, batch)
        for play in batch:
            if self._pending.get(play.id) is play:
                del self._pending[play.id]
        if not self.history.is_shared:  # there counting costs nothing
            self.forget_count()

    async def _close_left(self) -> None:
        """End what this daemon's last life left open, had it no time to."""
        n_plays = await self._workers.write(self.history.close_left, datetime.now(UTC), self._daemon)
        if n_plays:
            log.warning("plays_cut_off", n=n_plays, reason="the daemon ended without a chance to say how they did")

    async def _write_last(self, subscription: Subscription) -> None:
        """Write what is left at the end: into the database, or where that does not take it into a file."""
        for delivery in subscription.queued():
            self._missed(delivery.lost)
            self._take(delivery.event.topic, delivery.event.data)
        try:
            with trio.move_on_after(FLUSH_S):
                while self._pending:
                    await self._write_batch()
        except DejavudError as error:
            self._status.reason = error.message
        if await self._workers.thread(write_unwritten, self._folder / UNWRITTEN_FILE, list(self._pending.values())):
            log.warning("history_left_for_later", n=len(self._pending), reason=self._status.reason)

    # -- forgetting -------------------------------------------------------------------------------------------------

    async def _prune(self) -> None:
        """Forget what is too old, now and then, and end what daemons that are gone for good left open."""
        while True:
            try:
                await self._forget_old()
                await self._workers.write(self.history.close_left, datetime.now(UTC))
            except DejavudError as error:
                log.warning("history_not_pruned", reason=error.message)
            await trio.sleep(PRUNE_S)

    async def _forget_old(self) -> None:
        if not self._settings.keep_days:
            return
        until = datetime.now(UTC) - timedelta(days=self._settings.keep_days)
        n_removed = 0
        while n_plays := await self._workers.write(self.history.remove, PlayFilter(until=until), PRUNE_PLAYS):
            n_removed += n_plays
            self.forget_count()
        if n_removed:
            log.info("history_pruned", n=n_removed, until=until.isoformat())


def daemon_name(path: Path) -> str:
    """Return the name that the file at `path` holds, made where it is not there; where it cannot be kept, one for this life only."""
    try:
        name = path.read_text("ascii").strip()
        if name.isalnum() and len(name) <= _NAME_DIGITS:
            return name
    except (OSError, UnicodeDecodeError):
        log.debug("daemon_named", file=str(path))
    name = uuid.uuid4().hex
    try:
        path.write_text(f"{name}\n", "ascii")
    except OSError as error:
        log.warning("daemon_name_not_kept", file=str(path), reason=error.strerror)
    return name


def read_unwritten(path: Path) -> list[KeptPlay]:
    """Return the plays of the file at `path`, ended as far as they were known; none where there is no such file, or none that is one."""
    try:
        plays = [of_json(values) for values in json.loads(path.read_bytes())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.error("history_unreadable", file=str(path), reason=str(error))  # noqa: TRY400 - said whole by its message
        return []
    return [replace(play, outcome=CUT_OFF) if play.outcome == GOING else play for play in plays]


def write_unwritten(path: Path, plays: Sequence[KeptPlay]) -> bool:
    """Keep `plays` in the file at `path`, or have no such file where there are none; return whether there is one now."""
    if not plays:
        path.unlink(missing_ok=True)
        return False
    fresh = path.with_suffix(".new")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            json.dump([as_json(play) for play in plays], file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        log.error("history_dropped", n_dropped=len(plays), reason=error.strerror)  # noqa: TRY400 - said whole by its message
        return False
    return True
