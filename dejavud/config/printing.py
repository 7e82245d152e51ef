"""The configuration as a person reads it: every value in force, and where it comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dejavud.config.hidden import shown_source
from dejavud.config.sections import SECRETS, keys
from dejavud.hooks.settings import Webhook, shown_url
from dejavud.index.urls import without_password

if TYPE_CHECKING:
    from dejavud.config.loading import Loaded

_MASK = "***"


def as_toml(loaded: Loaded) -> str:
    """Return the configuration as a conf file, each value with its origin as a comment, secrets masked."""
    lines: list[str] = []
    section = ""
    for dotted, key in keys().items():
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        value = getattr(getattr(loaded.config, key.section), key.name)
        lines.append(f"{key.name} = {_shown(dotted, value)}  # {loaded.origins.get(dotted, 'default')}")
    return "\n".join(lines) + "\n"


def _shown(dotted: str, value: Any) -> str:  # noqa: ANN401 - any of the types that keys have
    if dotted == "hooks.webhooks":
        return "[" + ", ".join(map(_shown_webhook, value)) + "]"
    if dotted in SECRETS and value:
        value = _MASK
    if dotted == "data.url":
        value = without_password(value)
    if dotted == "listen.sources":
        value = tuple(map(shown_source, value))
    if isinstance(value, tuple):
        return json.dumps(list(value), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def _shown_webhook(webhook: Webhook) -> str:
    shown = {
        "url": shown_url(webhook.url),
        "name": webhook.called,
        "topics": list(webhook.topics),
        "secret": _MASK if webhook.secret else "",
    }
    return "{ " + ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in shown.items()) + " }"
