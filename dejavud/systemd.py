"""The service manager that started us, in systemd's protocols: what it is told, how it watches us, and the sockets it hands over."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from dejavud.errors import InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

log = structlog.get_logger(__name__)

FIRST_SOCKET = 3
"""The descriptor of the first socket that is handed over; the others follow it."""
SOCKET_NAMES = ("http", "websocket")
"""What the sockets that we take are called (FileDescriptorName= in their units)."""
_MAX_STATUS = 200


def notify(address: str | None, *lines: str) -> None:
    """Send `lines` (``READY=1``) to the socket that NOTIFY_SOCKET names; do nothing where nobody asked to be told."""
    if not address:
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(0)  # a manager that does not read must not stop the loop
            sender.connect(name)
            sender.sendall("\n".join(lines).encode())
    except OSError as error:
        log.warning("notify_failed", address=address, reason=str(error))


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """What is said to the service manager, where there is one.

    address : NOTIFY_SOCKET.
    watchdog_s : we are restarted when we do not say that we are well for so long; None where nobody watches.
    """

    address: str | None = None
    watchdog_s: float | None = None

    @property
    def listens(self) -> bool:
        """Tell whether anybody reads what is said."""
        return bool(self.address)

    def ready(self, status: str) -> None:
        """Say that everything can be reached: at the start, and when a reload is over."""
        notify(self.address, "READY=1", f"STATUS={one_line(status)}")

    def status(self, text: str) -> None:
        """Say, for a person, how it is."""
        notify(self.address, f"STATUS={one_line(text)}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` has to follow."""
        notify(self.address, "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self) -> None:
        """Say that nothing new is accepted."""
        notify(self.address, "STOPPING=1", "STATUS=stopping: what is in work is finished first")

    def extend(self, seconds: float) -> None:
        """Ask for `seconds` more from now, for a start or a stop that goes on."""
        notify(self.address, f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def well(self) -> None:
        """Feed the watchdog."""
        notify(self.address, "WATCHDOG=1")


def service_manager(environment: Mapping[str, str], pid: int) -> ServiceManager:
    """Return the service manager that `environment` tells of; a watchdog that was set for another process is not ours."""
    address = environment.get("NOTIFY_SOCKET") or None
    period, watched = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    is_watched = address and watched == str(pid) and period.isascii() and period.isdigit() and int(period) > 0
    return ServiceManager(address, int(period) / 1e6 if is_watched else None)


def one_line(text: str) -> str:
    """Return `text` as the status of a unit can show it."""
    return "".join(character if character.isprintable() else " " for character in text)[:_MAX_STATUS]


Handed = dict[str, list[socket.socket]]


def taken_sockets(environment: MutableMapping[str, str], pid: int) -> Handed:
    """Return the listening sockets that were handed over, by name; what told of them is taken out of `environment`.

    Nothing that we start inherits them, or takes them for its own.  Raises `InvalidConfig` for one that is no TCP socket that listens, or
    whose name is not one of `SOCKET_NAMES`.
    """
    told = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    found: Handed = {name: [] for name in SOCKET_NAMES}
    if told["LISTEN_PID"] != str(pid) or not told["LISTEN_FDS"].isdigit():
        return found
    n_sockets = int(told["LISTEN_FDS"])
    names = told["LISTEN_FDNAMES"].split(":") if told["LISTEN_FDNAMES"] else []
    for number in range(n_sockets):
        name = names[number] if number < len(names) else "unknown"
        if name not in found:
            reason = f"a socket named {name!r} was handed over: write FileDescriptorName=http or =websocket in its unit"
            raise InvalidConfig(origin="LISTEN_FDNAMES", reason=reason)
        found[name].append(_listening(FIRST_SOCKET + number, name))
    return found


def _listening(descriptor: int, name: str) -> socket.socket:
    """Return the socket that `descriptor` is, which no program that we start inherits; raises `InvalidConfig`."""
    try:
        given = socket.socket(fileno=descriptor)
    except OSError as error:
        reason = f"the socket {name!r} that was handed over cannot be used: {error.strerror}"
        raise InvalidConfig(origin="LISTEN_FDS", reason=reason) from error
    given.set_inheritable(False)
    is_tcp = given.family in {socket.AF_INET, socket.AF_INET6} and given.type == socket.SOCK_STREAM
    if not is_tcp or not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        given.close()
        reason = f"the socket {name!r} is no TCP socket that listens: write ListenStream=ADDRESS:PORT and Accept=no in its unit"
        raise InvalidConfig(origin="LISTEN_FDS", reason=reason)
    return given
