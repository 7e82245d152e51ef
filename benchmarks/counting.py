"""What it costs to count a query, to write its line, to measure the event loop, and to write the page of figures: microseconds, the best of some rounds."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.logs import configure_logs
from dejavud.services.figures import Page
from dejavud.services.loop_meter import LoopMeter
from dejavud.services.requests import Requests

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS, TIMES = 7, 5000
STAGES = ("decode", "fingerprint", "lookup", "match", "total")
ANSWER: dict[str, Any] = {"matches": [1], "timings": {f"{stage}_ms": 12.0 for stage in STAGES}}


def best_us(work: Callable[[], object]) -> float:
    """Return how long one call takes in the best of the rounds."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        started = perf_counter()
        for _ in range(TIMES):
            work()
        rounds.append((perf_counter() - started) / TIMES * 1e6)
    return min(rounds)


async def answered() -> dict[str, Any]:
    """Answer as a query does, at once."""
    return ANSWER


async def line_us(requests: Requests) -> float:
    """Return how long a request takes that does nothing but leave its line and its figures."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        started = perf_counter()
        for _ in range(TIMES):
            with requests.opened("http"):
                await requests.run("recognize", answered)
        rounds.append((perf_counter() - started) / TIMES * 1e6)
    return min(rounds)


def main() -> None:
    """Print the figures."""
    configure_logs("info", "json")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(nowhere), cache_logger_on_first_use=False)
        requests, meter = Requests(), LoopMeter()
        figures = best_us(lambda: requests._count("http", "recognize", "ok", 0.02, ANSWER))  # noqa: SLF001 - this is what is measured
        turn = best_us(lambda: (meter.before_io_wait(1.0), meter.after_io_wait(1.0)))
        print(f"figures of a query     {figures:6.1f} us")
        print(f"with its line          {trio.run(line_us, requests):6.1f} us")
        print(f"a turn of the loop     {turn:6.1f} us")
        print(f"its part of the page   {best_us(lambda: requests.show(Page())):6.1f} us")


if __name__ == "__main__":
    main()
