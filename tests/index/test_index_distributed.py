"""Postings that are spread over three servers: one statement each, what a server that is away hides, and nothing ever there in part."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from databases import PostgreSQL, running
from index_entries import meetings_of, new_track, rows_of

from dejavud.errors import IndexAway, IndexDamaged
from dejavud.fingerprint.classic_params import GENERATIONS
from dejavud.index.sql.index import SqlIndex, open_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shards import Cluster, ShardedPostgreSQL

    from dejavud.fingerprint.params import Params
    from dejavud.values import Hashes, Hits

QUERY = new_track(9, 400).hashes
HEALED_WITHIN_S = 10.0


@pytest.fixture
def index(cluster: Cluster, params: Params) -> Iterator[SqlIndex]:
    """Give an empty distributed index."""
    with open_sql(cluster.url, params) as opened:
        yield opened


@pytest.fixture
def stored(index: SqlIndex) -> dict[int, Hashes]:
    """Give the hashes of the four tracks that are in the index, by id."""
    entries = [new_track(seed) for seed in range(4)]
    added = index.add(entries)
    return {track.id: entry.hashes for track, entry in zip(added, entries, strict=True)}


def until(holds: Callable[[], bool], within_s: float = HEALED_WITHIN_S) -> None:
    """Return when it holds; what is watched is in another process."""
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def is_more_than(listed: list[int], n: int) -> bool:
    """Tell whether there are more than `n` in the list by now."""
    return len(listed) > n


def whole(index: SqlIndex) -> Hits:
    """Return the hits of the query, of the first answer to which nothing is unseen."""
    answers: list[Hits] = []

    def is_whole() -> bool:
        answers.append(index.lookup(QUERY))
        return not answers[-1].unseen

    until(is_whole)
    return answers[-1]


def strays(index: SqlIndex) -> list[int]:
    """Return the ids of strays once all shards are there, by the connection that is asked, too."""
    found: list[int] = []

    def are_told() -> bool:
        with suppress(IndexAway):
            found[:] = index.stray_ids()
            return True
        return False

    until(are_told)
    return found


def test_every_shard_is_asked_by_one_statement_and_at_the_same_time(
    cluster: Cluster, index: SqlIndex, stored: dict[int, Hashes]
) -> None:
    """All shards have the whole list of hashes before any of them has answered, and none is asked twice."""
    answers: list[Hits] = []
    asking = threading.Thread(target=lambda: answers.append(index.lookup(QUERY)))
    heard: dict[int, list[str]] = {n: [] for n in range(len(cluster.shards))}

    def all_have_it() -> bool:
        for n, shard in enumerate(cluster.shards):
            heard[n] += cluster.statements(shard)
        return all(any("FETCH" in line or "select `hash`" in line for line in lines) for lines in heard.values())

    with cluster.gated():
        for shard in cluster.shards:
            cluster.statements(shard)
        asking.start()
        until(all_have_it)
        assert answers == []
    asking.join(30)
    assert rows_of(answers[0]) == meetings_of(QUERY, stored)
    for lines in heard.values():
        [statement] = [line for line in lines if "hash" in line.lower() and "WHERE" in line.upper()]
        assert statement.count(",") >= len(set(QUERY.values.tolist())) - 1


def test_a_shard_that_is_away_is_named_and_the_others_answer(
    cluster: Cluster, index: SqlIndex, stored: dict[int, Hashes]
) -> None:
    """What is found is part of the whole answer, and soon found; when the shard is back, so is the whole."""
    everything = meetings_of(QUERY, stored)
    assert rows_of(whole(index)) == everything
    cluster.shards[1].stop()
    began_s = time.monotonic()
    for _ in range(5):
        hits = index.lookup(QUERY)
        [reason] = hits.unseen
        assert reason.startswith("shard2: ")
        assert "127.0.0.1" not in reason
        found = rows_of(hits)
        assert set(found) < set(everything)
        assert len(found) > len(everything) / 3
    assert time.monotonic() - began_s < 3
    with pytest.raises(IndexAway):
        index.postings(0, 2**31 - 1)
    assert index.statistics().reachable
    assert len(index.tracks()) == len(stored)
    cluster.shards[1].start()
    assert rows_of(whole(index)) == everything


def test_a_daemon_starts_without_a_shard_and_after_its_coordinator_did(
    cluster: Cluster, index: SqlIndex, stored: dict[int, Hashes], params: Params
) -> None:
    """The coordinator comes up while a shard is away: an index that is opened then answers, and one that was open goes on."""
    cluster.shards[2].stop()
    cluster.coordinator.kill()
    with pytest.raises(IndexAway):
        index.lookup(QUERY)
    cluster.coordinator.start()
    with open_sql(cluster.url, params) as fresh:
        assert [track.id for track in fresh.tracks()] == list(stored)
        [reason] = fresh.lookup(QUERY).unseen
        assert reason.startswith("shard3: ")
    cluster.shards[2].start()

    def is_whole() -> bool:
        try:
            return rows_of(index.lookup(QUERY)) == meetings_of(QUERY, stored)
        except IndexAway:
            return False

    until(is_whole)


def test_without_any_shard_it_is_away(cluster: Cluster, index: SqlIndex, stored: dict[int, Hashes]) -> None:
    """An answer out of nothing would be taken for "no match"."""
    for shard in cluster.shards:
        shard.stop()
    with pytest.raises(IndexAway, match="none of its shards"):
        index.lookup(QUERY)
    assert index.statistics().n_tracks == len(stored)


def test_adding_needs_all_shards(cluster: Cluster, index: SqlIndex, stored: dict[int, Hashes]) -> None:
    """Without one nothing is stored; when it is back the same track is, whole, under the next id."""
    cluster.shards[0].stop()
    entry = new_track(7, 3)  # so few hashes that the shard may not have to hold any
    with pytest.raises(IndexAway):
        index.add([entry])
    assert len(index.tracks()) == len(stored)
    cluster.shards[0].start()
    until(lambda: not index.lookup(QUERY).unseen)
    [added] = index.add([entry])
    assert added.id == max(stored) + 1
    assert len(index.postings(added.id, added.id)) == 3


def test_what_half_a_commit_left_is_nobody_s_and_gone_with_the_next(
    cluster: Cluster, index: SqlIndex, stored: dict[int, Hashes]
) -> None:
    """Postings under the id that is next are in no answer, and that track has none of them when it comes."""
    left = [int(value) for value in QUERY.values[:50].view("int32")]
    next_id = max(stored) + 1
    more = ", copy" if "mysql" in cluster.url else ""
    values = ", ".join(f"({value}, {next_id}, {n}{', 0' * bool(more)})" for n, value in enumerate(left))
    cluster.execute(f"INSERT INTO postings (hash, track_id, frame{more}) VALUES {values}")  # noqa: S608 - numbers
    assert rows_of(index.lookup(QUERY)) == meetings_of(QUERY, stored)
    assert list(index.stray_ids()) == [next_id]
    entry = new_track(7)
    [added] = index.add([entry])
    assert added.id == next_id
    assert rows_of(index.lookup(QUERY)) == meetings_of(QUERY, {**stored, next_id: entry.hashes})
    assert list(index.stray_ids()) == []


def test_a_removal_does_not_wait_for_a_shard(cluster: Cluster, index: SqlIndex, stored: dict[int, Hashes]) -> None:
    """The track is gone at once; what the shard still has of it is found as strays, and swept by `remove`."""
    cluster.shards[1].stop()
    assert [track.id for track in index.remove([1])] == [1]
    assert [track.id for track in index.tracks()] == [2, 3, 4]
    cluster.shards[1].start()
    whole(index)
    assert strays(index) == [1]
    index.remove([1])
    assert strays(index) == []
    del stored[1]
    assert rows_of(whole(index)) == meetings_of(QUERY, stored)


def test_a_shard_killed_among_commits_leaves_no_track_in_part(cluster: Cluster, index: SqlIndex) -> None:
    """Three times over, at points that nobody chose: what was acknowledged is there whole, nothing else is there as a track."""
    acknowledged: list[int] = []
    seeds = iter(range(100, 100_000))
    for n in range(3):
        ended = threading.Event()

        def add(ended: threading.Event = ended) -> None:
            while not ended.is_set():
                try:
                    acknowledged.extend(track.id for track in index.add([new_track(next(seeds), 2000)]))
                except IndexAway:
                    ended.set()

        adding = threading.Thread(target=add)
        adding.start()
        until(partial(is_more_than, acknowledged, len(acknowledged)))
        time.sleep(0.01 * n)  # the point is random, and no wait for anything
        cluster.shards[n].kill()
        assert ended.wait(30)
        adding.join(30)
        cluster.shards[n].start()
        until(lambda: not index.lookup(QUERY).unseen)
        tracks = index.tracks()
        assert [track.id for track in tracks] == acknowledged
        postings = index.postings(0, tracks[-1].id)
        for track, hashes in zip(tracks, postings.by_track(acknowledged), strict=True):
            assert len(hashes) == track.n_hashes


def test_a_table_that_does_not_fit_is_refused(cluster: Cluster) -> None:
    """Hashes of 64 bits do not go into a table for those of 32, and the message says so; nothing was made beside it."""
    with pytest.raises(IndexDamaged, match="hash of 64 bits"), open_sql(cluster.url, GENERATIONS["dejavu-2020"]):
        pass
    assert cluster.tables() == {"postings"}


def test_a_shard_that_hangs_is_done_without(sharded_postgresql: Cluster, params: Params) -> None:
    """It takes connections and answers nothing: a query has its answer within its time, and the next ones do not wait at all."""
    sharded_postgresql.empty()
    with open_sql(sharded_postgresql.url, params) as index:
        index.add([new_track(1)])
        sharded_postgresql.shards[0].freeze()
        try:
            hits = index.lookup(QUERY, timeout_s=3)
            assert [reason.partition(":")[0] for reason in hits.unseen] == ["shard1"]
            began_s = time.monotonic()
            assert index.lookup(QUERY, timeout_s=3).unseen
            assert time.monotonic() - began_s < 0.5
        finally:
            sharded_postgresql.shards[0].thaw()
        whole(index)


def test_an_index_of_wide_hashes_is_set_up_by_the_same_files(sharded_postgresql: Cluster) -> None:
    """With hash_type=bigint the tables hold the hashes of a classic profile."""
    wide = sharded_postgresql.beside(64)
    hashes = new_track(1).hashes
    with open_sql(wide.url, GENERATIONS["dejavu-2020"]) as index:
        wider = type(hashes)(hashes.values.astype("uint64") << 32 | 0xFFFFFFFF, hashes.offsets)
        [added] = index.add([new_track(1, hashes=wider)])
        assert rows_of(index.lookup(wider)) == meetings_of(wider, {added.id: wider})


def test_a_shard_is_added_as_its_file_says(sharded_postgresql: ShardedPostgreSQL, params: Params) -> None:
    """Half of what one shard holds moves to a fourth; every posting is there once, and new ones go to all four."""
    cluster = sharded_postgresql.beside(32)
    entries = [new_track(seed) for seed in range(6)]
    with open_sql(cluster.url, params) as index:
        added = index.add(entries[:4])
    stored = {track.id: entry.hashes for track, entry in zip(added, entries, strict=False)}
    with running(PostgreSQL) as server:
        cluster.grow(server)
        with open_sql(cluster.url, params) as index:
            assert rows_of(index.lookup(QUERY)) == meetings_of(QUERY, stored)
            more = index.add(entries[4:])
            stored |= {track.id: entry.hashes for track, entry in zip(more, entries[4:], strict=True)}
            assert rows_of(index.lookup(QUERY)) == meetings_of(QUERY, stored)
            server.stop()
            [reason] = index.lookup(QUERY).unseen
            assert reason.startswith("shard4: ")
