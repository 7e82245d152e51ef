"""A resident view of a database that others write to: it shows what they wrote as soon as it has looked."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from index_entries import TINY, meetings_of, never, new_track, open_kind, rows_of, url_of
from test_index_model import undated

from dejavud.errors import IndexAway
from dejavud.fingerprint.params import Params
from dejavud.index.sql.index import open_sql
from dejavud.index.view.following import ChangedTracks, FollowingIndex
from dejavud.index.view.segment_files import SegmentFolder
from dejavud.index.view.upkeep import Upkeep
from dejavud.values import Hashes, TrackEdit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from databases import PostgreSQL

    from dejavud.index.sql.index import SqlIndex

KINDS = ("sqlite-file", "postgresql", "mariadb")
EVERY = Hashes(np.arange(1000), np.arange(1000))


class Two(NamedTuple):
    """A follower, its upkeep, and another's way into the same database."""

    index: FollowingIndex
    upkeep: Upkeep
    other: SqlIndex


@contextmanager
def two(url: str, folder: Path) -> Iterator[Two]:
    """Give both, the follower with its view made."""
    with open_sql(url, Params()) as store, open_sql(url, Params()) as other:
        index = FollowingIndex(store)
        upkeep = Upkeep(index, store, SegmentFolder(folder, Params()))
        upkeep.run(never)
        assert index.view() is not None
        yield Two(index, upkeep, other)
        index.close()


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Two]:
    """Give a follower and another writer on each kind of database that is shared."""
    with two(url_of(request.param, tmp_path), tmp_path / "view") as both:
        yield both


def assert_same(pair: Two) -> None:
    """Check that the view shows what the database holds."""
    assert pair.index.view() is not None
    assert list(pair.index.tracks()) == list(pair.other.tracks())
    assert rows_of(pair.index.lookup(EVERY)) == rows_of(pair.other.lookup(EVERY))
    ids = [track.id for track in pair.other.tracks()]
    assert set(pair.index.constellations(ids)) == set(ids)
    mine, theirs = pair.index.statistics(), pair.other.statistics()
    assert (mine.n_tracks, mine.n_postings, mine.n_disabled) == (theirs.n_tracks, theirs.n_postings, theirs.n_disabled)


def test_what_another_adds_edits_disables_and_removes_is_seen(pair: Two) -> None:
    """After one look at the changes the view shows every kind of them."""
    one, two, three = pair.other.add([new_track(seed) for seed in (1, 2, 3)])
    pair.index.follow()
    assert_same(pair)
    pair.other.edit({one.id: TrackEdit(title="renamed"), two.id: TrackEdit(disabled=True)})
    pair.other.remove([three.id])
    pair.other.add([new_track(4)])
    pair.index.follow()
    assert_same(pair)
    pair.other.edit({two.id: TrackEdit(disabled=False)})
    pair.index.follow()
    assert_same(pair)


def test_ones_own_write_brings_what_others_wrote_before_it(pair: Two) -> None:
    """Ids ascend in the order of commits, so the view takes them in that order; what both added is one track."""
    pair.other.add([new_track(1), new_track(2)])
    (same, three) = pair.index.add([new_track(2), new_track(3)])
    assert (same.id, three.id) == (2, 3)
    assert_same(pair)
    pair.other.add([new_track(4)])
    pair.index.remove([1])
    assert_same(pair)


def test_a_track_that_came_and_went_between_two_looks_is_no_matter(pair: Two) -> None:
    """It is in the changes and not in the database."""
    (gone,) = pair.other.add([new_track(1)])
    pair.other.remove([gone.id])
    pair.index.follow()
    assert_same(pair)


def test_what_a_backup_puts_back_under_an_old_number_makes_the_view_anew(pair: Two) -> None:
    """Nothing of the number's old track is found."""
    one, _ = pair.other.add([new_track(1), new_track(2)])
    pair.index.follow()
    pair.other.remove([one.id])
    pair.other.add([new_track(3, id=one.id)])
    pair.index.follow()
    pair.upkeep.run(never)
    pair.index.follow()
    assert_same(pair)


