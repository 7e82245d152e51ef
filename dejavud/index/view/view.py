"""The resident view at one moment: its segments, asked together."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.errors import Timeout
from dejavud.index.meetings import worth_asking
from dejavud.index.view.hash_tables import Runs
from dejavud.placed_hits import PlacedHits
from dejavud.values import Hashes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dejavud.index.view.segment import Segment
    from dejavud.values import Constellation

    Array = NDArray[Any]

_STEP_HITS = 1 << 16
"""Hits made between two looks at the clock; so few stay in the processor's cache from one step to the next."""


@dataclass(frozen=True, slots=True)
class Part:
    """A segment, and the folder that it is mapped from; None where it is in memory."""

    segment: Segment
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class View:
    """All tracks of a store, in segments whose ids follow each other; those of files come first."""

    parts: tuple[Part, ...] = ()

    @property
    def n_mapped(self) -> int:
        """Return how many parts are of files."""
        return sum(part.folder is not None for part in self.parts)

    @property
    def n_bytes(self) -> int:
        """Return the bytes of all segments."""
        return sum(part.segment.n_bytes for part in self.parts)

    @property
    def n_file_bytes(self) -> int:
        """Return what of it is in files."""
        return sum(part.segment.n_bytes for part in self.parts if part.folder is not None)

    def without(self, track_ids: Iterable[int]) -> View:
        """Return the view in which these tracks have nothing."""
        ids = tuple(track_ids)
        return View(tuple(replace(part, segment=part.segment.without(ids)) for part in self.parts))

    def constellations(self, track_ids: Iterable[int]) -> Mapping[int, Constellation]:
        """Return the constellations of these tracks; ids that are not there are left out."""
        found = {}
        for track_id in track_ids:
            for part in self.parts:
                constellation = part.segment.constellation(track_id)
                if constellation is not None:
                    found[track_id] = constellation
                    break
        return found

    def lookup(self, hashes: Hashes, *, timeout_s: float | None, max_hits: int) -> PlacedHits:
        """See `dejavud.index.base.Index.lookup`."""
        clock = _Clock(timeout_s)
        order = np.argsort(hashes.values)
        values, offsets = hashes.values[order], hashes.offsets[order]
        segments = [part.segment for part in self.parts]
        runs = []
        for segment in segments:
            clock.check()
            runs.append(segment.table.runs(values))
        n_hits = sum(int(run.counts.sum()) for run in runs)
        if n_hits > max_hits:
            n_postings = _n_postings(values, segments, runs, clock)
            kept = worth_asking(Hashes(values, offsets), n_postings, max_hits)
            runs = [run._replace(counts=np.where(kept, run.counts, 0)) for run in runs]
            n_hits = sum(int(run.counts.sum()) for run in runs)
        asked, places = np.empty(n_hits, np.int32), np.empty(n_hits, np.uint32)
        n_of_segments = []
        n_done = 0
        for segment, run in zip(segments, runs, strict=True):
            n_before = n_done
            for first, end, found in _places(segment, run, clock):
                own = slice(n_done, n_done + len(found))
                asked[own] = np.repeat(offsets[first:end], run.counts[first:end])
                places[own] = found
                n_done += len(found)
            if not segment.is_kept.all():
                left = np.flatnonzero(segment.axis.owners(places[n_before:n_done])) + n_before
                n_done = n_before + len(left)
                asked[n_before:n_done], places[n_before:n_done] = asked[left], places[left]
            n_of_segments.append(n_done - n_before)
        axes = tuple(segment.axis for segment in segments)
        return PlacedHits(asked[:n_done], places[:n_done], axes, tuple(n_of_segments))


class _Clock:
    """Says when the time is up."""

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._end_s = math.inf if limit_s is None else time.monotonic() + limit_s

    def check(self) -> None:
        """Raise `Timeout` where the time is up."""
        if time.monotonic() >= self._end_s:
            raise Timeout(what="the look-up", limit_s=self._limit_s)


def _places(segment: Segment, runs: Runs, clock: _Clock) -> Iterator[tuple[int, int, Array]]:
    """Give, a step at a time, (first, end) of the runs and uint32 [n] places of their postings, one run after the other."""
    ends = np.cumsum(runs.counts)
    n_hits = int(ends[-1]) if len(ends) else 0
    firsts = np.unique(np.searchsorted(ends, np.arange(0, n_hits, _STEP_HITS), "right")).tolist()
    shifts = runs.starts - (ends - runs.counts)
    for first, end in pairwise([*firsts, len(ends)]):
        clock.check()
        counts = runs.counts[first:end]
        where = np.repeat(shifts[first:end], counts)
        n_before = int(ends[first] - counts[0])
        where += np.arange(n_before, n_before + len(where))
        yield first, end, segment.places.take(where)


def _n_postings(values: Array, segments: Sequence[Segment], runs: Sequence[Runs], clock: _Clock) -> Array:
    """Return int64 [n]: how many postings each of the ascending `values` has.

    Those of removed tracks do not count, so they have to be sorted out first.
    """
    _, firsts, which = np.unique(values, return_index=True, return_inverse=True)
    n_postings = np.zeros(len(firsts), np.int64)
    for segment, run in zip(segments, runs, strict=True):
        own = Runs(run.starts[firsts], run.counts[firsts])
        if segment.is_kept.all():
            n_postings += own.counts
            continue
        for first, end, places in _places(segment, own, clock):
            owners = np.repeat(np.arange(end - first), own.counts[first:end])
            n_postings[first:end] += np.bincount(owners[segment.axis.owners(places) > 0], minlength=end - first)
    of_rows: Array = n_postings[which]
    return of_rows
