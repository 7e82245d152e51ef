"""What each command does: parameters in, services asked, a JSON object out, and one line in the log."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from structlog.contextvars import bind_contextvars

from dejavud import __version__
from dejavud.audio.address import url_without_password
from dejavud.audio.pcm_format import PcmFormat
from dejavud.errors import InvalidRequest
from dejavud.services.archives import ArchiveFile, Export, Restore
from dejavud.services.client_limits import ClientLimits
from dejavud.services.clients import Scope, scope_of
from dejavud.services.commands import Command, CommandTable, NoParameters
from dejavud.services.duplicate_finder import duplicates_view
from dejavud.services.event_handlers import EventHandlers
from dejavud.services.history_handlers import HistoryHandlers
from dejavud.services.ingest import TrackFile
from dejavud.services.job_book import JobBook
from dejavud.services.job_handlers import JobHandlers
from dejavud.services.listen_handlers import ListenHandlers
from dejavud.services.live_queries import LiveQuery
from dejavud.services.loop_meter import LoopMeter
from dejavud.services.maintenance import CheckIndex
from dejavud.services.migration import Migrate
from dejavud.services.requests import Requests
from dejavud.services.server_paths import ServerPaths
from dejavud.services.timeline import timeline_view
from dejavud.services.track_handlers import TrackHandlers
from dejavud.services.views import recognition_view, track_view
from dejavud.services.vitals import vitals
from dejavud.services.watching import Watching
from dejavud.values import Tags
from dejavud.wire.rules import SECONDS, Form

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    import trio

    from dejavud.fingerprint.params import HashParams
    from dejavud.services.archives import Archives
    from dejavud.services.commands import AudioStream, Call, Handler
    from dejavud.services.events import EventHub
    from dejavud.services.history import PlayRecorder
    from dejavud.services.ingest import Ingest
    from dejavud.services.library import Library
    from dejavud.services.listeners import Listeners
    from dejavud.services.live_queries import LiveQueries
    from dejavud.services.maintenance import Maintenance
    from dejavud.services.microphones import Microphones
    from dejavud.services.migration import Migrator
    from dejavud.services.recognizer import Recognizer
    from dejavud.services.scanner import Scanner
    from dejavud.services.workers import Workers
    from dejavud.values import Recognition


def _no_troubles() -> dict[str, Any]:
    return {"n_warnings": 0, "n_errors": 0, "last": None}


@dataclass(frozen=True, slots=True)
class Daemon:
    """What `status` tells of the daemon beside its services.

    index_url : without its password.
    endpoints : where each interface listens, by the interface's name; filled while the daemon starts.
    stop : set it, and the daemon shuts down in order.
    troubles : returns how many warnings and errors the log has, and the last of them.
    """

    started_s: float
    index_url: str
    endpoints: Mapping[str, str | Sequence[str]]
    stop: trio.Event
    troubles: Callable[[], dict[str, Any]] = _no_troubles


class Extension(Protocol):
    """What lies above this floor, and has commands and something to say in `status` nevertheless."""

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run until cancelled."""
        ...

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return its rows of the command table."""
        ...

    def view(self) -> list[dict[str, Any]]:
        """Return how its parts are, as JSON shows them."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a command may ask."""

    library: Library
    ingest: Ingest
    recognizer: Recognizer
    live_queries: LiveQueries
    scanner: Scanner
    microphones: Microphones
    listeners: Listeners
    recorder: PlayRecorder
    migrator: Migrator
    maintenance: Maintenance
    archives: Archives
    workers: Workers
    hub: EventHub
    hooks: Extension
    params: HashParams
    daemon: Daemon
    requests: Requests = field(default_factory=Requests)
    paths: ServerPaths = field(default_factory=ServerPaths)
    limits: ClientLimits = field(default_factory=ClientLimits)
    loop: LoopMeter = field(default_factory=LoopMeter)


# -- parameters -----------------------------------------------------------------------------------------------------


AUDIO_URL = Form(
    "audio-url", "An address that sends audio, such as http://radio.example/stream, by http, https, rtsp or rtsps."
)
SERVER_PATH = Form("server-path", "A file of the daemon's machine, below a folder that `security.paths` allows.")
PCM = Form("pcm", "What raw samples are: ENCODING:RATE:CHANNELS.", "s16le:48000:2")


@dataclass(frozen=True, slots=True)
class Recognize:
    """Parameters of ``recognize``; `source` is what the answer calls the query, `pcm` what a stream is whose samples are raw."""

    path: Annotated[str | None, SERVER_PATH] = None
    url: Annotated[str | None, AUDIO_URL] = None
    limit_s: Annotated[float | None, SECONDS] = None
    source: str | None = None
    raw_fallback: bool = False
    pcm: Annotated[str | None, PCM] = None

    def __post_init__(self) -> None:
        if self.pcm is not None:
            PcmFormat.parse(self.pcm)


