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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from dejavud.index.duckdb.index import DuckDBIndex
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


class Run(NamedTuple):
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
            making = runs.making or self._due(runs)
            if making is None:
                return ClusteringReport(is_stopped=False, n_moved=n_moved, n_runs=len(runs.done))
            runs = replace(runs, making=making, next_hash=runs.next_hash if runs.making else 0)
            with self._store.reading() as cursor:
                ranges = hash_ranges(cursor, making, runs.next_hash, self._sizes.slice)
            for part in ranges:
                if should_stop():
                    return ClusteringReport(is_stopped=True, n_moved=n_moved, n_runs=len(runs.done))
                runs = runs.made() if part.end is None else replace(runs, next_hash=part.end)
                n_moved += self._move(part, runs)

    def share(self) -> float:
        """Return the share of the postings that are in runs, from 0 to 1; 1 where there are none."""
        with self._store.reading() as cursor:
            n_clustered, n_postings = cursor.execute(
                "SELECT coalesce(sum(n_hashes) FILTER (WHERE id <= ?), 0)::BIGINT, coalesce(sum(n_hashes), 0)::BIGINT"
                " FROM tracks",
                [read_runs(cursor).last_id],
            ).fetchall()[0]
        return float(n_clustered / n_postings) if n_postings else 1.0

    def _due(self, runs: Runs) -> Run | None:
        """Return the run to be made next."""
        with self._store.reading() as cursor:
            latest = track_sizes(cursor, runs.last_id)
            if latest.n_postings.sum() < self._sizes.tail:
                return None
            tracks = track_sizes(cursor)
        return due(tracks, runs, self._sizes)

    def _move(self, part: HashRange, after: Runs) -> int:
        """Move a slice and remember that the runs are `after` now; return how many postings it had."""
        condition, values = part.condition, part.values
        with self._store.moving() as cursor:
            cursor.execute(
                "CREATE TEMP TABLE slice AS SELECT hash, track_id, frame FROM postings"  # noqa: S608 - a condition of ours
                f" WHERE {condition} ORDER BY hash",
                values,
            )
            cursor.execute(f"DELETE FROM postings WHERE {condition}", values)  # noqa: S608
            n_moved: int = cursor.execute("INSERT INTO postings FROM slice").fetchall()[0][0]
            cursor.execute("DROP TABLE slice")
            write_runs(cursor, after)
        return n_moved


class HashRange(NamedTuple):
    """The postings of some tracks with hashes from `first` up to, and without, `end`; None where that is the last."""

    run: Run
    first: int
    end: int | None

    @property
    def condition(self) -> str:
        """Return what selects them in SQL, given `values`."""
        return "track_id BETWEEN ? AND ? AND hash >= ?" + ("" if self.end is None else " AND hash < ?")

    @property
    def values(self) -> list[int]:
        """Return what the marks in `condition` stand for."""
        return [*self.run, self.first, *([] if self.end is None else [self.end])]


def hash_ranges(cursor: duckdb.DuckDBPyConnection, run: Run, first: int, n_postings: int) -> list[HashRange]:
    """Return ranges of about so many postings each that hold all of the tracks of `run` whose hashes are `first` or more."""
    hashes = cursor.execute(
        "SELECT hash FROM postings WHERE track_id BETWEEN ? AND ? AND hash >= ? AND frame % ? = 0",
        [*run, first, _SAMPLE_FRAMES],
    ).fetchnumpy()["hash"]
    n_ranges = len(hashes) * _SAMPLE_FRAMES // n_postings + 1
    places = np.arange(1, n_ranges) * len(hashes) // n_ranges
    cuts: list[int] = [cut for cut in np.unique(np.sort(hashes)[places]).tolist() if cut > first]
    return [HashRange(run, *limits) for limits in zip([first, *cuts], [*cuts, None], strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class TrackSizes:
    """Tracks, ascending by id, and their numbers of postings; parallel arrays.

    ids : int32 [n].
    n_postings : int32 [n].
    """

    ids: Array
    n_postings: Array

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


def write_runs(cursor: duckdb.DuckDBPyConnection, runs: Runs, *, table: str = "meta") -> None:
    """Remember the runs of a file in its `table`, in the transaction of the cursor."""
    if not cursor.execute(f"UPDATE {table} SET value = ? WHERE key = ?", [runs.as_text(), KEY]).fetchall()[0][0]:  # noqa: S608 - a name of ours
        cursor.execute(f"INSERT INTO {table} VALUES (?, ?)", [KEY, runs.as_text()])  # noqa: S608


def track_sizes(cursor: duckdb.DuckDBPyConnection, after_id: int = 0) -> TrackSizes:
    """Return the tracks past `after_id` with their numbers of postings."""
    found: dict[str, Any] = cursor.execute(
        "SELECT id, n_hashes FROM tracks WHERE id > ? ORDER BY id", [after_id]
    ).fetchnumpy()
    return TrackSizes(found["id"], found["n_hashes"])
