"""What a listener hears just now, once a second, for whoever looks: its level, and what it may be."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from dejavud.errors import DejavudError
from dejavud.services.views import track_in_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        self._workers = workers
        self._library = library
        self._tracks: dict[int, Track] = {}

    async def show(self, listener: Listener) -> None:
        """Publish how the second was that `listener` has just heard."""
        if not self._hub.is_wanted(TOPIC):
            self._tracks = {}
            return
        level_db = listener.level_db
        data = {
            "listener": listener.name,
            "level_db": None if level_db is None or not math.isfinite(level_db) else round(level_db, 1),
            "state": listener.state,
            "heard_s": round(listener.hearing.params.frames_to_seconds(listener.end_frame), 3),
            "plays": [play.id for play in listener.hearing.plays],
            "candidates": await self._views(listener.hearing.candidates[:MAX_CANDIDATES]),
        }
        self._hub.publish_transient(TOPIC, data, of=listener.name)

    async def _views(self, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
        """Return candidates as JSON shows them; none where the index cannot say now who they are."""
        unknown = tuple({one.track_id for one in candidates} - self._tracks.keys())
        if unknown:
            try:
                found = await self._workers.read(partial(self._library.index.tracks, ids=unknown))
            except DejavudError:
                return []
            known = {**self._tracks, **{track.id: track for track in found}}
            self._tracks = {one.track_id: known[one.track_id] for one in candidates if one.track_id in known}
        return [
            {"track": track_in_answer(self._tracks[one.track_id]), "confidence": round(one.confidence, 4)}
            for one in candidates
            if one.track_id in self._tracks
        ]
