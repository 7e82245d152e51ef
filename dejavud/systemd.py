"""What is said to the service manager that started us, in systemd's protocol: one datagram of lines."""

from __future__ import annotations

import socket

import structlog

log = structlog.get_logger(__name__)


def notify(address: str | None, *lines: str) -> None:
    """Send `lines` (``READY=1``) to the socket that NOTIFY_SOCKET names; do nothing where nobody asked to be told."""
    if not address:
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(name)
            sender.sendall("\n".join(lines).encode())
    except OSError as error:
        log.warning("notify_failed", address=address, reason=str(error))
