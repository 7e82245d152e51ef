"""The daemon's end of a stream from a worker process."""

from __future__ import annotations

import pickle
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.services.jobs import Failed
from dejavud.services.stream_jobs import HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from dejavud.errors import DejavudError

log = structlog.get_logger(__name__)

_READ_BYTES = 1 << 18


@dataclass(slots=True, eq=False)
class StreamJob:
    """The job that sends a stream.

    what : names the work in the log.
    scope : cancelling it kills the worker.
    ended : set when the worker is done, or gone.
    error : how it ended where that was not its own doing.
    """

    what: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    error: DejavudError | None = None


@asynccontextmanager
async def listening() -> AsyncIterator[trio.socket.SocketType]:
    """Give a listening Unix socket that only this user can find."""
    with tempfile.TemporaryDirectory(prefix="dejavud-") as folder, trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(Path(folder) / "s"))
        listener.listen(1)
        yield listener


async def received(listener: trio.socket.SocketType, job: StreamJob) -> AsyncGenerator[Any]:
    """Yield the items that the worker sends to `listener`; raises what the job failed with.

    The listener must be closed when the job has ended: a worker that died may never have connected.
    """
    try:
        connection, _ = await listener.accept()
    except (trio.ClosedResourceError, OSError):
        await _ended(job)
        return
    async with trio.SocketStream(connection) as stream:
        reader = _Reader(stream)
        while (data := await reader.message()) is not None:
            item = pickle.loads(data)  # noqa: S301 - from our own process, over a socket that nobody else can find
            if isinstance(item, Failed):
                if item.trace:
                    log.error("job_failed", what=job.what, trace=item.trace)
                raise item.error
            yield item
    await _ended(job)


async def _ended(job: StreamJob) -> None:
    await job.ended.wait()
    if job.error is not None:
        raise job.error


class _Reader:
    """Messages out of a stream of bytes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def message(self) -> bytes | None:
        """Return the next message; None when the stream ended, in the middle of one too: then the worker died."""
        header = await self._exactly(HEADER.size)
        return None if header is None else await self._exactly(HEADER.unpack(header)[0])

    async def _exactly(self, n_bytes: int) -> bytes | None:
        while len(self._buffer) < n_bytes:
            data = await self._stream.receive_some(_READ_BYTES)
            if not data:
                return None
            self._buffer += data
        taken = bytes(self._buffer[:n_bytes])
        del self._buffer[:n_bytes]
        return taken
