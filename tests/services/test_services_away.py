"""While the database is away: ingestion waits for it, and whoever follows it says so once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog
import trio
from service_parts import PARAMS, WatchedIndex, music_file, published, track_file

from dejavud.errors import IndexAway, IndexDamaged
from dejavud.services.events import EventHub
from dejavud.services.follower import Follower
from dejavud.services.ingest import Ingest
from dejavud.services.inline_workers import InlineWorkers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trio.testing import MockClock

    from dejavud.services.ingest import Ingested
    from dejavud.values import NewTrack, Track

AWAY = IndexAway(url="postgresql://music:***@db/x", reason="connection refused")


class LeavingIndex(WatchedIndex):
    """Is away for some calls.

    n_reads, n_adds : how many reads and commits fail before they work again.
    is_stored : whether a commit that fails was stored all the same, and only the answer was lost.
    """

    def __init__(self, *, n_reads: int = 0, n_adds: int = 0, is_stored: bool = False) -> None:
        super().__init__()
        self.n_reads = n_reads
        self.n_adds = n_adds
        self.is_stored = is_stored

    def tracks(
        self,
        *,
        ids: Sequence[int] | None = None,
        sha1s: Sequence[str] | None = None,
        limit: int | None = None,
        after_id: int = 0,
    ) -> Sequence[Track]:
        """See `Index.tracks`."""
        self.n_reads -= 1
        if self.n_reads >= 0:
            raise AWAY
        return super().tracks(ids=ids, sha1s=sha1s, limit=limit, after_id=after_id)

    def add(self, entries: Sequence[NewTrack]) -> Sequence[Track]:
        """See `Index.add`."""
        self.n_adds -= 1
        if self.n_adds >= 0:
            if self.is_stored:
                super().add(entries)
            raise AWAY
        return super().add(entries)


async def ingested(index: LeavingIndex, path: Path, hub: EventHub) -> Ingested:
    """Ingest one file."""
    ingest = Ingest(index, InlineWorkers(), hub, PARAMS)
    async with trio.open_nursery() as nursery:
        await nursery.start(ingest.serve)
        result = await ingest.add(track_file(path))
        nursery.cancel_scope.cancel()
    return result


async def test_a_track_waits_for_the_database(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Away before it is known whether the file is, and away at the commit: it is stored once, and told of once."""
    index, hub = LeavingIndex(n_reads=4, n_adds=5), EventHub()
    started_s = autojump_clock.current_time()
    events = published(hub)
    result = await ingested(index, music_file(tmp_path, 1), hub)
    assert result.added
    assert [track.id for track in index.tracks()] == [result.track.id]
    assert [event.topic for event in events] == ["track.added"]
    assert 3.0 < autojump_clock.current_time() - started_s < 12.0


async def test_a_commit_whose_answer_was_lost_is_a_new_track_all_the_same(tmp_path: Path) -> None:
    """It was stored at the first try; whoever waits, and whoever subscribes, is told that it is new, and it is there once."""
    index, hub = LeavingIndex(n_adds=1, is_stored=True), EventHub()
    events = published(hub)
    result = await ingested(index, music_file(tmp_path, 1), hub)
    assert result.added
    assert [event.topic for event in events] == ["track.added"]
    assert len(index.tracks()) == 1


async def test_who_leaves_meanwhile_leaves_nothing_behind(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A track that nobody waits for any more is not stored when the database is back; the next one is."""
    index = LeavingIndex(n_adds=5)
    ingest = Ingest(index, InlineWorkers(), EventHub(), PARAMS)
    async with trio.open_nursery() as nursery:
        await nursery.start(ingest.serve)
        left_s = autojump_clock.current_time() + 0.5
        with trio.move_on_at(left_s) as left:
            await ingest.add(track_file(music_file(tmp_path, 1)))
        assert left.cancelled_caught
        kept = await ingest.add(track_file(music_file(tmp_path, 2)))
        nursery.cancel_scope.cancel()
    assert [track.id for track in index.tracks()] == [kept.track.id]


async def test_the_end_of_the_daemon_does_not_wait_for_the_database(tmp_path: Path) -> None:
    """Who waits is told that it is away; so is who waits behind."""
    index = LeavingIndex(n_adds=10**6)
    ingest = Ingest(index, InlineWorkers(), EventHub(), PARAMS)
    n_told = 0

    async def add(seed: int) -> None:
        nonlocal n_told
        with pytest.raises(IndexAway):
            await ingest.add(track_file(music_file(tmp_path, seed)))
        n_told += 1

    with trio.fail_after(20):
        async with trio.open_nursery() as callers, trio.open_nursery() as serving:
            await serving.start(ingest.serve)
            for seed in (1, 2, 3):
                callers.start_soon(add, seed)
            while index.n_adds > 10**6 - 3:  # noqa: ASYNC110 - the writer tells nobody that it tries again
                await trio.sleep(0.01)
            serving.cancel_scope.cancel()
    assert n_told == 3


async def test_who_follows_says_once_that_the_database_went_and_came(autojump_clock: MockClock) -> None:
    """However often it looks; other trouble is said once as well, and the looking goes on."""
    outcomes: list[Exception | None] = [None, AWAY, AWAY, AWAY, None, None, AWAY, None]
    damaged = IndexDamaged(path="x", reason="y")
    outcomes += [damaged, damaged, None]
    done = trio.Event()
    forgotten: list[Sequence[int] | None] = []

    def follow() -> tuple[int, ...]:
        if not outcomes:
            done.set()
            return ()
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return (7,)

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(Follower(follow, InlineWorkers(), 2.0, forgotten.append).serve)
            await done.wait()
            nursery.cancel_scope.cancel()
    assert [entry["event"] for entry in logs] == [
        "index_away",
        "index_back",
        "index_away",
        "index_back",
        "follow_failed",
    ]
    assert logs[1]["away_s"] == 6.0
    assert autojump_clock.current_time() >= 22.0
    assert forgotten == [(7,)] * 5
