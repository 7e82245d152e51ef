"""The sound that follows a request, on its way from the connection to the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from dejavud.errors import Timeout

if TYPE_CHECKING:
    from typing import Self

    from dejavud.services.uploads import Receiver, Upload


class AudioChannel:
    """The pieces of sound that belong to one request: the connection puts them in, the command takes them out (`AudioStream`).

    It holds nothing: a piece that is not taken holds up who puts it in.  Over WebSocket that is the connection, and with it its client, all of whose later
    messages wait, a `cancel` too.  So a command takes what comes at once, and throws away what it has no use for.  After `drop`, which is called when the
    request has ended, however it did, pieces are thrown away here until the client says that they have ended.

    is_stream : the command hears while it comes; otherwise all of it is received into a file first.
    """

    def __init__(self, *, is_stream: bool) -> None:
        self.is_stream = is_stream
        self.is_dropped = False
        self._into, self._out = trio.open_memory_channel[bytes](0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._out.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise StopAsyncIteration from None

    async def put(self, piece: bytes) -> None:
        """Return when the request has taken `piece`, or takes none any more."""
        try:
            await self._into.send(piece)
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()

    def end(self) -> None:
        """Say that all was put in."""
        self._into.close()

    def drop(self) -> None:
        """Take no more.  Idempotent."""
        self.is_dropped = True
        self._out.close()

    async def received(self, receiver: Receiver, *, idle_s: float, total_s: float) -> Upload:
        """Return everything as one file; raises `Timeout` where it pauses or takes too long, `TooLarge` where it has no end."""
        deadline = trio.current_time() + total_s
        while True:
            with trio.move_on_at(min(deadline, trio.current_time() + idle_s)) as patience:
                piece = await anext(self, None)
            if patience.cancelled_caught:
                limit_s = idle_s if trio.current_time() < deadline else total_s
                raise Timeout(what="sending the request's audio", limit_s=limit_s)
            if piece is None:
                receiver.close()
                return receiver.upload
            await receiver.write(piece)
