"""How the daemon is, in one line for whoever looks at its unit: what it knows, what it hears, what plays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from dejavud.errors import DejavudError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dejavud.services.events import EventHub
    from dejavud.services.library import Library

TOPICS = ("match.started", "match.ended", "listener.", "track.")
PAUSE_S = 1.0
"""Between two looks: many events of a moment are one change."""
_HEARS = frozenset({"listening", "silent"})


class Headline:
    """Keeps the line up to date, and says whenever it has changed.

    listeners : returns every listener as JSON shows it.
    changed : is called when it is another than before.
    """

    def __init__(
        self,
        library: Library,
        hub: EventHub,
        listeners: Callable[[], Sequence[Mapping[str, Any]]],
        changed: Callable[[], None],
    ) -> None:
        self._library = library
        self._hub = hub
        self._listeners = listeners
        self._changed = changed
        self._n_tracks: int | None = None
        self._last = ""

    @property
    def text(self) -> str:
        """Return the line, with the number of tracks as last counted."""
        return headline(self._n_tracks, self._listeners())

    async def count(self) -> None:
        """Count the tracks; where the index does not answer the number is not known."""
        try:
            self._n_tracks = (await self._library.statistics()).n_tracks
        except DejavudError:
            self._n_tracks = None

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Say so until cancelled."""
        with self._hub.subscribe(*TOPICS) as subscription:
            await self.count()
            self._last = self.text
            task_status.started()
            async for delivery in subscription:
                await trio.sleep(PAUSE_S)
                topics = {delivery.event.topic, *(waiting.event.topic for waiting in subscription.queued())}
                if any(topic.startswith("track.") for topic in topics):
                    await self.count()
                if self.text != self._last:
                    self._last = self.text
                    self._changed()


def headline(n_tracks: int | None, listeners: Sequence[Mapping[str, Any]]) -> str:
    """Return what there is to say of so many tracks (None: the index does not answer) and these listeners."""
    parts = ["the index does not answer" if n_tracks is None else f"{n_tracks} track{'s' * (n_tracks != 1)}"]
    if listeners:
        n_hear = sum(listener["state"] in _HEARS for listener in listeners)
        parts.append(f"{n_hear} of {len(listeners)} listener{'s' * (len(listeners) != 1)} hear{'s' * (n_hear == 1)}")
    plays = [(listener["listener"], play["track"]) for listener in listeners for play in listener["plays"]]
    if plays:
        name, track = plays[-1]
        called = " by ".join(filter(None, (track["title"], track["artist"]))) or f"track {track['id']}"
        parts.append(f"{called} plays on {name}" + f" and {len(plays) - 1} more" * (len(plays) > 1))
    return "; ".join(parts)
