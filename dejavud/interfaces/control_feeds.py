"""Raw sound that comes to a listener over the control socket: ``feed.open``, ``feed.append``, ``feed.close``."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from dejavud.errors import Busy, DejavudError, InvalidRequest
from dejavud.interfaces.control_uploads import check_chunk
from dejavud.services.commands import parse_params
from dejavud.wire.messages import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dejavud.services.feeds import Feeder, Feeding

OPEN, APPEND, CLOSE = "feed.open", "feed.append", "feed.close"
MAX_WAITING = 8
"""Pieces of one feed that may wait for their turn: so much is in memory for a client that does not wait for replies."""

REFUSED_S = 10.0


@dataclass(frozen=True, slots=True)
class OpenParams:
    """The listener that is to hear it."""

    listener: str


@dataclass(frozen=True, slots=True)
class FeedParams:
    """The feed that is meant."""

    feed: str


@dataclass(slots=True)
class _Held:
    """One feed.

    expiry : its deadline is when it is given up.
    released : set when it is over.
    """

    feeder: Feeder
    expiry: trio.CancelScope = field(default_factory=trio.CancelScope)
    released: trio.Event = field(default_factory=trio.Event)
    turn: trio.Lock = field(default_factory=trio.Lock)


class ControlFeeds:
    """The feeds of all clients; each belongs to the client that opened it.

    feeding : `dejavud.services.listeners.Listeners.feeding`.
    idle_s : a feed that gets no piece for so long is over: ZeroMQ does not tell when a client has left.
    holders : the nursery in which feeds live; they end with it.
    """

    methods = frozenset({OPEN, APPEND, CLOSE})

    def __init__(self, feeding: Feeding, *, idle_s: float, holders: trio.Nursery) -> None:
        self._feeding = feeding
        self._idle_s = idle_s
        self._holders = holders
        self._held: dict[tuple[bytes, str], _Held] = {}

    async def call(
        self, identity: bytes, method: str, params: Mapping[str, Any], chunk: bytes | None
    ) -> dict[str, Any]:
        """Do what one of `methods` asks and return its result."""
        if method == OPEN:
            return self._open(identity, parse_params(OpenParams, params).listener)
        feed_id = parse_params(FeedParams, params).feed
        held = self._find(identity, feed_id)
        if method == CLOSE:
            async with held.turn:  # what was sent before is heard
                held.released.set()
            return {"heard_s": round(held.feeder.heard_s, 3)}
        if not chunk:
            raise InvalidRequest(reason="the sound comes as the message's second frame")
        check_chunk(chunk)
        return await self._append(held, chunk)

    def _open(self, identity: bytes, listener: str) -> dict[str, Any]:
        stack = ExitStack()
        feeder = stack.enter_context(self._feeding(listener))
        feed_id = secrets.token_hex(8)
        held = self._held[identity, feed_id] = _Held(feeder)
        held.expiry.deadline = trio.current_time() + self._idle_s
        self._holders.start_soon(self._hold, (identity, feed_id), held, stack)
        pcm = feeder.pcm
        return {
            "feed": feed_id,
            "chunk_bytes": CHUNK_BYTES,
            "encoding": pcm.encoding,
            "rate_hz": pcm.rate_hz,
            "n_channels": pcm.n_channels,
        }

    async def _hold(self, key: tuple[bytes, str], held: _Held, stack: ExitStack) -> None:
        with stack:
            try:
                with held.expiry:
                    await self._wait_for_end(held)
            finally:
                del self._held[key]

    @staticmethod
    async def _wait_for_end(held: _Held) -> None:
        """Return when a feed was closed, or was refused some time ago: with its next piece the client is told why."""
        async with trio.open_nursery() as nursery:

            async def forget_when_refused() -> None:
                await held.feeder.refused.wait()
                await trio.sleep(REFUSED_S)
                nursery.cancel_scope.cancel()

            nursery.start_soon(forget_when_refused)
            await held.released.wait()
            nursery.cancel_scope.cancel()

    async def _append(self, held: _Held, chunk: bytes) -> dict[str, Any]:
        if held.turn.statistics().tasks_waiting >= MAX_WAITING:
            raise Busy(what=f"{MAX_WAITING} pieces of sound; wait for their replies")
        async with held.turn:
            held.expiry.deadline = float("inf")
            try:
                await held.feeder.send(chunk)
            except DejavudError:
                held.released.set()
                raise
            finally:
                held.expiry.deadline = trio.current_time() + self._idle_s
        return {"heard_s": round(held.feeder.heard_s, 3)}

    def _find(self, identity: bytes, feed_id: str) -> _Held:
        held = self._held.get((identity, feed_id))
        if held is None:
            reason = f"there is no open feed {feed_id[:40]!r} of this client; one without sound for {self._idle_s:g} s is over"
            raise InvalidRequest(reason=reason)
        return held
