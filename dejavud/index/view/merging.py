"""Several segments to one, in bounded memory and a little at a time: a range of hashes after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from dejavud.index.view.building import first_of_runs, in_order
from dejavud.index.view.peak_packing import PEAK_DTYPES
from dejavud.index.view.segment import MAX_BLOCKS, MAX_POSTINGS, segment_of_columns
from dejavud.placed_hits import BLOCK_BITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dejavud.index.view.segment import Segment

    Array = NDArray[Any]

STEP_POSTINGS = 1 << 19
"""Postings sorted at a time: 3 ms during which no other thread of the process is held up, since numpy lets go of the interpreter."""

DIRECT_BYTES_A_POSTING = 8
"""A table of the starts of all hashes may take so many; 23 bits of hash are worth it from 4 million postings on."""
_START_BYTES = 4


class Sink(Protocol):
    """Takes the columns of a segment, each from its beginning to its end, several at a time."""

    def append(self, column: str, array: Array) -> None:
        """Put `array` at the end of `column`."""
        ...


def merge(segments: Sequence[Segment], sink: Sink) -> None:
    """Put the columns of one segment with all tracks of `segments` that were not removed into `sink`.

    No track is in two of them, and what is left of them is not too much for one (`fits`).
    """
    layout = _Layout(segments)
    sink.append("tracks", layout.tracks)
    _merge_postings(segments, layout.moves, sink)
    for name, dtype in PEAK_DTYPES.items():
        sink.append(name, np.empty(0, dtype))
        for source, first, end in layout.runs:
            segment = segments[source]
            sink.append(name, segment.peaks[name][segment.first_peaks[first] : segment.first_peaks[end]])


class _MemorySink:
    """Columns in memory."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Array]] = {}

    def append(self, column: str, array: Array) -> None:
        """See `Sink.append`."""
        self.parts.setdefault(column, []).append(array)


def merged_in_memory(segments: Sequence[Segment]) -> Segment:
    """Return one segment, in memory, of all tracks of `segments` that were not removed, as `merge`."""
    if len(segments) == 1:
        return segments[0]
    sink = _MemorySink()
    merge(segments, sink)
    return segment_of_columns({name: np.concatenate(parts) for name, parts in sink.parts.items()})


class _Layout:
    """Where the tracks of segments come to lie in the merged one.

    tracks : `TRACK_DTYPE` [n], those that are left, ascending by id.
    runs : (segment, first, end) of tracks that lie together before and after, in their new order.
    moves : by segment, uint32 [n_blocks], what is added to a place of each block, modulo 2^32.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        left = [np.flatnonzero(segment.is_kept) for segment in segments]
        tracks = np.concatenate([segment.tracks[own] for segment, own in zip(segments, left, strict=True)])
        order = np.argsort(tracks["id"])
        self.tracks: Array = tracks[order]
        sources = np.repeat(np.arange(len(left)), [len(own) for own in left])[order]
        numbers = np.concatenate(left)[order]
        self.runs = _runs(sources, numbers)
        first_blocks = _first_blocks(self.tracks)
        self.moves: list[Array] = []
        for which, segment in enumerate(segments):
            own = sources == which
            moved = np.zeros(len(segment.tracks), np.int64)
            moved[numbers[own]] = first_blocks[own] - _first_blocks(segment.tracks)[numbers[own]]
            self.moves.append(np.repeat((moved << BLOCK_BITS).astype(np.uint32), segment.tracks["n_blocks"]))


def _first_blocks(tracks: Array) -> Array:
    n_blocks = tracks["n_blocks"].astype(np.int64)
    first: Array = np.cumsum(n_blocks) - n_blocks
    return first


def _runs(sources: Array, numbers: Array) -> list[tuple[int, int, int]]:
    """Return (source, first number, number beyond) of each run of the same source and consecutive numbers."""
    is_first = np.ones(len(sources), dtype=bool)
    is_first[1:] = (np.diff(sources) != 0) | (np.diff(numbers) != 1)
    firsts = np.flatnonzero(is_first)
    lengths = np.diff(firsts, append=len(sources))
    rows = zip(sources[firsts].tolist(), numbers[firsts].tolist(), (numbers[firsts] + lengths).tolist(), strict=True)
    return list(rows)


def fits(segments: Sequence[Segment]) -> bool:
    """Tell whether what is left of `segments` can be one."""
    n_blocks = sum(int(segment.tracks["n_blocks"][segment.is_kept].sum(dtype=np.int64)) for segment in segments)
    return n_blocks <= MAX_BLOCKS and sum(len(segment) - segment.n_gone for segment in segments) <= MAX_POSTINGS


def fitting(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Give `segments` in as few groups as can be merged; as a rule it is one."""
    group: list[Segment] = []
    for segment in segments:
        if group and not fits([*group, segment]):
            yield group
            group = []
        group.append(segment)
    if group:
        yield group


