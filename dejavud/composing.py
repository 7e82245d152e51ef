"""What each service is told of the configuration: once when the daemon starts, and again when it is reloaded."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.matching.matcher import MatchRules
from dejavud.matching.tracker import TrackerRules
from dejavud.services.hearing import Library as HeardLibrary
from dejavud.services.ingest import IngestSettings
from dejavud.services.listeners import ListenSettings
from dejavud.services.recognizer import RecognizerSettings
from dejavud.services.scanner import ScannerSettings

if TYPE_CHECKING:
    from dejavud.config import Config
    from dejavud.index.base import Index
    from dejavud.services.constellations import ConstellationCache
    from dejavud.services.profiles import Matching, Profile

SCAN_MATCHES, SCAN_REFINED = 4, 6


@dataclass(frozen=True, slots=True)
class Rules:
    """How recordings are matched, and what bounds it, as a configuration says."""

    match: Matching
    quick_match: Matching | None
    scan_match: Matching
    library: HeardLibrary
    recognizer: RecognizerSettings
    scanner: ScannerSettings
    ingest: IngestSettings
    listen: ListenSettings


def rules_of(config: Config, profile: Profile, index: Index, constellations: ConstellationCache) -> Rules:
    """Return the rules that `config` sets for a library of `profile`."""
    match, scan = _match_rules(config), _scan_rules(config)
    query_s = config.limits.query_s
    return Rules(
        match=profile.matching(match),
        quick_match=profile.quick_matching(match) if profile.quick_matching else None,
        scan_match=profile.matching(scan),
        library=HeardLibrary(index, constellations, profile.considering(scan), query_s),
        recognizer=RecognizerSettings(
            config.recognize.max_query_s,
            query_s,
            profile.search_scales(config.recognize.speed_search),
            config.listen.silence_db,
        ),
        scanner=ScannerSettings(
            TrackerRules(config.scan.max_gap_s, config.scan.min_play_s), query_s, n_processes(config)
        ),
        ingest=IngestSettings(timeout_s=config.limits.ingest_s, reports_duplicates=config.ingest.report_duplicates),
        listen=ListenSettings(
            TrackerRules(config.listen.max_gap_s, config.listen.min_play_s),
            stall_s=config.listen.stall_s,
            silence_db=config.listen.silence_db,
            retry_max_s=config.listen.retry_max_s,
            lookup_s=query_s,
        ),
    )


def sources_of(config: Config) -> dict[str, str]:
    """Return the configured listeners: sources by name."""
    return {name: source for name, _, source in (one.partition("=") for one in config.listen.sources)}


def sound_servers_dir(config: Config) -> Path:
    """Return the folder in which PulseAudio and PipeWire have their sockets."""
    return Path(config.data.runtime_dir).parent


def n_processes(config: Config) -> int:
    """Return how many files are worked on at a time."""
    return config.workers.processes or len(os.sched_getaffinity(0))


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


def _scan_rules(config: Config) -> MatchRules:
    """Return the rules for the windows of a scan, whose candidates already stand out: fewer are looked at, and two may sound at once."""
    return replace(
        _match_rules(config),
        enough_s=min(2.0, config.scan.min_play_s),
        max_matches=SCAN_MATCHES,
        n_refined=SCAN_REFINED,
    )