def test_one_that_is_far_behind_starts_afresh(pair: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the changes since its last look are no longer kept, the view is made anew."""
    pair.other.add([new_track(1)])
    pair.index.follow()
    monkeypatch.setattr("dejavud.index.sql.index.KEPT_REVISIONS", 2)
    for seed in range(2, 7):
        pair.other.add([new_track(seed)])
    assert pair.other.changes(1).track_ids is None
    pair.index.follow()
    pair.upkeep.run(never)
    assert_same(pair)


def test_what_is_written_while_a_view_is_made_is_in_it(pair: Two) -> None:
    """At every step of the building the other adds, edits and removes."""
    pair.other.add([new_track(seed) for seed in range(4)])
    pair.index.hide()
    seeds = iter(range(10, 100))

    def write() -> bool:
        if (seed := next(seeds, None)) is not None:
            (track,) = pair.other.add([new_track(seed)])
            pair.other.edit({track.id - 1: TrackEdit(title="renamed")})
            pair.other.remove([track.id - 3])
        return False

    pair.upkeep.run(write)
    pair.index.follow()
    assert_same(pair)


class FollowingMachine(RuleBasedStateMachine):
    """Two daemons, each with a view, on one SQLite file; after a look both show what the file holds."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = folder
        self.n_opened = 0

    @initialize()
    def open(self) -> None:
        """Open both."""
        FollowingMachine.n_files = getattr(FollowingMachine, "n_files", 0) + 1
        folder = self.folder / str(FollowingMachine.n_files)
        url = f"sqlite:///{folder}/index.sqlite"
        self.pairs = [self.stack.enter_context(two(url, folder / f"view{n}")) for n in range(2)]
        for pair in self.pairs:
            pair.upkeep._portions = TINY

    @rule(who=st.integers(0, 1), seeds=st.lists(st.integers(0, 12), max_size=3))
    def add(self, who: int, seeds: list[int]) -> None:
        """Add by one of them."""
        self.pairs[who].index.add([new_track(seed, 40, n_values=50) for seed in seeds])

    @rule(who=st.integers(0, 1), ids=st.lists(st.integers(1, 15), max_size=3))
    def remove(self, who: int, ids: list[int]) -> None:
        """Remove by one of them."""
        self.pairs[who].index.remove(ids)

    @rule(who=st.integers(0, 1), ids=st.lists(st.integers(1, 15), max_size=3), disabled=st.booleans())
    def edit(self, who: int, ids: list[int], *, disabled: bool) -> None:
        """Disable or enable by one of them; it is so for that one at once."""
        changed = self.pairs[who].index.edit(dict.fromkeys(ids, TrackEdit(disabled=disabled)))
        found = set(self.pairs[who].index.lookup(EVERY).track_ids.tolist())
        assert not disabled or found.isdisjoint(track.id for track in changed)

    @rule(who=st.integers(0, 1), seed=st.integers(0, 12), track_id=st.integers(1, 15))
    def restore(self, who: int, seed: int, track_id: int) -> None:
        """Put a track back under a number that was free."""
        index = self.pairs[who].index
        if not self.pairs[who].other.tracks(ids=[track_id]):
            index.add([new_track(seed, 40, n_values=50, id=track_id)])

    @rule(who=st.integers(0, 1))
    def keep_up(self, who: int) -> None:
        """Write, merge, or make anew the view of one of them."""
        self.pairs[who].upkeep.run(never)

    @rule(who=st.integers(0, 1))
    def look(self, who: int) -> None:
        """Have one of them look, and compare."""
        pair = self.pairs[who]
        pair.index.follow()
        assert undated(pair.index.tracks()) == undated(pair.other.tracks())
        assert rows_of(pair.index.lookup(EVERY)) == rows_of(pair.other.lookup(EVERY))

    def teardown(self) -> None:
        """Close both."""
        self.stack.close()


def test_two_that_write_in_turn_show_the_same(tmp_path: Path) -> None:
    """Any sequence of writes, upkeep and looks by two followers of one file."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: FollowingMachine(tmp_path),
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_while_the_server_is_away_the_view_answers(postgresql_server: PostgreSQL, tmp_path: Path) -> None:
    """Tracks, look-ups and statistics come from the view, which says so; writes say that it is away; then all goes on."""
    entries = [new_track(seed) for seed in (1, 2)]
    with postgresql_server.database() as url, two(url, tmp_path / "view") as pair:
        added = pair.index.add(entries)
        stored = {track.id: entry.hashes for track, entry in zip(added, entries, strict=True)}
        before = pair.index.statistics()
        postgresql_server.stop()
        with pytest.raises(IndexAway):
            pair.index.follow()
        with pytest.raises(IndexAway) as caught:
            pair.index.add([new_track(3)])
        assert "Geheim" not in f"{caught.value.message} {caught.value.details}"
        assert list(pair.index.tracks()) == list(added)
        assert rows_of(pair.index.lookup(entries[0].hashes)) == meetings_of(entries[0].hashes, stored)
        away = pair.index.statistics()
        assert (away.reachable, away.answers_from, away.n_tracks) == (False, "view", 2)
        postgresql_server.start()
        while not pair.index.statistics().reachable:
            try:
                pair.index.follow()
            except IndexAway:
                continue
        assert pair.index.statistics() == before
        pair.index.add([new_track(3)])
        assert_same(pair)


def test_who_has_no_view_is_told_what_was_touched(pair: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each track that was added, edited or removed since the last look, once; None where nobody knows any more."""
    pair.other.add([new_track(1)])
    changed = ChangedTracks(pair.other)
    assert changed.follow() == ()
    pair.index.add([new_track(2), new_track(3)])
    pair.index.edit({1: TrackEdit(title="x"), 2: TrackEdit(title="y")})
    pair.index.remove([3])
    assert changed.follow() == (1, 2, 3)
    assert changed.follow() == ()
    monkeypatch.setattr("dejavud.index.sql.index.KEPT_REVISIONS", 1)
    for seed in range(4, 8):
        pair.index.add([new_track(seed)])
    assert changed.follow() is None


def test_an_index_without_changes_is_not_shared(tmp_path: Path) -> None:
    """A kind that one process holds has nothing to follow."""
    with open_kind("duckdb-file", tmp_path, Params()) as index:
        assert not hasattr(index, "changes")
