"""The plays that a listener hears, as far as they are known, and what becomes known of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dejavud.matching.plays import Play
    from dejavud.values import Constellation

NEAR_FRAMES = 4
"""Shifts no farther apart are one."""


@dataclass(slots=True, eq=False)
class HeardPlay:
    """A play as far as it is known; frames are of the listener's clock.

    delta : track frame less listener's frame.
    first_frame, seen_frame : where it is heard from, and up to where so far.
    looked_frame : up to where looks have seen it.
    twins : other tracks that hold the same recording.
    records : what the tracker says of it, in order: of a play under noise it may lose the thread.
    past : shifts at which it was taken to lie before: under noise one repetition is easily taken for another.
    """

    id: int
    track_id: int
    delta: int
    first_frame: int
    seen_frame: int
    confidence: float
    twins: tuple[int, ...] = ()
    looked_frame: int = 0
    records: list[Play] = field(default_factory=list)
    past: list[int] = field(default_factory=list)

    def lies_at(self, delta: int) -> bool:
        """Tell whether it is, or was, taken to lie at `delta`."""
        recorded = (last_delta(record) for record in self.records)
        return any(abs(delta - known) <= NEAR_FRAMES for known in (self.delta, *self.past, *recorded))

    def lay(self, delta: int) -> None:
        """Take it to lie at `delta`."""
        was = self.delta
        if abs(delta - was) > NEAR_FRAMES and all(abs(was - past) > NEAR_FRAMES for past in self.past):
            self.past.append(was)
        self.delta = delta

    @property
    def track_first_frame(self) -> int:
        """Return where in the track it begins; `delta` is where it lies at last, which is elsewhere once it was held."""
        delta = self.delta
        if self.records:
            delta = self.records[0].track_first_frame - self.records[0].first_frame
        return max(0, self.first_frame + delta)

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """Return where in it the track is not heard, as far as the tracker knows."""
        between = [(a.end_frame, b.first_frame) for a, b in pairwise(self.records) if a.end_frame < b.first_frame]
        return tuple(sorted([*between, *(gap for record in self.records for gap in record.gaps)]))

    @property
    def coverage(self) -> float:
        """Return the share of it in which the track is heard, 0 to 1."""
        silent = sum(end - first for first, end in self.gaps)
        return max(0.0, 1.0 - silent / max(1, self.seen_frame - self.first_frame))

    @property
    def track_seen_frame(self) -> int:
        """Return where in the track it was heard last."""
        return max(0, self.seen_frame + self.delta)

    def see(self, end: int) -> None:
        """Take note that a look has seen it up to the frame `end`."""
        self.looked_frame = max(self.looked_frame, end)
        self.seen_frame = max(self.seen_frame, end)

    def is_gone(self, n_certain: int, n_near: int) -> bool:
        """Tell whether it is over, or pauses, beyond doubt.

        It has been heard for at least `n_certain` frames, so that its place is certain, and looks saw it to within `n_near` frames for as long as the
        tracker did, which has heard what speaks against it since.
        """
        if not self.records or self.seen_frame - self.first_frame < n_certain:
            return False
        return self.records[-1].is_gone and self.looked_frame >= self.records[-1].end_frame - n_near

    def outlives_record(self, n_frames: int) -> bool:
        """Tell whether looks have seen it for so long after the tracker had lost it that it is the tracker that was deaf."""
        return self.looked_frame - self.records[-1].end_frame > n_frames

    def record_of(self, exact: Play) -> Play | None:
        """Return what the tracker said of the same stretch before."""
        for record in self.records:
            if record.first_frame < exact.end_frame and exact.first_frame < record.end_frame:
                return record
        return None

    def overlaps(self, exact: Play) -> bool:
        """Tell whether it sounded when `exact` did."""
        return self.first_frame < exact.end_frame and exact.first_frame < self.seen_frame

    def is_of(self, track_id: int, twins: Iterable[int]) -> bool:
        """Tell whether it is a play of this recording."""
        return self.track_id == track_id or track_id in self.twins or self.track_id in twins


@dataclass(frozen=True, slots=True)
class Change:
    """What has become known of a play."""

    kind: Literal["started", "updated", "ended"]
    play: HeardPlay


@dataclass(frozen=True, slots=True)
class Candidate:
    """A track that may sound just now: nobody is sure of it yet.  confidence : 0 to 1."""

    track_id: int
    confidence: float


def placed(play: Play, origin: int, track: Constellation | None) -> Play:
    """Return a play of a tracker whose frame 0 is `origin` on the listener's clock, from the track's first note to its last."""
    early = late = 0
    if track is not None and len(track.frames):
        early = max(0, int(track.frames[0]) - play.track_first_frame)
        late = max(0, play.track_end_frame - int(track.frames[-1]) - 1)
    return replace(
        play,
        first_frame=play.first_frame + origin + early,
        end_frame=play.end_frame + origin - late,
        track_first_frame=play.track_first_frame + early,
        track_end_frame=play.track_end_frame - late,
        gaps=tuple((first + origin, end + origin) for first, end in play.gaps),
    )


def last_delta(play: Play) -> int:
    """Return the shift at which the tracker's `play` ends, track frame less listener's frame."""
    return play.track_end_frame - play.end_frame
