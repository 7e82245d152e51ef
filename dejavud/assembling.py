"""Which class stands behind each service, and what each is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.audio.portaudio import list_devices
from dejavud.composing import rules_of
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.profiles import params_of
from dejavud.services.archive_intake import LibraryParts
from dejavud.services.archives import Archives
from dejavud.services.handlers import Services
from dejavud.services.history import HistorySettings, PlayRecorder
from dejavud.services.ingest import Ingest
from dejavud.services.library import Library
from dejavud.services.listeners import Listeners
from dejavud.services.live_queries import LiveQueries
from dejavud.services.maintenance import Maintenance
from dejavud.services.microphone_watch import MicrophoneWatch
from dejavud.services.microphones import Microphones
from dejavud.services.migration import Migrator
from dejavud.services.profiles import profile_of
from dejavud.services.recognizer import Recognizer
from dejavud.services.scanner import Scanner
from dejavud.services.server_paths import ServerPaths
from dejavud.services.url_guard import UrlGuard

if TYPE_CHECKING:
    from dejavud.composing import Rules
    from dejavud.config import Config
    from dejavud.fingerprint.classic_params import ClassicParams
    from dejavud.hooks.supervisor import Hooks
    from dejavud.index.open import KeptIndex
    from dejavud.services.constellations import ConstellationCache
    from dejavud.services.events import EventHub
    from dejavud.services.handlers import Daemon
    from dejavud.services.uploads import UploadStore
    from dejavud.services.workers import Workers


def services_of(
    config: Config,
    kept: KeptIndex,
    constellations: ConstellationCache,
    workers: Workers,
    hub: EventHub,
    *,
    daemon: Daemon,
    uploads: UploadStore,
    hooks: Hooks,
) -> Services:
    """Return all services, none of them begun."""
    index, profile = kept.index, profile_of(params_of(config.engine))
    rules = rules_of(config, profile, index, constellations)
    folder, params = Path(config.data.dir), profile.params
    library, guard = Library(index, workers, hub), UrlGuard(config.security.url_networks)
    microphones = Microphones(workers, profile.microphone_hz, list_devices=list_devices)
    listeners = _listeners(workers, hub, params, rules, folder=folder, guard=guard)
    hear = listeners.new_hearing if isinstance(params, Params) else None
    recognizer = Recognizer(
        index,
        workers,
        hub,
        params,
        match=rules.match,
        quick_match=rules.quick_match,
        settings=rules.recognizer,
        microphones=microphones,
        hear=hear,
        constellations=constellations,
    )
    parts = LibraryParts(index, workers, hub, profile, constellations, kept.history)
    kept_plays = HistorySettings(config.history.enabled, config.history.keep_days)
    return Services(
        library=library,
        paths=ServerPaths(config.security.paths),
        ingest=Ingest(index, workers, hub, params, rules.ingest),
        recorder=PlayRecorder(kept.history, workers, hub, kept_plays, listeners=listeners.view, folder=folder),
        recognizer=recognizer,
        live_queries=LiveQueries(recognizer, workers, index, uploads, hear=hear),
        scanner=Scanner(
            index,
            workers,
            params,
            constellations=constellations,
            match=rules.scan_match,
            settings=rules.scanner,
            guard=guard,
        ),
        microphones=microphones,
        listeners=listeners,
        migrator=Migrator(index, workers, hub, params),
        maintenance=Maintenance(kept, workers, params, fingerprint_timeout_s=config.limits.ingest_s),
        archives=Archives(parts, kept.store, library, folder=folder),
        workers=workers,
        hub=hub,
        hooks=hooks,
        params=params,
        daemon=daemon,
    )


def _listeners(
    workers: Workers, hub: EventHub, params: Params | ClassicParams, rules: Rules, *, folder: Path, guard: UrlGuard
) -> Listeners:
    kept_in = folder / "listeners.json"
    return Listeners(workers, hub, params, library=rules.library, settings=rules.listen, kept_in=kept_in, guard=guard)


def microphone_watch(services: Services, config: Config) -> MicrophoneWatch:
    """Return what listens to the default microphone as soon as there is one, where that is wanted."""
    return MicrophoneWatch(
        services.workers,
        services.microphones,
        services.listeners,
        wanted=config.listen.microphone == "auto" and isinstance(services.params, Params),
        runtime_dir=Path(config.data.runtime_dir).parent,
    )
