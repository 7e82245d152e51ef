"""The worker's end of a stream: what a generator function yields, sent to the daemon item by item.

Nothing here knows trio, as in `dejavud.services.jobs`: a worker starts without it.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import TYPE_CHECKING, Any

from dejavud.services.jobs import Failed, contained

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

HEADER = struct.Struct("<Q")
"""How many bytes of a pickled item follow."""

END = object()
"""What `next_item` returns after the last one."""


def next_item(items: Iterator[Any]) -> Any:  # noqa: ANN401 - whatever the job yields
    """Return the next item, how getting it failed as `Failed`, or `END`."""
    return contained(next, (items, END))


def send_items(function: Callable[..., Generator[Any]], args: tuple[Any, ...], address: str) -> None:
    """Connect to the daemon's socket at `address` and send what ``function(*args)`` yields, and at the end how it failed, if it did.

    A send waits until the daemon has taken what was sent before, all but what a socket holds: that is the backpressure.
    Returns when the daemon has taken everything.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        items = contained(function, args)
        while True:
            item = items if isinstance(items, Failed) else next_item(items)
            if item is END:
                break
            data = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
            connection.sendall(HEADER.pack(len(data)))
            connection.sendall(data)
            if isinstance(item, Failed):
                break
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)  # the daemon closes when it has read all
