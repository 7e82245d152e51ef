"""What the section ``[hooks]`` leaves to the machine: secrets that lie elsewhere, folders, the session bus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.errors import InvalidConfig
from dejavud.hooks.settings import secret_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dejavud.hooks.settings import HookSettings, Webhook


def resolved_hooks(
    hooks: HookSettings, environment: Mapping[str, str], origins: Mapping[str, str], folder: Callable[[str], Path]
) -> HookSettings:
    """Return `hooks` with its secrets read, its files absolute (by `folder`) and the session bus filled in.

    Raises `InvalidConfig` for a secret that is not where it is said to be, or is none; it is not shown.
    """
    secrets = _Secrets(environment, folder)
    password = hooks.mqtt_password and secrets.read(hooks.mqtt_password, origins.get("hooks.mqtt_password", "default"))
    bus = hooks.mpris_bus or environment.get("DBUS_SESSION_BUS_ADDRESS", "")
    if not bus and (runtime := environment.get("XDG_RUNTIME_DIR")):
        bus = f"unix:path={runtime}/bus"
    return replace(
        hooks,
        webhooks=tuple(
            _with_secret(webhook, secrets, origins.get("hooks.webhooks", "default")) for webhook in hooks.webhooks
        ),
        mqtt_password=password,
        mqtt_ca_file=hooks.mqtt_ca_file and str(folder(hooks.mqtt_ca_file)),
        now_playing_file=hooks.now_playing_file and str(folder(hooks.now_playing_file)),
        mpris_bus=bus,
    )


def _with_secret(webhook: Webhook, secrets: _Secrets, origin: str) -> Webhook:
    if not webhook.secret:
        return webhook
    secret = secrets.read(webhook.secret, origin)
    try:
        secret_bytes(secret)
    except ValueError as error:
        reason = f"the secret of {webhook.called} is {error}: make one by echo whsec_$(openssl rand -base64 32)"
        raise InvalidConfig(origin=origin, reason=reason) from None
    return replace(webhook, secret=secret)


class _Secrets:
    """Reads what ``file:PATH``, ``credential:NAME`` (of systemd) and ``env:NAME`` stand for; all else is the secret itself."""

    def __init__(self, environment: Mapping[str, str], folder: Callable[[str], Path]) -> None:
        self._environment = environment
        self._folder = folder

    def read(self, text: str, origin: str) -> str:
        """Return the secret; raises `InvalidConfig` where it cannot be had."""
        way, _, what = text.partition(":")
        if way == "env":
            if not (secret := self._environment.get(what, "")):
                raise InvalidConfig(origin=origin, reason=f"the environment variable {what} holds no secret")
            return secret
        if way == "credential":
            credentials = self._environment.get("CREDENTIALS_DIRECTORY", "")
            if not credentials:
                reason = f"there are no credentials: give {what} by LoadCredential= in the unit, or write file:PATH"
                raise InvalidConfig(origin=origin, reason=reason)
            return _read(Path(credentials) / what, origin)
        return _read(self._folder(what), origin) if way == "file" else text


def _read(path: Path, origin: str) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"the secret in {path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        raise InvalidConfig(origin=origin, reason=reason) from None
    if not secret:
        raise InvalidConfig(origin=origin, reason=f"the secret in {path} is empty")
    return secret
