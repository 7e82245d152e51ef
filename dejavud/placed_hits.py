"""Hits on the axis of a resident view: what they mean is only worked out where somebody asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from dejavud.values import Hits, freeze_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.values import Array

BLOCK_BITS = 10
"""The blocks of an `Axis` are of so many bits' frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """Tracks that follow each other on one axis of frames, each from the beginning of a block of 1024.

    A place on it is a number of 32 bits, and what it means is two gathers by its block.

    track_ids : int32 [n_blocks], the track of each block; 0 for those of a track that was removed.
    shifts : uint32 [n_blocks], what makes a place in the block a frame of its track, modulo 2^32.
    """

    track_ids: Array
    shifts: Array

    def owners(self, places: Array) -> Array:
        """Return int32 [n]: the track of each place, 0 where it was removed."""
        return self.track_ids.take(places >> BLOCK_BITS)

    def frames(self, places: Array) -> Array:
        """Return int32 [n]: the frame of its track that each place is."""
        frames: Array = (places + self.shifts.take(places >> BLOCK_BITS)).view(np.int32)
        return frames

    def tracks_from(self, places: Array, n_frames: int) -> tuple[Array, Array, Array]:
        """Return the tracks that have some of the places from each of `places` to `n_frames` further on.

        Parallel int64 [n]: the index into `places`, the track, and the frame of it that the place would be, negative where the
        track begins later.  A place beyond the axis is one before it, modulo 2^32.
        """
        starts = places.astype(np.int64)
        starts[starts >= len(self.track_ids) << BLOCK_BITS] -= 1 << 32
        first, last = np.maximum(starts >> BLOCK_BITS, 0), (starts + n_frames) >> BLOCK_BITS
        last = np.minimum(last, len(self.track_ids) - 1)
        n_blocks = np.maximum(last - first + 1, 0)
        which = np.repeat(np.arange(len(starts)), n_blocks)
        blocks = np.repeat(first - (np.cumsum(n_blocks) - n_blocks), n_blocks) + np.arange(n_blocks.sum())
        ids = self.track_ids[blocks].astype(np.int64)
        is_new = (ids > 0) & ((np.diff(ids, prepend=-1) != 0) | (np.diff(which, prepend=-1) != 0))
        which, blocks, ids = which[is_new], blocks[is_new], ids[is_new]
        # the shift counts from frames of 32 bits, which a track's own frames are
        frames = (starts[which].astype(np.uint32) + self.shifts[blocks]).view(np.int32)
        return which, ids, frames.astype(np.int64)


@dataclass(frozen=True, eq=False)
class PlacedHits:
    """Hits whose postings lie on axes: what `dejavud.values.Hits` has, and the places themselves, so that few have to be told apart.

    query_offsets : int32 [n], frames of the query.
    places : uint32 [n], those of one axis after those of another.
    axes : the axes, and n_hits how many hits each of them has.
    """

    query_offsets: Array
    places: Array
    axes: tuple[Axis, ...]
    n_hits: tuple[int, ...]
    unseen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze_arrays(self, {"query_offsets": np.int32, "places": np.uint32})
        if sum(self.n_hits) != len(self.places) or len(self.n_hits) != len(self.axes):
            msg = f"{len(self.places)} hits on {len(self.axes)} axes with {self.n_hits}"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.places)

    def runs(self) -> Iterator[tuple[Axis, int, int]]:
        """Give each axis with the first of its hits and the one beyond its last."""
        first = 0
        for axis, n_hits in zip(self.axes, self.n_hits, strict=True):
            yield axis, first, first + n_hits
            first += n_hits

    @cached_property
    def track_ids(self) -> Array:
        """Return int32 [n]."""
        parts = [axis.owners(self.places[first:end]) for axis, first, end in self.runs()]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    @cached_property
    def track_offsets(self) -> Array:
        """Return int32 [n], frames of the track."""
        parts = [axis.frames(self.places[first:end]) for axis, first, end in self.runs()]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)


AnyHits: TypeAlias = Hits | PlacedHits
"""What a look-up returns: the same to read, but for the time it takes."""
