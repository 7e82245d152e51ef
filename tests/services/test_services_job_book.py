"""The book of jobs: what is a job, what is told of it, who may end it, and how it goes on when nobody waits."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from dejavud.errors import Busy, DejavudError, DiskFull, Forbidden, InvalidRequest, JobNotFound, ShuttingDown
from dejavud.services import job_book
from dejavud.services.clients import LOCAL, NOBODY, Client, Scope
from dejavud.services.commands import Call, Command, CommandTable
from dejavud.services.events import EventHub
from dejavud.services.job_book import JobBook
from dejavud.services.job_handlers import JobHandlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@dataclass(frozen=True)
class Nothing:
    """No parameters."""


class Bench:
    """A table of one command and those about jobs, and what is published and told while it runs."""

    def __init__(self, name: str, work: Callable[[Call], Awaitable[None]], **bounds: int) -> None:
        async def handler(_params: Nothing, call: Call) -> dict[str, Any]:
            await work(call)
            return {"done": True}

        hub = EventHub()
        self.name = name
        self.figures: list[dict[str, object]] = []
        self.book = JobBook(hub, **bounds)
        rows = ((name, Nothing, handler), *JobHandlers(self.book).rows())
        self.table = CommandTable(tuple(Command(*row, None) for row in rows), jobs=self.book)
        self.hub = hub

    async def progress(self, *, must_arrive: bool = False, **figures: object) -> None:
        """Take note of what the caller is told."""
        self.figures.append({**figures, "must_arrive": must_arrive})

    async def run(self, **params: object) -> list[tuple[str, dict[str, Any]]]:
        """Return the events of one call, however it ended."""
        with self.hub.subscribe() as subscription:
            try:
                with trio.move_on_after(1):
                    await self.table.call(self.name, params, Call(progress=self.progress, client=LOCAL))
            except DejavudError as error:
                self.figures.append({"error": error.code})
            return [(delivery.event.topic, dict(delivery.event.data)) for delivery in subscription.queued()]

    async def ask(self, command: str, client: Client = LOCAL, **params: object) -> dict[str, Any]:
        """Return what a command about jobs answers."""
        return await self.table.call(command, params, Call(client=client))

    def begin(self, kept: AsyncExitStack | None = None) -> str:
        """Begin a job that goes on by itself, and return its id."""
        began = self.table.begin(self.name, {}, Call(client=LOCAL), kept or AsyncExitStack())
        return str(began["job"]["id"])

    @asynccontextmanager
    async def serving(self, grace_s: float = 0.0) -> AsyncIterator[trio.CancelScope]:
        """Have jobs go on by themselves until the block, or the scope that it is given, ends."""
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(self.book.serve, grace_s=grace_s))
            yield nursery.cancel_scope
            nursery.cancel_scope.cancel()


async def _does_nothing(_call: Call) -> None:
    await trio.lowlevel.checkpoint()


async def _fails(_call: Call) -> None:
    raise DiskFull(path="/there")


async def _hangs(_call: Call) -> None:
    await trio.sleep_forever()


async def _breaks(_call: Call) -> None:
    raise ZeroDivisionError


async def test_a_job_is_told_from_its_beginning_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun, on its way and ended, under one id; events and lists show the same object, and its caller is told all that he was before."""
    monkeypatch.setattr(job_book, "PROGRESS_S", 0.0)

    async def work(call: Call) -> None:
        await call.progress(done=1, total=2)
        await call.progress(must_arrive=True, done=2, total=2)

    bench = Bench("scan", work)
    for number in (1, 2):
        (start, began), *progress, (end, ended) = await bench.run()
        job = began["job"]
        assert (start, job["id"], job["command"]) == ("job.started", f"{bench.hub.daemon}-{number}", "scan")
        assert (job["state"], job["ended_at"], job["error"]) == ("running", None, None)
        assert (job["asked_by"]["client"], job["asked_by"]["transport"]) == ("local", "local")
        assert [topic for topic, _ in progress] == ["job.progress"] * 2
        assert progress[1][1]["job"]["progress"] == {"done": 2, "total": 2}
        assert (end, ended["job"]["state"]) == ("job.ended", "done")
        assert ended["job"]["elapsed_s"] >= 0
        assert (await bench.ask("jobs.list"))["jobs"][0] == ended["job"]
        assert await bench.ask("jobs.get", id=job["id"]) == {"job": {**ended["job"], "result": {"done": True}}}
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