def _merge_postings(segments: Sequence[Segment], moves: Sequence[Array], sink: Sink) -> None:
    dtype = max((segment.table.hash_dtype for segment in segments), key=lambda kind: kind.itemsize)
    last_hash = max(segment.table.last_hash() for segment in segments)
    n_postings = sum(len(segment) - segment.n_gone for segment in segments)
    is_direct = (last_hash + 3) * _START_BYTES <= n_postings * DIRECT_BYTES_A_POSTING
    writer = _DirectWriter(sink) if is_direct else _KeyedWriter(sink, dtype)
    sink.append("places", np.empty(0, np.uint32))
    cuts = _cuts(segments, dtype)
    edges = [[0, *segment.table.n_below(cuts).tolist(), len(segment)] for segment in segments]
    for which, end_hash in enumerate([*cuts.tolist(), last_hash + 1]):
        parts = [
            _moved(segment, move, edge[which], edge[which + 1])
            for segment, move, edge in zip(segments, moves, edges, strict=True)
        ]
        hashes, places = in_order(
            np.concatenate([part.hashes for part in parts]), np.concatenate([part.places for part in parts])
        )
        sink.append("places", places)
        writer.append(hashes, end_hash)
    writer.finish()


def _cuts(segments: Sequence[Segment], dtype: np.dtype[Any]) -> Array:
    """Return `dtype` [n]: hashes between which there are about `STEP_POSTINGS` postings, ascending."""
    step = max(1, STEP_POSTINGS // (2 * len(segments)))
    samples = [segment.table.hashes_at(np.arange(step, len(segment), step)).astype(dtype) for segment in segments]
    candidates = np.unique(np.concatenate(samples))
    below = sum(segment.table.n_below(candidates) for segment in segments)
    wanted = np.arange(STEP_POSTINGS, sum(map(len, segments)), STEP_POSTINGS)
    which = np.unique(np.searchsorted(below, wanted))
    chosen: Array = candidates[which[which < len(candidates)]]
    return chosen


class _Part(NamedTuple):
    hashes: Array
    places: Array


def _moved(segment: Segment, move: Array, first: int, end: int) -> _Part:
    """Return the postings from `first` up to `end` that are left, at their new places."""
    hashes, places = segment.table.hashes_between(first, end), segment.places[first:end]
    blocks = places >> BLOCK_BITS
    if not segment.is_kept.all():
        is_left = segment.axis.track_ids.take(blocks) > 0
        hashes, places, blocks = hashes[is_left], places[is_left], blocks[is_left]
    return _Part(hashes, places + move.take(blocks))


class _DirectWriter:
    """Writes the starts of a `DirectTable`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._n_hashes = 0
        self._n_postings = 0

    def append(self, hashes: Array, end: int) -> None:
        """Write the starts of the hashes below `end` that were not written yet; their postings have these `hashes`."""
        for first in range(self._n_hashes, end, STEP_POSTINGS):
            asked = np.arange(first, min(end, first + STEP_POSTINGS), dtype=hashes.dtype)
            starts = np.searchsorted(hashes, asked) + self._n_postings
            self._sink.append("starts", starts.astype(np.uint32))
        self._n_hashes = end
        self._n_postings += len(hashes)

    def finish(self) -> None:
        """Write the end."""
        self._sink.append("starts", np.full(2, self._n_postings, np.uint32))


class _KeyedWriter:
    """Writes the hashes and starts of a `KeyedTable`."""

    def __init__(self, sink: Sink, dtype: np.dtype[Any]) -> None:
        self._sink = sink
        self._n_postings = 0
        sink.append("hashes", np.empty(0, dtype))

    def append(self, hashes: Array, end: int) -> None:  # noqa: ARG002 - as `_DirectWriter.append`
        """Write the distinct ones of these hashes, which come next, and their starts."""
        firsts = first_of_runs(hashes)
        self._sink.append("hashes", hashes[firsts])
        self._sink.append("starts", (firsts + self._n_postings).astype(np.uint32))
        self._n_postings += len(hashes)

    def finish(self) -> None:
        """Write the end."""
        self._sink.append("starts", np.array([self._n_postings], np.uint32))
