"""Postings in bulk, as stores take and give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.values import Hashes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dejavud.values import NewTrack, Track

    Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """Postings as a store keeps them, in any order; parallel arrays.

    hashes : uint32 or uint64 [n].
    track_ids, frames : int32 [n].
    """

    hashes: Array
    track_ids: Array
    frames: Array

    def __post_init__(self) -> None:
        if not len(self.hashes) == len(self.track_ids) == len(self.frames):
            msg = f"postings of {len(self.hashes)}, {len(self.track_ids)} and {len(self.frames)} rows"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.hashes)

    def by_track(self, track_ids: Sequence[int]) -> list[Hashes]:
        """Return the hashes of each of these tracks; empty where there are none."""
        order = np.argsort(self.track_ids, kind="stable")
        owners = self.track_ids[order]
        firsts, ends = (np.searchsorted(owners, track_ids, side).tolist() for side in ("left", "right"))
        spans = [order[first:end] for first, end in zip(firsts, ends, strict=True)]
        return [Hashes(self.hashes[own], self.frames[own]) for own in spans]

    def of(self, chosen: Array) -> Postings:
        """Return those that `chosen`, bool [n], names, in the same order."""
        return Postings(self.hashes[chosen], self.track_ids[chosen], self.frames[chosen])


def postings_of(tracks: Sequence[Track], entries: Sequence[NewTrack]) -> Postings:
    """Return the postings of `entries`, which were stored as `tracks`, each track's in order of frame.

    There is at least one entry.
    """
    orders = [np.argsort(entry.hashes.offsets, kind="stable") for entry in entries]
    ids = np.array([track.id for track in tracks], np.int32)
    return Postings(
        np.concatenate([entry.hashes.values[order] for entry, order in zip(entries, orders, strict=True)]),
        np.repeat(ids, [len(order) for order in orders]),
        np.concatenate([entry.hashes.offsets[order] for entry, order in zip(entries, orders, strict=True)]),
    )
