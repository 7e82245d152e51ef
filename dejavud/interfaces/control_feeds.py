"""Sound that comes over the control socket while it is made, for a listener or for a command: ``feed.open``, ``feed.append``, ``feed.close``."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from dejavud.errors import Busy, DejavudError, InvalidRequest
from dejavud.interfaces.audio_channel import AudioChannel
from dejavud.interfaces.control_uploads import check_chunk
from dejavud.services.commands import parse_params
from dejavud.wire.messages import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dejavud.services.feeds import Feeder, Feeding

OPEN, APPEND, CLOSE = "feed.open", "feed.append", "feed.close"
MAX_WAITING = 8
"""Pieces of one feed that may wait for their turn: so much is in memory for a client that does not wait for replies."""

REFUSED_S = 10.0


@dataclass(frozen=True, slots=True)
class OpenParams:
    """The listener that is to hear it; None where a command will."""

    listener: str | None = None


@dataclass(frozen=True, slots=True)
class FeedParams:
    """The feed that is meant."""

    feed: str


@dataclass(slots=True)
class _Held:
    """One feed, to a listener (`feeder`) or to a command (`channel`).

    expiry : its deadline is when it is given up.
    released : set when it is over.
    is_taken : a command hears it, or has heard it.
    """

    feeder: Feeder | None = None
    channel: AudioChannel = field(default_factory=lambda: AudioChannel(is_stream=True))
    expiry: trio.CancelScope = field(default_factory=trio.CancelScope)
    released: trio.Event = field(default_factory=trio.Event)
    turn: trio.Lock = field(default_factory=trio.Lock)
    is_taken: bool = False
    n_bytes: int = 0

    async def send(self, chunk: bytes) -> None:
        """Return when `chunk` was taken, or nobody wants it any more; raises why a listener takes no more."""
        if self.feeder is not None:
            await self.feeder.send(chunk)
        else:
            await self.channel.put(chunk)
            self.n_bytes += len(chunk)

    def drop_untaken(self) -> None:
        """Let go of who still waits for a command that has not come."""
        if not self.is_taken:
            self.channel.drop()

    def view(self) -> dict[str, Any]:
        """Return how much was taken."""
        if self.feeder is not None:
            return {"heard_s": round(self.feeder.heard_s, 3)}
        return {"received_bytes": self.n_bytes, "wanted": not self.channel.is_dropped}


class ControlFeeds:
    """The feeds of all clients; each belongs to the client that opened it.

    feeding : `dejavud.services.listeners.Listeners.feeding`.
    max_of_one : how many for commands one client may have open, `Busy` beyond; a listener has one sender anyway.
    idle_s : a feed that gets no piece for so long is over: ZeroMQ does not tell when a client has left.
    holders : the nursery in which feeds live; they end with it.
    """

    methods = frozenset({OPEN, APPEND, CLOSE})

    def __init__(self, feeding: Feeding, *, max_of_one: int, idle_s: float, holders: trio.Nursery) -> None:
        self._feeding = feeding
        self._max_of_one = max_of_one
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
            return held.view()
        if not chunk:
            raise InvalidRequest(reason="the sound comes as the message's second frame")
        check_chunk(chunk)
        return await self._append(held, chunk)

    @contextmanager
    def taken(self, identity: bytes, feed_id: object) -> Iterator[AudioChannel]:
        """Give a feed's sound to a command for the length of the block; what comes after it is thrown away.

        Raises `InvalidRequest` where there is no such feed, or it is heard already.
        """
        held = self._find(identity, feed_id)
        if held.feeder is not None or held.is_taken:
            raise InvalidRequest(reason=f"the feed {feed_id!r} has its listener, or its command, already: open another")
        held.is_taken = True
        try:
            yield held.channel
        finally:
            held.channel.drop()

    def _open(self, identity: bytes, listener: str | None) -> dict[str, Any]:
        stack, held = ExitStack(), _Held()
        answer: dict[str, Any] = {"feed": secrets.token_hex(8), "chunk_bytes": CHUNK_BYTES}
        if listener is not None:
            held.feeder = feeder = stack.enter_context(self._feeding(listener))
            pcm = feeder.pcm
            answer |= {"encoding": pcm.encoding, "rate_hz": pcm.rate_hz, "n_channels": pcm.n_channels}
        else:
            n_open = sum(key[0] == identity and one.feeder is None for key, one in self._held.items())
            if n_open >= self._max_of_one:
                raise Busy(what=f"{n_open} feeds of one client")
            stack.callback(held.channel.end)
            stack.callback(held.drop_untaken)
        key = identity, answer["feed"]
        self._held[key] = held
        held.expiry.deadline = trio.current_time() + self._idle_s
        self._holders.start_soon(self._hold, key, held, stack)
        return answer

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

            async def forget_when_refused(feeder: Feeder) -> None:
                await feeder.refused.wait()
                await trio.sleep(REFUSED_S)
                nursery.cancel_scope.cancel()

            if held.feeder is not None:
                nursery.start_soon(forget_when_refused, held.feeder)
            await held.released.wait()
            nursery.cancel_scope.cancel()

    async def _append(self, held: _Held, chunk: bytes) -> dict[str, Any]:
        if held.turn.statistics().tasks_waiting >= MAX_WAITING:
            raise Busy(what=f"{MAX_WAITING} pieces of sound; wait for their replies")
        async with held.turn:
            if held.released.is_set():
                raise InvalidRequest(reason="the feed was closed before this piece came")
            if (
                held.feeder is not None or held.is_taken
            ):  # who hears it has a patience of its own; a command may never come
                held.expiry.deadline = float("inf")
            try:
                await held.send(chunk)
            except DejavudError:
                held.released.set()
                raise
            finally:
                held.expiry.deadline = trio.current_time() + self._idle_s
        return held.view()

    def _find(self, identity: bytes, feed_id: object) -> _Held:
        held = self._held.get((identity, feed_id)) if isinstance(feed_id, str) else None
        if held is None:
            reason = f"there is no open feed {str(feed_id)[:40]!r} of this client; one that gets no sound is over, soon for a listener and after {self._idle_s:g} s else"
            raise InvalidRequest(reason=reason)
        return held