@dataclass(frozen=True, slots=True)
class RecognizeMicrophone:
    """Parameters of ``recognize_microphone``; `device` by name or number, the default one where None."""

    duration_s: Annotated[float, SECONDS] = 10.0
    device: str | int | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """Parameters of ``scan``; `source` is what the answer calls the recording."""

    path: Annotated[str | None, SERVER_PATH] = None
    url: Annotated[str | None, AUDIO_URL] = None
    limit_s: Annotated[float | None, SECONDS] = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Parameters of ``fingerprint``; title, artist and album go before what the file's own tags say."""

    path: Annotated[str | None, SERVER_PATH] = None
    title: str | None = None
    artist: str | None = None
    album: str | None = None
    name: str | None = None
    limit_s: Annotated[float | None, SECONDS] = None


# -- handlers -------------------------------------------------------------------------------------------------------


class Handlers:
    """One method a command."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def status(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Return how the daemon is."""
        services, daemon = self._services, self._services.daemon
        statistics = await services.library.statistics()
        unavailable = await services.microphones.unavailable()
        return {
            "version": __version__,
            "uptime_s": round(perf_counter() - daemon.started_s, 3),
            "n_tracks": statistics.n_tracks,
            "n_disabled": statistics.n_disabled,
            "n_postings": statistics.n_postings,
            "duration_s": round(statistics.duration_s, 3),
            "index": {
                "url": daemon.index_url,
                "size_bytes": statistics.size_bytes,
                **await services.maintenance.sizes(),
                "reachable": statistics.reachable,
                "answers_from": statistics.answers_from,
            },
            "engine": {"profile": services.params.profile, "params": services.params.digest},
            "workers": asdict(services.workers.status()),
            "process": vitals(),
            "loop": {"longest_turn_s": round(services.loop.longest_s, 4), "n_stalls": services.loop.n_stalls},
            "troubles": daemon.troubles(),
            "microphone": {"available": not unavailable, "reason": unavailable or None},
            "listeners": services.listeners.view(),
            "history": await services.recorder.status(),
            "hooks": services.hooks.view(),
            "endpoints": dict(daemon.endpoints),
            "queries": asdict(services.recognizer.counts),
        }

    async def recognize(self, params: Recognize, call: Call) -> dict[str, Any]:
        """Return what a file, the bytes that came along, those that are still coming, or what an address sends are."""
        if call.stream is not None:
            return await self._recognize_stream(params, call, call.stream)
        if params.url is not None:
            return await self._recognize_url(params, params.url, call)
        if params.pcm is not None:
            raise InvalidRequest(
                reason="'pcm' says what the samples of a stream are, and no stream comes with this request"
            )
        async with _audio(params.path, None, call, self._services) as audio:
            name = params.source or audio.name
            bind_contextvars(source=name)
            recognition = await self._services.recognizer.recognize_file(
                audio.path, name, limit_s=params.limit_s, raw_fallback=params.raw_fallback
            )
        return _recognized(recognition)

    async def _recognize_stream(self, params: Recognize, call: Call, stream: AudioStream) -> dict[str, Any]:
        if params.path is not None or params.url is not None:
            raise InvalidRequest(reason="send the sound as a stream, or name its 'path' or 'url', not both")
        if params.raw_fallback:
            raise InvalidRequest(
                reason="'raw_fallback' is for whole files: of a stream say what its samples are, by 'pcm'"
            )
        pcm = None if params.pcm is None else PcmFormat.parse(params.pcm)
        query = LiveQuery(params.source or "stream", pcm, params.limit_s)
        bind_contextvars(source=query.name)
        return _recognized(await self._services.live_queries.recognize(query, stream, call.progress))

    async def _recognize_url(self, params: Recognize, url: str, call: Call) -> dict[str, Any]:
        if call.audio is not None or params.path is not None or params.pcm is not None or params.raw_fallback:
            raise InvalidRequest(
                reason="of an 'url' only 'limit_s' and 'source' are said: it names the audio, and what that is"
            )
        name = params.source or url_without_password(url)
        bind_contextvars(source=name)
        async with self._services.scanner.way(url, is_trusted=call.client.is_local) as way:
            recognizer = self._services.recognizer
            return _recognized(await recognizer.recognize_url(way, name, params.limit_s, call.progress))

    async def recognize_microphone(self, params: RecognizeMicrophone, call: Call) -> dict[str, Any]:
        """Return what the microphone hears in one take."""
        bind_contextvars(source="microphone")
        return _recognized(
            await self._services.recognizer.recognize_microphone(params.duration_s, params.device, call.progress)
        )

    async def scan(self, params: Scan, call: Call) -> dict[str, Any]:
        """Return what is played in a file, in the bytes that came along, or in what an address sends."""
        scanner = self._services.scanner
        if params.url is not None:
            if call.audio is not None or params.path is not None:
                raise InvalidRequest(reason="send the audio's bytes, its 'path' or its 'url', not two of them")
            bind_contextvars(source=params.source or url_without_password(params.url))
            timeline = await scanner.scan_url(
                params.url, params.source, call.progress, limit_s=params.limit_s, is_trusted=call.client.is_local
            )
        else:
            async with _audio(params.path, None, call, self._services) as audio:
                name = params.source or audio.name
                bind_contextvars(source=name)
                timeline = await scanner.scan_file(audio.path, name, call.progress, limit_s=params.limit_s)
        bind_contextvars(n_plays=len(timeline.plays), audio_s=round(timeline.duration_s, 1))
        return timeline_view(timeline, self._services.params)

    async def fingerprint(self, params: Fingerprint, call: Call) -> dict[str, Any]:
        """Add a file, or the bytes that came along, to the library."""
        async with _audio(params.path, params.name, call, self._services) as audio:
            bind_contextvars(source=audio.name)
            tags = Tags(params.title, params.artist, params.album)
            file = TrackFile(audio.path, audio.name, audio.place or audio.name, tags, params.limit_s)
            ingested = await self._services.ingest.add(file, call.progress)
        bind_contextvars(track_id=ingested.track.id, added=ingested.added, n_duplicates=len(ingested.duplicates))
        answer = {"track": track_view(ingested.track), "added": ingested.added}
        return {**answer, "duplicates": duplicates_view(ingested.duplicates)}

    async def migrate(self, params: Migrate, call: Call) -> dict[str, Any]:
        """Bring the songs of an old dejavu over."""
        return await self._services.migrator.migrate(params, call)

    async def shutdown(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Stop the daemon in order: this answer is one of those that it still gives."""
        self._services.daemon.stop.set()
        return {"stopping": True}


def command_table(services: Services, more: Iterable[tuple[str, type, Handler]] = ()) -> CommandTable:
    """Return every command of the daemon, with those of `more` that lie above this floor."""
    handlers, jobs = Handlers(services), JobBook(services.hub)
    rows: tuple[tuple[str, type, Handler], ...] = (
        ("status", NoParameters, handlers.status),
        ("recognize", Recognize, handlers.recognize),
        ("recognize_microphone", RecognizeMicrophone, handlers.recognize_microphone),
        ("scan", Scan, handlers.scan),
        ("fingerprint", Fingerprint, handlers.fingerprint),
        *TrackHandlers(services.library).rows(),
        *ListenHandlers(services.listeners, services.microphones).rows(),
        *EventHandlers(services.hub).rows(),
        *services.hooks.rows(),
        *HistoryHandlers(services.recorder, services.workers).rows(),
        *JobHandlers(jobs).rows(),
        *Watching(services).rows(),
        ("migrate", Migrate, handlers.migrate),
        ("compact", NoParameters, services.maintenance.compact),
        ("check", CheckIndex, services.maintenance.check),
        ("export", Export, services.archives.export),
        ("import", ArchiveFile, services.archives.import_),
        ("backup", ArchiveFile, services.archives.backup),
        ("restore", Restore, services.archives.restore),
        *more,
        ("shutdown", NoParameters, handlers.shutdown),
    )
    commands = tuple(Command(*row, scope_of(row[0])) for row in rows)
    return CommandTable(commands, services.requests, jobs, services.limits)


@dataclass(frozen=True, slots=True)
class _Audio:
    """Where a command's audio is, what it is called, and where in the daemon's machine it lies, if it does."""

    path: Path
    name: str
    place: str | None = None


@asynccontextmanager
async def _audio(path: str | None, name: str | None, call: Call, services: Services) -> AsyncIterator[_Audio]:
    """Give the audio that a call brought or named; raises `InvalidRequest` when it is not exactly one of the two, and as `ServerPaths.holding`."""
    if call.audio is not None:
        if path is not None:
            raise InvalidRequest(reason="send the audio's bytes or its 'path', not both")
        bind_contextvars(audio_bytes=call.audio.path.stat().st_size)
        yield _Audio(call.audio.path, name or call.audio.name)
    elif path is None:
        raise InvalidRequest(reason="there is no audio: send its bytes" + ", or its 'path'" * call.may_read_paths)
    elif call.may_read_paths:
        if not Path(path).is_absolute():
            reason = f"'path' must be absolute: the daemon's working directory is not yours: {path!r}"
            raise InvalidRequest(reason=reason)
        yield _Audio(Path(path), name or Path(path).name, path)
    else:
        holding = services.paths.holding(path)
        call.client.check("a file of the daemon's machine", Scope.WRITE)
        held = await services.workers.thread(holding.__enter__)
        try:
            yield _Audio(held.path, name or Path(held.place).name, held.place)
        finally:
            holding.__exit__(None, None, None)


def _recognized(recognition: Recognition) -> dict[str, Any]:
    bind_contextvars(n_matches=len(recognition.matches))
    if recognition.matches:
        best = recognition.matches[0]
        bind_contextvars(track_id=best.track.id, confidence=round(best.confidence, 4))
    return recognition_view(recognition)
