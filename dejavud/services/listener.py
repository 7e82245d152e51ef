"""One listener: it hears its source all day, begins again where that fails, and says what plays there."""

from __future__ import annotations

import random
from collections import deque
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from dejavud.errors import (
    Busy,
    DejavudError,
    IndexUnavailable,
    InvalidRequest,
    NotListening,
    NotRemembered,
    SourceStalled,
    Timeout,
)
from dejavud.services import listen_jobs
from dejavud.services.feeds import Feed
from dejavud.services.listen_views import change_view, listener_view
from dejavud.services.meters import Meter
from dejavud.services.play_times import PlayTimes
from dejavud.services.source_clock import SourceClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from dejavud.matching.tracker import TrackerRules
    from dejavud.services.events import EventHub
    from dejavud.services.feeds import Feeder
    from dejavud.services.heard_plays import Change
    from dejavud.services.hearing import Hearing, Library
    from dejavud.services.listen_sources import Source
    from dejavud.services.url_guard import UrlGuard
    from dejavud.services.workers import Workers
    from dejavud.values import Track

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, GOOD_S = 1.0, 60.0
"""Before the first try again; doubled with each one that follows before a good minute."""
OPEN_S = 45.0
"""For a source to give its first second: longer than the longest time-out of a connection."""
INDEX_PAUSE_S = 1.0
"""Between two questions to an index that does not answer, of a source that can wait."""
MAX_UNTOLD = 1000
"""Changes that wait for the index to name their tracks; beyond it the oldest go, and the log says so."""
_NO_INDEX = (IndexUnavailable, Timeout, Busy)


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """What listeners have in common.

    rules : what counts as one play.
    stall_s : without a sound, not even silence, for so long, a source is lost.
    silence_db : below it nothing is looked for; dB of full scale.
    retry_max_s : between two tries to have a source back, at most.
    lookup_s : for one look-up in the index.
    max_listeners : at a time.
    """

    rules: TrackerRules
    stall_s: float = 10.0
    silence_db: float = -66.0
    retry_max_s: float = 60.0
    lookup_s: float = 60.0
    max_listeners: int = 24


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What listeners work with.

    remember : writes down how those are that are remembered; raises `NotRemembered`.
    """

    workers: Workers
    hub: EventHub
    library: Library
    settings: ListenSettings
    guard: UrlGuard
    remember: Callable[[], Awaitable[None]]


class Listener:
    """One listener, as far as it is.

    feed : where its sound is sent to; None where it fetches it.
    is_over : the source was heard to its end.  is_own : conf has it, or the daemon by itself.
    state : starting, waiting, listening, silent, retrying, paused, ended.
    reason : why, where it is not listening.
    end_frame, heard_at : of the last second that was heard, and when.
    clock : of the source since it was opened last, or lost sound.
    tracks, times : of the plays that are going on.
    heeded : set once `state` is as it was told to be last, paused or not.
    """

    def __init__(
        self, name: str, source: Source, hearing: Hearing, parts: Surroundings, *, remembered: bool, paused: bool
    ) -> None:
        self.name, self.source, self.hearing = name, source, hearing
        self.remembered, self.paused = remembered, paused
        self.is_removed = self.is_over = self.is_own = False
        self.feed = None if source.pcm is None else Feed(name, source.pcm)
        self.state, self.reason, self.what = "starting", "", ""
        self.next_try_at: datetime | None = None
        self.level_db: float | None = None
        self.n_overruns = self.n_retries = self.n_plays = self.end_frame = 0
        self.heard_at = 0.0
        self.clock: SourceClock | None = None
        self.tracks: dict[int, Track] = {}
        self.times = PlayTimes()
        self._workers, self._hub, self._library, self._settings = (
            parts.workers,
            parts.hub,
            parts.library,
            parts.settings,
        )
        self._guard, self._remember = parts.guard, parts.remember
        self._meter = Meter(parts.hub, parts.workers, parts.library)
        self._base = 0  # of the source's frame 0 on the listener's clock
        self._untold: deque[Change] = deque(maxlen=MAX_UNTOLD)
        self._scope = trio.CancelScope()
        self._away: trio.CancelScope | None = None  # of what ends the plays unless there is sound again
        self._wake, self.heeded = trio.Event(), trio.Event()
        self._turns = trio.Lock()  # what hears is one thing at a time

    # -- what is asked of it ----------------------------------------------------------------------------------------

    def change(self, parts: Surroundings) -> None:
        """Go by these: what is asked at once, what the source is opened with when it is next, the rules of plays not before it begins anew."""
        self._library = self.hearing.library = parts.library
        self._settings = replace(parts.settings, rules=self._settings.rules)

    def pause(self, *, paused: bool) -> None:
        """Close its source, or have it hear again, what has ended from its beginning."""
        self.paused, self.is_over, self.heeded = paused, False, trio.Event()
        self._interrupt()

    def remove(self) -> None:
        """Have `run` end."""
        self.is_removed = True
        self._interrupt()

    def try_again(self) -> None:
        """Try to have a source back now that is waited for: something has changed."""
        if self.state == "retrying":
            self._wake.set()

    @contextmanager
    def feeding(self) -> Iterator[Feeder]:
        """Give what sends sound to it while the block goes on; raises `InvalidRequest`, `NotListening` and `Busy`."""
        if self.feed is None:
            reason = f"the listener {self.name!r} hears {self.source.shown} and takes no sound from others; one that does has the source pcm"
            raise InvalidRequest(reason=reason)
        if self.paused or self.is_removed:
            raise NotListening(listener=self.name, reason="it is paused" if self.paused else "the daemon is stopping")
        with self.feed.feeding() as feeder:
            yield feeder

    def _interrupt(self) -> None:
        self._scope.cancel()
        self._wake.set()

    # -- looking after it -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hear the source, again and again where it fails, until it is removed."""
        self._hub.publish("listener.started", listener_view(self))
        pause_s = FIRST_PAUSE_S
        async with trio.open_nursery() as helpers:
            try:
                while not self.is_removed:
                    self._wake = trio.Event()
                    if self.paused or self.is_over:
                        await self._rest()
                        pause_s = FIRST_PAUSE_S
                        continue
                    started = trio.current_time()
                    reason = await self._heard_to_the_end(helpers)
                    if self.heard_at and self._away is None:
                        self._away = trio.CancelScope()
                        helpers.start_soon(self._end_unless_back, self._away)
                    if trio.current_time() - started >= GOOD_S:
                        pause_s = FIRST_PAUSE_S
                    if reason is not None:
                        await self._wait(reason, pause_s)
                        pause_s = FIRST_PAUSE_S if self._wake.is_set() else min(2 * pause_s, self._settings.retry_max_s)
            finally:
                self.is_removed = True
                self.heeded.set()
                if self.feed is not None:
                    self.feed.dismiss()
                with trio.CancelScope(shield=True), trio.move_on_after(5):
                    await self._finish()
                self._hub.publish("listener.stopped", {"listener": self.name, "source": self.source.shown})
            helpers.cancel_scope.cancel()

    async def _rest(self) -> None:
        """Hear nothing until somebody changes something."""
        if self.feed is not None:
            self.feed.dismiss()
        await self._finish()
        self._turn("paused" if self.paused else "ended")
        await self._wake.wait()

    async def _heard_to_the_end(self, helpers: trio.Nursery) -> str | None:
        """Hear until the source fails, and return why; None when it ended in order, or was told to."""
        self._scope = trio.CancelScope()
        with self._scope:
            if self.is_removed or self.paused:
                return None
            try:
                if self.feed is not None:
                    await self._hear_feed(self.feed, helpers)
                    return None
                self._turn("starting", self.reason if self.state == "retrying" else "")
                async with self._guard.way(self.source.text) if self._is_guarded else nullcontext() as way:
                    params, settings = self.hearing.params, self._settings
                    await self._hear(self.source.job(params, settings.silence_db, settings.stall_s, way))
            except DejavudError as error:
                return error.message
            except Exception as error:
                log.exception("listener_failed", listener=self.name)
                return f"{type(error).__name__} in the daemon; its log has more"
            if self.source.is_pipe:
                self._turn("waiting", "its writer has left")
            elif self.source.comes_back:
                return "it has ended"
            else:
                await self._note_end()
        return None

    async def _note_end(self) -> None:
        """Take note that its file was heard to the end: it is not heard again by itself, after a restart neither."""
        self.is_over = True
        if self.remembered:
            try:
                await self._remember()
            except NotRemembered as error:
                log.warning("listeners_not_remembered", reason=error.message)

    @property
    def _is_guarded(self) -> bool:
        return self.source.is_address and not self.source.is_trusted

    async def _wait(self, reason: str, pause_s: float) -> None:
        """Wait before the next try, or until somebody changes something."""
        wait_s = pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - so that many do not come at once
        self.n_retries += 1
        self.next_try_at = datetime.now(UTC) + timedelta(seconds=wait_s)
        self._turn("retrying", reason)
        with trio.move_on_after(wait_s):
            await self._wake.wait()
        self.next_try_at = None

    async def _end_unless_back(self, away: trio.CancelScope) -> None:
        """End the plays when the source is away for longer than a play may pause, whatever is waited for: a writer, a connection, the next try."""
        with away:
            await trio.sleep_until(self.heard_at + self._settings.rules.max_gap_s)
            await self._finish()

    # -- hearing ----------------------------------------------------------------------------------------------------

    async def _hear_feed(self, feed: Feed, helpers: trio.Nursery) -> None:
        """Hear who sends sound, when somebody does, to the end; what is wrong with it is theirs to be told, and no reason to wait."""
        self._turn("waiting", self.reason if self.state == "waiting" else "nobody sends sound")
        feeder = await feed.next_feeder()
        reason = "who sent sound has left"
        try:
            async with feed.poured(feeder, helpers) as address:
                await self._hear(self.source.feed_job(address, self.hearing.params, self._settings.silence_db))
        except DejavudError as error:
            reason = f"who sent sound was given up: {error.message}"
            log.warning("listener_sender_given_up", listener=self.name, reason=error.message)
        self._turn("waiting", reason)

    async def _hear(self, job: partial[listen_jobs.Sounds]) -> None:
        """Hear one connection of the source; raises why it ended, if it did not in order."""
        stall_s = self._settings.stall_s
        patience_s, n_before = OPEN_S, self.n_overruns
        async with self._workers.stream(job.func, *job.args, what=f"listener {self.name}") as sounds:
            while True:
                with trio.move_on_after(patience_s) as patience:
                    sound = await anext(sounds, None)
                if patience.cancelled_caught:
                    raise SourceStalled(source=self.source.shown, reason=f"nothing has come for {patience_s:g} s")
                if isinstance(sound, listen_jobs.Opened):
                    self.what = sound.what
                    self._open_clock()
                    patience_s = OPEN_S if self.feed is None else stall_s  # who sends has sound already
                elif isinstance(sound, listen_jobs.Waiting):
                    self._turn("waiting", "nobody writes to the pipe yet")
                elif isinstance(sound, listen_jobs.Sound):
                    patience_s = stall_s
                    self._note(sound, n_before)
                    await self._take(sound)
                    await self._meter.show(self)
                elif sound is None:
                    return

    def _open_clock(self) -> None:
        """Take note that the source was opened: on the listener's clock it begins as much later as it was away."""
        now = trio.current_time()
        away_s = now - self.heard_at if self.heard_at else 0.0
        self._base = self.end_frame + round(away_s * self.hearing.params.frames_per_s)
        self.clock = SourceClock(now)

    def _note(self, sound: listen_jobs.Sound, n_before: int) -> None:
        """Take note of how a second came."""
        now = trio.current_time()
        self.end_frame = max(self.end_frame, self._base + sound.end_frame)
        self.heard_at, self.level_db = now, sound.level_db
        n_lost = n_before + sound.n_overruns - self.n_overruns
        if n_lost > 0:
            self.n_overruns += n_lost
            self.clock = SourceClock(now)
            self._hub.publish("listener.overrun", {"listener": self.name, "n": n_lost, "n_overruns": self.n_overruns})
            log.warning("listener_overrun", listener=self.name, n_overruns=self.n_overruns)
        if self.clock is not None:
            self.clock.note(now, self.hearing.params.frames_to_seconds(sound.end_frame))

    async def _take(self, sound: listen_jobs.Sound) -> None:
        """Make of one second of sound what it says.

        While the index does not answer, what is live passes unheard, as it cannot be kept, and what can wait waits.
        """
        async with self._turns:
            while True:
                try:
                    changes = await self._workers.match(self.hearing.hear, sound, self._base)
                except _NO_INDEX as error:
                    self._turn("waiting", f"nothing can be recognized: {error.message}")
                    if self.source.is_live:
                        break
                    await trio.sleep(INDEX_PAUSE_S)
                else:
                    self._turn("silent" if sound.is_silent else "listening")
                    await self._tell(changes)
                    break
            if self._away is not None:
                self._away.cancel()
                self._away = None

    async def _finish(self) -> None:
        """End every play; where the index does not answer they end when it does."""
        async with self._turns:
            try:
                await self._tell(await self._workers.match(self.hearing.finish))
            except DejavudError as error:
                log.warning("listener_plays_not_ended", listener=self.name, reason=error.message)

    # -- telling ----------------------------------------------------------------------------------------------------

    def _turn(self, state: str, reason: str = "") -> None:
        """Tell a state that is a new one."""
        if self.paused == (state == "paused"):
            self.heeded.set()
        if (self.state, self.reason) == (state, reason) and state != "starting":
            return
        was_told = self.state == state
        self.state, self.reason = state, reason
        if state in ("retrying", "paused", "ended", "starting", "waiting"):
            self.level_db = None
        if was_told and state == "starting" and not self.n_retries:
            return
        self._hub.publish("listener.state", listener_view(self))
        level = log.warning if state == "retrying" else log.info if state in ("paused", "ended") else log.debug
        level("listener_state", listener=self.name, state=state, reason=reason, source=self.source.shown)

    async def _tell(self, changes: Sequence[Change]) -> None:
        """Publish what has become known of plays; one whose track was removed meanwhile is left out."""
        self._untold.extend(changes)
        missing = tuple({change.play.track_id for change in self._untold} - self.tracks.keys())
        if missing:
            try:
                found = await self._workers.read(partial(self._library.index.tracks, ids=missing))
            except _NO_INDEX as error:
                log.warning("listener_plays_untold", listener=self.name, n=len(self._untold), reason=error.message)
                return
            self.tracks |= {track.id: track for track in found}
        while self._untold:
            change = self._untold.popleft()
            if change.play.track_id in self.tracks:
                self.n_plays += change.kind == "started"
                self._hub.publish(f"match.{change.kind}", change_view(self, change))
                fields = {"listener": self.name, "play": change.play.id, "track_id": change.play.track_id}
                log.info("match_told", kind=change.kind, **fields)
        going = {play.id: play.track_id for play in self.hearing.plays}
        self.tracks = {track_id: track for track_id, track in self.tracks.items() if track_id in going.values()}
        self.times.keep(going)
