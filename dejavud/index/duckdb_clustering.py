"""Postings sorted by hash in a DuckDB file, beside the queries and the writers.

Tracks are added at the end of ``postings``, one after the other.  A query's hashes are then all over the table; where its rows are sorted by
hash they lie together, and DuckDB reads the other two columns in few places.  20 M postings, 2000 hashes, 2 threads: 46 ms in order of track,
31 ms in sorted runs of 4 M, 25 ms in one.

A run is the postings of consecutive tracks in order of hash.  It is made, of the latest tracks or of shorter runs, by moving slices: the postings of its
tracks whose hashes are in some range are read, deleted and inserted again, in one transaction, in a tenth of a second.  So it can be
stopped or killed between any two; memory is that of a slice; and of the disk no more is needed than some slices, since what a slice leaves behind
in the shorter runs lies together and is used again by the next.  ``meta`` remembers which runs there are and how far the one being made is.
What is not yet in order is found all the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from dejavud.index.duckdb import DuckDBIndex
    from dejavud.values import Array

KEY = "runs"
"""The key in ``meta``; a file without it has no runs."""
GROWTH = 4
"""A run is merged with those after it once they hold more than a quarter of it: a posting is moved some six times on its way into
a run of 64 M."""
_SAMPLE_FRAMES = 64
"""The ranges of the slices are drawn from the hashes in every 64th frame."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many postings clustering takes at a time.

    slice : moved in one transaction (40 MB of memory); a writer may have to wait for it.
    tail : of the latest tracks, not in order, are left as they are: that many are looked up in a few milliseconds either way.
    first : of a run of the latest tracks alone; the file grows by as much, since what they leave behind is free only when the last slice is moved.
    run : of the longest run.  Whoever reads the postings of a few tracks has to read all of their run.
    """

    slice: int = 1 << 20
    tail: int = 1 << 21
    first: int = 1 << 22
    run: int = 1 << 26


@dataclass(frozen=True, slots=True)
class Run:
    """The tracks from `first_id` to, and with, `last_id`."""

    first_id: int
    last_id: int


@dataclass(frozen=True, slots=True)
class Runs:
    """What ``meta`` remembers.

    done : the runs, ascending; those that `making` is made of are among them.
    making : the run whose postings with hashes below `next_hash` are in their place.
    """

    done: tuple[Run, ...] = ()
    making: Run | None = None
    next_hash: int = 0

    @property
    def last_id(self) -> int:
        """Return the last track that is in a run."""
        return self.done[-1].last_id if self.done else 0

    def made(self) -> Runs:
        """Return the runs once the one being made is finished."""
        assert self.making is not None  # noqa: S101 - asked at the end of making one only
        before = tuple(run for run in self.done if run.last_id < self.making.first_id)
        return Runs((*before, self.making))

    def as_text(self) -> str:
        """Return what `of_text` takes."""
        making = None if self.making is None else [self.making.first_id, self.making.last_id, self.next_hash]
        return json.dumps({"done": [[run.first_id, run.last_id] for run in self.done], "making": making})

    @classmethod
    def of_text(cls, text: str) -> Runs:
        """Return what was remembered; none where that cannot be read, as runs can be made anew."""
        try:
            found = json.loads(text)
            done = tuple(Run(int(first), int(last)) for first, last in found["done"])
            if found["making"] is None:
                return cls(done)
            first, last, next_hash = map(int, found["making"])
            return cls(done, Run(first, last), next_hash)
        except (ValueError, KeyError, TypeError):
            return cls()


@dataclass(frozen=True, slots=True)
class ClusteringReport:
    """What was done.

    is_stopped : by the caller, before everything was done.
    n_moved : postings.
    n_runs : that there are now.
    """

    is_stopped: bool
    n_moved: int
    n_runs: int


class Clustering:
    """Makes and merges the runs of one file."""

    def __init__(self, store: DuckDBIndex, sizes: Sizes | None = None) -> None:
        self._store = store
        self._sizes = sizes or Sizes()

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, in any thread, when there may be something to do."""
        self._store.watch(tell)

    def run(self, should_stop: Callable[[], bool]) -> ClusteringReport:
        """Make all runs that are due, in the calling thread; queries and writes go on meanwhile.

        should_stop : asked every tenth of a second or so; where it is true, what was moved stays moved.

        Raises what the store raises.
        """
        with self._store.reading() as cursor:
            runs = read_runs(cursor)
        n_moved = 0
        while True:
            if runs.making is None:
                due = self._due(runs)
                if due is None:
                    return ClusteringReport(is_stopped=False, n_moved=n_moved, n_runs=len(runs.done))
                runs = replace(runs, making=due, next_hash=0)
            for end in self._ends(runs):
                if should_stop():
                    return ClusteringReport(is_stopped=True, n_moved=n_moved, n_runs=len(runs.done))
                moved = self._move(runs, end)
                runs, n_moved = moved.runs, n_moved + moved.n_postings

    def _due(self, runs: Runs) -> Run | None:
        """Return the run to be made next."""
        with self._store.reading() as cursor:
            latest = _sizes(cursor, runs.last_id)
            if latest.n_postings.sum() < self._sizes.tail:
                return None
            tracks = _sizes(cursor, 0)
        return due(tracks, runs, self._sizes)

    def _ends(self, runs: Runs) -> list[int | None]:
        """Return where the slices of the run that is being made end, ascending; the last one has no end."""
        assert runs.making is not None  # noqa: S101 - see `run`
        with self._store.reading() as cursor:
            hashes = cursor.execute(
                "SELECT hash FROM postings WHERE track_id BETWEEN ? AND ? AND hash >= ? AND frame % ? = 0",
                [runs.making.first_id, runs.making.last_id, runs.next_hash, _SAMPLE_FRAMES],
            ).fetchnumpy()["hash"]
        n_slices = len(hashes) * _SAMPLE_FRAMES // self._sizes.slice + 1
        places = np.arange(1, n_slices) * len(hashes) // n_slices
        cuts: list[int] = np.unique(np.sort(hashes)[places]).tolist()
        return [*(cut for cut in cuts if cut > runs.next_hash), None]

    def _move(self, runs: Runs, end: int | None) -> _Moved:
        """Move the next slice, the hashes up to, and without, `end`."""
        assert runs.making is not None  # noqa: S101 - see `run`
        after = runs.made() if end is None else replace(runs, next_hash=end)
        condition = "track_id BETWEEN ? AND ? AND hash >= ?" + (" AND hash < ?" if end is not None else "")
        values = [runs.making.first_id, runs.making.last_id, runs.next_hash, *([] if end is None else [end])]
        with self._store.moving() as cursor:
            cursor.execute(
                "CREATE TEMP TABLE slice AS SELECT hash, track_id, frame FROM postings"  # noqa: S608 - conditions from above
                f" WHERE {condition} ORDER BY hash",
                values,
            )
            cursor.execute(f"DELETE FROM postings WHERE {condition}", values)  # noqa: S608
            n_postings = cursor.execute("INSERT INTO postings FROM slice").fetchall()[0][0]
            cursor.execute("DROP TABLE slice")
            write_runs(cursor, after)
        return _Moved(after, n_postings)


