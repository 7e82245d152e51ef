"""What of the configuration nobody is to read anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from dejavud.audio.address import url_without_password

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.config.sections import Config


def secrets_of(config: Config) -> tuple[str, ...]:
    """Return every secret that the configuration holds, as it may turn up in a text; what is not set is left out."""
    return tuple({secret for secret in _secrets(config) if secret})


def shown_source(text: str) -> str:
    """Return one of `listen.sources`, or several with commas between them, as it may be read: its address without what lets somebody in."""
    return ",".join(url_without_password(one) if "://" in one else one for one in text.split(","))


def _secrets(config: Config) -> Iterator[str]:
    yield config.security.token
    yield config.hooks.mqtt_password
    for webhook in config.hooks.webhooks:
        yield webhook.secret
        parts = urlsplit(webhook.url)
        yield parts.path.strip("/")  # services write their keys there
        yield parts.query
    webhooks = (webhook.url for webhook in config.hooks.webhooks)
    for url in (config.data.url, config.hooks.mqtt_url, *webhooks, *config.listen.sources):
        if password := _password(url):
            yield password
            yield unquote(password)


def _password(url: str) -> str:
    """Return the password in an address, empty where there is none."""
    user, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    return user.partition(":")[2] if at else ""
