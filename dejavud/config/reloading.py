"""What of the configuration a daemon that runs can take over, and what only its next start can: one table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dejavud.config.resolving import check_exposure
from dejavud.config.sections import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dejavud.config.sections import Config

RESTART = frozenset(
    {
        "data",
        "engine",
        "index",
        "listen.max_gap_s",
        "listen.min_play_s",
        "history.enabled",
        "http",
        "websocket",
        "control",
        "events",
        "tls",
        "limits.upload_s",
        "workers",
        "shutdown",
    }
)
"""Sections and keys that need a restart: what is opened, made or promised to clients once.  Everything else changes when the daemon is told to
read its configuration again."""


def needs_restart(dotted: str) -> bool:
    """Tell whether the setting ``section.key`` changes at the next start only."""
    return dotted in RESTART or dotted.partition(".")[0] in RESTART


def changed_keys(before: Config, after: Config) -> tuple[str, ...]:
    """Return the settings that differ, in the order of the conf file."""
    return tuple(dotted for dotted in keys() if value_of(before, dotted) != value_of(after, dotted))


def value_of(config: Config, dotted: str) -> object:
    """Return the value of ``section.key``."""
    section, _, name = dotted.partition(".")
    value: object = getattr(getattr(config, section), name)
    return value


def taken_over(running: Config, read: Config, origins: Mapping[str, str]) -> Config:
    """Return `running` with what of `read` needs no restart.

    Raises `InvalidConfig` where both are right and together are not: a token that goes while the addresses that it guards stay.
    """
    values: dict[str, dict[str, object]] = {}
    for dotted in changed_keys(running, read):
        if not needs_restart(dotted):
            section, _, name = dotted.partition(".")
            values.setdefault(section, {})[name] = value_of(read, dotted)
    merged = replace(
        running, **{section: replace(getattr(running, section), **given) for section, given in values.items()}
    )
    check_exposure(merged, origins)
    return merged