@dataclass(frozen=True, slots=True)
class _Moved:
    """The runs after a slice of so many postings was moved."""

    runs: Runs
    n_postings: int


@dataclass(frozen=True, slots=True, eq=False)
class TrackSizes:
    """Tracks, ascending by id, and their numbers of postings; parallel arrays.

    ids : int32 [n].
    n_postings : int32 [n].
    """

    ids: Array = field(default_factory=lambda: np.empty(0, np.int32))
    n_postings: Array = field(default_factory=lambda: np.empty(0, np.int32))

    def within(self, first_id: int, last_id: int) -> int:
        """Return the number of postings of the tracks from `first_id` to, and with, `last_id`."""
        first, end = np.searchsorted(self.ids, [first_id, last_id + 1])
        return int(self.n_postings[first:end].sum())


def due(tracks: TrackSizes, runs: Runs, sizes: Sizes) -> Run | None:
    """Return the run to be made next of the tracks that are in none, and of the runs before them that are no longer much longer than what follows them.

    None where the tracks that are in none are few.
    """
    latest = int(np.searchsorted(tracks.ids, runs.last_id + 1))
    n_before = np.cumsum(tracks.n_postings[latest:])
    if not len(n_before) or n_before[-1] < sizes.tail:
        return None
    n_taken = max(1, int(np.searchsorted(n_before, sizes.first, "right")))
    total = int(n_before[n_taken - 1])
    first_id, last_id = int(tracks.ids[latest]), int(tracks.ids[latest + n_taken - 1])
    for run in reversed(runs.done):
        size = tracks.within(run.first_id, run.last_id)
        if size >= GROWTH * total or size + total > sizes.run:
            break
        first_id, total = run.first_id, total + size
    return Run(first_id, last_id)


def read_runs(cursor: duckdb.DuckDBPyConnection) -> Runs:
    """Return the runs of the file."""
    found = cursor.execute("SELECT value FROM meta WHERE key = ?", [KEY]).fetchall()
    return Runs.of_text(found[0][0]) if found else Runs()


def write_runs(cursor: duckdb.DuckDBPyConnection, runs: Runs) -> None:
    """Remember the runs of the file, in the transaction of the cursor."""
    if not cursor.execute("UPDATE meta SET value = ? WHERE key = ?", [runs.as_text(), KEY]).fetchall()[0][0]:
        cursor.execute("INSERT INTO meta VALUES (?, ?)", [KEY, runs.as_text()])


def clustered_share(cursor: duckdb.DuckDBPyConnection) -> float:
    """Return the share of the postings that are in runs, from 0 to 1; 1 where there are none."""
    n_clustered, n_postings = cursor.execute(
        "SELECT coalesce(sum(n_hashes) FILTER (WHERE id <= ?), 0)::BIGINT, coalesce(sum(n_hashes), 0)::BIGINT FROM tracks",
        [read_runs(cursor).last_id],
    ).fetchall()[0]
    return float(n_clustered / n_postings) if n_postings else 1.0


def _sizes(cursor: duckdb.DuckDBPyConnection, after_id: int) -> TrackSizes:
    found: dict[str, Any] = cursor.execute(
        "SELECT id, n_hashes FROM tracks WHERE id > ? ORDER BY id", [after_id]
    ).fetchnumpy()
    return TrackSizes(found["id"], found["n_hashes"])
