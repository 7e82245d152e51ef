"""A small command table with which the transports are tested: real commands, whose audio is words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from dejavud.errors import InvalidRequest, TrackNotFound, UnreadableFile, UnsupportedAudio
from dejavud.services.clients import scope_of
from dejavud.services.commands import Command, CommandTable, NoParameters
from dejavud.services.event_handlers import EventHandlers
from dejavud.services.events import EventHub
from dejavud.services.handlers import Fingerprint, Recognize, Scan
from dejavud.services.job_book import JobBook
from dejavud.services.job_handlers import JobHandlers
from dejavud.services.track_handlers import ChangeTracks, EditTracks, GetTrack, ListTracks

if TYPE_CHECKING:
    from collections.abc import Callable

    from dejavud.services.commands import Call

SHA1 = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"
TRACK = {
    "id": 7,
    "title": "Tagged Title",
    "artist": "Somebody",
    "album": None,
    "path": "/music/the song.mp3",
    "file_sha1": SHA1,
    "duration_s": 219.0,
}
MATCH = {
    "track": TRACK,
    "confidence": 0.9999,
    "score": 57.4,
    "query_start_s": 0.0,
    "query_end_s": 5.0,
    "track_start_s": 63.424,
    "track_end_s": 68.424,
    "speed": 1.0,
    "pitch": 1.0,
    "coverage": 0.93,
    "gaps": [],
    "twins": [],
}
SONG = {
    "id": 7,
    "match": "the song",
    "confidence": 57,
    "offset": 1982,
    "offset_seconds": 63.424,
    "file_sha1": SHA1,
    "match_time": 0.027,
}
MUSIC, NOISE, RUBBISH, CRASH, SLOW = b"RIFF music", b"RIFF noise", b"rubbish", b"RIFF crash", b"RIFF slow"


@dataclass(frozen=True, slots=True)
class Count:
    """How far to count, telling each number; as news that must arrive, where `each`."""

    to: int
    each: bool = False


@dataclass
class Stage:
    """What the commands were given and did, and the handles by which a test holds them back.

    release : slow commands go on when it is set.
    working : slow commands that have begun; abandoned : those that were cancelled.
    """

    calls: list[tuple[str, Any, Call]] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    release: trio.Event = field(default_factory=trio.Event)
    hub: EventHub = field(default_factory=EventHub)
    book: JobBook = field(init=False)
    working: int = 0
    abandoned: int = 0
    _changed: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.book = JobBook(self.hub)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition()` holds; it is looked at when a slow command begins or ends."""
        while not condition():
            await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def hold(self) -> None:
        """Be slow: until released, or cancelled."""
        self.working += 1
        self._change()
        try:
            await self.release.wait()
        except trio.Cancelled:
            self.abandoned += 1
            raise
        finally:
            self.working -= 1
            self._change()

    async def recognize(self, params: Recognize, call: Call) -> dict[str, Any]:
        """Recognize the word that the bytes are."""
        self.calls.append(("recognize", params, call))
        if call.audio is None:
            if params.path is None or not call.may_read_paths:
                raise InvalidRequest(reason="no audio")
            raise UnreadableFile(source=params.path, reason="No such file or directory")
        audio = await trio.Path(call.audio.path).read_bytes()
        self.heard.append(audio)
        if audio.startswith(SLOW):
            await self.hold()
        if audio.startswith(CRASH):
            reason = "a bug"
            raise RuntimeError(reason)
        if audio.startswith(b"RIFF nan"):
            return {"matches": [], "score": float("nan")}
        if not audio.startswith(b"RIFF") and not params.raw_fallback:
            raise UnsupportedAudio(source=call.audio.name, reason="not audio")
        matches = [] if audio.startswith(NOISE) else [MATCH]
        return {
            "query": {"source": call.audio.name, "duration_s": 5.0, "n_hashes": 812},
            "matches": matches,
            "timings": {"total_ms": 27.0},
            "engine": {"frame_s": 0.032},
        }

    async def scan(self, params: Scan, call: Call) -> dict[str, Any]:
        """Note what is to be scanned."""
        self.calls.append(("scan", params, call))
        if call.audio is None and params.url is None:
            raise InvalidRequest(reason="no audio")
        name = call.audio.name if call.audio else params.source
        return {"recording": {"source": name or params.url, "duration_s": 5.0}, "plays": []}

    async def fingerprint(self, params: Fingerprint, call: Call) -> dict[str, Any]:
        """Note the bytes."""
        self.calls.append(("fingerprint", params, call))
        assert call.audio is not None
        audio = await trio.Path(call.audio.path).read_bytes()
        if audio.startswith(SLOW):
            await self.hold()
        added = audio not in self.heard
        self.heard.append(audio)
        return {"track": {**TRACK, "title": params.title or call.audio.name}, "added": added}

    async def page(self, params: ListTracks, call: Call) -> dict[str, Any]:
        """Return one page."""
        self.calls.append(("tracks.list", params, call))
        return {"tracks": [TRACK] * min(params.limit, 20_000), "next_after_id": None}

    async def get(self, params: GetTrack, _call: Call) -> dict[str, Any]:
        """Return the one track there is."""
        if params.id != TRACK["id"]:
            raise TrackNotFound(track=params.id)
        return {"track": TRACK}

    async def remove(self, params: ChangeTracks, call: Call) -> dict[str, Any]:
        """Return the one track there is."""
        self.calls.append(("tracks.remove", params, call))
        return {"removed": [TRACK] if TRACK["id"] in (params.ids or ()) else []}

    async def edit(self, params: EditTracks, call: Call) -> dict[str, Any]:
        """Change the one track there is."""
        self.calls.append(("tracks.edit", params, call))
        return {"updated": [{**TRACK, "title": params.title}] if TRACK["id"] in params.ids else []}

    async def disable(self, params: ChangeTracks, call: Call) -> dict[str, Any]:
        """Disable nothing."""
        self.calls.append(("tracks.disable", params, call))
        return {"updated": [], "n_updated": 0}

    async def enable(self, params: ChangeTracks, call: Call) -> dict[str, Any]:
        """Enable nothing."""
        self.calls.append(("tracks.enable", params, call))
        return {"updated": [], "n_updated": 0}

    async def status(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Be well."""
        return {"version": "0"}

    async def wait(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Be slow."""
        await self.hold()
        return {"waited": True}

    async def count(self, params: Count, call: Call) -> dict[str, Any]:
        """Tell each number."""
        for number in range(params.to):
            await call.progress(must_arrive=params.each, done=number)
        return {"counted": params.to}

    async def tell(self, _params: NoParameters, call: Call) -> dict[str, Any]:
        """Tell of progress without end."""
        self.working += 1
        self._change()
        try:
            while True:
                await call.progress(done=1)
                await trio.sleep(0.01)
        except trio.Cancelled:
            self.abandoned += 1
            raise
        finally:
            self.working -= 1
            self._change()

    def table(self) -> CommandTable:
        """Return the commands."""
        rows = {
            "status": (NoParameters, self.status),
            "recognize": (Recognize, self.recognize),
            "scan": (Scan, self.scan),
            "fingerprint": (Fingerprint, self.fingerprint),
            "tracks.list": (ListTracks, self.page),
            "tracks.get": (GetTrack, self.get),
            "tracks.remove": (ChangeTracks, self.remove),
            "tracks.edit": (EditTracks, self.edit),
            "tracks.enable": (ChangeTracks, self.enable),
            "tracks.disable": (ChangeTracks, self.disable),
            "wait": (NoParameters, self.wait),
            "count": (Count, self.count),
            "tell": (NoParameters, self.tell),
        }
        commands = [(name, kind, handler) for name, (kind, handler) in rows.items()]
        rows_of_all = (*commands, *EventHandlers(self.hub).rows(), *JobHandlers(self.book).rows())
        return CommandTable(tuple(Command(*row, scope_of(row[0])) for row in rows_of_all), jobs=self.book)
