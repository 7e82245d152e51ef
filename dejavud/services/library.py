"""The tracks that the daemon knows: found, changed, and taken out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from dejavud.errors import TrackNotFound
from dejavud.services.commands import no_progress
from dejavud.services.track_search import TrackSearch
from dejavud.services.views import track_view

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dejavud.index.base import Index
    from dejavud.services.commands import Progress
    from dejavud.services.events import EventHub
    from dejavud.services.track_search import TrackFilter, TrackPage
    from dejavud.services.workers import Workers
    from dejavud.values import IndexStatistics, Track, TrackEdit

BATCH_TRACKS = 1000
"""Tracks changed in one transaction: what else is to be written waits no longer than that takes."""


class Library:
    """The index as the event loop sees it.

    last_statistics : how much was stored when that was last said in time; None where it never was.
    """

    def __init__(self, index: Index, workers: Workers, hub: EventHub) -> None:
        self._index = index
        self._workers = workers
        self._hub = hub
        self._search = TrackSearch(index)
        self._is_counting = False
        self.last_statistics: IndexStatistics | None = None

    async def page(
        self, wanted: TrackFilter, *, sort: str = "id", reverse: bool = False, limit: int, cursor: str | None = None
    ) -> TrackPage:
        """Return a page of the tracks that `wanted` means, as `TrackSearch.page`."""
        find = partial(self._search.page, wanted, sort=sort, reverse=reverse, limit=limit, cursor=cursor)
        return await self._workers.read(find)

    async def select(self, wanted: TrackFilter) -> Sequence[Track]:
        """Return all tracks that `wanted` means, in ascending order of id."""
        return await self._workers.read(self._search.select, wanted)

    async def get(self, track_id: int) -> Track:
        """Return one track; raises `TrackNotFound`."""
        found = await self._workers.read(partial(self._index.tracks, ids=(track_id,)))
        if not found:
            raise TrackNotFound(track=track_id)
        return found[0]

    async def known(self, sha1s: Sequence[str]) -> Mapping[str, Track]:
        """Return those tracks whose files' contents are among `sha1s`, by sha1."""
        found = await self._workers.read(partial(self._index.tracks, sha1s=tuple(sha1s)))
        return {track.file_sha1: track for track in found}

    async def edit(self, tracks: Sequence[Track], edit: TrackEdit, progress: Progress = no_progress) -> Sequence[Track]:
        """Change tracks and return those that are there, as they are now; each leaves as the event ``track.updated``, after the commit."""
        changed: list[Track] = []
        for ids in _batches(tracks):
            updated = await self._workers.write(self._index.edit, dict.fromkeys(ids, edit))
            for track in updated:
                self._hub.publish("track.updated", {"track": track_view(track)})
            changed += updated
            await progress(n_done=len(changed), n_total=len(tracks))
        return changed

    async def remove(self, tracks: Sequence[Track], progress: Progress = no_progress) -> Sequence[Track]:
        """Delete tracks and return those that were there; each leaves as the event ``track.removed``, after the commit."""
        removed: list[Track] = []
        for ids in _batches(tracks):
            gone = await self._workers.write(self._index.remove, ids)
            for track in gone:
                self._hub.publish("track.removed", {"track": track_view(track)})
            removed += gone
            await progress(n_done=len(removed), n_total=len(tracks))
        return removed

    async def statistics(self) -> IndexStatistics:
        """Return how much is stored."""
        return await self._workers.read(self._index.statistics)

    async def statistics_within(self, limit_s: float) -> IndexStatistics | None:
        """Return the same, None where the index does not say so in time: for who watches, and must not hang where it does.

        One such question is open at a time.
        """
        if self._is_counting:
            return None
        with trio.move_on_after(limit_s):
            self.last_statistics = await self._workers.thread(self._counted, abandon=True)
            return self.last_statistics
        return None

    def _counted(self) -> IndexStatistics:
        self._is_counting = True
        try:
            return self._index.statistics()
        finally:
            self._is_counting = False


def _batches(tracks: Sequence[Track]) -> Iterator[tuple[int, ...]]:
    """Give the ids of `tracks`, each once, so many at a time."""
    ids = tuple(dict.fromkeys(track.id for track in tracks))
    for first in range(0, len(ids), BATCH_TRACKS):
        yield ids[first : first + BATCH_TRACKS]
