"""Raw sound that a program sends to a listener over a socket of the daemon's: one sender at a time, never faster than it is heard."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import trio

from dejavud.errors import Busy, DejavudError, ListenerNotFound, NotListening
from dejavud.services.worker_streams import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

    from dejavud.audio.pcm_format import PcmFormat

    Feeding = Callable[[str], AbstractContextManager["Feeder"]]


class Feeder:
    """Who sends sound to a listener.  Callers use `send` or `send_all`; all else is the listener's.

    n_bytes : taken so far.
    refused : set when no more is taken.
    """

    def __init__(self, listener: str, pcm: PcmFormat) -> None:
        self.pcm = pcm
        self.n_bytes = 0
        self._listener = listener
        self._into, self._out = trio.open_memory_channel[bytes](0)
        self._sending = trio.CancelScope()
        self.refused = trio.Event()
        self._error: DejavudError = NotListening(listener=listener, reason="its sender has left")

    @property
    def heard_s(self) -> float:
        """Return how much sound was taken, in seconds."""
        return self.n_bytes / self.pcm.bytes_per_s

    async def send(self, data: bytes) -> None:
        """Return when `data`, of any length, was taken: while the listener is behind, that waits.  Cancelled, none of it was.

        Raises `UnsupportedAudio` where it is plainly no raw sound, and why the listener takes no more: `NotListening`, `SourceStalled`,
        `WorkerDied` and what else ends a source.
        """
        if not self.n_bytes:
            self.pcm.check_raw(data, self._listener)
        try:
            await self._into.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._error from None
        self.n_bytes += len(data)

    async def send_all(self, pieces: AsyncIterable[bytes]) -> None:
        """Send what comes, to its end; raises what `send` does, at once and not with the next piece."""
        with self._sending:
            async for data in pieces:
                await self.send(data)
            return
        raise self._error

    def leave(self) -> None:
        """End the sound in order."""
        self._into.close()

    def refuse(self, error: DejavudError) -> None:
        """Take no more; whoever sends is told `error`."""
        self._error = error
        self.refused.set()
        self._out.close()
        self._sending.cancel()

    async def pour(self, listener: trio.socket.SocketType) -> None:
        """Pass on what is sent to who connects to `listener`, a worker, until the sender leaves."""
        connection, _ = await listener.accept()
        async with trio.SocketStream(connection) as stream:
            async for data in self._out:
                await stream.send_all(data)
            await stream.send_eof()
            await stream.receive_some(1)  # the worker closes when it has read all


class Feed:
    """Where senders find a listener."""

    def __init__(self, listener: str, pcm: PcmFormat) -> None:
        self.pcm = pcm
        self._listener = listener
        self._feeder: Feeder | None = None
        self._came = trio.Event()

    @contextmanager
    def feeding(self) -> Iterator[Feeder]:
        """Give what sends to the listener while the block goes on; raises `Busy` where somebody does already."""
        if self._feeder is not None:
            raise Busy(what=f"one sender of sound for the listener {self._listener!r}")
        feeder = self._feeder = Feeder(self._listener, self.pcm)
        self._came.set()
        try:
            yield feeder
        finally:
            feeder.leave()
            self._forget(feeder)

    async def next_feeder(self) -> Feeder:
        """Return who sends, when somebody does."""
        while self._feeder is None:
            self._came = trio.Event()
            await self._came.wait()
        return self._feeder

    def dismiss(self) -> None:
        """Send away who sends, where somebody does: the listener is paused, or removed."""
        if self._feeder is not None:
            self._feeder.refuse(self._dismissal())
            self._feeder = None

    def _dismissal(self) -> DejavudError:
        return NotListening(listener=self._listener, reason="it was paused or removed")

    @asynccontextmanager
    async def poured(self, feeder: Feeder, helpers: trio.Nursery) -> AsyncIterator[str]:
        """Give the address of a socket at which a worker gets what `feeder` sends, to its end, while the block goes on.

        How the block ends, if not with the sound, is what the sender is told.
        """
        error = self._dismissal()
        async with listening() as listener:
            scope, ended = trio.CancelScope(), trio.Event()
            helpers.start_soon(_pour, feeder, listener, scope, ended)
            try:
                yield listener.getsockname()
            except DejavudError as caught:
                error = caught
                raise
            finally:
                self._forget(feeder)
                feeder.refuse(error)
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await ended.wait()

    def _forget(self, feeder: Feeder) -> None:
        if self._feeder is feeder:
            self._feeder = None


def nobody_listens(name: str) -> AbstractContextManager[Feeder]:
    """Stand for `dejavud.services.listeners.Listeners.feeding` where there are no listeners."""
    raise ListenerNotFound(name=name, known="none")


async def _pour(feeder: Feeder, listener: trio.socket.SocketType, scope: trio.CancelScope, ended: trio.Event) -> None:
    """Pass sound on until the block of `Feed.poured` ends; a worker that is gone says why elsewhere."""
    try:
        with scope:
            await feeder.pour(listener)
    except (trio.BrokenResourceError, OSError):
        pass
    finally:
        ended.set()
