"""What the tests of hooks share: plays to tell of, and hooks that run beside a test."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio

from dejavud.hooks.supervisor import Hooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dejavud.hooks.base import Hook
    from dejavud.services.events import EventHub


def listener(name: str = "kitchen", state: str = "listening", **changes: object) -> dict[str, Any]:
    """Return a listener as `listener.state` shows it."""
    return {"listener": name, "state": state, "reason": None, "source": "mic", "plays": [], **changes}


def play(number: int = 1, title: str | None = "Blue", listener: str = "kitchen", **track: object) -> dict[str, Any]:
    """Return a play as `match.started` shows it."""
    return {
        "listener": listener,
        "play": number,
        "track": {
            "id": 7,
            "title": title,
            "artist": "Ann",
            "album": "Sky",
            "path": "/music/blue.flac",
            "duration_s": 200.0,
            **track,
        },
        "started_at": datetime.now(UTC).isoformat(),
        "start_s": 1.0,
        "end_s": 3.0,
        "track_start_s": 10.0,
        "track_end_s": 12.0,
        "confidence": 0.999,
        "coverage": 0.9,
        "gaps": [],
        "twins": [],
        "exact": True,
    }


async def in_thread(function: Callable[..., Any], *args: object, abandon: bool = False) -> Any:  # noqa: ANN401 - as Workers.thread
    """Run a function as the daemon's workers do."""
    return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=abandon)


def n_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


async def until(holds: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait for what other programs do, and tell no event of ours."""
    with trio.fail_after(within_s):
        while not holds():  # noqa: ASYNC110 - see above
            await trio.sleep(0.01)


@asynccontextmanager
async def running(hub: EventHub, *hooks: Hook) -> AsyncIterator[Hooks]:
    """Run hooks as the daemon does, until the block ends."""
    supervised = Hooks(hooks, hub)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervised.serve)
        yield supervised
        nursery.cancel_scope.cancel()


async def ready(*hooks: Hook) -> None:
    """Wait until the hooks do what they are for."""
    await until(lambda: all(hook.figures.state == "ready" for hook in hooks))
