"""What values the keys of the configuration take beyond their types."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dejavud.audio.address import check_url
from dejavud.audio.pcm_format import PcmFormat
from dejavud.config.sections import parse_address
from dejavud.errors import UnsupportedUrl
from dejavud.fingerprint.profiles import PROFILES
from dejavud.hooks.settings import are_webhooks, is_broker, is_format

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Rule:
    """What values a key takes beyond its type.

    allowed : ends the sentence "… must be".
    names : what it can be, where that is one of a few names.
    """

    allowed: str
    accepts: Callable[[Any], bool]
    names: tuple[str, ...] = ()


def _between(low: float, high: float, unit: str = "") -> Rule:
    suffix = f" {unit}" if unit else ""
    return Rule(f"from {low:g} to {high:g}{suffix}", lambda value: low <= value <= high)


def _one_of(*values: str | int) -> Rule:
    names = tuple(value for value in values if isinstance(value, str))
    return Rule("one of " + ", ".join(map(str, values)), lambda value: value in values, names)


def _are_addresses(values: tuple[str, ...]) -> bool:
    try:
        return all(parse_address(value) for value in values)
    except ValueError:
        return False


_SOURCE = re.compile(r"([^=\s][^=]{0,63})=(mic(:.+)?|(https?|rtsps?)://\S+|(realtime:)?/.+|pcm(:.+)?)")


def _are_sources(values: tuple[str, ...]) -> bool:
    names = {parts[1] for value in values if (parts := _SOURCE.fullmatch(value)) is not None and _is_source(parts[2])}
    return len(names) == len(values)


def _is_source(text: str) -> bool:
    try:
        if "://" in text:
            check_url(text)
        elif text.startswith("pcm"):
            PcmFormat.parse(text.removeprefix("pcm").removeprefix(":"))
    except (UnsupportedUrl, ValueError):
        return False
    return True


def _is_topic(value: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", value) is not None


def _are_networks(values: tuple[str, ...]) -> bool:
    try:
        return all(ipaddress.ip_network(value) for value in values)
    except ValueError:
        return False


def _is_folder(value: str) -> bool:
    return value.startswith("/") and value.isprintable()


_ADDRESSES = Rule('addresses such as "127.0.0.1:4141" or "[::1]:4141"', _are_addresses)
_SOURCES = Rule(
    'such as "radio=https://example.org/live.mp3", "kitchen=mic:USB Audio", "hall=pcm:s16le:48000:2" or "door=/run/door.fifo", each name once, '
    "and in a password @ / ? # and % as %40 %2F %3F %23 and %25",
    _are_sources,
)
_ENDPOINT = Rule(
    'a ZeroMQ endpoint such as "ipc:///run/dejavud/control.sock", or "" for the usual one',
    lambda value: not value or re.fullmatch(r"(ipc|tcp)://.+", value) is not None,  # check_exposure says more of tcp
)
_HOSTS = Rule(
    'names such as "radio.example", without scheme and port',
    lambda values: all(re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]+", value) for value in values),
)
_ORIGINS = Rule(
    'origins such as "https://radio.example" or "http://localhost:3000", as browsers write them: in lower case and without a slash at the end',
    lambda values: all(
        re.fullmatch(r"https?://[a-z0-9._-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?", value)
        for value in values
    ),
)
_TOKEN = Rule(
    "printable ASCII without spaces, at least 8 characters, or empty",
    lambda value: not value or re.fullmatch(r"[!-~]{8,}", value) is not None,
)
_WEBHOOKS = Rule(
    'such as [{ url = "https://example.org/played", topics = ["match.ended"], secret = "file:/etc/dejavud/secret" }], each with a name '
    "of its own (its host, where it has none) and topics that say how those it gets begin",
    are_webhooks,
)
_BROKER = Rule(
    'such as "mqtt://localhost" or "mqtts://broker.example:8883", with user and password in keys of their own',
    is_broker,
)
_TOPIC = Rule("words of letters, digits, _ and -, with / between them", _is_topic)
_OPTIONAL_TOPIC = Rule(_TOPIC.allowed + ", or empty", lambda value: not value or _is_topic(value))
_FORMAT = Rule("a text with {artist}, {title}, {album} and {listener} in it, and {{ for a brace", is_format)
_NETWORKS = Rule('networks such as "192.168.1.0/24" or "fd00::/8"', _are_networks)
_FOLDERS = Rule('absolute paths of folders, such as "/srv/music"', lambda values: all(map(_is_folder, values)))
_MAX_BYTES = 1 << 40
_DAY_S = 86400

RULES: dict[str, Rule] = {
    "engine.profile": _one_of(*PROFILES),
    "engine.rate_hz": _between(4000, 48000, "Hz"),
    "engine.n_fft": _one_of(*(2**exponent for exponent in range(7, 15))),
    "engine.hop_samples": _between(16, 16384, "samples"),
    "engine.bin_min": _between(0, 511, "bins"),
    "engine.bin_max": _between(1, 512, "bins"),
    "engine.peak_radius_bins": _between(1, 100, "bins"),
    "engine.peak_radius_frames": _between(1, 100, "frames"),
    "engine.density_window_frames": _between(1, 1000, "frames"),
    "engine.track_peaks_per_s": _between(1, 500, "peaks a second"),
    "engine.track_landmark_quarters": _between(1, 4),
    "engine.track_fan_out": _between(1, 50),
    "engine.query_peaks_per_s": _between(1, 500, "peaks a second"),
    "engine.query_fan_out": _between(1, 50),
    "engine.query_shifts": _between(1, 16),
    "engine.query_quick_fan_out": _between(0, 50),
    "engine.query_shifts_until_s": _between(0, 3600, "seconds"),
    "engine.dt_min_frames": _between(0, 63, "frames"),
    "engine.dt_max_frames": _between(1, 63, "frames"),
    "engine.df_max_bins": _between(1, 127, "bins"),
    "index.resident_view": _one_of("auto", "always", "never"),
    "index.view_bytes": _between(0, 1 << 50, "bytes"),
    "index.memory_bytes": _between(64 << 20, _MAX_BYTES, "bytes"),
    "index.threads": _between(1, 256),
    "index.poll_s": _between(0.05, 3600, "seconds"),
    "index.connect_s": _between(0, _DAY_S, "seconds"),
    "recognize.max_query_s": _between(1, 3600, "seconds"),
    "recognize.false_positive_rate": _between(0, 1),
    "recognize.min_coverage": _between(0, 1),
    "recognize.enough_s": _between(0, 3600, "seconds"),
    "recognize.speed_search": _one_of("off", "clock", "radio"),
    "recognize.max_matches": _between(1, 100),
    "recognize.n_candidates": _between(1, 100_000),
    "recognize.n_refined": _between(1, 100_000),
    "scan.max_gap_s": _between(0, 600, "seconds"),
    "scan.min_play_s": _between(0.5, 600, "seconds"),
    "listen.microphone": _one_of("auto", "off"),
    "listen.sources": _SOURCES,
    "listen.max_gap_s": _between(0, 600, "seconds"),
    "listen.min_play_s": _between(0.5, 600, "seconds"),
    "listen.silence_db": _between(-120, 0, "dB"),
    "listen.stall_s": _between(3, 600, "seconds"),
    "listen.retry_max_s": _between(1, 3600, "seconds"),
    "hooks.webhooks": _WEBHOOKS,
    "hooks.webhook_timeout_s": _between(0.1, 300, "seconds"),
    "hooks.webhook_max_age_s": _between(0, 7 * _DAY_S, "seconds"),
    "hooks.mqtt_url": _BROKER,
    "hooks.mqtt_prefix": _TOPIC,
    "hooks.mqtt_discovery": _OPTIONAL_TOPIC,
    "hooks.now_playing_format": _FORMAT,
    "history.keep_days": _between(0, 36_500, "days"),
    "http.listen": _ADDRESSES,
    "websocket.listen": _ADDRESSES,
    "websocket.message_bytes": _between(1024, _MAX_BYTES, "bytes"),
    "control.endpoint": _ENDPOINT,
    "control.listen": _ADDRESSES,
    "events.endpoint": _ENDPOINT,
    "events.listen": _ADDRESSES,
    "events.keep": _between(1, 10_000_000),
    "events.keep_bytes": _between(1024, _MAX_BYTES, "bytes"),
    "security.token": _TOKEN,
    "security.trusted_proxies": _NETWORKS,
    "security.url_networks": _NETWORKS,
    "security.paths": _FOLDERS,
    "security.allowed_hosts": _HOSTS,
    "security.allowed_origins": _ORIGINS,
    "limits.upload_bytes": _between(1024, _MAX_BYTES, "bytes"),
    "limits.upload_s": _between(1, _DAY_S, "seconds"),
    "limits.uploads": _between(1, 10_000),
    "limits.query_s": _between(1, _DAY_S, "seconds"),
    "limits.ingest_s": _between(1, _DAY_S, "seconds"),
    "limits.waiting": _between(1, 100_000),
    "limits.client_requests": _between(0, 100_000),
    "limits.client_rate": _between(0, 1_000_000, "requests a second"),
    "workers.processes": _between(0, 256),
    "log.level": _one_of("debug", "info", "warning", "error"),
    "log.format": _one_of("auto", "json", "console"),
    "shutdown.grace_s": _between(0, 600, "seconds"),
}
"""By key; a key that is not here takes every value of its type."""
