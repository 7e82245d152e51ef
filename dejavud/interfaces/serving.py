"""How every service ends: it stops accepting at once and lets what is in flight finish, but not for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Service(Protocol):
    """A service that ends by itself soon after `stop` is set, and says ``started(address)`` when it can be reached."""

    async def __call__(self, stop: trio.Event, *, task_status: trio.TaskStatus[str]) -> None:
        """Serve until `stop`, then finish what is in flight and return."""
        ...


class Gone(Exception):
    """Nobody waits for the answer any more."""


async def serve_until_cancelled(run: Service, *, grace_s: float, task_status: trio.TaskStatus[str]) -> None:
    """Run a service until this is cancelled; then set its `stop`, and cancel what still runs `grace_s` later."""
    stop = trio.Event()
    scope = trio.CancelScope()

    async def shielded(*, task_status: trio.TaskStatus[str]) -> None:
        with scope:
            await run(stop, task_status=task_status)

    async with trio.open_nursery() as nursery:
        try:
            address = await nursery.start(shielded)
            scope.shield = True  # from here on a cancellation from outside becomes `stop`, which has a deadline
            task_status.started(address)
            await trio.sleep_forever()
        finally:
            stop.set()
            scope.deadline = trio.current_time() + grace_s


async def run_unless(gone: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` returns; when `gone` returns before, cancel the work and raise `Gone`.

    What `work` raises comes out bare, not in a group.
    """
    results: list[T] = []
    failure: Exception | None = None

    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await gone()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        try:
            results.append(await work())
        except Exception as error:  # noqa: BLE001 - raised again below, outside the nursery that would wrap it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not results:
        raise Gone
    return results[0]
