"""Looks for microphones that are plugged in: the daemon listens to the default one as soon as there is one, and lost ones are tried at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio

from dejavud.errors import DejavudError, ListenerNotFound
from dejavud.services.listeners import MICROPHONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.services.listeners import Listeners
    from dejavud.services.microphones import Microphones
    from dejavud.services.workers import Workers

log = structlog.get_logger(__name__)

LOOK_S = 2.0
"""Between two looks at a few places, which take some ten microseconds; the sound system is asked only where one has changed."""
ASK_S = 600.0
"""While there is no microphone the sound system is asked anyway: not every device shows in a folder."""

_DEVICES = Path("/dev/snd")
_SERVERS = ("pulse", "pulse/native", "pipewire-0")
"""Not their folder itself: any program may have something there, and a sound system that is asked takes a third of a second of a core."""


class MicrophoneWatch:
    """Watches over the microphones of this machine.

    wanted : the default one is to be listened to.
    runtime_dir : of the user, in which PulseAudio and PipeWire have their sockets.
    """

    def __init__(
        self, workers: Workers, microphones: Microphones, listeners: Listeners, *, wanted: bool, runtime_dir: Path
    ) -> None:
        self._workers = workers
        self._microphones = microphones
        self._listeners = listeners
        self._is_wanted, self._has_added = wanted, False
        self._places = (_DEVICES, *(runtime_dir / name for name in _SERVERS))

    async def want(self, *, wanted: bool) -> None:
        """Listen to the default microphone, as soon as there is one, or no longer."""
        self._is_wanted = wanted
        if wanted:
            self._microphones.look_again()
            await self._look()
        elif self._has_added:
            self._has_added = False
            with suppress(ListenerNotFound):  # somebody removed it before
                await self._listeners.remove(MICROPHONE)

    async def serve(self) -> None:
        """Watch until cancelled."""
        seen, asked_at = await self._workers.thread(_signature, self._places), trio.current_time()
        reason = await self._look()
        while True:
            await trio.sleep(LOOK_S)
            now_seen = await self._workers.thread(_signature, self._places)
            if now_seen != seen:
                seen, asked_at = now_seen, trio.current_time()
                self._microphones.look_again()
                self._listeners.devices_changed()
                reason = await self._look(reason)
            elif self._is_wanted and trio.current_time() - asked_at >= ASK_S:
                asked_at = trio.current_time()
                self._microphones.look_again()
                reason = await self._look(reason)

    async def _look(self, told: str | None = None) -> str:
        """Listen to the default microphone, if that is wanted and there is one now; return why not, said where it was not told before."""
        reason = await self._microphones.unavailable()  # which the first `status` need not wait for then
        if not self._is_wanted:
            return reason
        if reason:
            if reason != told:
                log.info("microphone_not_listened_to", reason=reason)
            return reason
        self._is_wanted = False  # once: who removes the listener does not want it back
        if not any(view["listener"] == MICROPHONE for view in self._listeners.view()):
            try:
                listener = self._listeners.add_microphone()
                self._has_added = True
            except DejavudError as error:
                log.warning("microphone_not_listened_to", reason=error.message)
            else:
                if listener.paused:
                    log.info("microphone_paused", how_to_hear="dejavuctl listen resume microphone")
                    return reason
                log.info("microphone_listened_to", stored=False, how_not_to="set listen.microphone to off")
        return reason


def _signature(places: Sequence[Path]) -> tuple[int, ...]:
    """Return what changes when a sound device or a sound server comes or goes."""
    return tuple(_changed_ns(place) for place in places)


def _changed_ns(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0
