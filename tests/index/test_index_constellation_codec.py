"""Constellations as bytes: the same afterwards, small, and refused when damaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavud.index.constellation_codec import decode_constellation, encode_constellation
from dejavud.values import Constellation

INT16 = st.integers(-(2**15), 2**15 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def constellations(draw: st.DrawFn) -> Constellation:
    """Draw any constellation: its frames crowded together or spread over all of int32."""
    frames = draw(st.lists(st.one_of(st.integers(0, 300), INT32), max_size=60))
    bins = draw(st.lists(INT16, min_size=len(frames), max_size=len(frames)))
    quarters = draw(st.lists(st.integers(0, 255), min_size=len(frames), max_size=len(frames)))
    columns = [np.array(column, np.int64) for column in (sorted(frames), bins, quarters)]
    return Constellation(*columns[:2], draw(st.integers(0, 2**31 - 1)), columns[2])


def musical(n_peaks: int = 7200) -> Constellation:
    """Return a constellation with the density of four minutes of music."""
    rng = np.random.default_rng(1)
    frames = np.sort(rng.integers(0, 7500, n_peaks))
    bins = 20 + np.minimum(rng.exponential(110, n_peaks), 459)
    return Constellation(frames, bins, 7500, rng.integers(0, 4, n_peaks))


@given(constellations())
def test_any_constellation_survives(constellation: Constellation) -> None:
    """What is decoded is what was encoded, over the whole range of frames, bins and lengths."""
    decoded = decode_constellation(encode_constellation(constellation))
    np.testing.assert_array_equal(decoded.frames, constellation.frames)
    np.testing.assert_array_equal(decoded.bins, constellation.bins)
    np.testing.assert_array_equal(decoded.quarters, constellation.quarters)
    assert decoded.n_frames == constellation.n_frames


def test_a_peak_takes_less_than_two_bytes() -> None:
    """Music's density takes less than 1.75 bytes a peak, two bits of which are its quarter."""
    assert len(encode_constellation(musical())) < 1.75 * 7200


@given(st.data())
def test_damaged_bytes_are_refused(data: st.DataObject) -> None:
    """A flipped bit anywhere and a cut anywhere are noticed; nothing wrong is ever returned."""
    encoded = encode_constellation(data.draw(constellations()))
    position = data.draw(st.integers(0, 8 * len(encoded) - 1))
    flipped = bytearray(encoded)
    flipped[position // 8] ^= 1 << position % 8
    with pytest.raises(ValueError, match="stored constellation"):
        decode_constellation(bytes(flipped))
    with pytest.raises(ValueError, match="stored constellation"):
        decode_constellation(encoded[: position // 8])


def test_another_version_is_named() -> None:
    """Bytes of a later version are refused by its number."""
    with pytest.raises(ValueError, match="version 2"):
        decode_constellation(b"\x02" + encode_constellation(musical(10))[1:])


def test_frames_that_are_not_ascending_are_refused() -> None:
    """A constellation that breaks its own rule is not stored as something else."""
    with pytest.raises(ValueError, match="ascending"):
        encode_constellation(Constellation([5, 4], [1, 1], 10, [0, 0]))
