"""What keeps a resident view whole and quick, beside the queries: built from the store, written into files, merged."""

from __future__ import annotations

import errno
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.errors import IndexFull, IndexUnavailable
from dejavud.index.view.building import segments_of, sha1_start
from dejavud.index.view.merging import fits, fitting, merge, merged_in_memory
from dejavud.index.view.resident import GROWTH
from dejavud.index.view.segment import TRACK_DTYPE
from dejavud.index.view.segment_files import SegmentRefusedError
from dejavud.index.view.view import Part, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from dejavud.index.base import Store
    from dejavud.index.view.resident import ResidentIndex
    from dejavud.index.view.segment import Segment
    from dejavud.index.view.segment_files import SegmentFolder
    from dejavud.values import Track

    Array = NDArray[Any]

PAGE_TRACKS = 1000
"""Tracks read from the store at a time."""
GONE_SHARE = 0.25
"""A segment is written anew once so much of it is of removed tracks."""
BYTES_A_POSTING = 10
"""What a view takes, about, with its tables and the peaks: what the limit of bytes is held against, before anything is built."""


@dataclass(frozen=True, slots=True)
class Portions:
    """How many postings upkeep takes at a time.

    loose : held in memory (20 MB with their peaks) before they are written; they are read from the store again at the next start.
    run : of a file where a view is built anew; the files are merged at its end.
    read : read from the store: where that keeps them in order of hash, in runs of many millions, it reads all of a run to find them.
    late : that came while a view was built, and are read while further tracks wait.
    """

    loose: int = 1 << 20
    run: int = 1 << 22
    read: int = 1 << 21
    late: int = 1 << 17


@dataclass(frozen=True, slots=True)
class UpkeepReport:
    """What upkeep has done, and how the view is at its end.

    state : "ready"; "stopped", by the caller; "too_large", for the limit of bytes: the store answers.
    is_new : whether the view answers now and did not before, or the other way about.
    n_written : segments written into files.
    refused : folders that could not be used, each with the reason; what they held was read from the store again.
    n_segments, n_bytes : of the view; 0 where the store answers.
    """

    state: str
    is_new: bool
    n_written: int
    refused: tuple[str, ...]
    n_segments: int
    n_bytes: int


