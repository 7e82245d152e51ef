"""Any sequence of adds, removals, look-ups and reopenings: every index does what the one in memory does."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from index_entries import drop_databases, never, new_track, open_kind, open_view, rows_of, sha1_of

from dejavud.errors import TrackIdTaken
from dejavud.fingerprint.params import Params
from dejavud.index.memory import MemoryIndex
from dejavud.index.view.upkeep import Portions
from dejavud.values import Hashes, TrackEdit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.index.base import Index
    from dejavud.values import Track

MAX_HITS = 250
SEEDS = st.integers(0, 12)
IDS = st.lists(st.integers(-1, 15), max_size=5)
QUERIES = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 50)), max_size=40)


def undated(tracks: Sequence[Track]) -> list[tuple[object, ...]]:
    """Return the fields of `tracks` but for the time, which two indexes take at two times."""
    return [tuple(getattr(track, name) for name in track.__slots__ if name != "added_at") for track in tracks]


class IndexMachine(RuleBasedStateMachine):
    """Does the same to a DuckDB file and to the index in memory and compares every answer."""

    KIND = "duckdb-file"

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.opened = self.stack.enter_context(ExitStack())
        self.oracle = MemoryIndex(max_hits=MAX_HITS)

    @initialize()
    def open(self) -> None:
        """Open the file."""
        self.index: Index = self.opened.enter_context(open_kind(self.KIND, self.folder, Params(), max_hits=MAX_HITS))

    @rule()
    def reopen(self) -> None:
        """Close the file and open it again."""
        self.opened.close()
        self.open()

    @rule(seeds=st.lists(SEEDS, max_size=4))
    def add(self, seeds: list[int]) -> None:
        """Add tracks, some of them known, some twice."""
        entries = [new_track(seed, 12 * (seed % 5), n_values=20) for seed in seeds]
        assert undated(self.index.add(entries)) == undated(self.oracle.add(entries))

    @rule(ids=IDS)
    def remove(self, ids: list[int]) -> None:
        """Remove tracks, some of them not there."""
        assert undated(self.index.remove(ids)) == undated(self.oracle.remove(ids))

    @rule(ids=IDS, artist=st.sampled_from([None, "", "Ana"]), disabled=st.none() | st.booleans())
    def edit(self, ids: list[int], artist: str | None, *, disabled: bool | None) -> None:
        """Change tracks, some of them not there, some as they are already."""
        edits = dict.fromkeys(ids, TrackEdit(artist=artist, disabled=disabled))
        assert undated(self.index.edit(edits)) == undated(self.oracle.edit(edits))

    @rule(seed=SEEDS, track_id=st.integers(1, 15), disabled=st.booleans())
    def restore(self, seed: int, track_id: int, *, disabled: bool) -> None:
        """Add a track under an id that it brings, which may have been another's, and may be still."""
        entry = new_track(seed, 12 * (seed % 5), n_values=20, id=track_id, disabled=disabled)
        answers: list[object] = []
        for index in (self.index, self.oracle):
            try:
                answers.append(undated(index.add([entry])))
            except TrackIdTaken as error:
                answers.append(error.message)
        assert answers[0] == answers[1]

    @rule(query=QUERIES)
    def look_up(self, query: list[tuple[int, int]]) -> None:
        """Ask for hashes, some of them several times."""
        hashes = Hashes(np.array([h for h, _ in query], np.uint32), np.array([o for _, o in query], np.int32))
        assert rows_of(self.index.lookup(hashes)) == rows_of(self.oracle.lookup(hashes))

    @rule(
        ids=st.none() | IDS,
        seeds=st.none() | st.lists(SEEDS, max_size=4),
        limit=st.none() | st.integers(0, 4),
        after_id=st.integers(-1, 20),
    )
    def select(self, ids: list[int] | None, seeds: list[int] | None, limit: int | None, after_id: int) -> None:
        """Select tracks in every combination of restrictions."""
        sha1s = None if seeds is None else [sha1_of(seed) for seed in seeds]
        mine, theirs = (
            undated(index.tracks(ids=ids, sha1s=sha1s, limit=limit, after_id=after_id))
            for index in (self.index, self.oracle)
        )
        assert mine == theirs

    @rule(ids=IDS)
    def read_constellations(self, ids: list[int]) -> None:
        """Read constellations, some of them not there."""
        mine, theirs = self.index.constellations(ids), self.oracle.constellations(ids)
        assert set(mine) == set(theirs)
        for track_id, stars in mine.items():
            np.testing.assert_array_equal(stars.frames, theirs[track_id].frames)
            np.testing.assert_array_equal(stars.bins, theirs[track_id].bins)
            np.testing.assert_array_equal(stars.quarters, theirs[track_id].quarters)

    @precondition(lambda self: hasattr(self, "index"))
    @invariant()
    def counts_agree(self) -> None:
        """Both hold as much."""
        mine, theirs = self.index.statistics(), self.oracle.statistics()
        assert (mine.n_tracks, mine.n_postings) == (theirs.n_tracks, theirs.n_postings)
        assert mine.n_disabled == theirs.n_disabled
        assert mine.duration_s == theirs.duration_s

    @precondition(lambda self: hasattr(self, "index"))
    @invariant()
    def every_posting_is_found(self) -> None:
        """Asked for every value there is, both give the same postings."""
        every = Hashes(np.arange(20), np.arange(20))
        assert rows_of(self.index.lookup(every)) == rows_of(self.oracle.lookup(every))

    def teardown(self) -> None:
        """Close and delete it."""
        self.opened.close()
        drop_databases(self.folder)
        self.stack.close()


