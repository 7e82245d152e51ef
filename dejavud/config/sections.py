"""The keys of the configuration: their types and their defaults; `dejavud.config.rules` says what is allowed.

One frozen dataclass a section of ``dejavud.toml``.  An empty string stands for what is worked out when the daemon starts.
"""

from __future__ import annotations

import ipaddress
import re
import typing
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from dejavud.fingerprint.params import Params
from dejavud.hooks.settings import HookSettings
from dejavud.wire.endpoints import HTTP_PORT, WEBSOCKET_PORT


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
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    url_networks: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate that HTTP and WebSocket show, and its key."""

    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller can cost."""

    upload_bytes: int = 256 << 20
    upload_s: float = 600.0
    uploads: int = 512
    query_s: float = 60.0
    ingest_s: float = 600.0
    waiting: int = 1024
    client_requests: int = 128
    client_rate: float = 100.0


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
    tls: Tls = field(default_factory=Tls)
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
