"""The commands of listening: what listens, and the devices that could."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from structlog.contextvars import bind_contextvars

from dejavud.errors import InvalidRequest
from dejavud.services.commands import NoParameters
from dejavud.services.listen_sources import SOURCES, parse_source
from dejavud.wire.rules import Form

if TYPE_CHECKING:
    from dejavud.services.commands import Call, Handler
    from dejavud.services.listeners import Listeners
    from dejavud.services.microphones import Microphones


_NAME = Form("listener-name", "Up to 64 printable characters that no other listener is called by.", "kitchen")
_SOURCE = Form("listener-source", f"Where its sound comes from: {SOURCES}.", "pcm:s16le:48000:2")


@dataclass(frozen=True, slots=True)
class AddListener:
    """Parameters of ``listen.add``; with `once` it is forgotten when the daemon ends."""

    name: Annotated[str, _NAME]
    source: Annotated[str, _SOURCE]
    once: bool = False


@dataclass(frozen=True, slots=True)
class NamedListener:
    """Parameters of the commands about one listener."""

    name: str


class ListenHandlers:
    """One method a command."""

    def __init__(self, listeners: Listeners, microphones: Microphones) -> None:
        self._listeners = listeners
        self._microphones = microphones

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return the rows of the command table."""
        return (
            ("devices", NoParameters, self.devices),
            ("listen.list", NoParameters, self.list),
            ("listen.peaks", NamedListener, self.peaks),
            ("listen.add", AddListener, self.add),
            ("listen.send", NamedListener, self.send),
            ("listen.remove", NamedListener, self.remove),
            ("listen.pause", NamedListener, self.pause),
            ("listen.resume", NamedListener, self.resume),
        )

    async def devices(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Return what can record."""
        return {"devices": [asdict(device) for device in await self._microphones.devices()]}

    async def list(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Return every listener."""
        return {"listeners": self._listeners.view()}

    async def peaks(self, params: NamedListener, _call: Call) -> dict[str, Any]:
        """Return what a listener heard in its last seconds, peak by peak, and what plays laid over it."""
        bind_contextvars(listener=params.name)
        return {"listener": params.name, **await self._listeners.peaks(params.name)}

    async def add(self, params: AddListener, call: Call) -> dict[str, Any]:
        """Listen to one more source."""
        bind_contextvars(listener=params.name)
        source, is_local = parse_source(params.source), call.client.is_local
        if source.is_path:
            call.client.check_local("a file or pipe to listen to")
        if source.is_address and not is_local:
            await self._listeners.guard.check(params.source)
        await self._listeners.add(params.name, params.source, remembered=not params.once, is_trusted=is_local)
        return self._listeners.view_of(params.name)

    async def send(self, params: NamedListener, call: Call) -> dict[str, Any]:
        """Have a listener hear the raw sound that the caller is sending, to its end."""
        bind_contextvars(listener=params.name)
        if call.stream is None:
            reason = 'sound is sent while it is made: over WebSocket with "audio": "stream", over the control socket with feed.open'
            raise InvalidRequest(reason=reason)
        with self._listeners.feeding(params.name) as feeder:
            await feeder.send_all(call.stream)
        return {"heard_s": round(feeder.heard_s, 3)}

    async def remove(self, params: NamedListener, _call: Call) -> dict[str, Any]:
        """Stop listening to one."""
        bind_contextvars(listener=params.name)
        view = self._listeners.view_of(params.name)
        await self._listeners.remove(params.name)
        return {"removed": view}

    async def pause(self, params: NamedListener, _call: Call) -> dict[str, Any]:
        """Close a listener's source until it is resumed."""
        return await self._turn(params, paused=True)

    async def resume(self, params: NamedListener, _call: Call) -> dict[str, Any]:
        """Listen again."""
        return await self._turn(params, paused=False)

    async def _turn(self, params: NamedListener, *, paused: bool) -> dict[str, Any]:
        bind_contextvars(listener=params.name)
        await self._listeners.pause(params.name, paused=paused)
        return self._listeners.view_of(params.name)