class SQLiteMachine(IndexMachine):
    """Does it to an SQLite file."""

    KIND = "sqlite-file"


class PostgreSQLMachine(IndexMachine):
    """Does it to a PostgreSQL database."""

    KIND = "postgresql"


class MariaDBMachine(IndexMachine):
    """Does it to a MariaDB database."""

    KIND = "mariadb"


class ViewMachine(IndexMachine):
    """Has a view whose upkeep runs at any time, and whose files are damaged while it is closed; the store beneath stays open."""

    PORTIONS = Portions(loose=40, run=60, read=30, late=10)

    def __init__(self) -> None:
        super().__init__()
        self.store = self.stack.enter_context(closing(MemoryIndex(max_hits=MAX_HITS)))

    @initialize()
    def open(self) -> None:
        """Open the view, which is there after the next upkeep."""
        view = open_view(self.store, self.folder / "view", Params(), max_hits=MAX_HITS, portions=self.PORTIONS)
        self.index, self.upkeep = self.opened.enter_context(view)

    @precondition(lambda self: hasattr(self, "upkeep"))
    @rule()
    def keep_up(self) -> None:
        """Build, write and merge."""
        assert self.upkeep.run(never).state == "ready"

    @precondition(lambda self: hasattr(self, "upkeep"))
    @rule(n_steps=st.integers(0, 20))
    def keep_up_a_little(self, n_steps: int) -> None:
        """Be stopped somewhere in the middle."""
        left = iter(range(n_steps))
        self.upkeep.run(lambda: next(left, None) is None)

    @rule(which=st.integers(0, 1000), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
    def reopen_damaged(self, which: int, where: float, bit: int, *, cut: bool) -> None:
        """Close it, change one bit of one file of the view or cut it there, and open it again."""
        self.opened.close()
        files = sorted(path for path in self.folder.glob("view/*/*") if path.stat().st_size)
        if files:
            path = files[which % len(files)]
            contents = bytearray(path.read_bytes())
            place = int(where * len(contents))
            contents[place] ^= 1 << bit
            path.write_bytes(contents[:place] if cut else contents)
        self.open()


IndexMachine.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
ViewMachine.TestCase.settings = settings(IndexMachine.TestCase.settings, max_examples=60, stateful_step_count=40)
for machine in (SQLiteMachine, PostgreSQLMachine, MariaDBMachine):
    machine.TestCase.settings = settings(IndexMachine.TestCase.settings, max_examples=6)
test_every_index_does_what_the_one_in_memory_does = IndexMachine.TestCase
test_so_does_one_in_sqlite = SQLiteMachine.TestCase
test_so_does_one_in_postgresql = PostgreSQLMachine.TestCase
test_so_does_one_in_mariadb = MariaDBMachine.TestCase
test_so_does_one_with_a_view = ViewMachine.TestCase
