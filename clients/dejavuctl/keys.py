"""The file by which a client of another machine comes in: its keys, the daemon's, and where the daemon is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dejavuctl.failures import Usage

if TYPE_CHECKING:
    import zmq

_KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_READABLE_BY_OTHERS = 0o077
_EVERYWHERE = frozenset({"0.0.0.0", "::", "*"})  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What such a file holds; keys are in Z85.

    control, events : the daemon's endpoints; empty where the file does not say.
    """

    server_key: str
    public_key: str
    secret_key: str = field(repr=False)
    control: str = ""
    events: str = ""

    def __post_init__(self) -> None:
        for name in ("server_key", "public_key", "secret_key"):
            if not _KEY.fullmatch(getattr(self, name)):
                reason = f"{name} is no key: it has 40 characters (Z85)"
                raise Usage(reason=reason)

    @property
    def text(self) -> str:
        """Return the file, in TOML."""
        places = [f"{name} = '{value}'" for name in ("control", "events") if (value := getattr(self, name))]
        keys = [f"{name} = '{getattr(self, name)}'" for name in ("server_key", "public_key", "secret_key")]
        heading = "# A key to a dejavud: who has this file may ask it.  dejavuctl --key FILE status"
        return "\n".join([heading, *places, *keys]) + "\n"

    def guard(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        """Have `socket` prove who it is where it connects to, and ask for the daemon's proof."""
        if not endpoint.startswith("ipc://"):
            socket.curve_serverkey = self.server_key.encode()
            socket.curve_publickey, socket.curve_secretkey = self.public_key.encode(), self.secret_key.encode()


def new_key(server_key: str, control: str = "", events: str = "") -> KeyFile:
    """Return a new client's keys to the daemon of `server_key`."""
    import zmq  # noqa: PLC0415 - the slow import of those who need it

    public, secret = zmq.curve_keypair()
    return KeyFile(server_key, public.decode(), secret.decode(), control, events)


def read_key(path: str) -> KeyFile:
    """Return what the file at `path` holds; raises `Usage`."""
    import tomllib  # noqa: PLC0415 - only clients of other machines need it

    try:
        held = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        values = {name: held[name] for name in KeyFile.__dataclass_fields__ if name in held}
        if not all(isinstance(value, str) for value in values.values()):
            raise TypeError  # noqa: TRY301 - told below, with the others
        return KeyFile(**values)
    except Usage as error:
        raise Usage(reason=f"the key file {path}: {error.message}") from None
    except OSError as error:
        raise Usage(reason=f"the key file {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        what = "it is none" if isinstance(error, ValueError) else "a key is missing"
        raise Usage(
            reason=f"the key file {path}: {what}; dejavuctl keys add, on the daemon's machine, makes one"
        ) from None


def write_key(path: str, key: KeyFile) -> None:
    """Write a new file that only this user may read; raises `Usage` where there is one already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Usage(reason=f"the key file {path} cannot be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(key.text)


def is_shared(path: str) -> bool:
    """Tell whether others than its owner may read the file."""
    return bool(Path(path).stat().st_mode & _READABLE_BY_OTHERS)


def reachable(endpoints: list[str], host: str | None) -> str:
    """Return how other machines reach the first of the daemon's endpoints: by `host`, else by its address, else by this machine's name."""
    if not endpoints:
        return ""
    parts = urlsplit(endpoints[0])
    name = host or (parts.hostname or "")
    if not host and name in _EVERYWHERE:
        import socket  # noqa: PLC0415 - only who makes keys needs it

        name = socket.getfqdn()
    return f"tcp://[{name}]:{parts.port}" if ":" in name else f"tcp://{name}:{parts.port}"
