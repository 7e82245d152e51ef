"""Hashes: a landmark and its 23 bits are the same thing."""

from __future__ import annotations

import numpy as np

from dejavud.fingerprint.hashing import BIN_BITS, DF_BITS, DF_OFFSET, DT_BITS, pack, unpack


def test_every_landmark_has_its_own_hash_and_comes_back() -> None:
    """Over the whole range of bins, distances and times, packing is one to one and unpacking undoes it."""
    every = np.arange(1 << BIN_BITS + DF_BITS + DT_BITS, dtype=np.uint32)
    anchors, df, dt = unpack(every)
    assert (anchors.min(), anchors.max()) == (0, 511)
    assert (df.min(), df.max()) == (-DF_OFFSET, DF_OFFSET - 1)
    assert (dt.min(), dt.max()) == (0, 63)
    packed = pack(anchors, df, dt)
    assert packed.dtype == np.uint32
    np.testing.assert_array_equal(packed, every)


def test_the_narrow_types_of_a_constellation_do_not_overflow() -> None:
    """Bins as int16 pack as they do as wide integers."""
    columns = np.array([[511, 0, 300], [127, -128, 0], [63, 0, 1]])
    np.testing.assert_array_equal(pack(*columns.astype(np.int16)), pack(*columns))


def test_no_landmarks_no_hashes() -> None:
    """Empty arrays pack and unpack to empty arrays."""
    nothing = np.empty(0, np.int32)
    assert pack(nothing, nothing, nothing).shape == (0,)
    assert all(part.shape == (0,) for part in unpack(np.empty(0, np.uint32)))
