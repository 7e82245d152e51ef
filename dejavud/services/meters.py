"""What a listener hears just now, once a second, for whoever looks: its level, and what it may be."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from dejavud.errors import DejavudError
from dejavud.services.views import track_in_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.index.base import Index
    from dejavud.services.events import EventHub
    from dejavud.services.heard_plays import Candidate
    from dejavud.services.hearing import Library
    from dejavud.services.listener import Listener
    from dejavud.services.workers import Workers
    from dejavud.values import Track

TOPIC = "meter.listener"
MAX_CANDIDATES = 5


class Meter:
    """Shows one listener; costs nothing while nobody asks for `TOPIC`."""

    def __init__(self, hub: EventHub, workers: Workers, library: Library) -> None:
        self._hub = hub
        self._workers, self._library = workers, library
        self._names = CandidateNames(workers, library.index)

    async def show(self, listener: Listener) -> None:
        """Publish how the second was that `listener` has just heard."""
        if not self._hub.is_wanted(TOPIC):
            return
        level_db = listener.level_db
        data = {
            "listener": listener.name,
            "level_db": None if level_db is None or not math.isfinite(level_db) else round(level_db, 1),
            "state": listener.state,
            "heard_s": round(listener.hearing.params.frames_to_seconds(listener.end_frame), 3),
            "plays": [play.id for play in listener.hearing.plays],
            "candidates": await self._views(listener.hearing.candidates),
        }
        self._hub.publish_transient(TOPIC, data, of=listener.name)

    async def _views(self, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
        """Return candidates as JSON shows them; none where the index cannot say now who they are."""
        try:
            return await self._names.views(candidates)
        except DejavudError:
            return []


class CandidateNames:
    """Names candidates; a track that stays one is asked for once."""

    def __init__(self, workers: Workers, index: Index) -> None:
        self._workers = workers
        self._index = index
        self._tracks: dict[int, Track] = {}

    async def views(self, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
        """Return the first `MAX_CANDIDATES` as JSON shows them; one that was removed meanwhile is left out.  Raises what the index does."""
        told = {one.track_id: one.confidence for one in candidates[:MAX_CANDIDATES]}
        unknown = tuple(told.keys() - self._tracks.keys())
        found = await self._workers.read(partial(self._index.tracks, ids=unknown)) if unknown else ()
        known = {**self._tracks, **{track.id: track for track in found}}
        self._tracks = {track_id: known[track_id] for track_id in told if track_id in known}
        return [
            {"track": track_in_answer(track), "confidence": round(told[track_id], 4)}
            for track_id, track in self._tracks.items()
        ]
