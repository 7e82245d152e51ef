"""Workers that start neither threads nor processes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import trio

from dejavud.services import jobs, stream_jobs
from dejavud.services.workers import WorkersStatus

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator

    from dejavud.services.workers import Kind

T = TypeVar("T")


class InlineWorkers:
    """`Workers` that run everything at once where they are called.

    For a program that asks one thing at a time and waits for it, and for unit tests and their mock clocks.
    """

    async def process(
        self,
        function: Callable[..., T],
        *args: object,
        what: str,  # noqa: ARG002 - part of the interface
        kind: Kind = "query",  # noqa: ARG002
        timeout_s: float | None = None,  # noqa: ARG002
    ) -> T:
        """See `Workers.process`; a function that does not return cannot be stopped here."""
        await trio.lowlevel.checkpoint()
        result = jobs.contained(function, args)
        if isinstance(result, jobs.Failed):
            raise result.error
        return result

    @asynccontextmanager
    async def stream(
        self,
        function: Callable[..., Generator[T]],
        *args: object,
        what: str,  # noqa: ARG002 - part of the interface
    ) -> AsyncIterator[AsyncIterator[T]]:
        """See `Workers.stream`."""
        items = function(*args)

        async def taken() -> AsyncGenerator[T]:
            while True:
                await trio.lowlevel.checkpoint()
                item = stream_jobs.next_item(items)
                if item is stream_jobs.END:
                    return
                if isinstance(item, jobs.Failed):
                    raise item.error
                yield item

        given = taken()
        try:
            yield given
        finally:
            await given.aclose()
            items.close()

    async def read(self, function: Callable[..., T], *args: object) -> T:
        """See `Workers.read`."""
        await trio.lowlevel.checkpoint()
        return function(*args)

    async def thread(self, function: Callable[..., T], *args: object, abandon: bool = False) -> T:  # noqa: ARG002
        """See `Workers.thread`."""
        await trio.lowlevel.checkpoint()
        return function(*args)

    match = write = background = read

    def status(self) -> WorkersStatus:
        """See `Workers.status`."""
        return WorkersStatus(n_processes=1, n_busy=0, n_waiting=0, n_died=0)
