"""The composition root: in what order all that a daemon consists of lives.  `assembling` has which class stands behind each service.

Shutdown is nesting.  What is opened later ends earlier: the listeners stop accepting and finish what is in flight, then
the writer commits what it was brought, then the last events leave, then the index is closed, then the workers.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import structlog
import trio

from dejavud import __version__
from dejavud.assembling import microphone_watch, services_of
from dejavud.composing import n_processes, sources_of
from dejavud.config.folders import hold_data_dir, make_private, make_uploads_dir
from dejavud.doors import client_keys, open_doors, open_publishers
from dejavud.entry import Entry
from dejavud.errors import IndexAway
from dejavud.fingerprint.profiles import params_of
from dejavud.hooks.supervisor import make_hooks
from dejavud.index.open import IndexSettings, open_kept_index, without_password
from dejavud.index.view.resident import ResidentIndex
from dejavud.reloading import Changeable, Reloader
from dejavud.services.constellations import MAX_PEAKS, ConstellationCache
from dejavud.services.events import EventHub
from dejavud.services.follower import Follower
from dejavud.services.handlers import Daemon, command_table
from dejavud.services.headline import Headline
from dejavud.services.jobs import DAEMON_SIGNALS
from dejavud.services.keeper import keepers
from dejavud.services.uploads import UploadStore
from dejavud.services.watchdog import Watchdog
from dejavud.services.workers import keep_signals_from_children, open_workers
from dejavud.wire.endpoints import ipc_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dejavud.config import Config, Loaded
    from dejavud.index.open import KeptIndex
    from dejavud.logs import LogBook
    from dejavud.services.workers import ProcessWorkers, Workers
    from dejavud.systemd import Handed, ServiceManager

log = structlog.get_logger(__name__)

_INDEX_PAUSE_S = 1.0
"""Between two looks for a database server that is not there yet."""

_MORE_S = 30.0
"""What the service manager is asked for at a time while the index is opened or closed."""

_KILLED_BY = 128
"""What a shell adds to a signal's number for the exit status of what it ended."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What surrounds the daemon.

    sockets : that were handed over, listening, by what they are called.
    read : reads the configuration again; log_as : has the log go by one.
    """

    manager: ServiceManager
    sockets: Handed
    read: Callable[[], Loaded]
    log_as: Callable[[Config], object]


async def main(config: Config, book: LogBook, outside: Outside) -> None:
    """Run the daemon until SIGTERM, SIGINT or the command ``shutdown``; then end it in order.

    SIGHUP has it read its configuration again, or stop where the terminal that it was started in is gone.  A second signal to stop ends it at once; nothing that was committed is lost.  Raises, in groups, the `DejavudError` for which
    it cannot start, and whatever escapes from a service.
    """
    started_s = perf_counter()
    stop = trio.Event()
    reload, reloads = trio.open_memory_channel[None](1)
    keep_signals_from_children()
    async with _ended_with_block() as watching:
        await watching.start(_watch_signals, stop, reload)
        with hold_data_dir(Path(config.data.dir)):
            _make_runtime_dir(config)
            async with (
                open_workers(n_processes=n_processes(config), max_waiting=config.limits.waiting) as workers,
                _opened_index(workers, config, stop, outside.manager) as kept,
                _ended_with_block() as keeping,
            ):
                if kept is None:
                    log.info("daemon_stopped", uptime_s=round(perf_counter() - started_s, 3))
                    return
                for keeper in keepers(kept, workers):
                    await keeping.start(keeper.serve)
                hub = EventHub(keep=config.events.keep, keep_bytes=config.events.keep_bytes)
                keeping.start_soon(book.serve)
                await _serve(config, kept, workers, Lifetime(hub, book, stop, started_s, outside, reloads=reloads))
    log.info("daemon_stopped", uptime_s=round(perf_counter() - started_s, 3))


class Lifetime:
    """Tells the service manager, the log and the subscribers when the daemon is ready and when it stops.

    endpoints : where each interface can be reached; filled as they start.
    """

    def __init__(
        self,
        hub: EventHub,
        book: LogBook,
        stop: trio.Event,
        started_s: float,
        outside: Outside,
        *,
        reloads: trio.MemoryReceiveChannel[None],
    ) -> None:
        self.stop = stop
        self.started_s = started_s
        self.hub = hub
        self.book = book
        self.endpoints: dict[str, str | list[str]] = {}
        self.outside, self.manager, self.reloads = outside, outside.manager, reloads

    def told(self, config: Config) -> Daemon:
        """Return what the services tell of the daemon itself."""
        url = without_password(config.data.url)
        return Daemon(self.started_s, url, self.endpoints, self.stop, lambda: self.book.troubles)

    def ready(self, status: str) -> None:
        """Say that everything can be reached, and how it is."""
        self.hub.publish("daemon.ready", {"version": __version__, "endpoints": dict(self.endpoints)})
        elapsed_s = round(perf_counter() - self.started_s, 3)
        log.info("daemon_ready", version=__version__, elapsed_s=elapsed_s, **self.endpoints)
        self.manager.ready(status)

    def stopping(self) -> None:
        """Say that nothing new is accepted."""
        self.hub.publish("daemon.stopping", {"uptime_s": round(perf_counter() - self.started_s, 3)})
        log.info("daemon_stopping")
        self.manager.stopping()


async def _serve(config: Config, kept: KeptIndex, workers: ProcessWorkers, lifetime: Lifetime) -> None:
    """Run every service until told to stop."""
    manager = lifetime.manager
    constellations = ConstellationCache(kept.index, 0 if isinstance(kept.index, ResidentIndex) else MAX_PEAKS)
    hooks = make_hooks(config.hooks, lifetime.hub, lambda: services.listeners.view(), workers.thread)  # noqa: PLW0108 - they need the hooks
    uploads = UploadStore(
        make_uploads_dir(Path(config.data.dir)), max_bytes=config.limits.upload_bytes, max_open=config.limits.uploads
    )
    services = services_of(
        config, kept, constellations, workers, lifetime.hub, daemon=lifetime.told(config), uploads=uploads, hooks=hooks
    )
    headline = Headline(
        services.library, lifetime.hub, services.listeners.view, lambda: manager.status(reloader.status)
    )
    microphones = microphone_watch(services, config)
    entry, keys = Entry(config, workers, services.limits), client_keys(config, workers, lifetime.endpoints)
    reach = Changeable(
        lifetime.outside.log_as, kept.index, constellations, services, hooks, uploads, workers, microphones, entry
    )
    reloader = Reloader(config, lifetime.outside.read, reach, manager, lambda: headline.text)
    async with services.loop.measuring(), _ended_with_block() as publishing:
        lifetime.endpoints |= await open_publishers(publishing, config, lifetime.hub, keys)
        await publishing.start(services.recorder.serve)
        await publishing.start(services.hooks.serve)
        await publishing.start(entry.store.serve)
        if kept.follow is not None:
            await publishing.start(Follower(kept.follow, workers, config.index.poll_s, constellations.forget).serve)
        async with _ended_with_block() as writing:
            await writing.start(services.ingest.serve)
            async with _ended_with_block() as doors:
                table = command_table(services, (*reloader.rows(), *keys.rows(), *entry.store.rows()))
                lifetime.endpoints |= await open_doors(
                    doors,
                    config,
                    services,
                    table=table,
                    uploads=uploads,
                    entry=entry,
                    keys=keys,
                    handed=lifetime.outside.sockets,
                )
                async with _ended_with_block() as listening:
                    await listening.start(services.listeners.serve, list(sources_of(config).items()))
                    listening.start_soon(microphones.serve)
                    await _look_after(listening, headline, reloader, workers, lifetime)
                    lifetime.ready(headline.text)
                    await lifetime.stop.wait()
                    lifetime.stopping()


async def _look_after(
    nursery: trio.Nursery, headline: Headline, reloader: Reloader, workers: ProcessWorkers, lifetime: Lifetime
) -> None:
    """Start what is there for the service manager, as far as there is one."""
    manager = lifetime.manager
    nursery.start_soon(reloader.serve, lifetime.reloads)
    if manager.listens:
        await nursery.start(headline.serve)
    if manager.watchdog_s is not None:
        await nursery.start(Watchdog(workers, manager.well, manager.watchdog_s).serve)


@asynccontextmanager
async def _ended_with_block() -> AsyncIterator[trio.Nursery]:
    """Give a nursery whose tasks are cancelled, and waited for, when the block ends."""
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _opened_index(
    workers: Workers, config: Config, stop: trio.Event, manager: ServiceManager
) -> AsyncIterator[KeptIndex | None]:
    """Give the index, or None where the daemon was told to stop while it waited for it.

    The service manager waits along with us.  Opening may replay what a crash left behind and closing may write much: neither stalls the loop.
    """
    asked = config.index
    settings = IndexSettings(
        asked.resident_view, asked.view_bytes, asked.memory_bytes, asked.threads, Path(config.data.dir)
    )
    open_it = partial(open_kept_index, config.data.url, params_of(config.engine), settings)
    deadline_s = trio.current_time() + asked.connect_s
    context, kept = open_it(), None
    manager.status("opening the index")
    while not stop.is_set():
        try:
            async with _patient(manager):
                kept = await workers.write(context.__enter__)
            break
        except IndexAway as error:
            if trio.current_time() >= deadline_s:
                raise
            manager.status(f"waiting for the database: {error.message}")
            log.warning("index_awaited", reason=error.message, left_s=round(deadline_s - trio.current_time(), 1))
            with trio.move_on_after(_INDEX_PAUSE_S):
                await stop.wait()
            context = open_it()
    try:
        yield kept
    finally:
        if kept is not None:
            with trio.CancelScope(shield=True):
                async with _patient(manager):
                    await workers.write(context.__exit__, None, None, None)


@asynccontextmanager
async def _patient(manager: ServiceManager) -> AsyncIterator[None]:
    """Have the service manager wait for as long as the block takes: a schema that is upgraded, a large index that is written."""

    async def ask() -> None:
        while True:
            manager.extend(_MORE_S)
            await trio.sleep(_MORE_S / 3)

    failure: Exception | None = None
    async with _ended_with_block() as nursery:
        if manager.listens:
            nursery.start_soon(ask)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again below, outside the nursery that would wrap it
            failure = error
    if failure is not None:
        raise failure


async def _watch_signals(
    stop: trio.Event, reload: trio.MemorySendChannel[None], *, task_status: trio.TaskStatus[None]
) -> None:
    had_terminal = sys.stderr.isatty()
    with trio.open_signal_receiver(*DAEMON_SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP and had_terminal and not sys.stderr.isatty():
                _write_nowhere()
            elif number == signal.SIGHUP:
                with suppress(trio.WouldBlock):  # one that waits already will read what there is then
                    reload.send_nowait(None)
                continue
            if stop.is_set():
                log.warning("daemon_killed", signal=signal.Signals(number).name)
                os._exit(_KILLED_BY + number)
            log.info("signal_received", signal=signal.Signals(number).name)
            stop.set()


def _write_nowhere() -> None:
    """Have what is written to a terminal that is gone go nowhere, instead of failing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())
    os.close(nowhere)


def _make_runtime_dir(config: Config) -> None:
    """Make the folder of the ipc sockets, where they are in it."""
    runtime_dir = Path(config.data.runtime_dir)
    sockets = (ipc_path(config.control.endpoint), ipc_path(config.events.endpoint))
    if any(path is not None and path.parent == runtime_dir for path in sockets):
        make_private(runtime_dir)
