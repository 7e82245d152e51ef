"""What the old library handed from call to call as lists of tuples: a query's hashes, and where they were met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.audio.pcm import MAX_RATE_HZ, MIN_RATE_HZ
from dejavud.errors import InvalidRequest
from dejavud.values import Hashes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dejavud.placed_hits import AnyHits
    from dejavud.values import Array, ClassicQuery, QueryFingerprint

_BITS_A_DIGIT = 4


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """A query as the engine asks with it; iterate it for its (hash, offset) pairs.

    A hash is 8 hex digits (16 of a classic profile, the first of dejavu's 20), an offset counts frames.  Beside the pairs there is what candidates are verified against.
    """

    query: QueryFingerprint | ClassicQuery

    def __len__(self) -> int:
        return len(self.query.hashes)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        values = self.query.hashes.values
        n_digits = 8 * values.itemsize // _BITS_A_DIGIT
        for value, offset in zip(values.tolist(), self.query.hashes.offsets.tolist(), strict=True):
            yield f"{value:0{n_digits}x}", offset


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Where a query's hashes were met in the database; iterate it for (song_id, offset in the song less that in the query)."""

    query: QueryFingerprint | ClassicQuery
    hits: AnyHits

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(meetings(self.hits))


def meetings(hits: AnyHits) -> list[tuple[int, int]]:
    """Return (song_id, offset difference in frames) of every hit."""
    deltas = hits.track_offsets.astype(np.int64) - hits.query_offsets
    return list(zip(hits.track_ids.tolist(), deltas.tolist(), strict=True))


def meetings_by_song(hits: AnyHits) -> dict[int, int]:
    """Return how many hits each song has, whether or not they agree on a place in it."""
    songs, counts = np.unique(hits.track_ids, return_counts=True)
    return dict(zip(songs.tolist(), counts.tolist(), strict=True))


def hashes_of(pairs: Iterable[tuple[str, int]], hash_bits: int) -> Hashes:
    """Return (hash, offset) pairs as `Fingerprints` yields them; raises `InvalidRequest` for anything else.

    Of dejavu's own 20 digits those are taken that the index has.
    """
    n_digits = hash_bits // _BITS_A_DIGIT
    values, offsets = [], []
    try:
        for text, offset in pairs:
            values.append(int(text if hash_bits == np.iinfo(np.uint32).bits else text[:n_digits], 16))
            offsets.append(int(offset))
        return Hashes(np.array(values, np.dtype(f"u{hash_bits // 8}")), np.array(offsets, np.int32))
    except (TypeError, ValueError, OverflowError) as error:
        reason = (
            "hashes are (hash, offset) pairs as generate_fingerprints gives them, "
            f"{n_digits} hex digits and frames ({error})"
        )
        raise InvalidRequest(reason=reason) from None


def pcm_of(samples: Sequence[int] | Array, rate_hz: float) -> Array:
    """Return one channel of PCM at `rate_hz` as files hold it: [n] of a type that `dejavud.audio.pcm.mono` takes.

    samples : [n]: integers as in a file of 8, 16 or 32 bits, by their type; whole numbers of Python or of 64 bits as 16-bit
        samples; floats in [-1, 1].

    Raises `InvalidRequest`.
    """
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidRequest(reason=f"Fs must be a rate from {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, not {rate_hz}")
    channel = np.asarray(samples)
    if channel.ndim != 1:
        reason = (
            f"samples must be one channel, not an array of {channel.ndim} dimensions: give the mean of the channels"
        )
        raise InvalidRequest(reason=reason)
    if channel.dtype == np.int64:
        whole = np.iinfo(np.int16)
        if len(channel) and not whole.min <= channel.min() <= channel.max() <= whole.max:
            raise InvalidRequest(reason="whole numbers are taken for 16-bit samples, and some are too large for that")
        channel = channel.astype(np.int16)
    if channel.dtype not in {np.dtype(kind) for kind in ("u1", "i1", "i2", "i4", "f4", "f8")}:
        raise InvalidRequest(reason=f"samples must be integers of 8, 16 or 32 bits or floats, not {channel.dtype}")
    return channel
