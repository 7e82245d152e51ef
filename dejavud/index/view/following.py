"""The resident view of a store that other processes write to as well: it follows what they write.

Whoever writes, the store's changes say which tracks were touched, in the order of commits; the view takes them in that order, its own
writes among them.  While the store is away, the view answers.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from dejavud.errors import IndexAway
from dejavud.index.postings import postings_of
from dejavud.index.view.building import segments_of
from dejavud.index.view.resident import ResidentIndex
from dejavud.values import IndexStatistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dejavud.index.base import SharedStore
    from dejavud.index.view.view import View
    from dejavud.values import NewTrack, Track, TrackEdit

_POSTINGS_AT_A_TIME = 1 << 20
_NO_OWN: dict[int, NewTrack] = {}


class ChangedTracks:
    """What is written to a shared store from now on, for who has no view of it and remembers some of it."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self._seen = store.changes(-1).revision

    def follow(self) -> tuple[int, ...] | None:
        """Return the tracks that were touched since the last call, None for any; raises `IndexAway` where the store is."""
        changes = self._store.changes(self._seen)
        self._seen = changes.revision
        return changes.track_ids


class _Counted(NamedTuple):
    """What the view showed after so many changes."""

    statistics: IndexStatistics
    n_changes: int


class FollowingIndex(ResidentIndex):
    """`ResidentIndex` over a shared store.  `follow` takes in what others wrote; it is called again and again by whoever keeps it."""

    def __init__(self, store: SharedStore, *, max_hits: int | None = None) -> None:
        super().__init__(store) if max_hits is None else super().__init__(store, max_hits=max_hits)
        self._shared = store
        self._seen = 0  # the revision that the view shows
        self._begun = 0  # the revision at which the store was begun to be read for the next view
        self._n_changes = 0  # of what the view shows
        self._counted: _Counted | None = None
        self._was_away = False

    def follow(self) -> tuple[int, ...]:
        """Take in what others have written; raises `IndexAway` where the store is.  Returns nothing: the view itself has what it needs."""
        with self._writing:
            had_view = self._current() is not None
            try:
                if had_view:
                    self._take_in(_NO_OWN)
                else:
                    self._shared.changes(-1)
            except IndexAway:
                self._was_away = True
                raise
            is_due = self._view is None and (had_view or self._was_away)
            self._was_away = False
        if is_due:
            self._tell()
        return ()

    def add(self, entries: Sequence[NewTrack]) -> Sequence[Track]:
        """See `Index.add`."""
        with self._writing:
            self._current()
            tracks = self._shared.add(entries)
            self._take_in_own({track.id: entry for track, entry in zip(tracks, entries, strict=True)})
        self._tell()
        return tracks

    def remove(self, track_ids: Sequence[int]) -> Sequence[Track]:
        """See `Index.remove`."""
        with self._writing:
            self._current()
            gone = self._shared.remove(track_ids)
            self._forget(gone)
            self._take_in_own(_NO_OWN)
        self._tell()
        return gone

    def edit(self, edits: Mapping[int, TrackEdit]) -> Sequence[Track]:
        """See `Index.edit`."""
        with self._writing:
            self._current()
            changed = self._shared.edit(edits)
            self._change(changed)
            self._take_in_own(_NO_OWN)
        return changed

    def statistics(self) -> IndexStatistics:
        """See `Index.statistics`; of the view, where there is one: they are asked for with every query."""
        if self._current() is None:
            return super().statistics()
        n_changes, counted = self._n_changes, self._counted
        if counted is None or counted.n_changes != n_changes:
            tracks = self._catalogue.select(ids=None, sha1s=None, limit=None, after_id=0)
            statistics = IndexStatistics(
                n_tracks=len(tracks),
                n_postings=sum(track.n_hashes for track in tracks),
                duration_s=sum(track.duration_s for track in tracks),
                size_bytes=self._shared.statistics().size_bytes,
                n_disabled=sum(track.disabled for track in tracks),
                answers_from="view",
            )
            counted = self._counted = _Counted(statistics, n_changes)
        return replace(counted.statistics, reachable=self._shared.is_reachable)

    def begin_view(self) -> int:
        """See `ResidentIndex.begin_view`; all that was written before is read with it."""
        self._begun = self._shared.changes(-1).revision
        with self._writing:
            self._removed.clear()
            self._edited.clear()
        return super().begin_view()

    def show(self, view: View, tracks: Sequence[Track]) -> None:
        """See `ResidentIndex.show`."""
        super().show(view, tracks)
        self._seen = self._begun
        self._n_changes += 1
        self._take_in(_NO_OWN)

    def _take_in_own(self, own: Mapping[int, NewTrack]) -> None:
        """Take in what was written just now; where the store went away after it, that is done when it is back."""
        with suppress(IndexAway):
            self._take_in(own)

    def _take_in(self, own: Mapping[int, NewTrack]) -> None:
        """Take in what was written since `_seen`; `own` are the contents of tracks that need not be read."""
        if self._view is None:
            return
        changes = self._shared.changes(self._seen)
        if changes.track_ids is None:
            self._start_anew()
        elif changes.track_ids:
            now = self._shared.tracks(ids=changes.track_ids)
            there = {track.id for track in now}
            self._forget(
                self._catalogue.select(ids=sorted(set(changes.track_ids) - there), sha1s=None, limit=None, after_id=0)
            )
            self._removed.update(set(changes.track_ids) - there)
            self._change([track for track in now if track.id in self._catalogue])
            self._append_new([track for track in now if track.id not in self._catalogue], own)
            self._n_changes += 1
        if self._view is not None:
            self._seen = changes.revision

    def _append_new(self, tracks: Sequence[Track], own: Mapping[int, NewTrack]) -> None:
        """Have tracks in the view that were not in it, which ascend by id; it is made anew where they have the ids of older ones."""
        if tracks and (tracks[0].id <= self._greatest_id or not self._removed.isdisjoint(track.id for track in tracks)):
            self._start_anew()
        for some in _portions(tracks):
            if self._view is None:
                return
            if all(track.id in own for track in some):
                entries = [own[track.id] for track in some]
                postings = postings_of(some, entries)
                stars = {track.id: entry.constellation for track, entry in zip(some, entries, strict=True)}
            else:
                stars = dict(self._shared.constellations([track.id for track in some]))
                postings = self._shared.postings(some[0].id, some[-1].id)
            self._append(segments_of(some, postings, stars))
            self._catalogue.add(some)
            self._greatest_id = some[-1].id
            self._look(self._view, self._disabled.union(track.id for track in some if track.disabled))

    def _forget(self, gone: Sequence[Track]) -> None:
        ids = [track.id for track in gone]
        self._removed.update(ids)
        if self._view is not None and ids:
            self._catalogue.remove(gone)
            self._look(self._view.without(ids), self._disabled.difference(ids))
            self._n_changes += 1

    def _change(self, changed: Sequence[Track]) -> None:
        """Have tracks of the view as they are now; it is made anew where one has other contents."""
        self._edited.update((track.id, track) for track in changed)
        if self._view is None or not changed:
            return
        before = self._catalogue.select(ids=[track.id for track in changed], sha1s=None, limit=None, after_id=0)
        contents = {track.id: _contents(track) for track in before}
        if any(contents.get(track.id, _contents(track)) != _contents(track) for track in changed):
            self._start_anew()
            return
        self._catalogue.replace(changed)
        others = self._disabled.difference(track.id for track in changed)
        self._look(self._view, others.union(track.id for track in changed if track.disabled))
        self._n_changes += 1


def _contents(track: Track) -> tuple[str, int]:
    """Return what tells the contents of a track from those of another that has its id now."""
    return track.file_sha1, track.n_hashes


def _portions(tracks: Sequence[Track]) -> Iterator[Sequence[Track]]:
    """Give `tracks` in portions of so many postings, or of one track."""
    first = n_postings = 0
    for which, track in enumerate(tracks):
        if which > first and n_postings + track.n_hashes > _POSTINGS_AT_A_TIME:
            yield tracks[first:which]
            first, n_postings = which, 0
        n_postings += track.n_hashes
    if first < len(tracks):
        yield tracks[first:]
