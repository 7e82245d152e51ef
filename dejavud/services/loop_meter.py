"""How promptly the event loop answers: how long it is busy with tasks before it looks again at who wants something."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING

import trio

from dejavud.services.figures import Histogram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
STALL_S = 0.25
"""Longer than this, whoever is connected notices."""
WINDOW_S = 60.0
_SLICE_S = 10.0


class LoopMeter(trio.abc.Instrument):
    """Measures each turn of the loop from inside it, which costs half a microsecond a turn and, while nothing happens, nothing.

    A turn begins when something is to be done, which is when a timer is due and not when the loop gets round to it, and ends when the loop waits again: so
    long whoever comes in between has to wait.  A task that only slept and looked at the clock would miss what happens between two looks.
    """

    def __init__(self) -> None:
        self.turns = Histogram(
            "dejavud_event_loop_turn_seconds",
            "How long the event loop was busy before it could see to what had come.",
            BOUNDS_S,
        )
        self.n_stalls = 0
        self.busy_s = 0.0
        self._began_s = perf_counter()
        self._due_s = self._began_s
        self._slices: deque[tuple[float, float]] = deque(
            maxlen=int(WINDOW_S / _SLICE_S) + 1
        )  # when it began, and its longest turn

    def before_io_wait(self, timeout: float) -> None:
        """Take note that a turn is over."""
        now = perf_counter()
        took_s = now - self._began_s
        self.turns.observe(took_s)
        self.busy_s += took_s
        if took_s > STALL_S:
            self.n_stalls += 1
        if not self._slices or now - self._slices[-1][0] >= _SLICE_S:
            self._slices.append((now, took_s))
        elif took_s > self._slices[-1][1]:
            self._slices[-1] = (self._slices[-1][0], took_s)
        self._due_s = now + timeout

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """Take note that a turn begins, or should have begun."""
        self._began_s = min(perf_counter(), self._due_s)

    @property
    def longest_s(self) -> float:
        """Return the longest turn of the last minute."""
        since_s = perf_counter() - WINDOW_S - _SLICE_S
        return max((longest for began, longest in self._slices if began >= since_s), default=0.0)

    @asynccontextmanager
    async def measuring(self) -> AsyncIterator[None]:
        """Measure the loop that runs this, while the block goes on."""
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)
