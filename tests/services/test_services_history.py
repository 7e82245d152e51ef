"""The history as a service: what listeners tell is written, through outages too, and asked for by its commands."""

from __future__ import annotations

from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from dejavud.errors import IndexAway, InvalidRequest, NothingSelected, PageNotFound
from dejavud.index.duckdb.history import MemoryHistory
from dejavud.index.history.history import History
from dejavud.index.history.plays import PlayFilter
from dejavud.services import history as history_service
from dejavud.services.clients import LOCAL
from dejavud.services.commands import Call, Command, CommandTable
from dejavud.services.events import EventHub
from dejavud.services.history import HistorySettings, PlayRecorder, daemon_name
from dejavud.services.history_handlers import HistoryHandlers
from dejavud.services.inline_workers import InlineWorkers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from dejavud.index.history.plays import KeptPlay

BERLIN = "Europe/Berlin"
STARTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class WatchedHistory(History):
    """Fails as a database that is away while `is_away`, and notes how many plays each transaction held."""

    def __init__(self) -> None:
        super().__init__(MemoryHistory())
        self.is_away = False
        self.batches: list[int] = []
        self.tried = trio.Event()

    def record(self, plays: Sequence[KeptPlay]) -> None:
        """See `History.record`."""
        self.tried.set()
        if self.is_away:
            raise IndexAway(url="postgresql://db/x", reason="connection refused")
        self.batches.append(len(plays))
        super().record(plays)


class Bench:
    """A recorder over a history in memory, with the listeners that a test makes up."""

    def __init__(self, history: WatchedHistory, folder: Path, settings: HistorySettings) -> None:
        self.hub, self.workers, self.history = EventHub(), InlineWorkers(), history
        self.going: list[dict[str, Any]] = []
        self.recorder = PlayRecorder(
            history,
            self.workers,
            self.hub,
            settings,
            listeners=lambda: [{"plays": self.going}],
            folder=folder,
        )
        rows = HistoryHandlers(self.recorder, self.workers).rows()
        self.table = CommandTable(tuple(Command(*row) for row in rows))

    def tell(self, kind: str, number: int, **changes: object) -> None:
        """Publish what a listener would."""
        self.hub.publish(f"match.{kind}", told(number, **changes))

    async def ask(self, command: str, **params: object) -> dict[str, Any]:
        """Call a command of the history."""
        return await self.table.call(command, params, Call(client=LOCAL))

    def plays(self) -> list[KeptPlay]:
        """Return what is kept, newest first."""
        return self.history.page(PlayFilter(), 100_000)

    async def written(self) -> list[KeptPlay]:
        """Return what is kept when nothing is left to be written."""
        await trio.testing.wait_all_tasks_blocked()
        assert (await self.recorder.status())["n_waiting"] == 0
        return self.plays()


def told(number: int, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field of a play
    """Return the data of an event about a play of one minute, which starts `number` minutes after `STARTED`."""
    given = {
        "listener": "kitchen",
        "source": "mic",
        "play": number,
        "track": {"id": 7, "title": "Nocturne", "artist": "Chopin", "album": None, "path": "/a", "file_sha1": "a" * 40},
        "started_at": (STARTED + timedelta(minutes=number)).isoformat(),
        "start_s": 60.0 * number,
        "end_s": 60.0 * number + 60.0,
        "track_start_s": 0.0,
        "track_end_s": 60.0,
        "confidence": 0.999999,
        "coverage": 0.9,
        "gaps": [{"start_s": 60.0 * number + 5, "end_s": 60.0 * number + 11}],
        "twins": [12],
        "exact": True,
        "outcome": "unheard",
    }
    return {**given, **changes}


@pytest.fixture
def history() -> Iterator[WatchedHistory]:
    """Give an empty history in memory."""
    found = WatchedHistory()
    with closing(found):
        yield found


@asynccontextmanager
async def recording(
    history: WatchedHistory, folder: Path, settings: HistorySettings | None = None
) -> AsyncIterator[Bench]:
    """Give a recorder that runs until the block ends."""
    bench = Bench(history, folder, settings or HistorySettings())
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.recorder.serve)
        yield bench
        nursery.cancel_scope.cancel()


