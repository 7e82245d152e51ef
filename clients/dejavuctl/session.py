"""What every command works with: where the daemon is, the token, and where answers go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import NoDaemon, NotPublished, Usage
from dejavud.wire.endpoints import SYSTEM_RUNTIME_DIR, control_endpoint, ipc_path, user_runtime_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dejavuctl.connection import Connection
    from dejavuctl.keys import KeyFile
    from dejavuctl.output import Output


@dataclass(frozen=True, slots=True)
class Session:
    """One run of dejavuctl.

    control : the daemon's endpoint as the command line has it, None where it has none.
    key : by which a daemon of another machine is asked.
    """

    control: str | None
    environment: Mapping[str, str]
    token: str | None
    out: Output
    key: KeyFile | None = None

    @property
    def endpoint(self) -> str:
        """Return the daemon's control endpoint; raises `NoDaemon`.  A command that needs no daemon never asks."""
        return find_endpoint(self.control or (self.key.control if self.key else None), self.environment)

    def connect(self) -> Connection:
        """Return a connection to the daemon; raises `NoDaemon` where it is plain that there is none."""
        from dejavuctl.connection import Connection  # noqa: PLC0415 - zmq is most of the start-up time; --help needs none

        endpoint = self.endpoint
        if endpoint.startswith("tcp://") and self.key is None:
            reason = f"{endpoint} is reached by keys: --key FILE, or DEJAVUD_KEY; on the daemon's machine dejavuctl keys add NAME makes one"
            raise Usage(reason=reason)
        return Connection(endpoint, self.token, self.key)

    def events_endpoint(self, status: Mapping[str, Any]) -> str:
        """Return where the daemon publishes that answered `status`; raises `NotPublished`."""
        if ipc_path(self.endpoint) is None:
            endpoint = self.key.events if self.key else ""
        else:
            endpoint = status.get("endpoints", {}).get("events")
        if not isinstance(endpoint, str) or not endpoint:
            raise NotPublished
        return endpoint


def find_endpoint(given: str | None, environment: Mapping[str, str]) -> str:
    """Return the control endpoint: `given`, else DEJAVUD_CONTROL, else this user's daemon, else the system's.

    A bare path is taken for an ipc socket.  Raises `NoDaemon` when nothing is given and neither socket is there.
    """
    named = given or environment.get("DEJAVUD_CONTROL")
    if named:
        return named if "://" in named else f"ipc://{Path(named).absolute()}"
    own, system = user_runtime_dir(environment), SYSTEM_RUNTIME_DIR
    for folder in (own, system):
        endpoint = control_endpoint(folder)
        path = ipc_path(endpoint)
        if path is not None and path.exists() and _is_trusted(folder):
            return endpoint
    raise NoDaemon(endpoint=f"looked in {own} and {system}", reason="no daemon is running here")


def find_key(given: str | None, environment: Mapping[str, str], out: Output) -> KeyFile | None:
    """Return the keys of the file `given`, else of DEJAVUD_KEY, else None; says so where others may read them."""
    path = given or environment.get("DEJAVUD_KEY")
    if not path:
        return None
    from dejavuctl.keys import is_shared, read_key  # noqa: PLC0415 - most clients are of the daemon's own machine

    key = read_key(path)
    if is_shared(path):
        out.remark(f"dejavuctl: others may read {path} and come in by it: chmod 600 {path}")
    return key


def find_token(given: str | None, file: str | None, environment: Mapping[str, str]) -> str | None:
    """Return the token: `given`, else what `file` holds, else DEJAVUD_TOKEN, else None."""
    if given is not None:
        return given
    if file is not None:
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Usage(
                reason=f"--token-file {file}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}"
            ) from None
    return environment.get("DEJAVUD_TOKEN")


def _is_trusted(folder: Path) -> bool:
    """Tell whether `folder` is the system's or this user's own: in /tmp anybody could have made one to listen in."""
    import os  # noqa: PLC0415

    return folder.stat().st_uid in (0, os.getuid()) or folder == SYSTEM_RUNTIME_DIR
