"""From what a store gives in bulk to the segments of the resident view, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.index.postings import Postings
from dejavud.index.view.peak_packing import PEAK_DTYPES, packed
from dejavud.index.view.segment import MAX_BLOCKS, TRACK_DTYPE, segment_of_columns
from dejavud.placed_hits import BLOCK_BITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from dejavud.index.view.segment import Segment
    from dejavud.values import Constellation, Track

    Array = NDArray[Any]


def sha1_start(track: Track) -> int:
    """Return the first 64 bits of the track's content hash."""
    return int(track.file_sha1[:16], 16)


def segments_of(
    tracks: Sequence[Track], postings: Postings, constellations: Mapping[int, Constellation]
) -> list[Segment]:
    """Return segments in memory of `tracks`, which ascend by id; those without a constellation were removed meanwhile and are left out.

    As a rule it is one; none where there are no tracks; more where the tracks' frames are too many for 32 bits.
    """
    tracks = [track for track in tracks if track.id in constellations]
    if not tracks:
        return []
    rows = np.zeros(len(tracks), TRACK_DTYPE)
    rows["id"] = [track.id for track in tracks]
    rows["n_hashes"] = [track.n_hashes for track in tracks]
    rows["sha1"] = [sha1_start(track) for track in tracks]
    rows["n_frames"] = [constellations[track.id].n_frames for track in tracks]
    peaks = [packed(constellations[track.id]) for track in tracks]
    rows["n_peaks"] = [len(columns["steps"]) for columns in peaks]
    owners = np.searchsorted(rows["id"], postings.track_ids)
    is_known = rows["id"].take(owners, mode="clip") == postings.track_ids
    if not is_known.all():
        owners = owners[is_known]
        postings = Postings(postings.hashes[is_known], postings.track_ids[is_known], postings.frames[is_known])
    first_frames, n_blocks = _extents(owners, postings.frames, len(rows))
    rows["first_frame"], rows["n_blocks"] = first_frames, n_blocks
    return [_segment(rows[first:end], postings, owners, first, peaks[first:end]) for first, end in _groups(n_blocks)]


def _extents(owners: Array, frames: Array, n_tracks: int) -> tuple[Array, Array]:
    """Return (int64 first_frames, int64 n_blocks) by track: where its part of the axis begins and how long it is."""
    lowest, highest = np.zeros(n_tracks, np.int64), np.full(n_tracks, -1, np.int64)
    if len(frames) and frames.min() < 0:
        np.minimum.at(lowest, owners, frames)
    np.maximum.at(highest, owners, frames)
    has_postings = np.bincount(owners, minlength=n_tracks) > 0
    return lowest, np.where(has_postings, ((highest - lowest) >> BLOCK_BITS) + 1, 0)


def _groups(n_blocks: Array) -> Iterator[tuple[int, int]]:
    """Give (first, end) of runs of tracks whose blocks are few enough for one segment."""
    first = n_in_group = 0
    for which, n in enumerate(n_blocks.tolist()):
        if n_in_group + n > MAX_BLOCKS:
            yield first, which
            first, n_in_group = which, 0
        n_in_group += n
    if first < len(n_blocks):
        yield first, len(n_blocks)


def _segment(
    rows: Array, postings: Postings, owners: Array, first: int, peaks: Sequence[Mapping[str, Array]]
) -> Segment:
    """Return the segment of the tracks `rows`, of which the first is number `first` in `owners`."""
    own = (owners >= first) & (owners < first + len(rows))
    hashes, which, frames = postings.hashes[own], owners[own] - first, postings.frames[own]
    n_blocks = rows["n_blocks"].astype(np.int64)
    first_places = (np.cumsum(n_blocks) - n_blocks) << BLOCK_BITS
    places = (first_places[which] + frames - rows["first_frame"][which]).astype(np.uint32)
    hashes, places = in_order(hashes, places)
    firsts = first_of_runs(hashes)
    starts = np.append(firsts, len(hashes)).astype(np.uint32)
    stars = {name: np.concatenate([columns[name] for columns in peaks]) for name in PEAK_DTYPES}
    return segment_of_columns({"tracks": rows, "hashes": hashes[firsts], "starts": starts, "places": places, **stars})


def in_order(hashes: Array, places: Array) -> tuple[Array, Array]:
    """Return (hashes, places) by (hash, place); `places` are uint32."""
    if hashes.dtype == np.uint64:
        order = np.lexsort((places, hashes))
        return hashes[order], places[order]
    both = hashes.astype(np.uint64) << 32  # one sort of numbers: 6 ms a million, a tenth of lexsort's
    both |= places
    both.sort()
    return (both >> 32).astype(np.uint32), both.astype(np.uint32)


def first_of_runs(hashes: Array) -> Array:
    """Return int64 [n]: where each run of equal ones begins in ascending `hashes`."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(hashes)), bool), hashes[1:] != hashes[:-1]]))
