from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio

from dejavud.errors import DejavudError, DiskFull, InvalidRequest
from dejavud.services import job_events
from dejavud.services.clients import LOCAL
from dejavud.services.commands import Call, Command, CommandTable
from dejavud.services.events import EventHub
from dejavud.services.job_events import JobEvents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True)
class Nothing:
    """No parameters."""


class Bench:
    """A table of one command, and what is published and told while it runs."""

    def __init__(self, name: str, work: Callable[[Call], Awaitable[None]]) -> None:
        async def handler(_params: Nothing, call: Call) -> dict[str, Any]:
            await work(call)
            return {"done": True}

        hub = EventHub()
        self.name = name
        self.figures: list[dict[str, object]] = []
        self.table = CommandTable((Command(name, Nothing, handler),), jobs=JobEvents(hub))
        self._hub = hub

    async def progress(self, *, must_arrive: bool = False, **figures: object) -> None:
        """Take note of what the caller is told."""
        self.figures.append({**figures, "must_arrive": must_arrive})

    async def run(self, **params: object) -> list[tuple[str, dict[str, Any]]]:
        """Return the events of one call, however it ended."""
        with self._hub.subscribe() as subscription:
            try:
                with trio.move_on_after(1):
                    await self.table.call(self.name, params, Call(progress=self.progress, client=LOCAL))
            except DejavudError as error:
                self.figures.append({"error": error.code})
            return [(delivery.event.topic, dict(delivery.event.data)) for delivery in subscription.queued()]


async def test_a_job_is_told_from_its_beginning_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun, on its way and ended, under one number; its caller is told all that it was before."""
    monkeypatch.setattr(job_events, "PROGRESS_S", 0.0)

    async def work(call: Call) -> None:
        await call.progress(done=1, total=2)
        await call.progress(must_arrive=True, done=2, total=2)

    bench = Bench("scan", work)
    for number in (1, 2):
        (start, job), *progress, (end, ended) = await bench.run()
        assert (start, job) == ("job.started", {"job": number, "command": "scan"})
        assert [topic for topic, _ in progress] == ["job.progress"] * 2
        assert progress[1][1] == {**job, "figures": {"done": 2, "total": 2}}
        assert end == "job.ended"
        assert ended["outcome"] == "ok"
        assert ended["elapsed_s"] >= 0
    assert bench.figures[:2] == [
        {"done": 1, "total": 2, "must_arrive": False},
        {"done": 2, "total": 2, "must_arrive": True},
    ]


async def test_progress_is_told_to_everybody_once_a_second_at_most() -> None:
    """A thousand steps in a moment are a thousand for the caller, and none for all the others."""

    async def work(call: Call) -> None:
        for done in range(1000):
            await call.progress(done=done)

    bench = Bench("migrate", work)
    assert [topic for topic, _ in await bench.run()] == ["job.started", "job.ended"]
    assert len(bench.figures) == 1000


async def _fails(_call: Call) -> None:
    raise DiskFull(path="/there")


async def _hangs(_call: Call) -> None:
    await trio.sleep_forever()


async def _breaks(_call: Call) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("work", "outcome"), [(_fails, DiskFull.code), (_hangs, "cancelled"), (_breaks, "internal_error")]
)
async def test_how_a_job_ended_is_told(
    work: Callable[[Call], Awaitable[None]], outcome: str, autojump_clock: trio.testing.MockClock
) -> None:
    """An error by its code, a caller that gave it up, and a bug."""
    assert autojump_clock
    [_, (topic, data)] = await Bench("backup", work).run()
    assert (topic, data["outcome"]) == ("job.ended", outcome)


async def test_what_is_no_job_is_not_told() -> None:
    """Neither a quick command nor one whose parameters are wrong."""

    async def work(_call: Call) -> None:
        await trio.lowlevel.checkpoint()

    assert await Bench("status", work).run() == []
    bench = Bench("scan", work)
    assert await bench.run(unknown=1) == []
    assert bench.figures == [{"error": InvalidRequest.code}]
