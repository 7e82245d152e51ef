"""What the tests of the services build them from: music in files, and parts that can be watched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synthetic import synthesize, write_wav

from dejavud.fingerprint.params import Params
from dejavud.index.memory import MemoryIndex
from dejavud.services.ingest import TrackFile
from dejavud.values import Tags

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dejavud.services.events import Event, EventHub
    from dejavud.values import Hashes, Hits, NewTrack, Track

PARAMS = Params()
RATE_HZ = PARAMS.rate_hz


def music_file(folder: Path, seed: int, duration_s: float = 3.0, name: str | None = None) -> Path:
    """Write a piece of music; another seed is another piece."""
    return write_wav(folder / (name or f"piece{seed}.wav"), synthesize(seed, duration_s, RATE_HZ), RATE_HZ)


def track_file(path: Path, *, title: str | None = None, limit_s: float | None = None) -> TrackFile:
    """Return the file as an ingest takes it."""
    return TrackFile(path, path.name, str(path), Tags(title), limit_s)


class WatchedIndex(MemoryIndex):
    """Notes how many tracks each commit held and how often it was asked, and fails where it is told to.

    refuses : title of a track that cannot be stored.
    unseen : what look-ups say they could not ask.
    """

    def __init__(self, *, refuses: str = "", error: Exception | None = None) -> None:
        super().__init__()
        self.commits: list[int] = []
        self.n_lookups = 0
        self.unseen: tuple[str, ...] = ()
        self._refuses = refuses
        self._error = error

    def add(self, entries: Sequence[NewTrack]) -> Sequence[Track]:
        """See `Index.add`."""
        if self._error is not None and any(entry.title == self._refuses for entry in entries):
            raise self._error
        self.commits.append(len(entries))
        return super().add(entries)

    def lookup(self, hashes: Hashes, *, timeout_s: float | None = None) -> Hits:
        """See `Index.lookup`."""
        self.n_lookups += 1
        return replace(super().lookup(hashes, timeout_s=timeout_s), unseen=self.unseen)


def published(hub: EventHub) -> list[Event]:
    """Return a list that fills with every event from now on."""
    seen: list[Event] = []
    publish = hub.publish

    def note(topic: str, data: dict[str, object]) -> Event:
        seen.append(publish(topic, data))
        return seen[-1]

    hub.publish = note  # type: ignore[method-assign, assignment]
    return seen