class Upkeep:
    """Builds and merges the view of one index.

    max_bytes : a view that would take more is not kept; None for no limit.
    """

    def __init__(
        self,
        index: ResidentIndex,
        store: Store,
        folder: SegmentFolder,
        *,
        max_bytes: int | None = None,
        portions: Portions | None = None,
    ) -> None:
        self._index = index
        self._store = store
        self._folder = folder
        self._max_bytes = max_bytes
        self._portions = portions or Portions()
        self._running = threading.Lock()
        self._should_stop: Callable[[], bool] = _never
        self._n_written = 0
        self._refused: list[str] = []

    def run(self, should_stop: Callable[[], bool]) -> UpkeepReport:
        """Do all that there is to do, in the calling thread; queries and writes go on meanwhile.

        should_stop : asked every few milliseconds; where it is true, what was not finished is left as it was.

        Raises `IndexFull` and `IndexUnavailable` where the view cannot be written, and what the store raises; the index
        answers all the same.
        """
        with self._running:
            self._should_stop = should_stop
            self._n_written, self._refused = 0, []
            had_view = self._index.view() is not None
            try:
                state = self._do_all()
            except _StoppedError:
                state = "stopped"
            except SegmentRefusedError as error:  # one that was written just now
                reason = f"the resident view in {self._folder.path} was changed by another program: {error}"
                raise IndexUnavailable(reason=reason) from error
            except OSError as error:
                reason = f"the resident view in {self._folder.path} cannot be written: {error.strerror}"
                kind = IndexFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else IndexUnavailable
                raise kind(reason=reason) from error
            view = self._index.view()
            is_new = had_view != (view is not None)
            shown = view or View()
            return UpkeepReport(state, is_new, self._n_written, tuple(self._refused), len(shown.parts), shown.n_bytes)

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, in any thread and for every change of the index, when there may be something to do."""
        self._index.watch(tell)

    def damaged(self, should_stop: Callable[[], bool]) -> list[str]:
        """Return what is wrong with the files of the view, every byte of which is read; empty where all is well or there is no view."""
        with self._running:
            self._should_stop = should_stop
            view = self._index.view() or View()
            reasons = []
            for folder in [part.folder for part in view.parts if part.folder is not None]:
                try:
                    self._folder.open(folder, self._go_on)
                except SegmentRefusedError as error:
                    reasons.append(f"{folder.name}: {error}")
                except _StoppedError:
                    break
            return reasons

    def discard(self) -> None:
        """Delete the view, so that it is made anew by the next `run`, which is told of; until then the store answers."""
        with self._running:
            self._index.hide()
            self._folder.delete()
        self._index.tell()

    def _do_all(self) -> str:
        if self._is_too_large():
            self._index.hide()
            self._folder.delete()
            return "too_large"
        while self._index.view() is None:
            self._build()
        while self._merge_what_is_due():
            pass
        return "ready"

    def _is_too_large(self) -> bool:
        if self._max_bytes is None:
            return False
        return self._store.statistics().n_postings * BYTES_A_POSTING > self._max_bytes

    def _go_on(self) -> None:
        if self._should_stop():
            raise _StoppedError

    def _build(self) -> None:
        """Make the view: of the segments that are there and, from the store, of all else, down to what was added meanwhile.

        Makes none where tracks were restored meanwhile, under ids that may have been others' when they were read.
        """
        n_restored = self._index.begin_view()
        tracks = self._listed(0)
        mapped = self._usable(tracks)
        covered = np.concatenate([np.empty(0, np.int32), *(part.segment.tracks["id"] for part in mapped)])
        is_covered = np.isin([track.id for track in tracks], covered).tolist()
        missing = [track for track, is_there in zip(tracks, is_covered, strict=True) if not is_there]
        loose: list[Segment] = []
        while True:
            for group in groups_of(missing, self._portions.read):
                self._go_on()
                loose += self._read(group)
                if sum(map(len, loose)) >= self._portions.run:
                    mapped += map(self._written, fitting(loose))
                    loose = []
            missing = self._listed(tracks[-1].id if tracks else 0)
            if sum(track.n_hashes for track in missing) <= self._portions.late:
                break
            tracks += missing
        if sum(map(len, loose)) >= self._portions.loose:
            mapped += map(self._written, fitting(loose))
            loose = []
        with self._index.writes_held():
            if self._index.n_restored != n_restored:
                return
            late = self._listed(tracks[-1].id if tracks else 0)
            loose = [merged_in_memory(group) for group in fitting(loose)]
            loose += self._read(late) if late else []
            self._index.show(View((*mapped, *map(Part, loose))), [*tracks, *late])

    def _listed(self, after_id: int) -> list[Track]:
        """Return all tracks of the store past `after_id`, read in pages: a long list would hold up other threads."""
        tracks: list[Track] = []
        page = self._store.tracks(limit=PAGE_TRACKS, after_id=after_id)
        while page:
            self._go_on()
            tracks += page
            page = self._store.tracks(limit=PAGE_TRACKS, after_id=tracks[-1].id)
        return tracks

    def _read(self, tracks: Sequence[Track]) -> list[Segment]:
        """Return segments of these tracks, which ascend by id; those removed meanwhile are left out."""
        constellations = self._store.constellations([track.id for track in tracks])
        return segments_of(tracks, self._store.postings(tracks[0].id, tracks[-1].id), constellations)

    def _usable(self, tracks: Sequence[Track]) -> list[Part]:
        """Return the segments of the folder that hold tracks of the store; delete the others."""
        known = np.zeros(len(tracks), TRACK_DTYPE)
        known["id"], known["n_hashes"] = [t.id for t in tracks], [t.n_hashes for t in tracks]
        known["sha1"] = [sha1_start(track) for track in tracks]
        usable: list[Part] = []
        covered = np.empty(0, np.int32)
        for folder in self._folder.folders():
            try:
                segment = _of_store(self._folder.open(folder, self._go_on), known)
            except SegmentRefusedError as error:
                self._refused.append(f"{folder.name}: {error}")
                self._folder.discard(folder)
                continue
            ids = segment.tracks["id"]
            if np.isin(ids, covered).any() or not segment.is_kept.any():  # merged into a later one; nothing left of it
                self._folder.discard(folder)
                continue
            usable.append(Part(segment, folder))
            covered = np.concatenate([covered, ids])
        return sorted(usable, key=lambda part: len(part.segment), reverse=True)

    def _merge_what_is_due(self) -> bool:
        """Merge the parts that should be; return whether there were any."""
        with self._index.writes_held():
            view = self._index.view()
            if view is None:
                return False
            first, end = _due(view, self._portions.loose)
            self._index.settle(max(end, view.n_mapped))
        if first == end:
            return False
        self._go_on()
        segments = [part.segment for part in view.parts[first:end]]
        is_left = any(segment.is_kept.any() for segment in segments)
        try:
            part = self._written(segments) if is_left else None
        except BaseException:
            self._index.settle(view.n_mapped)
            raise
        old = [part.folder for part in view.parts[first:end] if part.folder is not None]
        if not self._index.put(part, first, end):
            return False
        for folder in old:
            self._folder.discard(folder)
        return True

    def _written(self, segments: Sequence[Segment]) -> Part:
        """Return one segment of all of these, written into a file and mapped."""
        with self._folder.new(self._go_on) as sink:
            merge(segments, sink)
        self._n_written += 1
        return Part(self._folder.open(sink.folder, self._go_on, is_new=True), sink.folder)


class _StoppedError(Exception):
    """The caller wants upkeep to end."""


def _never() -> bool:
    return False


def _of_store(segment: Segment, known: Array) -> Segment:
    """Return `segment` without the tracks that are not in the store any more.

    known : `TRACK_DTYPE` [n], the tracks of the store; only their ids, numbers of postings and contents count.

    Raises `SegmentRefusedError` where a track of the store is another one than that of the same id in the segment.
    """
    ids = segment.tracks["id"]
    if not len(known):
        return segment.without(ids.tolist())
    same = known.take(np.searchsorted(known["id"], ids), mode="clip")
    is_there = same["id"] == ids
    if any((same[name] != segment.tracks[name])[is_there].any() for name in ("n_hashes", "sha1")):
        msg = "it was made from another library"
        raise SegmentRefusedError(msg)
    return segment.without(ids[~is_there].tolist())


def _due(view: View, max_loose: int) -> tuple[int, int]:
    """Return (first, end) of the parts that should be one; equal where all is well.

    Those in memory are written once they are many; a segment is merged with those after it once they hold more than the
    ``GROWTH``-th part of it, and written anew once much of it is gone.
    """
    sizes = [len(part.segment) - part.segment.n_gone for part in view.parts]
    end = len(sizes) if sum(sizes[view.n_mapped :]) >= max_loose else view.n_mapped
    for first in range(end):
        segment = view.parts[first].segment
        is_small = sizes[first] < GROWTH * sum(sizes[first + 1 : end])
        is_due = is_small or view.parts[first].folder is None or segment.n_gone > GONE_SHARE * len(segment)
        if is_due and fits([part.segment for part in view.parts[first:end]]):
            return first, end
    return end, end


def groups_of(tracks: Sequence[Track], max_postings: int) -> Iterator[list[Track]]:
    """Give `tracks` in groups of at most so many postings, or of one track."""
    group: list[Track] = []
    n_postings = 0
    for track in tracks:
        if group and n_postings + track.n_hashes > max_postings:
            yield group
            group, n_postings = [], 0
        group.append(track)
        n_postings += track.n_hashes
    if group:
        yield group
