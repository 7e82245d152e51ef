"""All listeners of the daemon: added, found by name, remembered."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.errors import DejavudError, InvalidRequest, ListenerExists, ListenerNotFound, TooManyListeners
from dejavud.fingerprint.params import Params
from dejavud.services.heard_peaks import peaks_view
from dejavud.services.hearing import Hearing, Library
from dejavud.services.listen_memory import ListenerMemory, Remembered
from dejavud.services.listen_sources import parse_source
from dejavud.services.listen_views import listener_view
from dejavud.services.listener import Listener, ListenSettings, Surroundings
from dejavud.services.url_guard import UrlGuard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dejavud.fingerprint.params import HashParams
    from dejavud.services.events import EventHub
    from dejavud.services.feeds import Feeder
    from dejavud.services.workers import Workers

__all__ = ["MICROPHONE", "ListenSettings", "Listeners"]

log = structlog.get_logger(__name__)

MICROPHONE = "microphone"
"""The listener that the daemon has by itself."""
MAX_NAME = 64
HEED_S = 5.0
"""How long to wait until a listener has done as it was told: closing a device takes some tenths of a second."""


class Listeners:
    """Every listener of the daemon, each looking after itself: none takes another with it.

    kept_in : the file in which those that were added at run time are remembered; None remembers none.
    guard : looks at where addresses lead that are not to be trusted.
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
        guard: UrlGuard | None = None,
    ) -> None:
        self._workers = workers
        self._params = params
        self.guard = guard or UrlGuard()
        self._memory = ListenerMemory(workers, kept_in)
        self._parts = Surroundings(workers, hub, library, settings, self.guard, self._remember)
        self._ids = itertools.count(1)
        self._listeners: dict[str, Listener] = {}
        self._nursery: trio.Nursery | None = None

    async def serve(
        self, configured: Sequence[tuple[str, str]], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run the listeners, first those of `configured` (name and source) and those that are remembered, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            kept = await self._memory.read()
            names = {MICROPHONE, *(name for name, _ in configured)}
            for one in kept:
                if one.own and one.name in names:
                    self._memory.leave_out(one)
            for name, source in configured:
                self._begin_own(name, source)
            for one in kept:
                if not one.own and not self._begin(one):
                    self._memory.leave_out(one)
            task_status.started()
            await trio.sleep_forever()

    def _begin(self, one: Remembered) -> bool:
        """Start a listener that was added before and return True; one that is refused is said, and the daemon goes on without it."""
        try:
            self._start(self._new(one, remembered=not one.own))
        except DejavudError as error:
            log.error("listener_refused", listener=one.name, reason=error.message)  # noqa: TRY400 - said whole by its message
            return False
        return True

    def _begin_own(self, name: str, source: str) -> None:
        was = self._memory.forget(name, own=True)
        self._begin(Remembered(name, source, paused=was is not None and was.source == source, own=True))

    def add_microphone(self) -> Listener:
        """Return the listener that the daemon has by itself, started, paused where somebody paused it in an earlier life; raises as `add` does."""
        listener = self._new(Remembered(MICROPHONE, "mic", own=True), remembered=False)
        listener.paused = self._memory.forget(MICROPHONE, own=True) is not None
        self._start(listener)
        return listener

    async def add(
        self, name: str, source: str, *, remembered: bool = True, paused: bool = False, is_trusted: bool = True
    ) -> Listener:
        """Return a new listener, started; raises `InvalidRequest` for a name or source that is none, `ListenerExists`, `TooManyListeners` and `NotRemembered`.

        is_trusted : wherever an address leads is all right with whom this is for.
        """
        listener = self._new(Remembered(name, source, paused, is_trusted), remembered=remembered)
        if remembered:
            try:
                await self._remember()
            except BaseException:
                if self._listeners.get(name) is listener:
                    del self._listeners[name]
                raise
        self._start(listener)
        return listener

    def _new(self, one: Remembered, *, remembered: bool) -> Listener:
        """Return a listener that has its name and does not run yet; raises as `add` does."""
        hearing = self.new_hearing()
        self._check_name(one.name)
        source = parse_source(one.source, is_trusted=one.trusted)
        listener = Listener(one.name, source, hearing, self._parts, remembered=remembered, paused=one.paused)
        listener.is_over, listener.is_own = one.over, one.own
        self._listeners[one.name] = listener
        return listener

    def _start(self, listener: Listener) -> None:
        """Have a listener run; what it logs is no part of the request that added it."""
        if self._nursery is None:
            msg = "listeners are added while `serve` runs"
            raise RuntimeError(msg)
        Context().run(self._nursery.start_soon, listener.run)

    def change(self, library: Library, settings: ListenSettings) -> None:
        """Go by these from now on; see `Listener.change` for those that are there."""
        self._parts = replace(self._parts, library=library, settings=settings)
        for listener in self._listeners.values():
            listener.change(self._parts)

    def check_configured(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """Raise `InvalidRequest` where the configured listeners cannot become `now` (sources by name), those of `before` being there."""
        kept = {name for name in self._listeners if before.get(name, now.get(name)) == now.get(name)}
        for name, source in now.items():
            parse_source(source)
            if name in self._listeners and name not in before:
                reason = f"the listener {name!r} was added while the daemon ran: remove it first (dejavuctl listen rm)"
                raise InvalidRequest(reason=reason)
        if len(kept | now.keys()) > self._parts.settings.max_listeners:
            raise InvalidRequest(reason=f"more than {self._parts.settings.max_listeners} listeners")

    async def configure(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """Remove what is configured no longer, add what is now, and leave the others alone; for what `check_configured` accepted.

        One that somebody removed meanwhile comes back only where its source changed.
        """
        for name in [name for name, source in before.items() if now.get(name) != source and name in self._listeners]:
            self._listeners.pop(name).remove()
        for name, source in now.items():
            if before.get(name) != source:
                self._begin_own(name, source)

    def new_hearing(self) -> Hearing:
        """Return what follows one more source; raises `InvalidRequest` where the library's profile is not to be listened for."""
        params, parts = self._params, self._parts
        if not isinstance(params, Params):
            reason = (
                f"a library of the profile {params.profile} cannot be listened for: start the daemon with landmark-2"
            )
            raise InvalidRequest(reason=reason)
        return Hearing(params, parts.settings.rules, parts.library, self._ids.__next__)

    def _check_name(self, name: str) -> None:
        """Raise `InvalidRequest` unless there may be one more listener, of this name."""
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME or name != name.strip():
            raise InvalidRequest(
                reason=f"{name[:80]!r} is no name for a listener: up to {MAX_NAME} printable characters, and no space at either end"
            )
        if name in self._listeners:
            raise ListenerExists(name=name, source=self._listeners[name].source.shown)
        if len(self._listeners) >= self._parts.settings.max_listeners:
            raise TooManyListeners(n=len(self._listeners))

    async def remove(self, name: str) -> None:
        """Stop a listener and forget it; raises `ListenerNotFound`, and `NotRemembered` where it will be back after a restart."""
        listener = self._named(name)
        listener.remove()
        del self._listeners[name]
        if self._memory.forget(name) or listener.remembered or (listener.is_own and listener.paused):
            await self._remember()

    async def pause(self, name: str, *, paused: bool) -> Listener:
        """Have a listener hear nothing, its device closed, or hear again, a file that has ended from its beginning.

        Raises `ListenerNotFound`, and `NotRemembered` where it will be as before after a restart.
        """
        listener = self._named(name)
        if listener.paused != paused or (listener.is_over and not paused):
            listener.pause(paused=paused)
            if listener.remembered or listener.is_own:
                await self._remember()
            with trio.move_on_after(HEED_S):
                await listener.heeded.wait()
        return listener

    @contextmanager
    def feeding(self, name: str) -> Iterator[Feeder]:
        """Give what sends raw sound to a listener whose source is ``pcm``, while the block goes on.

        Raises `ListenerNotFound`, `InvalidRequest` where it hears something else, `NotListening` where it is paused, and `Busy` where
        somebody sends already.
        """
        with self._named(name).feeding() as feeder:
            yield feeder

    def devices_changed(self) -> None:
        """Have every listener whose microphone is away look for it now."""
        for listener in self._listeners.values():
            if listener.source.is_microphone:
                listener.try_again()

    def view(self) -> list[dict[str, Any]]:
        """Return every listener as JSON shows it."""
        return [listener_view(listener) for listener in self._listeners.values()]

    def view_of(self, name: str) -> dict[str, Any]:
        """Return one of them; raises `ListenerNotFound`."""
        return listener_view(self._named(name))

    async def peaks(self, name: str) -> dict[str, Any]:
        """Return what one of them heard in its last seconds, see `peaks_view`; raises `ListenerNotFound`."""
        return await self._workers.read(peaks_view, self._named(name).hearing)

    def _named(self, name: str) -> Listener:
        if name not in self._listeners:
            raise ListenerNotFound(name=name, known=", ".join(self._listeners) or "none")
        return self._listeners[name]

    # -- remembering ------------------------------------------------------------------------------------------------

    async def _remember(self) -> None:
        await self._memory.write(self._remembered)

    def _remembered(self) -> Iterator[Remembered]:
        for one in self._listeners.values():
            if one.remembered:
                yield Remembered(one.name, one.source.text, one.paused, one.source.is_trusted, one.is_over)
            elif one.is_own and one.paused:
                yield Remembered(one.name, one.source.text, paused=True, own=True)
