"""Hits as ballots: each a number that says on which diagonal of which track it lies, the same for all that agree.

Hits that come as columns are numbered by track, scale and delta.  Those of a resident view lie on axes, where tracks follow each other: there the
difference of place and frame, in 32 bits, is number enough, which is sorted in a third of the time; whose diagonal it is has to be
asked only of the few that matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from dejavud.fingerprint.scaling import split_offsets
from dejavud.placed_hits import PlacedHits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.placed_hits import AnyHits, Axis
    from dejavud.values import Array, Hits

DELTA_BITS, SCALE_BITS = 24, 8
_DELTA_ZERO = 1 << (DELTA_BITS - 1)
_AXIS_BITS = 32


class Diagonals(NamedTuple):
    """Diagonals and whose they are, int64 [n] each.

    which : index of the number that each is read from: a number on the border of two tracks may be of either.
    track_ids, scales, deltas : as `dejavud.matching.voting.Candidates` has them.
    """

    which: Array
    track_ids: Array
    scales: Array
    deltas: Array


class Ballots(Protocol):
    """Numbers of diagonals, one a hit; neighbouring diagonals have neighbouring numbers."""

    @property
    def numbers(self) -> Array:
        """Return uint32, uint64 or int64 [n], in no promised order; the caller may change them."""
        ...

    def diagonals(self, numbers: Array) -> Diagonals:
        """Return the diagonals that distinct `numbers` stand for."""
        ...


def ballots(hits: AnyHits) -> Iterator[Ballots]:
    """Give the ballots of `hits`, in groups that share no track."""
    if not isinstance(hits, PlacedHits):
        yield _ColumnBallots(hits)
        return
    for axis, first, end in hits.runs():
        yield _AxisBallots(axis, hits.query_offsets[first:end], hits.places[first:end])


@dataclass(frozen=True, slots=True)
class _ColumnBallots:
    """Ballots of hits with their tracks and frames in columns."""

    hits: Hits

    @property
    def numbers(self) -> Array:
        """See `Ballots.numbers`."""
        scales, frames = split_offsets(self.hits.query_offsets)
        numbers = self.hits.track_ids.astype(np.int64)
        numbers <<= SCALE_BITS
        numbers |= scales
        numbers <<= DELTA_BITS
        numbers += self.hits.track_offsets
        numbers += _DELTA_ZERO - frames.astype(np.int64)
        return numbers

    def diagonals(self, numbers: Array) -> Diagonals:
        """See `Ballots.diagonals`."""
        owners, deltas = numbers >> DELTA_BITS, (numbers & ((1 << DELTA_BITS) - 1)) - _DELTA_ZERO
        return Diagonals(np.arange(len(numbers)), owners >> SCALE_BITS, owners & ((1 << SCALE_BITS) - 1), deltas)


@dataclass(frozen=True, slots=True)
class _AxisBallots:
    """Ballots of hits on one axis; `query_offsets` and `places` as `dejavud.placed_hits.PlacedHits` has them."""

    axis: Axis
    query_offsets: Array
    places: Array

    @property
    def numbers(self) -> Array:
        """See `Ballots.numbers`; 64 bits only where the query has more than one scale."""
        scales, frames = split_offsets(self.query_offsets)
        diagonals: Array = self.places - frames.view(np.uint32)  # modulo 2^32, as places are
        if not scales.any():
            return diagonals
        numbers = scales.astype(np.uint64)
        numbers <<= np.uint64(_AXIS_BITS)
        numbers |= diagonals
        return numbers

    def diagonals(self, numbers: Array) -> Diagonals:
        """See `Ballots.diagonals`.

        A diagonal shortly before a track begins may be one of the track before it as well, or of none: then that track's hits are on it.
        """
        longest = int(split_offsets(self.query_offsets)[1].max(initial=0))
        scales, places = numbers.astype(np.uint64) >> np.uint64(_AXIS_BITS), numbers.astype(np.uint32)
        which, track_ids, deltas = self.axis.tracks_from(places, longest)
        return Diagonals(which, track_ids, scales.astype(np.int64)[which], deltas)
