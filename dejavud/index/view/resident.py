"""The index with a resident view: asked in memory and in mapped files, kept in a store.

The view is derived from the store and holds nothing that is not there: what is added or removed goes to the store first, and where the
view is missing, being built or in doubt the store answers. Building and merging are done by `dejavud.index.view.upkeep.Upkeep`.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dejavud.errors import IndexUnavailable
from dejavud.index.entries import possible_ids
from dejavud.index.meetings import MAX_HITS
from dejavud.index.postings import postings_of
from dejavud.index.view.building import segments_of
from dejavud.index.view.catalogue import Catalogue
from dejavud.index.view.merging import fitting, merged_in_memory
from dejavud.index.view.view import Part, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dejavud.index.base import Store
    from dejavud.index.view.segment import Segment
    from dejavud.placed_hits import AnyHits
    from dejavud.values import Constellation, Hashes, IndexStatistics, NewTrack, Track, TrackEdit

GROWTH = 4
"""A segment is merged with those after it once they hold more than a quarter of it.

So there are few segments (each at least five times the next), and a posting is written about five times on its way into the greatest."""


class ResidentIndex:
    """The index contract (`dejavud.index.base.Index`) over a store, with or without a view of it.

    Reads never wait: each takes the view that there is.  `watch` is told after every change that there may be upkeep to do.
    """

    def __init__(self, store: Store, *, max_hits: int = MAX_HITS) -> None:
        self._store = store
        self._max_hits = max_hits
        self._writing = threading.RLock()
        self._view: View | None = None  # of all tracks; None while the store answers
        self._asked = View()  # the view without the disabled
        self._disabled: frozenset[int] = frozenset()
        self._catalogue = Catalogue(())
        self._removed: set[int] = set()  # since the start: what is built meanwhile may still have them
        self._edited: dict[int, Track] = {}  # since the start: what is built meanwhile may have read them before
        self._greatest_id = 0
        self._n_restored = 0
        self._n_settled = 0  # parts that upkeep merges; adds leave them alone
        self._is_closed = False
        self._tell: Callable[[], None] = _nobody

    def close(self) -> None:
        """Refuse every call from now on.  Idempotent; the store is not closed."""
        with self._writing:
            self._is_closed = True
            self._view = None

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, in any thread, when there may be upkeep to do."""
        self._tell = tell

    def add(self, entries: Sequence[NewTrack]) -> Sequence[Track]:
        """See `Index.add`."""
        with self._in_doubt_if_it_fails():
            tracks = self._store.add(entries)
            new = {
                track.id: entry for track, entry in zip(tracks, entries, strict=True) if track.id not in self._catalogue
            }
            is_restored = any(entry.id is not None for entry in new.values())
            if is_restored and (self._view is None or min(new) <= self._greatest_id):
                self._start_anew()  # an id may be given again: what is mapped or being built may hold its old postings
            self._greatest_id = max([self._greatest_id, *new])
            if self._view is not None and new:
                added = sorted({track.id: track for track in tracks if track.id in new}.values(), key=lambda t: t.id)
                fresh = [new[track.id] for track in added]
                stars = {track.id: entry.constellation for track, entry in zip(added, fresh, strict=True)}
                self._append(segments_of(added, postings_of(added, fresh), stars))
                self._catalogue.add(added)
                self._look(self._view, self._disabled.union(track.id for track in added if track.disabled))
        self._tell()
        return tracks

    def remove(self, track_ids: Sequence[int]) -> Sequence[Track]:
        """See `Index.remove`."""
        with self._in_doubt_if_it_fails():
            gone = self._store.remove(track_ids)
            self._removed.update(track.id for track in gone)
            if self._view is not None:
                self._catalogue.remove(gone)
                ids = [track.id for track in gone]
                self._look(self._view.without(ids), self._disabled.difference(ids))
        self._tell()
        return gone

    def edit(self, edits: Mapping[int, TrackEdit]) -> Sequence[Track]:
        """See `Index.edit`."""
        with self._in_doubt_if_it_fails():
            changed = self._store.edit(edits)
            self._edited.update((track.id, track) for track in changed)
            if self._view is not None:
                self._catalogue.replace(changed)
                others = self._disabled.difference(track.id for track in changed)
                self._look(self._view, others.union(track.id for track in changed if track.disabled))
        return changed

    def tracks(
        self,
        *,
        ids: Sequence[int] | None = None,
        sha1s: Sequence[str] | None = None,
        limit: int | None = None,
        after_id: int = 0,
    ) -> Sequence[Track]:
        """See `Index.tracks`."""
        source = self._store.tracks if self._current() is None else self._catalogue.select
        return source(ids=ids, sha1s=sha1s, limit=limit, after_id=after_id)

    def lookup(self, hashes: Hashes, *, timeout_s: float | None = None) -> AnyHits:
        """See `Index.lookup`."""
        if self._current() is None:
            return self._store.lookup(hashes, timeout_s=timeout_s)
        return self._asked.lookup(hashes, timeout_s=timeout_s, max_hits=self._max_hits)

    def constellations(self, track_ids: Sequence[int]) -> Mapping[int, Constellation]:
        """See `Index.constellations`."""
        view = self._current()
        if view is None:
            return self._store.constellations(track_ids)
        return view.constellations(possible_ids(track_ids))

    def statistics(self) -> IndexStatistics:
        """See `Index.statistics`."""
        view = self._current()
        statistics = self._store.statistics()
        return statistics if view is None else replace(statistics, answers_from="view")

    def view(self) -> View | None:
        """Return the view as it is now; None while the store answers."""
        return self._view

    def tell(self) -> None:
        """Tell whoever watches that there may be upkeep to do."""
        self._tell()

    @contextmanager
    def writes_held(self) -> Iterator[None]:
        """Have adds and removals wait until the block ends."""
        with self._writing:
            yield

    def begin_view(self) -> int:
        """Note that what a view is to be made of is read from now on; return `n_restored`."""
        return self._n_restored

    @property
    def n_restored(self) -> int:
        """Return how often ids came that may have been another track's before: what was read earlier is of no use for a view."""
        return self._n_restored

    def show(self, view: View, tracks: Sequence[Track]) -> None:
        """Answer from `view` from now on, whose tracks these are; for a block of `writes_held`, in which both were made complete."""
        if self._is_closed:
            raise IndexUnavailable(reason="it is closed")
        now = [self._edited.get(track.id, track) for track in tracks if track.id not in self._removed]
        self._catalogue = Catalogue(now)
        self._greatest_id = max([self._greatest_id, *(track.id for track in now)])
        self._n_settled = view.n_mapped
        self._look(view.without(self._removed), frozenset(track.id for track in now if track.disabled))

    def hide(self) -> None:
        """Answer from the store from now on."""
        with self._writing:
            self._view = None

    def settle(self, n_parts: int) -> None:
        """Have adds leave the first `n_parts` parts of the view alone; what is more than that number they merge as they please."""
        with self._writing:
            self._n_settled = n_parts

    def put(self, part: Part | None, first: int, end: int) -> bool:
        """Have `part`, or nothing, in the place of those from `first` to, and without, `end`, which were settled before.

        Returns False, and does nothing, where there is no view any more.
        """
        with self._writing:
            if self._view is None:
                return False
            new = () if part is None else (Part(part.segment.without(self._removed), part.folder),)
            parts = (*self._view.parts[:first], *new, *self._view.parts[end:])
            view = View(tuple(sorted(parts, key=lambda part: part.folder is None)))
            self._n_settled = view.n_mapped
            self._look(view, self._disabled)
            return True

    def _look(self, view: View, disabled: frozenset[int]) -> None:
        """Have `view` from now on, asked without those of its tracks that are `disabled`."""
        self._asked = view.without(disabled) if disabled else view
        self._view, self._disabled = view, disabled

    def _start_anew(self) -> None:
        """Have the view made anew, of nothing that was read before now."""
        self._view = None
        self._n_restored += 1
        self._removed.clear()
        self._edited.clear()

    def _append(self, segments: Sequence[Segment]) -> None:
        """Have `segments` at the end of the view, merged with those before it that are in memory and no longer much greater."""
        if self._view is None:
            return
        settled, loose = self._view.parts[: self._n_settled], list(self._view.parts[self._n_settled :])
        for segment in segments:
            first, n_after = len(loose), len(segment)
            while first > 0 and len(loose[first - 1].segment) < GROWTH * n_after:
                first -= 1
                n_after += len(loose[first].segment)
            together = [*(part.segment for part in loose[first:]), segment]
            loose[first:] = [Part(merged_in_memory(group)) for group in fitting(together)]
        self._view = View((*settled, *loose))

    @contextmanager
    def _in_doubt_if_it_fails(self) -> Iterator[None]:
        """Hold the lock of writers; where the block raises, it is unknown what the store holds now, and the view is made anew."""
        with self._writing:
            try:
                self._current()
                yield
            except BaseException:
                self._view = None
                self._tell()
                raise

    def _current(self) -> View | None:
        """Return the view; raises `IndexUnavailable` after `close`."""
        if self._is_closed:
            raise IndexUnavailable(reason="it is closed")
        return self._view


def _nobody() -> None:
    """Tell nobody."""
