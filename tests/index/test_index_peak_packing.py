from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavud.index.view.peak_packing import PEAK_DTYPES, packed, unpacked
from dejavud.values import Constellation

PEAKS = st.lists(st.tuples(st.integers(0, 700), st.integers(0, 16_382), st.integers(0, 3)), max_size=40)


def constellation_of(peaks: list[tuple[int, int, int]]) -> Constellation:
    """Return a constellation of (frames since the one before, bin, quarter)."""
    steps, bins, quarters = zip(*peaks, strict=True) if peaks else ((), (), ())
    frames = np.cumsum(np.array(steps, np.int64))
    return Constellation(frames, np.array(bins, np.int64), int(frames[-1]) + 1 if peaks else 0, np.array(quarters))


@given(PEAKS)
def test_packed_peaks_come_back(peaks: list[tuple[int, int, int]]) -> None:
    """What is unpacked is what was packed, also over silences that a step does not hold."""
    constellation = constellation_of(peaks)
    columns = packed(constellation)
    assert {name: column.dtype for name, column in columns.items()} == PEAK_DTYPES
    again = unpacked(columns, constellation.n_frames)
    for name in ("frames", "bins", "quarters"):
        np.testing.assert_array_equal(getattr(again, name), getattr(constellation, name))
    assert again.n_frames == constellation.n_frames


@pytest.mark.parametrize(("step", "n_rows"), [(254, 1), (255, 1), (256, 2), (510, 2), (511, 3)])
def test_only_a_long_silence_takes_more_rows(step: int, n_rows: int) -> None:
    """A step of up to 255 frames is one row, and every 255 more are another."""
    assert len(packed(constellation_of([(step, 7, 2)]))["steps"]) == n_rows


@pytest.mark.parametrize(("frame", "bin_"), [(-1, 5), (3, -1), (3, 16_383)])
def test_what_no_spectrogram_has_is_refused(frame: int, bin_: int) -> None:
    """Frames before the first and bins beyond the largest window's are an error, not another peak."""
    with pytest.raises(ValueError, match="a constellation with frames from"):
        packed(Constellation(np.array([frame]), np.array([bin_]), 10, np.array([0])))
