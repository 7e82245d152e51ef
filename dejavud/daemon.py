"""The composition root: the only module that knows which class stands behind each seam, and in what order they live.

Shutdown is nesting.  What is opened later ends earlier: the listeners stop accepting and finish what is in flight, then
the writer commits what it was brought, then the last events leave, then the index is closed, then the workers.
"""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import structlog
import trio

from dejavud import __version__
from dejavud.audio.portaudio import list_devices
from dejavud.config import parse_address
from dejavud.config.folders import hold_data_dir, make_private, make_uploads_dir
from dejavud.errors import IndexAway
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.profiles import params_of
from dejavud.hooks.supervisor import make_hooks
from dejavud.index.open import IndexSettings, open_kept_index, without_password
from dejavud.index.view.resident import ResidentIndex
from dejavud.interfaces.control import ControlSettings, serve_control
from dejavud.interfaces.http import HttpSettings, serve_http
from dejavud.interfaces.publisher import PublisherSettings, serve_publisher
from dejavud.interfaces.websocket import WebSocketSettings, serve_websocket
from dejavud.matching.matcher import MatchRules
from dejavud.matching.tracker import TrackerRules
from dejavud.services.archive_intake import LibraryParts
from dejavud.services.archives import Archives
from dejavud.services.constellations import MAX_PEAKS, ConstellationCache
from dejavud.services.events import EventHub
from dejavud.services.follower import Follower
from dejavud.services.handlers import Daemon, Services, command_table
from dejavud.services.hearing import Library as HeardLibrary
from dejavud.services.history import HistorySettings, PlayRecorder
from dejavud.services.ingest import Ingest, IngestSettings
from dejavud.services.jobs import DAEMON_SIGNALS
from dejavud.services.keeper import keepers
from dejavud.services.library import Library
from dejavud.services.listeners import Listeners, ListenSettings
from dejavud.services.maintenance import Maintenance
from dejavud.services.microphone_watch import MicrophoneWatch
from dejavud.services.microphones import Microphones
from dejavud.services.migration import Migrator
from dejavud.services.profiles import profile_of
from dejavud.services.recognizer import Recognizer, RecognizerSettings
from dejavud.services.scanner import Scanner, ScannerSettings
from dejavud.services.uploads import UploadStore
from dejavud.services.workers import keep_signals_from_children, open_workers
from dejavud.systemd import notify
from dejavud.wire.endpoints import ipc_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dejavud.config import Address, Config
    from dejavud.index.open import KeptIndex
    from dejavud.logs import LogBook
    from dejavud.services.workers import Workers

log = structlog.get_logger(__name__)

SCAN_MATCHES, SCAN_REFINED = 4, 6

_INDEX_PAUSE_S = 1.0
"""Between two looks for a database server that is not there yet."""

_KILLED_BY = 128
"""What a shell adds to a signal's number for the exit status of what it ended."""


async def main(config: Config, book: LogBook, *, notify_socket: str | None) -> None:
    """Run the daemon until SIGTERM, SIGINT or the command ``shutdown``; then end it in order.

    A second signal ends it at once; nothing that was committed is lost.  Raises, in groups, the `DejavudError` for which
    it cannot start, and whatever escapes from a service.
    """
    started_s = perf_counter()
    stop = trio.Event()
    keep_signals_from_children()
    async with _ended_with_block() as watching:
        await watching.start(_watch_signals, stop)
        with hold_data_dir(Path(config.data.dir)):
            _make_runtime_dir(config)
            async with (
                open_workers(n_processes=_n_processes(config), max_waiting=config.limits.waiting) as workers,
                _opened_index(workers, config, stop) as kept,
                _ended_with_block() as keeping,
            ):
                if kept is None:
                    log.info("daemon_stopped", uptime_s=round(perf_counter() - started_s, 3))
                    return
                for keeper in keepers(kept, workers):
                    await keeping.start(keeper.serve)
                hub = EventHub(keep=config.events.keep, keep_bytes=config.events.keep_bytes)
                keeping.start_soon(book.serve)
                await _serve(config, kept, workers, Lifetime(hub, book, stop, started_s, notify_socket))
    log.info("daemon_stopped", uptime_s=round(perf_counter() - started_s, 3))


class Lifetime:
    """Tells the service manager, the log and the subscribers when the daemon is ready and when it stops.

    endpoints : where each interface can be reached; filled as they start.
    """

    def __init__(
        self, hub: EventHub, book: LogBook, stop: trio.Event, started_s: float, notify_socket: str | None
    ) -> None:
        self.stop = stop
        self.started_s = started_s
        self.hub = hub
        self.book = book
        self.endpoints: dict[str, str | list[str]] = {}
        self._notify = partial(notify, notify_socket)

    def ready(self) -> None:
        """Say that everything can be reached."""
        self.hub.publish("daemon.ready", {"version": __version__, "endpoints": dict(self.endpoints)})
        elapsed_s = round(perf_counter() - self.started_s, 3)
        log.info("daemon_ready", version=__version__, elapsed_s=elapsed_s, **self.endpoints)
        self._notify("READY=1")

    def stopping(self) -> None:
        """Say that nothing new is accepted."""
        self.hub.publish("daemon.stopping", {"uptime_s": round(perf_counter() - self.started_s, 3)})
        log.info("daemon_stopping")
        self._notify("STOPPING=1")


