"""The seam between the engine and wherever postings live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dejavud.index.postings import Postings
    from dejavud.placed_hits import AnyHits
    from dejavud.values import Constellation, Hashes, IndexStatistics, NewTrack, Track, TrackEdit


class StoppedError(Exception):
    """The caller wanted what it began to end before it was done; what is stored is as it was."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What `Store.compact` has done.

    n_bytes_before, n_bytes_after : on the disk.
    is_rewritten : whether anything was done; False where there is nothing to do.
    """

    n_bytes_before: int
    n_bytes_after: int
    is_rewritten: bool


class Index(Protocol):
    """Tracks, their constellations and their postings, kept together.

    Methods block; callers run them in threads (``services.workers``).  Reads may run at the same time as each other and as
    one write; writes are serialized by the caller.  A read sees the tracks committed before it started and no part of
    any other.  After the index is closed every method raises `IndexUnavailable`.  Errors of the engine beneath are
    converted to `IndexUnavailable` and its subclasses (`IndexFull` when there is no room).
    """

    def add(self, entries: Sequence[NewTrack]) -> Sequence[Track]:
        """Store tracks, constellations and postings in one transaction: all of `entries`, or none of them.

        Idempotent by content: an entry whose ``file_sha1`` is known (or came earlier in `entries`) is not stored again and the track that is
        there is returned in its place.  The result is parallel to `entries`.  Ids are positive, ascending and never
        given again, not even after a removal; but an entry that brings an ``id``, from a backup, is stored under that one, and
        those given afterwards are greater.

        Raises `TrackIdTaken` where an entry that is to be stored brings the id of another track.
        """
        ...

    def remove(self, track_ids: Sequence[int]) -> Sequence[Track]:
        """Delete tracks with all that belongs to them, in one transaction; return those that were there."""
        ...

    def edit(self, edits: Mapping[int, TrackEdit]) -> Sequence[Track]:
        """Change tracks by id, in one transaction; return those that were there, as they are now, ascending by id.

        A disabled track vanishes from look-ups when this returns, and an enabled one is back.
        """
        ...

    def tracks(
        self,
        *,
        ids: Sequence[int] | None = None,
        sha1s: Sequence[str] | None = None,
        limit: int | None = None,
        after_id: int = 0,
    ) -> Sequence[Track]:
        """Return tracks in ascending order of id, those past `after_id`, at most `limit` of them.

        `ids` and `sha1s` restrict the answer where given; what is not there is left out, an empty sequence selects
        nothing.
        """
        ...

    def lookup(self, hashes: Hashes, *, timeout_s: float | None = None) -> AnyHits:
        """Return every meeting of a query hash with a posting of a track that is not disabled, one row a meeting.

        Repeated query hashes each count.

        Bounded: where there are more than `dejavud.index.meetings.MAX_HITS`, as a steady tone or a very large library brings about, the
        hash values with most meetings are left out whole until the rest fits.

        Raises `Timeout` when it took longer than `timeout_s`; the work is then really stopped.
        """
        ...

    def constellations(self, track_ids: Sequence[int]) -> Mapping[int, Constellation]:
        """Return the stored constellations of these tracks; ids that are not there are left out."""
        ...

    def statistics(self) -> IndexStatistics:
        """Return how much is stored, cheaply enough for a status page."""
        ...


class Store(Index, Protocol):
    """An index that keeps things for good, and that a resident view can be derived from."""

    def postings(self, first_id: int, last_id: int) -> Postings:
        """Return all postings of the tracks whose ids are from `first_id` to, and with, `last_id`, in any order.

        Takes time and memory in proportion to them, and not to all there are.
        """
        ...

    def replace(self, track_id: int, constellation: Constellation, hashes: Hashes) -> bool:
        """Store the contents of a track anew, its counts with them, in one transaction; return whether the track is there."""
        ...

    def stray_ids(self) -> Sequence[int]:
        """Return the ids under which there are postings or constellations but no track, ascending; `remove` deletes them.

        Takes time in proportion to all there is, and memory to the number of tracks.
        """
        ...

    def compact(self, tell: Callable[[int, int], None], should_stop: Callable[[], bool]) -> Compacted:
        """Put what is stored in the order in which it is asked for, and give back the space that nothing uses; queries and writes go on meanwhile.

        Where the engine does that by itself there is nothing to do.

        tell : given how much is done and of how much, in postings, from time to time.
        should_stop : asked several times a second.

        Raises `StoppedError` where it was to stop; `IndexFull`, before anything is done, where the disk has no room for it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Changes:
    """What was written to a shared store since a revision.

    revision : of the last write.
    track_ids : of the tracks that were added, edited or removed, ascending; None where that is no longer known, and anything may have been.
    """

    revision: int
    track_ids: tuple[int, ...] | None


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store that other processes write to as well; it may be away at times: then its methods raise `IndexAway`."""

    @property
    def is_reachable(self) -> bool:
        """Tell whether it answered when it was last asked."""
        ...

    def changes(self, after_revision: int) -> Changes:
        """Return what was written after that revision, by whomever; of one below 0 only what the revision is now.

        What tracks are read afterwards are as they were then, or later.
        """
        ...
