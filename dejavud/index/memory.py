"""An index that lives and dies with the process: sorted arrays and binary search, the oracle of the tests."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.errors import IndexUnavailable, Timeout
from dejavud.index.base import Compacted
from dejavud.index.entries import MAX_ID, edited, possible_ids, stored_tracks
from dejavud.index.meetings import MAX_HITS, worth_asking
from dejavud.index.postings import Postings
from dejavud.values import Hits, IndexStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from dejavud.values import Constellation, Hashes, NewTrack, Track, TrackEdit

    Array = NDArray[Any]

_HASHES_A_STEP = 1 << 14
"""Query hashes looked up between two looks at the clock."""


_NARROW = (np.uint32, np.int32, np.int32)


@dataclass(frozen=True)
class _Contents:
    """Everything at one moment; a write makes a new one, so a read that took this one sees whole tracks only.

    postings : ascending by hash; the hashes are wide once there are wide ones.
    """

    tracks: Mapping[int, Track] = field(default_factory=dict)
    constellations: Mapping[int, Constellation] = field(default_factory=dict)
    postings: Postings = field(default_factory=lambda: Postings(*(np.empty(0, kind) for kind in _NARROW)))

    @cached_property
    def asked(self) -> Postings:
        """Return the postings of tracks that are not disabled, in the same order."""
        disabled = [track.id for track in self.tracks.values() if track.disabled]
        return self.postings.of(~np.isin(self.postings.track_ids, disabled)) if disabled else self.postings


class MemoryIndex:
    """The index contract (`dejavud.index.base.Index`) over arrays in memory; every write copies them."""

    def __init__(self, *, max_hits: int = MAX_HITS) -> None:
        self._max_hits = max_hits
        self._next_id = 1
        self._write_lock = threading.Lock()
        self._contents: _Contents | None = _Contents()

    def close(self) -> None:
        """Forget everything; every call after this raises `IndexUnavailable`.  Idempotent."""
        with self._write_lock:
            self._contents = None

    def add(self, entries: Sequence[NewTrack]) -> Sequence[Track]:
        """See `Index.add`."""
        with self._write_lock:
            now = self._open_contents()
            by_sha1 = {track.file_sha1: track for track in now.tracks.values()}
            fresh = {entry.file_sha1: entry for entry in reversed(entries) if entry.file_sha1 not in by_sha1}
            new = [fresh[sha1] for sha1 in dict.fromkeys(e.file_sha1 for e in entries if e.file_sha1 in fresh)]
            tracks, next_id = stored_tracks(new, self._next_id, now.tracks.keys(), datetime.now(UTC))
            by_sha1 |= {track.file_sha1: track for track in tracks}
            added = dict(zip([track.id for track in tracks], new, strict=True))
            before = now.postings
            hashes = np.concatenate([before.hashes, *(entry.hashes.values for entry in new)])
            order = np.argsort(hashes, kind="stable")
            ids = [np.full(len(entry.hashes), track_id, np.int32) for track_id, entry in added.items()]
            offsets = [entry.hashes.offsets for entry in new]
            self._contents = _Contents(
                {**now.tracks, **{track.id: track for track in tracks}},
                {**now.constellations, **{track_id: entry.constellation for track_id, entry in added.items()}},
                Postings(
                    hashes[order],
                    np.concatenate([before.track_ids, *ids])[order],
                    np.concatenate([before.frames, *offsets])[order],
                ),
            )
            self._next_id = next_id
            return [by_sha1[entry.file_sha1] for entry in entries]

    def remove(self, track_ids: Sequence[int]) -> Sequence[Track]:
        """See `Index.remove`."""
        with self._write_lock:
            now = self._open_contents()
            gone = {track_id: now.tracks[track_id] for track_id in possible_ids(track_ids) if track_id in now.tracks}
            self._contents = _Contents(
                {track_id: track for track_id, track in now.tracks.items() if track_id not in gone},
                {track_id: stars for track_id, stars in now.constellations.items() if track_id not in gone},
                now.postings.of(~np.isin(now.postings.track_ids, list(gone))),
            )
            return list(gone.values())

    def edit(self, edits: Mapping[int, TrackEdit]) -> Sequence[Track]:
        """See `Index.edit`."""
        with self._write_lock:
            now = self._open_contents()
            changed = {i: edited(now.tracks[i], edits[i]) for i in possible_ids(edits) if i in now.tracks}
            self._contents = _Contents({**now.tracks, **changed}, now.constellations, now.postings)
            return list(changed.values())

    def tracks(
        self,
        *,
        ids: Sequence[int] | None = None,
        sha1s: Sequence[str] | None = None,
        limit: int | None = None,
        after_id: int = 0,
    ) -> Sequence[Track]:
        """See `Index.tracks`."""
        chosen = [track for track_id, track in sorted(self._open_contents().tracks.items()) if track_id > after_id]
        if ids is not None:
            wanted_ids = set(ids)
            chosen = [track for track in chosen if track.id in wanted_ids]
        if sha1s is not None:
            wanted_sha1s = set(sha1s)
            chosen = [track for track in chosen if track.file_sha1 in wanted_sha1s]
        return chosen[: MAX_ID if limit is None else limit]

    def lookup(self, hashes: Hashes, *, timeout_s: float | None = None) -> Hits:
        """See `Index.lookup`."""
        started_s = time.monotonic()
        now = self._open_contents().asked
        starts, ends = np.empty(len(hashes), np.int64), np.empty(len(hashes), np.int64)
        for first in range(0, len(hashes), _HASHES_A_STEP):
            part = slice(first, first + _HASHES_A_STEP)
            starts[part] = np.searchsorted(now.hashes, hashes.values[part], "left")
            ends[part] = np.searchsorted(now.hashes, hashes.values[part], "right")
            if timeout_s is not None and time.monotonic() - started_s >= timeout_s:
                raise Timeout(what="the look-up", limit_s=timeout_s)
        counts = ends - starts
        counts = np.where(worth_asking(hashes, counts, self._max_hits), counts, 0)
        n_before = np.cumsum(counts) - counts
        place = np.arange(counts.sum()) + np.repeat(starts - n_before, counts)
        return Hits(np.repeat(hashes.offsets, counts), now.track_ids[place], now.frames[place])

    def constellations(self, track_ids: Sequence[int]) -> Mapping[int, Constellation]:
        """See `Index.constellations`."""
        known = self._open_contents().constellations
        return {track_id: known[track_id] for track_id in possible_ids(track_ids) if track_id in known}

    def statistics(self) -> IndexStatistics:
        """See `Index.statistics`."""
        now = self._open_contents()
        postings = now.postings
        arrays = (postings.hashes, postings.track_ids, postings.frames)
        return IndexStatistics(
            n_tracks=len(now.tracks),
            n_postings=len(postings),
            duration_s=sum(track.duration_s for track in now.tracks.values()),
            size_bytes=sum(array.nbytes for array in arrays),
            n_disabled=sum(track.disabled for track in now.tracks.values()),
        )

    def postings(self, first_id: int, last_id: int) -> Postings:
        """See `dejavud.index.base.Store.postings`."""
        postings = self._open_contents().postings
        return postings.of((postings.track_ids >= first_id) & (postings.track_ids <= last_id))

    def replace(self, track_id: int, constellation: Constellation, hashes: Hashes) -> bool:
        """See `dejavud.index.base.Store.replace`."""
        with self._write_lock:
            now = self._open_contents()
            track = now.tracks.get(track_id)
            if track is None:
                return False
            kept = now.postings.of(now.postings.track_ids != track_id)
            values = np.concatenate([kept.hashes, hashes.values])
            order = np.argsort(values, kind="stable")
            track = replace(track, n_peaks=len(constellation), n_hashes=len(hashes))
            self._contents = _Contents(
                {**now.tracks, track_id: track},
                {**now.constellations, track_id: constellation},
                Postings(
                    values[order],
                    np.concatenate([kept.track_ids, np.full(len(hashes), track_id, np.int32)])[order],
                    np.concatenate([kept.frames, hashes.offsets])[order],
                ),
            )
            return True

    def stray_ids(self) -> Sequence[int]:
        """See `dejavud.index.base.Store.stray_ids`; a write here is all or nothing, so there are none."""
        self._open_contents()
        return ()

    def compact(self, _tell: Callable[[int, int], None], _should_stop: Callable[[], bool]) -> Compacted:
        """See `dejavud.index.base.Store.compact`."""
        n_bytes = self.statistics().size_bytes
        return Compacted(n_bytes, n_bytes, is_rewritten=False)

    def _open_contents(self) -> _Contents:
        contents = self._contents
        if contents is None:
            raise IndexUnavailable(reason="it is closed")
        return contents
