"""A constellation as bytes: about 1.6 a peak, checked, and readable by whatever version comes next.

Layout: one byte of version, the CRC-32 of what follows, and a raw deflate stream of: the number of frames, the number
of peaks and the first frame (int32 each), then four planes: the steps from frame to frame as base-128 varints, the
low bytes of the bins, their high bytes, the quarters.  A step is mostly 0, 1 or 2 and a bin's high byte 0 or 1, so each plane gets a
Huffman code of its own (a full flush between them).  Matches longer than a run are not sought: that takes twenty times
as long and does not save 3 %.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.values import Constellation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_VERSION = 1
_HEAD = struct.Struct("<BI")
_COUNTS = struct.Struct("<iii")
_VARINT_BITS = 7
_MAX_VARINT_BYTES = 5
"""The longest step, from the least int32 to the greatest, takes 32 bits."""


def encode_constellation(constellation: Constellation) -> bytes:
    """Return `constellation` as bytes, the same for the same constellation.

    Raises `ValueError` where the frames are not ascending.
    """
    frames = constellation.frames.astype(np.int64)
    steps = np.diff(frames, prepend=frames[:1])
    if len(steps) and steps.min() < 0:
        msg = "the frames of a constellation must be ascending"
        raise ValueError(msg)
    bins = constellation.bins.view(np.uint16)
    counts = _COUNTS.pack(constellation.n_frames, len(frames), frames[0] if len(frames) else 0)
    low, high = (bins & 0xFF).astype(np.uint8).tobytes(), (bins >> 8).astype(np.uint8).tobytes()
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS, strategy=zlib.Z_RLE)
    body = deflate.compress(counts)
    for plane in (_varints(steps), low, high, constellation.quarters.tobytes()):
        body += deflate.compress(plane) + deflate.flush(zlib.Z_FULL_FLUSH)
    body += deflate.flush()
    return _HEAD.pack(_VERSION, zlib.crc32(body)) + body


def decode_constellation(data: bytes) -> Constellation:
    """Return the constellation that `encode_constellation` made into `data`.

    Raises `ValueError` where `data` is damaged, cut short, or of another version.
    """
    if len(data) < _HEAD.size:
        msg = "a stored constellation is cut short"
        raise ValueError(msg)
    version, checksum = _HEAD.unpack_from(data)
    if version != _VERSION:
        msg = f"a stored constellation is of version {version}, this dejavud knows {_VERSION}"
        raise ValueError(msg)
    body = memoryview(data)[_HEAD.size :]
    if zlib.crc32(body) != checksum:
        msg = "a stored constellation is damaged: its checksum is wrong"
        raise ValueError(msg)
    planes = zlib.decompress(body, -zlib.MAX_WBITS)
    n_frames, n_peaks, first = _COUNTS.unpack_from(planes)
    octets = np.frombuffer(planes, np.uint8, offset=_COUNTS.size)
    steps, low, high, quarters = np.split(octets, len(octets) - n_peaks * np.array([3, 2, 1]))
    frames = first + np.cumsum(_from_varints(steps))
    bins = low.astype(np.uint16) | (high.astype(np.uint16) << 8)
    return Constellation(frames.astype(np.int32), bins.view(np.int16), n_frames, quarters)


def _varints(values: Array) -> bytes:
    """Return non-negative `values` as base-128 varints, least significant group first."""
    if not len(values) or values.max() < 1 << _VARINT_BITS:
        return values.astype(np.uint8).tobytes()
    groups = values[:, np.newaxis] >> (_VARINT_BITS * np.arange(_MAX_VARINT_BYTES))
    used = groups > 0
    used[:, 0] = True
    more = groups >= 1 << _VARINT_BITS
    return ((groups & 0x7F) | (more << _VARINT_BITS))[used].astype(np.uint8).tobytes()


def _from_varints(octets: Array) -> Array:
    """Return the int64 values whose varints `octets` are."""
    is_last = octets < 1 << _VARINT_BITS
    if is_last.all():
        return octets.astype(np.int64)
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(octets)) - np.repeat(starts, ends - starts + 1)
    return np.add.reduceat((octets & 0x7F).astype(np.int64) << (_VARINT_BITS * place), starts)
