"""Secrets that systemd hands over as files (LoadCredential=): one a setting, by the setting's name."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from dejavud.errors import InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CREDENTIALS = ("security.token", "data.url", "data.password", "hooks.mqtt_password", "hooks.webhooks")
"""What the files may be called.  All but ``data.password`` are settings; it belongs into ``data.url``, whose password it becomes."""
DATABASE_PASSWORD = "data.password"  # noqa: S105 - a name


def credentials_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what CREDENTIALS_DIRECTORY holds for settings, by name; other files are for who names them (``credential:NAME``).

    Raises `InvalidConfig` for one that is nearly named as a setting, or that is no text.
    """
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return {}
    found = {}
    for path in _files(Path(folder)):
        if path.name in CREDENTIALS:
            found[path.name] = _read(path)
        elif close := difflib.get_close_matches(path.name, CREDENTIALS, n=1, cutoff=0.85):
            reason = f"there is no setting of that name; did you mean {close[0]!r}?"
            raise InvalidConfig(origin=f"credential {path.name}", reason=reason)
    return found


def with_password(url: str, password: str) -> str:
    """Return the database's address `url` with `password` in it; raises `InvalidConfig` where there is no place, or one already."""
    parts = urlsplit(url)
    if not parts.username or parts.password is not None:
        reason = "data.url must name a user and no password, such as postgresql://dejavud@host/name"
        raise InvalidConfig(origin=f"credential {DATABASE_PASSWORD}", reason=reason)
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


def _files(folder: Path) -> Iterable[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        reason = f"the folder of credentials {folder} cannot be read: {error.strerror}"
        raise InvalidConfig(origin="CREDENTIALS_DIRECTORY", reason=reason) from None


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"it cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        raise InvalidConfig(origin=f"credential {path.name}", reason=reason) from None
    if not text:
        raise InvalidConfig(origin=f"credential {path.name}", reason="it is empty")
    return text
