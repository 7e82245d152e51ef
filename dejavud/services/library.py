"""The tracks that the daemon knows: read, and taken out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dejavud.errors import TrackNotFound
from dejavud.services.views import track_view

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dejavud.index.base import Index
    from dejavud.services.events import EventHub
    from dejavud.services.workers import Workers
    from dejavud.values import IndexStatistics, Track


class Library:
    """The index as the event loop sees it."""

    def __init__(self, index: Index, workers: Workers, hub: EventHub) -> None:
        self._index = index
        self._workers = workers
        self._hub = hub

    async def page(self, *, limit: int, after_id: int) -> Sequence[Track]:
        """Return at most `limit` tracks past `after_id`, in ascending order of id."""
        return await self._workers.read(partial(self._index.tracks, limit=limit, after_id=after_id))

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

    async def remove(self, track_ids: Sequence[int]) -> Sequence[Track]:
        """Delete tracks and return those that were there; each leaves as the event ``track.removed``, after the commit."""
        removed = await self._workers.write(self._index.remove, tuple(track_ids))
        for track in removed:
            self._hub.publish("track.removed", {"track": track_view(track)})
        return removed

    async def statistics(self) -> IndexStatistics:
        """Return how much is stored."""
        return await self._workers.read(self._index.statistics)
