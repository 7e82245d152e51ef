"""A query that is still coming, through a pipe: sent as it comes, and answered as soon as it is certain."""

from __future__ import annotations

import os
from select import select
from typing import TYPE_CHECKING, Any

from dejavuctl.interrupts import held_back
from dejavuctl.output import clock, percent, track_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dejavuctl.connection import Connection
    from dejavud.wire.messages import RequestId

PIECE_BYTES = 1 << 16
MAX_UNANSWERED = 3
"""Pieces under way, so that the way there and back costs no time."""
QUIET_S = 30.0


def answer_to(
    connection: Connection, descriptor: int, params: Mapping[str, Any], note: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    """Return what the sound is that comes from `descriptor`; what is known meanwhile goes to `note`.  Raises `Failed`.

    Ctrl-C takes the query back.
    """
    with held_back():
        feed = connection.call("feed.open", {})["feed"]
        query = connection.send("recognize", {**params, "feed": feed})
        try:
            return _converse(connection, descriptor, feed, query, note)
        except KeyboardInterrupt:
            connection.cancel([query])
            raise
        finally:
            connection.send(
                "feed.close", {"feed": feed}
            )  # again, where the sound has ended: nobody waits for the answer


def _converse(
    connection: Connection, descriptor: int, feed: str, query: RequestId, note: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    under_way: set[RequestId | None] = set()
    is_over = False
    while True:
        can_send = not is_over and len(under_way) < MAX_UNANSWERED
        for reply in connection.receive(QUIET_S, also_fd=descriptor if can_send else None):
            if reply.id == query and reply.progress is not None:
                note(reply.progress)
            elif reply.id == query:
                return connection.result_of(reply)
            elif reply.id in under_way:
                under_way.discard(reply.id)
                connection.result_of(reply)
        if can_send and select([descriptor], [], [], 0)[0]:
            piece = os.read(descriptor, PIECE_BYTES)
            if piece:
                under_way.add(connection.send("feed.append", {"feed": feed}, piece))
            else:
                is_over = True
                connection.send("feed.close", {"feed": feed})


def progress_text(figures: Mapping[str, Any]) -> str:
    """Return what is known of a query so far."""
    likely = [f"perhaps {track_name(one['track'])} ({percent(one['confidence'])})" for one in figures["candidates"][:1]]
    return ", ".join([f"heard {clock(figures['heard_s'])} at {figures['level_db']:.0f} dB", *likely])
