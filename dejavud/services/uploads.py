"""Audio on its way in: received into files of bounded size, in bounded number, and gone when it has been used."""

from __future__ import annotations

import os
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from dejavud.errors import Busy, TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


_BUFFER_BYTES = 1 << 16
"""Written at once: a thread for each small piece that comes would cost more than the writing."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of received bytes.

    name : what the sender calls it; for tags and messages only, never a path of this machine.
    path : where the bytes are.
    """

    name: str
    path: Path


class Receiver:
    """One upload being written."""

    def __init__(self, upload: Upload, max_bytes: int) -> None:
        self.upload = upload
        self.n_bytes = 0
        self._max_bytes = max_bytes
        self._file = upload.path.open("wb", buffering=_BUFFER_BYTES)
        self._n_buffered = 0

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`; raises `TooLarge` when that passes the limit, before anything is written."""
        if self.n_bytes + len(chunk) > self._max_bytes:
            raise TooLarge(what=self.upload.name, limit_bytes=self._max_bytes)
        self.n_bytes += len(chunk)
        self._n_buffered += len(chunk)
        if self._n_buffered < _BUFFER_BYTES:
            self._file.write(chunk)  # into memory
            await trio.lowlevel.checkpoint()
        else:
            self._n_buffered = 0
            await trio.to_thread.run_sync(self._file.write, chunk)

    def flush(self) -> None:
        """Have all that was written so far be in the file."""
        self._n_buffered = 0
        self._file.flush()

    def close(self) -> None:
        """Finish writing; the bytes stay until the upload is discarded.  Idempotent."""
        self._file.close()

    def discard(self) -> None:
        """Delete the bytes.  Idempotent."""
        with suppress(OSError):  # of a full disk, which was said when it was written to
            self.close()
        self.upload.path.unlink(missing_ok=True)


class UploadStore:
    """Makes receivers; at most `max_open` at a time (`Busy` beyond), each of at most `max_bytes`."""

    def __init__(self, folder: Path, *, max_bytes: int, max_open: int = 64) -> None:
        self._folder = folder
        self._n_open = 0
        self.max_bytes, self.max_open = max_bytes, max_open

    @asynccontextmanager
    async def receiving(self, name: str) -> AsyncIterator[Receiver]:
        """Give a receiver whose bytes are deleted when the block ends."""
        if self._n_open >= self.max_open:
            raise Busy(what=f"{self.max_open} uploads at a time")
        self._n_open += 1
        try:
            handle, path = tempfile.mkstemp(prefix="upload-", dir=self._folder)  # 0600 whatever the umask
            os.close(handle)
            receiver = Receiver(Upload(name, Path(path)), self.max_bytes)
            try:
                yield receiver
            finally:
                receiver.discard()
        finally:
            self._n_open -= 1