@pytest.mark.parametrize(
    ("work", "state", "code"),
    [(_fails, "failed", DiskFull.code), (_hangs, "cancelled", "cancelled"), (_breaks, "failed", "internal_error")],
)
async def test_how_a_job_ended_is_told(
    work: Callable[[Call], Awaitable[None]], state: str, code: str, autojump_clock: trio.testing.MockClock
) -> None:
    """An error by its code, a caller that gave it up, and a bug: by an event, and to who asks later."""
    assert autojump_clock
    bench = Bench("backup", work)
    [_, (topic, data)] = await bench.run()
    assert (topic, data["job"]["state"], data["job"]["error"]["code"]) == ("job.ended", state, code)
    assert (await bench.ask("jobs.get", id=data["job"]["id"]))["job"]["result"] is None


async def test_what_is_no_job_is_not_told() -> None:
    """Neither a quick command, nor one whose parameters are wrong, nor a file that was fingerprinted in a moment."""
    assert await Bench("status", _does_nothing).run() == []
    assert await Bench("fingerprint", _does_nothing).run() == []
    bench = Bench("scan", _does_nothing)
    assert await bench.run(unknown=1) == []
    assert bench.figures == [{"error": InvalidRequest.code}]
    assert await bench.ask("jobs.list") == {"jobs": []}


async def test_a_quick_command_that_takes_long_becomes_a_job(autojump_clock: trio.testing.MockClock) -> None:
    """A large file that is fingerprinted is told once it has taken a while, and not before."""
    assert autojump_clock
    for length_s, told in ((job_book.LONG_S - 0.1, []), (job_book.LONG_S + 0.1, ["job.started", "job.ended"])):

        async def work(_call: Call, length_s: float = length_s) -> None:
            await trio.sleep(length_s)

        bench = Bench("fingerprint", work)
        with bench.hub.subscribe() as subscription:
            async with bench.serving():
                await bench.table.call("fingerprint", {}, Call(client=LOCAL))
            assert [delivery.event.topic for delivery in subscription.queued()] == told
        assert [job["state"] for job in (await bench.ask("jobs.list"))["jobs"]] == ["done"][: len(told)]


async def test_a_job_is_cancelled_by_whoever_could_have_begun_it() -> None:
    """Its caller is told so; a client without the command's scope may look and not cancel, one without any sees nothing."""
    bench = Bench("scan", _hangs)
    reader = Client("reader", frozenset({Scope.READ}))
    asker = Client("asker", frozenset({Scope.RECOGNIZE}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)
        await trio.testing.wait_all_tasks_blocked()
        [job] = (await bench.ask("jobs.list", reader))["jobs"]
        assert (await bench.ask("jobs.list", asker, state="running"))["jobs"][0]["id"] == job["id"]
        assert await bench.ask("jobs.list", asker, state="done") == {"jobs": []}
        assert await bench.ask("jobs.list", NOBODY) == {"jobs": []}
        with pytest.raises(JobNotFound):
            await bench.ask("jobs.get", NOBODY, id=job["id"])
        with pytest.raises(Forbidden):
            await bench.ask("jobs.cancel", reader, id=job["id"])
        assert (await bench.ask("jobs.cancel", asker, id=job["id"]))["cancelled"]
    assert bench.figures == [{"error": "cancelled"}]
    again = await bench.ask("jobs.cancel", asker, id=job["id"])
    assert (again["cancelled"], again["job"]["state"]) == (False, "cancelled")


async def test_a_job_is_forgotten_where_that_is_asked_for() -> None:
    """At once, be it running or not; its end is told to those who listen nevertheless."""
    bench = Bench("scan", _hangs)
    with bench.hub.subscribe("job.ended") as ended:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.run)
            await trio.testing.wait_all_tasks_blocked()
            [job] = (await bench.ask("jobs.list"))["jobs"]
            assert (await bench.ask("jobs.cancel", id=job["id"], forget=True))["cancelled"]
            with pytest.raises(JobNotFound):
                await bench.ask("jobs.get", id=job["id"])
        assert [delivery.event.data["job"]["state"] for delivery in ended.queued()] == ["cancelled"]
    assert await bench.ask("jobs.list") == {"jobs": []}