async def test_a_play_is_written_as_it_starts_is_refined_and_ends(
    history: WatchedHistory, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """One row from the beginning: by its listener's clock, so that it moves only where the record does."""
    async with recording(history, tmp_path) as bench:
        bench.tell("started", 3, end_s=182.0, gaps=[], coverage=1.0, track_end_s=2.0)
        (going,) = await bench.written()
        assert (going.outcome, going.started_at) == ("going", STARTED + timedelta(minutes=3))
        assert going.ended_at - going.started_at == timedelta(seconds=2)
        bench.tell("updated", 3, start_s=179.0, started_at="2026-03-01T13:00:00+00:00", gaps=[], coverage=1.0)
        bench.going = [told(3, start_s=179.0, end_s=230.0, gaps=[])]
        await trio.sleep(history_service.REFRESH_S + 1)
        (refreshed,) = await bench.written()
        assert refreshed.started_at == STARTED + timedelta(seconds=179)
        assert (refreshed.outcome, refreshed.ended_at - refreshed.started_at) == ("going", timedelta(seconds=51))
        bench.tell("ended", 3, start_s=179.0)
        (ended,) = await bench.written()
        assert ended.id == f"{bench.hub.daemon}-3"
        assert (ended.outcome, ended.heard_s, ended.gaps) == ("unheard", 54.9, ((185.0, 191.0),))
        assert (ended.title, ended.artist, ended.track_id, ended.twins) == ("Nocturne", "Chopin", 7, (12,))
        await trio.sleep(2 * history_service.REFRESH_S)
        assert await bench.written() == [ended]
    assert autojump_clock is not None


async def test_what_plays_now_is_listed_as_far_as_it_was_heard(history: WatchedHistory, tmp_path: Path) -> None:
    """Who asks between two times that it is written down gets what its listener knows; one that another daemon hears is as it was written."""
    async with recording(history, tmp_path) as bench:
        bench.tell("started", 3, end_s=182.0, gaps=[], coverage=1.0)
        [kept] = await bench.written()
        history.record([replace(kept, id="another-3")])
        bench.going = [told(3, end_s=200.0, gaps=[], coverage=1.0), told(4)]
        plays = (await bench.ask("history.list"))["plays"]
        assert {play["id"]: play["heard_s"] for play in plays} == {f"{bench.hub.daemon}-3": 20.0, "another-3": 2.0}
        first = await bench.ask("history.list", limit=1)
        second = await bench.ask("history.list", limit=1, cursor=first["next"])
        assert [play["id"] for play in (*first["plays"], *second["plays"])] == [play["id"] for play in plays]
        bench.going = []
        bench.tell("ended", 3, end_s=210.0, gaps=[], coverage=1.0)
        await bench.written()
        assert {play["heard_s"] for play in (await bench.ask("history.list"))["plays"]} == {30.0, 2.0}


async def test_what_changes_of_a_play_while_it_is_written_is_written_too(
    history: WatchedHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a play that is told while its beginning is on its way to the database is not taken for written."""
    async with recording(history, tmp_path) as bench:
        await bench.written()
        write, released = bench.workers.write, trio.Event()

        async def held(function: Any, *args: object) -> object:  # noqa: ANN401 - any function of any arguments
            result = await write(function, *args)
            await released.wait()
            return result

        monkeypatch.setattr(bench.workers, "write", held)
        bench.tell("started", 1)
        await trio.testing.wait_all_tasks_blocked()
        assert [play.outcome for play in bench.plays()] == ["going"]
        bench.tell("ended", 1)
        await trio.testing.wait_all_tasks_blocked()
        released.set()
        assert [play.outcome for play in await bench.written()] == ["unheard"]


async def test_an_outage_loses_nothing(
    history: WatchedHistory, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """What is told while the database is away is written when it is back, each play once, and `status` says so meanwhile."""
    async with recording(history, tmp_path) as bench:
        bench.tell("started", 1)
        await bench.written()
        history.is_away = True
        for number in range(1, 1200):
            bench.tell("ended" if number == 1 else "started", number)
        for number in range(2, 1200):
            bench.tell("ended", number)
        with capture_logs() as logs:
            await trio.sleep(600)
        status = await bench.recorder.status()
        assert (status["n_waiting"], status["n_dropped"], status["n_plays"]) == (1199, 0, 1)
        assert "connection refused" in status["reason"]
        assert [entry["event"] for entry in logs].count("history_waits") <= 1
        history.is_away = False
        await trio.sleep(history_service.LONGEST_PAUSE_S + 1)
        plays = await bench.written()
        assert len(plays) == 1199
        assert {play.outcome for play in plays} == {"unheard"}
        assert max(history.batches) == history_service.BATCH_PLAYS
        assert (await bench.recorder.status())["reason"] is None
    assert autojump_clock is not None


async def test_what_no_longer_fits_is_lost_from_the_oldest_on_and_said(
    history: WatchedHistory, tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded however long a database is away; how many plays that cost is in `status` and in the log."""
    monkeypatch.setattr(history_service, "MAX_PENDING", 50)
    async with recording(history, tmp_path) as bench:
        history.is_away = True
        with capture_logs() as logs:
            for number in range(80):
                bench.tell("started", number)
            bench.tell("ended", 30)
            await trio.sleep(5)
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["history_dropped"]
        assert (await bench.recorder.status())["n_dropped"] == 30
        history.is_away = False
        await trio.sleep(history_service.LONGEST_PAUSE_S + 1)
        assert sorted(play.start_s for play in await bench.written()) == [60.0 * number for number in range(30, 80)]
    assert autojump_clock is not None


async def test_what_is_told_last_is_written_before_the_end(history: WatchedHistory, tmp_path: Path) -> None:
    """Listeners end their plays when the daemon does; those are not lost."""
    async with recording(history, tmp_path) as bench:
        bench.tell("started", 1)
        await bench.written()
        bench.tell("ended", 1, outcome="stopped")
    assert [play.outcome for play in bench.plays()] == ["stopped"]
    assert [path.name for path in await trio.Path(tmp_path).iterdir()] == ["daemon-name"]


async def test_what_the_database_does_not_take_before_the_end_is_written_by_the_next_life(
    history: WatchedHistory, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Kept in a file meanwhile, for as many lives as it takes; what went on then has ended."""
    async with recording(history, tmp_path) as bench:
        history.is_away = True
        bench.tell("ended", 1)
        bench.tell("started", 2)
    unwritten = trio.Path(tmp_path / "history-unwritten.json")
    assert await unwritten.exists()
    async with recording(history, tmp_path) as bench:
        bench.tell("ended", 3)
        await trio.sleep(5)
    history.is_away = False
    async with recording(history, tmp_path) as bench:
        assert [play.outcome for play in await bench.written()] == ["unheard", "cut_off", "unheard"]
        assert not await unwritten.exists()
    with capture_logs() as logs:
        await unwritten.write_text('[{"id": 7}]')
        async with recording(history, tmp_path) as bench:
            assert len(await bench.written()) == 3
    assert "history_unreadable" in [entry["event"] for entry in logs]
    assert autojump_clock is not None


async def test_what_a_crash_left_open_is_closed_at_the_next_start(
    history: WatchedHistory, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """As far as it was known, marked as cut off; the new life's own plays are not touched."""
    async with recording(history, tmp_path) as bench:
        bench.tell("started", 1)
        (before,) = await bench.written()
    async with recording(history, tmp_path) as bench:
        bench.tell("started", 2)
        now, closed = await bench.written()
        assert (closed.id, closed.outcome, closed.ended_at) == (before.id, "cut_off", before.ended_at)
        assert (now.outcome, now.daemon) == ("going", before.daemon)
    assert autojump_clock is not None


async def test_old_plays_are_forgotten_and_young_ones_stay(
    history: WatchedHistory, tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start and every hour, some at a time; without a limit none."""
    monkeypatch.setattr(history_service, "PRUNE_PLAYS", 3)
    now = datetime.now(UTC)
    async with recording(history, tmp_path) as bench:
        for number, days in enumerate([40, 39, 38, 37, 36, 29.9, 1]):
            bench.tell("ended", number, started_at=(now - timedelta(days=days)).isoformat(), start_s=0.0, end_s=60.0)
        assert len(await bench.written()) == 7
    async with recording(history, tmp_path, HistorySettings(keep_days=30)) as bench:
        assert len(await bench.written()) == 2
        bench.tell("ended", 8, started_at=(now - timedelta(days=31)).isoformat(), start_s=0.0, end_s=60.0)
        assert len(await bench.written()) == 3
        await trio.sleep(history_service.PRUNE_S + 1)
        assert len(await bench.written()) == 2
    assert autojump_clock is not None


async def test_a_history_that_is_switched_off_writes_nothing(history: WatchedHistory, tmp_path: Path) -> None:
    """What is there can still be asked for."""
    async with recording(history, tmp_path, HistorySettings(enabled=False, keep_days=1)) as bench:
        bench.tell("ended", 1)
        assert await bench.written() == []
        assert (await bench.ask("history.list"))["plays"] == []
        assert not (await bench.recorder.status())["enabled"]


def test_a_daemon_keeps_its_name(tmp_path: Path) -> None:
    """Over all its lives; what is no name is replaced, and where none can be kept there is one all the same."""
    path = tmp_path / "daemon-name"
    name = daemon_name(path)
    assert daemon_name(path) == name
    path.write_text("\x00nonsense" * 20)
    assert daemon_name(path) != name
    assert daemon_name(tmp_path / "missing" / "name").isalnum()


async def test_pages_by_cursor_with_every_filter(history: WatchedHistory, tmp_path: Path) -> None:
    """As a client asks: newest first, from when to when as people say it, in the zone that is named."""
    async with recording(history, tmp_path) as bench:
        for number in range(6):
            track = {**told(0)["track"], "id": number % 2 + 1, "title": f"Étude {number % 2}"}
            bench.tell("ended", number, listener="radio" if number % 3 else "kitchen", track=track)
        await bench.written()
        first = await bench.ask("history.list", limit=4)
        second = await bench.ask("history.list", limit=4, cursor=first["next"])
        assert second["next"] is None
        assert [play["start_s"] / 60 for play in first["plays"] + second["plays"]] == [5, 4, 3, 2, 1, 0]
        for params, expected in (
            ({"listener": "kitchen"}, [3, 0]),
            ({"tracks": [2]}, [5, 3, 1]),
            ({"search": "etude 1", "listener": "radio"}, [5, 1]),
            ({"since": "2026-03-01T13:03", "zone": BERLIN}, [5, 4, 3]),
            ({"until": "2026-03-01T12:01"}, [0]),
            ({"day": "2026-03-01", "zone": BERLIN, "min_heard_s": 54}, [5, 4, 3, 2, 1, 0]),
            ({"day": "2026-02-28"}, []),
            ({"min_heard_s": 54.1}, []),
            ({"ids": [f"{bench.hub.daemon}-2"]}, [2]),
        ):
            found = await bench.ask("history.list", **params)
            assert [play["start_s"] / 60 for play in found["plays"]] == expected, params
        shown = first["plays"][0]
        assert shown["track"] == {"id": 2, "title": "Étude 1", "artist": "Chopin", "album": None, "file_sha1": "a" * 40}
        assert (shown["heard_s"], shown["gaps"]) == (54.0, [{"start_s": 305.0, "end_s": 311.0}])


async def test_summaries_by_track_artist_listener_day_and_hour(history: WatchedHistory, tmp_path: Path) -> None:
    """What played, how often and how long; days and hours are those of the zone that is named."""
    async with recording(history, tmp_path) as bench:
        for number in range(0, 900, 100):  # 12:00 to 01:20 UTC
            track = {**told(0)["track"], "id": 1 + (number >= 600), "artist": "Chopin" if number < 800 else None}
            bench.tell("ended", number, track=track)
        await bench.written()
        tracks = await bench.ask("history.summary", sort="heard")
        assert [(group["track"]["id"], group["n_plays"], group["heard_s"]) for group in tracks["groups"]] == [
            (1, 6, 324.0),
            (2, 3, 162.0),
        ]
        assert (tracks["n_plays"], tracks["n_tracks"], tracks["heard_s"], tracks["n_groups"]) == (9, 2, 486.0, 2)
        artists = await bench.ask("history.summary", by="artist", limit=1)
        assert [(group["artist"], group["n_plays"]) for group in artists["groups"]] == [("Chopin", 8)]
        assert artists["n_groups"] == 2
        days = await bench.ask("history.summary", by="day", zone=BERLIN)
        assert [(group["day"], group["n_plays"]) for group in days["groups"]] == [("2026-03-01", 7), ("2026-03-02", 2)]
        hours = await bench.ask("history.summary", by="hour", zone="+05:45", limit=2)
        assert [(group["hour"], group["n_plays"]) for group in hours["groups"]] == [
            ("2026-03-02T05:00+05:45", 1),
            ("2026-03-02T07:00+05:45", 1),
        ]
        assert hours["n_groups"] == 9
        day = await bench.ask("history.summary", by="listener", day="2026-03-02", zone=BERLIN)
        assert (day["since"], day["until"], day["n_plays"]) == (
            "2026-03-01T23:00:00+00:00",
            "2026-03-02T23:00:00+00:00",
            2,
        )


async def test_days_on_which_the_clocks_are_changed(history: WatchedHistory, tmp_path: Path) -> None:
    """One has 25 hours, of which one is told twice, and the other 23; no play is counted in two days or in none."""
    async with recording(history, tmp_path) as bench:
        starts = [datetime(2026, 10, 24, 22, tzinfo=UTC) + timedelta(minutes=30 * number) for number in range(-1, 51)]
        for number, at in enumerate(starts):
            bench.tell("ended", number, started_at=at.isoformat(), start_s=0.0, end_s=60.0)
        await bench.written()
        days = await bench.ask("history.summary", by="day", zone=BERLIN)
        assert [(group["day"], group["n_plays"]) for group in days["groups"]] == [
            ("2026-10-24", 1),
            ("2026-10-25", 50),
            ("2026-10-26", 1),
        ]
        assert (days["groups"][1]["since"], days["groups"][1]["until"]) == (
            "2026-10-25T00:00:00+02:00",
            "2026-10-26T00:00:00+01:00",
        )
        assert (await bench.ask("history.summary", day="2026-10-25", zone=BERLIN))["n_plays"] == 50
        hours = (await bench.ask("history.summary", by="hour", day="2026-10-25", zone=BERLIN))["groups"]
        assert len(hours) == 25
        assert [group["hour"][11:] for group in hours[2:4]] == ["02:00+02:00", "02:00+01:00"]
        assert {group["n_plays"] for group in hours} == {2}


async def test_plays_are_removed_only_as_they_are_meant(history: WatchedHistory, tmp_path: Path) -> None:
    """Nothing without a filter, unless everything is asked for; what goes on stays."""
    async with recording(history, tmp_path) as bench:
        for number in range(5):
            bench.tell("ended", number, listener="radio" if number % 2 else "kitchen")
        bench.tell("started", 9)
        await bench.written()
        with pytest.raises(NothingSelected, match="say which plays"):
            await bench.ask("history.remove")
        assert (await bench.ask("history.remove", listener="radio"))["n_removed"] == 2
        assert (await bench.recorder.status())["n_plays"] == 4
        assert (await bench.ask("history.remove", everything=True))["n_removed"] == 3
        assert [play.outcome for play in bench.plays()] == ["going"]


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("history.list", {"since": "tomorrow-ish"}),
        ("history.list", {"zone": "Middle/Earth"}),
        ("history.list", {"zone": "../../etc/passwd"}),
        ("history.list", {"cursor": "bm90IG9uZQ=="}),
        ("history.list", {"limit": 1001}),
        ("history.list", {"min_heard_s": -1.0}),
        ("history.list", {"tracks": list(range(1, 1002))}),
        ("history.list", {"tracks": [2**31]}),
        ("history.list", {"day": "9999-12-31"}),
        ("history.summary", {"by": "month"}),
        ("history.summary", {"sort": "title"}),
    ],
)
async def test_what_is_not_understood_is_said(
    history: WatchedHistory, tmp_path: Path, command: str, params: dict[str, Any]
) -> None:
    """Each with a message that names what it was."""
    async with recording(history, tmp_path) as bench:
        with pytest.raises((InvalidRequest, PageNotFound)) as caught:
            await bench.ask(command, **params)
        assert next(iter(params)) in caught.value.message or str(next(iter(params.values()))) in caught.value.message