async def _serve(config: Config, kept: KeptIndex, workers: Workers, lifetime: Lifetime) -> None:
    """Run every service until told to stop."""
    constellations = ConstellationCache(kept.index, 0 if isinstance(kept.index, ResidentIndex) else MAX_PEAKS)
    services = _services(config, kept, constellations, workers, lifetime)
    uploads = UploadStore(
        make_uploads_dir(Path(config.data.dir)), max_bytes=config.limits.upload_bytes, max_open=config.limits.uploads
    )
    async with services.loop.measuring(), _ended_with_block() as publishing:
        publisher = partial(serve_publisher, lifetime.hub, settings=PublisherSettings(config.events.endpoint))
        lifetime.endpoints["events"] = await publishing.start(publisher)
        await publishing.start(services.recorder.serve)
        await publishing.start(services.hooks.serve)
        if kept.follow is not None:
            await publishing.start(Follower(kept.follow, workers, config.index.poll_s, constellations.forget).serve)
        async with _ended_with_block() as writing:
            await writing.start(services.ingest.serve)
            async with _ended_with_block() as doors:
                lifetime.endpoints |= await _open_doors(doors, config, services, uploads)
                async with _ended_with_block() as listening:
                    configured = [
                        (name, source) for name, _, source in (one.partition("=") for one in config.listen.sources)
                    ]
                    await listening.start(services.listeners.serve, configured)
                    listening.start_soon(_microphone_watch(services, config).serve)
                    lifetime.ready()
                    await lifetime.stop.wait()
                    lifetime.stopping()


def _microphone_watch(services: Services, config: Config) -> MicrophoneWatch:
    return MicrophoneWatch(
        services.workers,
        services.microphones,
        services.listeners,
        wanted=config.listen.microphone == "auto" and isinstance(services.params, Params),
        runtime_dir=Path(config.data.runtime_dir).parent,
    )


def _services(
    config: Config, kept: KeptIndex, constellations: ConstellationCache, workers: Workers, lifetime: Lifetime
) -> Services:
    index, profile, hub = kept.index, profile_of(params_of(config.engine)), lifetime.hub
    library = Library(index, workers, hub)
    microphones = Microphones(workers, profile.microphone_hz, list_devices=list_devices)
    listeners = Listeners(
        workers,
        hub,
        profile.params,
        library=HeardLibrary(index, constellations, profile.considering(_scan_rules(config)), config.limits.query_s),
        settings=_listen_settings(config),
        kept_in=Path(config.data.dir) / "listeners.json",
    )
    recognizer = Recognizer(
        index,
        workers,
        hub,
        profile.params,
        match=profile.matching(_match_rules(config)),
        quick_match=profile.quick_matching(_match_rules(config)) if profile.quick_matching else None,
        settings=RecognizerSettings(
            config.recognize.max_query_s,
            config.limits.query_s,
            profile.search_scales(config.recognize.speed_search),
            config.listen.silence_db,
        ),
        microphones=microphones,
        hear=listeners.new_hearing if isinstance(profile.params, Params) else None,
        constellations=constellations,
    )
    scanner = Scanner(
        index,
        workers,
        profile.params,
        constellations=constellations,
        match=profile.matching(_scan_rules(config)),
        settings=ScannerSettings(
            TrackerRules(config.scan.max_gap_s, config.scan.min_play_s), config.limits.query_s, _n_processes(config)
        ),
    )
    return Services(
        library=library,
        ingest=Ingest(index, workers, hub, profile.params, _ingest_settings(config)),
        recorder=PlayRecorder(
            kept.history,
            workers,
            hub,
            HistorySettings(config.history.enabled, config.history.keep_days),
            listeners=listeners.view,
            folder=Path(config.data.dir),
        ),
        recognizer=recognizer,
        scanner=scanner,
        microphones=microphones,
        listeners=listeners,
        migrator=Migrator(index, workers, hub, profile.params),
        maintenance=Maintenance(kept, workers, profile.params, fingerprint_timeout_s=config.limits.ingest_s),
        archives=Archives(
            LibraryParts(index, workers, hub, profile, constellations, kept.history),
            kept.store,
            library,
            folder=Path(config.data.dir),
        ),
        workers=workers,
        hub=hub,
        hooks=make_hooks(config.hooks, hub, listeners.view, workers.thread),
        params=profile.params,
        daemon=Daemon(
            lifetime.started_s,
            without_password(config.data.url),
            lifetime.endpoints,
            lifetime.stop,
            lambda: lifetime.book.troubles,
        ),
    )


