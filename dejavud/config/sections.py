"""The keys of the configuration: their types, their defaults, and what is allowed.

One frozen dataclass a section of ``dejavud.toml``.  An empty string stands for what is worked out when the daemon starts.
"""

from __future__ import annotations

import ipaddress
import re
import typing
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from dejavud.fingerprint.params import Params
from dejavud.fingerprint.profiles import PROFILES
from dejavud.hooks.settings import HookSettings, are_webhooks, is_broker, is_format
from dejavud.wire.endpoints import HTTP_PORT, WEBSOCKET_PORT

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Data:
    """Where things are kept; see `dejavud.config.resolving` for what an empty string becomes."""

    dir: str = ""
    url: str = ""
    runtime_dir: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """The resident view and the embedded database: `dejavud.index.open.IndexSettings`; and waiting for a database server."""

    resident_view: str = "auto"
    view_bytes: int = 8 << 30
    memory_bytes: int = 512 << 20
    threads: int = 2
    poll_s: float = 1.0
    connect_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Ingest:
    """Adding recordings."""

    report_duplicates: bool = True


@dataclass(frozen=True, slots=True)
class Recognize:
    """Queries: the longest one, and `dejavud.matching.matcher.MatchRules`."""

    max_query_s: float = 120.0
    false_positive_rate: float = 0.0001
    min_coverage: float = 0.4
    enough_s: float = 3.0
    speed_search: str = "radio"
    max_matches: int = 3
    n_candidates: int = 400
    n_refined: int = 20

    @property
    def min_confidence(self) -> float:
        """Return how sure an answer has to be."""
        return 1.0 - self.false_positive_rate


@dataclass(frozen=True, slots=True)
class Scan:
    """Scans of long recordings: `dejavud.matching.tracker.TrackerRules`."""

    max_gap_s: float = 15.0
    min_play_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Listen:
    """Listeners: `dejavud.services.listeners.ListenSettings`, and those that the daemon has from the start."""

    microphone: str = "auto"
    sources: tuple[str, ...] = ()
    max_gap_s: float = 10.0
    min_play_s: float = 3.0
    silence_db: float = -66.0
    stall_s: float = 10.0
    retry_max_s: float = 60.0


@dataclass(frozen=True, slots=True)
class History:
    """What is kept of what listeners hear: `dejavud.services.history.HistorySettings`."""

    enabled: bool = True
    keep_days: float = 0.0


@dataclass(frozen=True, slots=True)
class Http:
    """The HTTP interface."""

    listen: tuple[str, ...] = (f"127.0.0.1:{HTTP_PORT}",)


@dataclass(frozen=True, slots=True)
class Websocket:
    """The WebSocket interface."""

    listen: tuple[str, ...] = (f"127.0.0.1:{WEBSOCKET_PORT}",)
    message_bytes: int = 16 << 20


@dataclass(frozen=True, slots=True)
class Control:
    """The control socket: of this user, and by keys for other machines."""

    endpoint: str = ""
    listen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Events:
    """The event publisher, of this user and by keys, and `dejavud.services.events.EventHub`."""

    endpoint: str = ""
    listen: tuple[str, ...] = ()
    keep: int = 10_000
    keep_bytes: int = 16 << 20


@dataclass(frozen=True, slots=True)
class Security:
    """Who may ask."""

    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller can cost."""

    upload_bytes: int = 256 << 20
    upload_s: float = 600.0
    uploads: int = 64
    query_s: float = 60.0
    ingest_s: float = 600.0
    waiting: int = 256


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes that decode and fingerprint."""

    processes: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    """What the daemon writes of itself."""

    level: str = "info"
    format: str = "auto"


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The way down."""

    grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    data: Data = field(default_factory=Data)
    engine: Params = field(default_factory=Params)
    index: Index = field(default_factory=Index)
    ingest: Ingest = field(default_factory=Ingest)
    recognize: Recognize = field(default_factory=Recognize)
    scan: Scan = field(default_factory=Scan)
    listen: Listen = field(default_factory=Listen)
    hooks: HookSettings = field(default_factory=HookSettings)
    history: History = field(default_factory=History)
    http: Http = field(default_factory=Http)
    websocket: Websocket = field(default_factory=Websocket)
    control: Control = field(default_factory=Control)
    events: Events = field(default_factory=Events)
    security: Security = field(default_factory=Security)
    limits: Limits = field(default_factory=Limits)
    workers: Workers = field(default_factory=Workers)
    log: Log = field(default_factory=Log)
    shutdown: Shutdown = field(default_factory=Shutdown)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a TCP service listens."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Tell whether only programs of this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_ADDRESS = re.compile(r"(?:\[(?P<ip6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65535


def parse_address(text: str) -> Address:
    """Return the address that `text` (HOST:PORT, [IPV6]:PORT) names; raises ValueError that says how to write one."""
    parts = _ADDRESS.fullmatch(text)
    if parts is None or int(parts["port"]) > _MAX_PORT:
        msg = (
            f"{text!r} is not an address: write HOST:PORT, such as 127.0.0.1:4141 or [::1]:4141 (port 0: any free one)"
        )
        raise ValueError(msg)
    return Address(parts["ip6"] or parts["host"], int(parts["port"]))


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
    names = {parts[1] for value in values if (parts := _SOURCE.fullmatch(value)) is not None}
    return len(names) == len(values)


def _is_topic(value: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", value) is not None


_ADDRESSES = Rule('addresses such as "127.0.0.1:4141" or "[::1]:4141"', _are_addresses)
_SOURCES = Rule(
    'such as "radio=https://example.org/live.mp3", "kitchen=mic:USB Audio" or "door=/run/door.fifo", each name once',
    _are_sources,
)
_ENDPOINT = Rule(
    'a ZeroMQ endpoint such as "ipc:///run/dejavud/control.sock", or "" for the usual one',
    lambda value: not value or re.fullmatch(r"(ipc|tcp)://.+", value) is not None,  # check_exposure says more of tcp
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
    "limits.upload_bytes": _between(1024, _MAX_BYTES, "bytes"),
    "limits.upload_s": _between(1, _DAY_S, "seconds"),
    "limits.uploads": _between(1, 10_000),
    "limits.query_s": _between(1, _DAY_S, "seconds"),
    "limits.ingest_s": _between(1, _DAY_S, "seconds"),
    "limits.waiting": _between(1, 100_000),
    "workers.processes": _between(0, 256),
    "log.level": _one_of("debug", "info", "warning", "error"),
    "log.format": _one_of("auto", "json", "console"),
    "shutdown.grace_s": _between(0, 600, "seconds"),
}
"""By key; a key that is not here takes every value of its type."""

SECRETS = frozenset({"security.token", "hooks.webhooks", "hooks.mqtt_password"})
"""Keys whose values are shown to nobody."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: ``section.name``, and the type of its values (str, int, float, or a tuple of str)."""

    section: str
    name: str
    kind: Any
    default: Any


@cache
def keys() -> dict[str, Key]:
    """Return every key by its dotted name, in the order of the conf file."""
    found = {}
    defaults = Config()
    for section in fields(Config):
        values = getattr(defaults, section.name)
        kinds = typing.get_type_hints(type(values))
        for name in (key.name for key in fields(values)):
            found[f"{section.name}.{name}"] = Key(section.name, name, kinds[name], getattr(values, name))
    return found
