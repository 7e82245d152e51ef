"""Commands on their way through the daemon: let in while it runs, counted, and waited for when it stops."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from dejavud.errors import ShuttingDown

if TYPE_CHECKING:
    from collections.abc import Iterator


class Admission:
    """Knows how many commands are being worked on, and lets no more in once it is closed."""

    def __init__(self) -> None:
        self._n_inside = 0
        self._closed = False
        self._empty = trio.Event()

    @property
    def n_inside(self) -> int:
        """Return how many commands are being worked on."""
        return self._n_inside

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count one command while the block runs; raises `ShuttingDown` once closed."""
        if self._closed:
            raise ShuttingDown
        self._n_inside += 1
        try:
            yield
        finally:
            self._n_inside -= 1
            self._tell_when_empty()

    def close(self) -> None:
        """Let no more commands in.  Idempotent."""
        self._closed = True
        self._tell_when_empty()

    async def wait_empty(self) -> None:
        """Return when it is closed and the last command has left."""
        await self._empty.wait()

    def _tell_when_empty(self) -> None:
        if self._closed and not self._n_inside:
            self._empty.set()
