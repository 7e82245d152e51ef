"""The texts that come with the program: the conf file of defaults, systemd's units, the licenses.

In a checkout they lie where a person looks for them; a wheel and the single file have them in this folder.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
_CHECKOUT = _HERE.parents[1]
_UNIT_PROGRAM = "/usr/bin/dejavud"

UNITS = {
    "system": "dejavud.service",
    "user": "dejavud.user.service",
    "http": "dejavud-http.socket",
    "websocket": "dejavud-websocket.socket",
}
"""Systemd's units, by what they are called here: the services, and the sockets that systemd can hold for the first of them."""


def default_config() -> str:
    """Return conf/dejavud.toml: every setting with its default."""
    return _text("conf", "dejavud.toml")


def unit(kind: str, program: Path) -> str:
    """Return a unit of `UNITS`; the service of the machine starts `program`, an absolute path."""
    return _text("systemd", UNITS[kind]).replace(_UNIT_PROGRAM, str(program))


def licenses() -> str:
    """Return the license, and in the single file those of everything that is bundled in it."""
    bundled = _HERE / "licenses.txt"
    return bundled.read_text(encoding="utf-8") if bundled.is_file() else _text("", "LICENSE")


def _text(folder: str, name: str) -> str:
    shipped = _HERE / folder / name
    return (shipped if shipped.is_file() else _CHECKOUT / folder / name).read_text(encoding="utf-8")