async def test_only_the_last_jobs_are_kept() -> None:
    """So many, and so many bytes of results; the newest is there whatever its result takes."""
    bench = Bench("scan", _does_nothing, keep=3)
    for _ in range(5):
        await bench.run()
    kept = [job["id"].rpartition("-")[2] for job in (await bench.ask("jobs.list"))["jobs"]]
    assert kept == ["5", "4", "3"]
    with pytest.raises(JobNotFound):
        await bench.ask("jobs.get", id=f"{bench.hub.daemon}-1")
    small = Bench("scan", _does_nothing, keep_bytes=1)
    for _ in range(2):
        await small.run()
    assert len((await small.ask("jobs.list"))["jobs"]) == 1


# -- jobs that go on by themselves ----------------------------------------------------------------------------------


async def test_a_job_goes_on_by_itself_and_lets_go_of_its_audio() -> None:
    """Whoever began it is gone; what it needs is there until it has ended, and its result is there for who asks."""
    release, let_go = trio.Event(), trio.Event()

    async def work(_call: Call) -> None:
        await release.wait()

    bench = Bench("scan", work)
    with trio.fail_after(5):
        async with bench.serving():
            async with AsyncExitStack() as kept:
                kept.callback(let_go.set)
                job_id = bench.begin(kept)
            await trio.testing.wait_all_tasks_blocked()
            assert not let_go.is_set()
            assert (await bench.ask("jobs.get", id=job_id))["job"]["state"] == "running"
            release.set()
            await let_go.wait()
            job = (await bench.ask("jobs.get", id=job_id))["job"]
            assert (job["state"], job["result"]) == ("done", {"done": True})


async def test_a_job_that_fails_by_itself_ends_nothing_else() -> None:
    """Its error is in the book, be it an answer or a bug."""
    for work, code in ((_fails, DiskFull.code), (_breaks, "internal_error")):
        bench = Bench("scan", work)
        async with bench.serving():
            job_id = bench.begin()
            await trio.testing.wait_all_tasks_blocked()
            job = (await bench.ask("jobs.get", id=job_id))["job"]
            assert (job["state"], job["error"]["code"]) == ("failed", code)


async def test_what_cannot_begin_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong parameters, a client who may not, too many, and a daemon that ends: the caller still has what he brought."""
    monkeypatch.setattr(job_book, "MAX_UNATTENDED", 1)
    bench = Bench("scan", _hangs)
    async with AsyncExitStack() as kept:
        kept.callback(lambda: None)
        with pytest.raises(ShuttingDown):
            bench.begin(kept)
        async with bench.serving():
            with pytest.raises(InvalidRequest):
                bench.table.begin("scan", {"unknown": 1}, Call(client=LOCAL), kept)
            bench.begin()
            with pytest.raises(Busy):
                bench.begin(kept)
    with pytest.raises(ShuttingDown):
        bench.begin()


async def test_the_end_of_the_daemon_ends_jobs_in_order(autojump_clock: trio.testing.MockClock) -> None:
    """What ends within the grace period is done, what does not is cancelled, and both are told."""
    assert autojump_clock

    async def work(_call: Call) -> None:
        await trio.sleep(5)

    for grace_s, state in ((10.0, "done"), (1.0, "cancelled")):
        bench = Bench("scan", work)
        with bench.hub.subscribe("job.ended") as ended:
            async with bench.serving(grace_s):
                bench.begin()
                await trio.testing.wait_all_tasks_blocked()
            [delivery] = ended.queued()
        assert delivery.event.data["job"]["state"] == state
