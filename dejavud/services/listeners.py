"""Listeners: each hears one source all day, and says what plays there."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.errors import DejavudError, InvalidRequest, ListenerNotFound, SourceStalled
from dejavud.fingerprint.params import Params
from dejavud.services import listen_jobs
from dejavud.services.hearing import Hearing, Library
from dejavud.services.listen_sources import Source, parse_source, read_kept, write_kept
from dejavud.services.views import track_in_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dejavud.fingerprint.params import HashParams
    from dejavud.matching.tracker import TrackerRules
    from dejavud.services.events import EventHub
    from dejavud.services.hearing import Change, HeardPlay
    from dejavud.services.workers import Workers
    from dejavud.values import Track

log = structlog.get_logger(__name__)

MICROPHONE = "microphone"
"""The listener that the daemon has by itself."""
FIRST_PAUSE_S, GOOD_S = 1.0, 60.0
"""Before the first try again; doubled with each one that follows before a good minute."""
OPEN_S = 45.0
"""For a source to give its first second: longer than the longest time-out of a connection."""
MAX_NAME = 64


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


@dataclass(slots=True, eq=False)
class Listener:
    """One listener, as far as it is.

    state : starting, waiting, listening, silent, retrying, paused, ended.
    reason : why, where it is not listening.
    base : of the source's frame 0 on the listener's clock.
    end_frame, heard_at : of the last second that was heard, and when.
    scope : cancelling it ends what hears.
    """

    name: str
    source: Source
    remembered: bool
    hearing: Hearing
    paused: bool = False
    state: str = "starting"
    reason: str = ""
    what: str = ""
    next_try_at: datetime | None = None
    level_db: float | None = None
    n_overruns: int = 0
    n_retries: int = 0
    base: int = 0
    end_frame: int = 0
    heard_at: float = 0.0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    wake: trio.Event = field(default_factory=trio.Event)
    tracks: dict[int, Track] = field(default_factory=dict)


class Listeners:
    """Every listener of the daemon, each supervised: a source that fails is tried again, and none takes another with it.

    kept_in : the file in which those that were added at run time are remembered; None remembers none.
    """

    def __init__(
        self,
        workers: Workers,
        hub: EventHub,
        params: HashParams,
        *,
        library: Library,
        settings: ListenSettings,
        kept_in: Path | None = None,
    ) -> None:
        self._workers = workers
        self._hub = hub
        self._params = params
        self._library = library
        self._settings = settings
        self._kept_in = kept_in
        self._ids = itertools.count(1)
        self._listeners: dict[str, Listener] = {}
        self._nursery: trio.Nursery | None = None

    async def serve(
        self, configured: Sequence[tuple[str, str]], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run the listeners, first those of `configured` (name and source) and those that are remembered, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for name, source in configured:
                await self._begin(name, source, remembered=False, paused=False)
            for kept in await self._remembered():
                if kept["name"] not in self._listeners:
                    await self._begin(kept["name"], kept["source"], remembered=True, paused=bool(kept.get("paused")))
            task_status.started()
            await trio.sleep_forever()

    async def _begin(self, name: str, source: str, *, remembered: bool, paused: bool) -> None:
        """Add a listener; one that is refused is said, and the daemon goes on without it."""
        try:
            await self.add(name, source, remembered=remembered, paused=paused)
        except DejavudError as error:
            log.error("listener_refused", listener=name, reason=error.message)  # noqa: TRY400 - said whole by its message

    # -- what is asked of it ----------------------------------------------------------------------------------------

    async def add(self, name: str, source: str, *, remembered: bool = True, paused: bool = False) -> Listener:
        """Return a new listener, started; raises `InvalidRequest` for a name that is taken or a source that is none."""
        params = self._params
        if not isinstance(params, Params):
            reason = (
                f"a library of the profile {params.profile} cannot be listened for: start the daemon with landmark-1"
            )
            raise InvalidRequest(reason=reason)
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME or name != name.strip():
            raise InvalidRequest(
                reason=f"{name[:80]!r} is no name for a listener: up to {MAX_NAME} printable characters"
            )
        if name in self._listeners:
            raise InvalidRequest(
                reason=f"there is a listener {name!r} already, on {self._listeners[name].source.shown}"
            )
        if len(self._listeners) >= self._settings.max_listeners:
            raise InvalidRequest(reason=f"there are {len(self._listeners)} listeners, which is all that there may be")
        hearing = Hearing(params, self._settings.rules, self._library, self._ids.__next__)
        listener = Listener(name, parse_source(source), remembered, hearing, paused)
        self._listeners[name] = listener
        if self._nursery is None:
            msg = "listeners are added while `serve` runs"
            raise RuntimeError(msg)
        self._hub.publish("listener.started", self._view(listener))
        self._nursery.start_soon(self._supervise, listener)
        await self._remember()
        return listener

    async def remove(self, name: str) -> None:
        """Stop a listener and forget it; raises `ListenerNotFound`."""
        listener = self._named(name)
        del self._listeners[name]
        listener.scope.cancel()
        listener.wake.set()
        await self._remember()

    async def pause(self, name: str, *, paused: bool) -> Listener:
        """Have a listener hear nothing, its device closed, or hear again; raises `ListenerNotFound`."""
        listener = self._named(name)
        if listener.paused != paused:
            listener.paused = paused
            listener.scope.cancel()
            listener.wake.set()
            await self._remember()
        return listener

    def view(self) -> list[dict[str, Any]]:
        """Return every listener as JSON shows it."""
        return [self._view(listener) for listener in self._listeners.values()]

    def view_of(self, name: str) -> dict[str, Any]:
        """Return one of them; raises `ListenerNotFound`."""
        return self._view(self._named(name))

    def _named(self, name: str) -> Listener:
        if name not in self._listeners:
            raise ListenerNotFound(name=name, known=", ".join(self._listeners) or "none")
        return self._listeners[name]

    # -- one listener -----------------------------------------------------------------------------------------------

    async def _supervise(self, listener: Listener) -> None:
        """Hear the source of `listener`, again and again where it fails, until it is removed."""
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                listener.wake = trio.Event()
                if not self._is_kept(listener):
                    return
                if listener.paused or listener.state == "ended":
                    await self._finish(listener)
                    self._turn(listener, "paused" if listener.paused else "ended")
                    await listener.wake.wait()
                    listener.state, pause_s = "starting", FIRST_PAUSE_S
                    continue
                started = trio.current_time()
                reason = await self._heard_to_the_end(listener)
                if reason is None:
                    continue
                pause_s = FIRST_PAUSE_S if trio.current_time() - started >= GOOD_S else pause_s
                if not await self._wait(listener, reason, pause_s):
                    continue
                pause_s = min(2 * pause_s, self._settings.retry_max_s)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(5):
                await self._finish(listener)
            self._hub.publish("listener.stopped", {"listener": listener.name, "source": listener.source.shown})

    async def _heard_to_the_end(self, listener: Listener) -> str | None:
        """Hear until the source fails, and return why; None when it ended in order, or was told to."""
        listener.scope = trio.CancelScope()
        with listener.scope:
            if not self._is_kept(listener) or listener.paused:
                return None
            self._turn(listener, "starting")
            try:
                await self._hear(listener)
            except DejavudError as error:
                return error.message
            except Exception as error:
                log.exception("listener_failed", listener=listener.name)
                return f"{type(error).__name__} in the daemon; its log has more"
            if listener.source.comes_back:
                return "it has ended" if not listener.source.is_path else "its writer has left"
            listener.state = "ended"
        return None

    async def _wait(self, listener: Listener, reason: str, pause_s: float) -> bool:
        """Wait before the next try; return whether nobody has changed anything meanwhile."""
        wait_s = pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - so that many do not come at once
        listener.n_retries += 1
        listener.next_try_at = datetime.now(UTC) + timedelta(seconds=wait_s)
        self._turn(listener, "retrying", reason)
        deadline = trio.current_time() + wait_s
        gap_s = self._settings.rules.max_gap_s
        for until in (min(deadline, trio.current_time() + gap_s), deadline):
            with trio.move_on_at(until):
                await listener.wake.wait()
                return False
            if trio.current_time() - listener.heard_at >= gap_s:
                await self._finish(listener)
        listener.next_try_at = None
        return True

    async def _hear(self, listener: Listener) -> None:
        """Hear one connection of the source; raises why it ended, if it did not in order."""
        settings, params = self._settings, listener.hearing.params
        job = listener.source.job(params, settings.silence_db, settings.stall_s)
        n_before, is_first = listener.n_overruns, True
        async with self._workers.stream(job.func, *job.args, what=f"listener {listener.name}") as sounds:
            while True:
                with trio.move_on_after(OPEN_S if is_first else settings.stall_s) as patience:
                    sound = await anext(sounds, None)
                if patience.cancelled_caught:
                    raise SourceStalled(
                        source=listener.source.shown, reason=f"nothing has come for {settings.stall_s:g} s"
                    )
                if isinstance(sound, listen_jobs.Opened):
                    listener.what = sound.what
                    listener.base = self._base(listener)
                elif isinstance(sound, listen_jobs.Waiting):
                    self._turn(listener, "waiting", "nobody writes to the pipe yet")
                elif isinstance(sound, listen_jobs.Sound):
                    is_first = False
                    await self._take(listener, sound, n_before)
                elif sound is None:
                    return

    def _base(self, listener: Listener) -> int:
        """Return where on the listener's clock a source begins that has just been opened: as much later as it was away."""
        if not listener.heard_at:
            return 0
        away_s = trio.current_time() - listener.heard_at
        return listener.end_frame + round(away_s * listener.hearing.params.frames_per_s)

    async def _take(self, listener: Listener, sound: listen_jobs.Sound, n_before: int) -> None:
        """Make of one second of sound what it says."""
        changes = await self._workers.read(listener.hearing.hear, sound, listener.base)
        listener.end_frame = max(listener.end_frame, listener.base + sound.end_frame)
        listener.heard_at, listener.level_db = trio.current_time(), sound.level_db
        if n_before + sound.n_overruns > listener.n_overruns:
            n_lost = n_before + sound.n_overruns - listener.n_overruns
            listener.n_overruns = n_before + sound.n_overruns
            self._hub.publish(
                "listener.overrun", {"listener": listener.name, "n": n_lost, "n_overruns": listener.n_overruns}
            )
            log.warning("listener_overrun", listener=listener.name, n_overruns=listener.n_overruns)
        self._turn(listener, "silent" if sound.is_silent else "listening")
        await self._tell(listener, changes)

    async def _finish(self, listener: Listener) -> None:
        await self._tell(listener, await self._workers.read(listener.hearing.finish))

    # -- telling ----------------------------------------------------------------------------------------------------

    def _turn(self, listener: Listener, state: str, reason: str = "") -> None:
        """Tell a state that is a new one."""
        if (listener.state, listener.reason) == (state, reason) and state != "starting":
            return
        was_told = listener.state == state
        listener.state, listener.reason = state, reason
        if state in ("retrying", "paused", "ended", "starting"):
            listener.level_db = None
        if was_told and state == "starting" and not listener.n_retries:
            return
        self._hub.publish("listener.state", self._view(listener))
        level = log.warning if state == "retrying" else log.info if state in ("paused", "ended") else log.debug
        level("listener_state", listener=listener.name, state=state, reason=reason, source=listener.source.shown)

    async def _tell(self, listener: Listener, changes: Sequence[Change]) -> None:
        """Publish what has become known of plays; one whose track was removed meanwhile is left out."""
        missing = tuple({change.play.track_id for change in changes} - listener.tracks.keys())
        if missing:
            found = await self._workers.read(partial(self._library.index.tracks, ids=missing))
            listener.tracks |= {track.id: track for track in found}
        for change in changes:
            if change.play.track_id in listener.tracks:
                data = self._play_view(listener, change.play)
                self._hub.publish(f"match.{change.kind}", data)
                fields = {"listener": listener.name, "play": change.play.id, "track_id": change.play.track_id}
                log.info("match_told", kind=change.kind, **fields)
        going = {play.track_id for play in listener.hearing.plays}
        listener.tracks = {track_id: track for track_id, track in listener.tracks.items() if track_id in going}

    def _play_view(self, listener: Listener, play: HeardPlay) -> dict[str, Any]:
        seconds = listener.hearing.params.frames_to_seconds
        now_s, end_s = seconds(listener.end_frame), seconds(play.seen_frame)
        ago_s = trio.current_time() - listener.heard_at + now_s - seconds(play.first_frame)
        return {
            "listener": listener.name,
            "play": play.id,
            "track": track_in_answer(listener.tracks[play.track_id]),
            "started_at": (datetime.now(UTC) - timedelta(seconds=max(0.0, ago_s))).isoformat(),
            "start_s": round(seconds(play.first_frame), 3),
            "end_s": round(end_s, 3),
            "track_start_s": round(seconds(play.track_first_frame), 3),
            "track_end_s": round(seconds(play.track_seen_frame), 3),
            "confidence": round(play.confidence, 6),
            "coverage": round(play.coverage, 3),
            "gaps": [{"start_s": round(seconds(a), 3), "end_s": round(seconds(b), 3)} for a, b in play.gaps],
            "twins": list(play.twins),
            "exact": bool(play.records),
        }

    def _view(self, listener: Listener) -> dict[str, Any]:
        return {
            "listener": listener.name,
            "source": listener.source.shown,
            "state": listener.state,
            "reason": listener.reason or None,
            "next_try_at": listener.next_try_at.isoformat() if listener.next_try_at else None,
            "format": listener.what or None,
            "level_db": None if listener.level_db is None else round(listener.level_db, 1),
            "heard_s": round(listener.hearing.params.frames_to_seconds(listener.end_frame), 3),
            "n_overruns": listener.n_overruns,
            "n_retries": listener.n_retries,
            "remembered": listener.remembered,
            "plays": [
                self._play_view(listener, play)
                for play in list(listener.hearing.plays)
                if play.track_id in listener.tracks
            ],
        }

    # -- remembering ------------------------------------------------------------------------------------------------

    def _is_kept(self, listener: Listener) -> bool:
        return self._listeners.get(listener.name) is listener

    async def _remember(self) -> None:
        if self._kept_in is None:
            return
        kept = [
            {"name": one.name, "source": one.source.text, "paused": one.paused}
            for one in self._listeners.values()
            if one.remembered
        ]
        await self._workers.thread(write_kept, self._kept_in, kept)

    async def _remembered(self) -> Sequence[Mapping[str, Any]]:
        return () if self._kept_in is None else await self._workers.thread(read_kept, self._kept_in)
