"""A segment of the resident view: tracks with their postings, sorted by hash, and their peaks; immutable, in memory or mapped.

A posting's track and frame are one number of 32 bits, its *place* on the segment's `dejavud.placed_hits.Axis`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.index.view.hash_tables import table_of
from dejavud.index.view.peak_packing import PEAK_DTYPES, unpacked
from dejavud.placed_hits import BLOCK_BITS, Axis

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from dejavud.index.view.hash_tables import HashTable
    from dejavud.values import Constellation

    Array = NDArray[Any]

MAX_BLOCKS = 1 << (32 - BLOCK_BITS)
"""Blocks of a segment: as many as 32 bits number frames of.  About half a million tracks of four minutes."""
MAX_POSTINGS = (1 << 32) - 1

TRACK_DTYPE = np.dtype(
    [
        ("id", "<i4"),
        ("n_hashes", "<i4"),
        ("sha1", "<u8"),
        ("first_frame", "<i4"),
        ("n_blocks", "<u4"),
        ("n_frames", "<i4"),
        ("n_peaks", "<i4"),
    ]
)
"""What a segment knows of a track.

id, n_hashes, sha1 : which track it is: its id, the number of its postings, the first 64 bits of its content hash.
first_frame : of its first block.
n_blocks : how many blocks of the axis are its own.
n_frames : of its constellation.
n_peaks : rows of its packed peaks.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Tracks, their postings and their peaks.  Made by `segment_of_columns`.

    tracks : `TRACK_DTYPE` [n_tracks], ascending by id.
    table : the runs of equal hashes in `places`.
    places : uint32 [n_postings], by hash.
    peaks : the columns of `dejavud.index.view.peak_packing`, of all tracks one after the other.
    first_peaks : int64 [n_tracks + 1], where in them each track starts.
    axis : what the places mean; those of a track that was removed belong to none.
    is_kept : bool [n_tracks], False for a track that was removed.
    """

    tracks: Array
    table: HashTable
    places: Array
    peaks: Mapping[str, Array]
    first_peaks: Array
    axis: Axis
    is_kept: Array

    def __len__(self) -> int:
        return len(self.places)

    @property
    def n_bytes(self) -> int:
        """Return the bytes of all columns."""
        return sum(column.nbytes for column in self.columns().values())

    def columns(self) -> dict[str, Array]:
        """Return all arrays that the segment can be made of again, by name."""
        return {"tracks": self.tracks, "places": self.places, **self.table.columns(), **self.peaks}

    @property
    def n_gone(self) -> int:
        """Return how many postings are of tracks that were removed."""
        return int(self.tracks["n_hashes"][~self.is_kept].sum())

    def without(self, track_ids: Iterable[int]) -> Segment:
        """Return the segment in which these tracks have nothing; itself where it has none of them."""
        is_gone = self.is_kept & np.isin(self.tracks["id"], np.fromiter(track_ids, np.int64))
        if not is_gone.any():
            return self
        owners = np.where(np.repeat(is_gone, self.tracks["n_blocks"]), np.int32(0), self.axis.track_ids)
        return replace(self, axis=replace(self.axis, track_ids=owners), is_kept=self.is_kept & ~is_gone)

    def constellation(self, track_id: int) -> Constellation | None:
        """Return the constellation of a track; None where the segment has no such track (any more)."""
        which = int(np.searchsorted(self.tracks["id"], track_id))
        if which == len(self.tracks) or self.tracks["id"][which] != track_id or not self.is_kept[which]:
            return None
        own = slice(self.first_peaks[which], self.first_peaks[which + 1])
        peaks = {name: column[own] for name, column in self.peaks.items()}
        return unpacked(peaks, int(self.tracks["n_frames"][which]))


def segment_of_columns(columns: dict[str, Array]) -> Segment:
    """Return the segment whose `Segment.columns` these are, with no track removed."""
    tracks = columns["tracks"]
    n_blocks = tracks["n_blocks"].astype(np.int64)
    first_places = ((np.cumsum(n_blocks) - n_blocks) << BLOCK_BITS).astype(np.uint32)
    return Segment(
        tracks,
        table_of(columns),
        columns["places"],
        {name: columns[name] for name in PEAK_DTYPES},
        np.concatenate([[0], np.cumsum(tracks["n_peaks"], dtype=np.int64)]),
        Axis(
            np.repeat(tracks["id"], n_blocks),
            np.repeat(tracks["first_frame"].astype(np.uint32) - first_places, n_blocks),
        ),
        np.ones(len(tracks), dtype=bool),
    )
