"""Where daemon and client meet when nobody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_RUNTIME_DIR = Path("/run/dejavud")
"""systemd's RuntimeDirectory=dejavud: where the system service keeps its sockets."""

HTTP_PORT = 4141
WEBSOCKET_PORT = 4242


def user_runtime_dir(environment: Mapping[str, str]) -> Path:
    """Return the folder of this user's daemon's sockets: below XDG_RUNTIME_DIR, or a private folder in /tmp where there is none."""
    base = environment.get("XDG_RUNTIME_DIR")
    return Path(base) / "dejavud" if base else Path("/tmp") / f"dejavud-{os.getuid()}"  # noqa: S108 - made 0700 by the daemon, owner checked


def control_endpoint(runtime_dir: Path) -> str:
    """Return the control socket's ZeroMQ endpoint in `runtime_dir`."""
    return f"ipc://{runtime_dir}/control.sock"


def events_endpoint(runtime_dir: Path) -> str:
    """Return the event publisher's ZeroMQ endpoint in `runtime_dir`."""
    return f"ipc://{runtime_dir}/events.sock"


def ipc_path(endpoint: str) -> Path | None:
    """Return the socket file of an ipc endpoint, None for any other."""
    return Path(endpoint.removeprefix("ipc://")) if endpoint.startswith("ipc://") else None