async def _open_doors(
    doors: trio.Nursery, config: Config, services: Services, uploads: UploadStore
) -> dict[str, str | list[str]]:
    """Start every interface that takes commands, and return where each can be reached."""
    table, feeding = command_table(services), services.listeners.feeding
    serve_local = partial(serve_control, table, uploads, settings=_control_settings(config), feeding=feeding)
    opened: dict[str, str | list[str]] = {"control": await doors.start(serve_local)}
    opened["http"] = [
        await doors.start(partial(serve_http, table, uploads, services.hub, settings=_http_settings(config, address)))
        for address in map(parse_address, config.http.listen)
    ]
    opened["websocket"] = [
        await doors.start(
            partial(serve_websocket, table, uploads, services.hub, settings=_websocket_settings(config, address))
        )
        for address in map(parse_address, config.websocket.listen)
    ]
    return opened


def _control_settings(config: Config) -> ControlSettings:
    return ControlSettings(
        config.control.endpoint, token=config.security.token or None, grace_s=config.shutdown.grace_s
    )


def _http_settings(config: Config, address: Address) -> HttpSettings:
    return HttpSettings(
        address.host,
        address.port,
        token=config.security.token or None,
        grace_s=config.shutdown.grace_s,
        body_total_s=config.limits.upload_s,
    )


def _websocket_settings(config: Config, address: Address) -> WebSocketSettings:
    return WebSocketSettings(
        address.host,
        address.port,
        token=config.security.token or None,
        grace_s=config.shutdown.grace_s,
        max_message_bytes=config.websocket.message_bytes,
        upload_s=config.limits.upload_s,
    )


@asynccontextmanager
async def _ended_with_block() -> AsyncIterator[trio.Nursery]:
    """Give a nursery whose tasks are cancelled, and waited for, when the block ends."""
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _opened_index(workers: Workers, config: Config, stop: trio.Event) -> AsyncIterator[KeptIndex | None]:
    """Give the index, or None where the daemon was told to stop while it waited for it.

    Opening may replay what a crash left behind and closing may write much: neither stalls the loop.
    """
    asked = config.index
    settings = IndexSettings(
        asked.resident_view, asked.view_bytes, asked.memory_bytes, asked.threads, Path(config.data.dir)
    )
    open_it = partial(open_kept_index, config.data.url, params_of(config.engine), settings)
    deadline_s = trio.current_time() + asked.connect_s
    context, kept = open_it(), None
    while not stop.is_set():
        try:
            kept = await workers.write(context.__enter__)
            break
        except IndexAway as error:
            if trio.current_time() >= deadline_s:
                raise
            log.warning("index_awaited", reason=error.message, left_s=round(deadline_s - trio.current_time(), 1))
            with trio.move_on_after(_INDEX_PAUSE_S):
                await stop.wait()
            context = open_it()
    try:
        yield kept
    finally:
        if kept is not None:
            with trio.CancelScope(shield=True):
                await workers.write(context.__exit__, None, None, None)


async def _watch_signals(stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(*DAEMON_SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                log.warning("daemon_killed", signal=signal.Signals(number).name)
                os._exit(_KILLED_BY + number)
            log.info("signal_received", signal=signal.Signals(number).name)
            stop.set()


def _make_runtime_dir(config: Config) -> None:
    """Make the folder of the ipc sockets, where they are in it."""
    runtime_dir = Path(config.data.runtime_dir)
    sockets = (ipc_path(config.control.endpoint), ipc_path(config.events.endpoint))
    if any(path is not None and path.parent == runtime_dir for path in sockets):
        make_private(runtime_dir)


def _match_rules(config: Config) -> MatchRules:
    asked = config.recognize
    return MatchRules(
        min_confidence=asked.min_confidence,
        min_coverage=asked.min_coverage,
        enough_s=asked.enough_s,
        max_matches=asked.max_matches,
        n_candidates=asked.n_candidates,
        n_refined=asked.n_refined,
    )


def _listen_settings(config: Config) -> ListenSettings:
    asked = config.listen
    return ListenSettings(
        TrackerRules(asked.max_gap_s, asked.min_play_s),
        stall_s=asked.stall_s,
        silence_db=asked.silence_db,
        retry_max_s=asked.retry_max_s,
        lookup_s=config.limits.query_s,
    )


def _ingest_settings(config: Config) -> IngestSettings:
    return IngestSettings(timeout_s=config.limits.ingest_s, reports_duplicates=config.ingest.report_duplicates)


def _scan_rules(config: Config) -> MatchRules:
    """Return the rules for the windows of a scan, whose candidates already stand out: fewer are looked at, and two may sound at once."""
    return replace(
        _match_rules(config),
        enough_s=min(2.0, config.scan.min_play_s),
        max_matches=SCAN_MATCHES,
        n_refined=SCAN_REFINED,
    )


def _n_processes(config: Config) -> int:
    return config.workers.processes or len(os.sched_getaffinity(0))
