"""What conf says of hooks, and what of it makes sense; standard library only, as the configuration imports it."""

from __future__ import annotations

import base64
import binascii
import re
import string
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret of Standard Webhooks begins with
MIN_SECRET_BYTES = 16
FORMAT_FIELDS = ("artist", "title", "album", "listener")
MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class Webhook:
    """One receiver of events.

    name : what `dejavuctl` calls it; the host of `url` where it is empty.
    topics : how the topics begin that it gets; "" and "*" begin them all, and a "*" at the end may be written.
    secret : ``whsec_`` and base64, as the configuration resolved it; without one nothing is signed.
    """

    url: str = field(repr=False)
    name: str = ""
    topics: tuple[str, ...] = ("match.",)
    secret: str = field(default="", repr=False)

    @property
    def called(self) -> str:
        """Return its name."""
        return self.name or urlsplit(self.url).hostname or ""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Return how the topics begin, without the ``*`` that people write."""
        return tuple(topic.removesuffix("*") for topic in self.topics)


@dataclass(frozen=True, slots=True)
class HookSettings:
    """The section ``[hooks]``: everything is off until it is named.

    mpris_bus : address of the session bus; the configuration fills it in.
    """

    webhooks: tuple[Webhook, ...] = ()
    webhook_timeout_s: float = 10.0
    webhook_max_age_s: float = 3600.0
    mqtt_url: str = ""
    mqtt_user: str = ""
    mqtt_password: str = field(default="", repr=False)
    mqtt_ca_file: str = ""
    mqtt_prefix: str = "dejavud"
    mqtt_discovery: str = "homeassistant"
    now_playing_file: str = ""
    now_playing_format: str = "{artist} - {title}"
    mpris: bool = False
    mpris_bus: str = ""


def shown_url(url: str) -> str:
    """Return an address as it may be seen: services write their keys into user, path and query."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}" + ("/…" if parts.path.strip("/") or parts.query else "")


def are_webhooks(webhooks: tuple[Webhook, ...]) -> bool:
    """Tell whether each has an address and topics, and a name of its own; levels (``meter.``) are for who looks on, not to be posted."""
    names = {webhook.called for webhook in webhooks}
    return len(names) == len(webhooks) and all(
        _is_url(webhook.url, "http", "https")
        and webhook.called.isprintable()
        and webhook.topics
        and all(re.fullmatch(r"(?!meter)[a-z_.]*\*?", topic) for topic in webhook.topics)
        for webhook in webhooks
    )


def is_broker(url: str) -> bool:
    """Tell whether `url` is a broker's address, with nothing in it that has a key of its own, or empty."""
    if not url:
        return True
    parts = urlsplit(url)
    return _is_url(url, *MQTT_PORTS) and not (parts.username or parts.password or parts.path.strip("/") or parts.query)


def is_format(text: str) -> bool:
    """Tell whether `text` is a template of what plays that needs nothing but `FORMAT_FIELDS`."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return False
    return all(name is None or (name in FORMAT_FIELDS and not spec and not way) for _, name, spec, way in parts)


def secret_bytes(secret: str) -> bytes:
    """Return the key that a secret of Standard Webhooks stands for; raises ValueError where it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) < MIN_SECRET_BYTES:
        msg = f"not {SECRET_PREFIX} and the base64 of at least {MIN_SECRET_BYTES} bytes"
        raise ValueError(msg)
    return key


def _is_url(url: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            url.isprintable()
            and " " not in url
            and parts.scheme in schemes
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        return False
