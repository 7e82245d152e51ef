"""Landmarks: each anchor with the first peaks of its zone, and with no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavud.fingerprint.hashing import pack, unpack
from dejavud.fingerprint.landmarks import pair
from dejavud.fingerprint.params import Params
from dejavud.values import Constellation

if TYPE_CHECKING:
    from dejavud.values import Hashes

PARAMS = Params()


def constellation(peaks: list[tuple[int, int]]) -> Constellation:
    """Return the constellation of these (frame, bin)."""
    frames, bins = np.array(sorted(peaks), np.int32).reshape(-1, 2).T
    return Constellation(frames, bins, int(frames.max(initial=0)) + 1, np.zeros(len(frames)))


def rows(hashes: Hashes) -> list[tuple[int, int]]:
    """Return the (value, offset) of each hash in ascending order."""
    return sorted(zip(hashes.values.tolist(), hashes.offsets.tolist(), strict=True))


def by_hand(peaks: list[tuple[int, int]], params: Params, fan_out: int) -> list[tuple[int, int]]:
    """Return what `pair` should, from the definition of the zone."""
    found = []
    ordered = sorted(peaks)
    for i, (frame, bin_) in enumerate(ordered):
        zone = [
            (target - bin_, later - frame)
            for later, target in ordered[i + 1 :]
            if params.dt_min_frames <= later - frame <= params.dt_max_frames
            and abs(target - bin_) <= params.df_max_bins
        ]
        found += [(int(pack(*np.array([[bin_], [df], [dt]]))[0]), frame) for df, dt in zone[:fan_out]]
    return sorted(found)


@given(
    st.sets(st.tuples(st.integers(0, 90), st.sampled_from([8, 60, 135, 136, 187, 188, 479])), max_size=25),
    st.integers(1, 6),
    st.sampled_from([PARAMS, Params(dt_min_frames=0, dt_max_frames=3), Params(dt_min_frames=5, df_max_bins=10)]),
)
def test_every_anchor_gets_the_first_targets_of_its_zone(
    peaks: set[tuple[int, int]], fan_out: int, params: Params
) -> None:
    """Any constellation is paired as the definition says, crowded or sparse, with any zone."""
    assert rows(pair(constellation(list(peaks)), params, fan_out)) == by_hand(list(peaks), params, fan_out)


@pytest.mark.parametrize(
    ("dt", "df", "paired"),
    [
        (PARAMS.dt_min_frames, 0, True),
        (PARAMS.dt_min_frames - 1, 0, False),
        (PARAMS.dt_max_frames, 0, True),
        (PARAMS.dt_max_frames + 1, 0, False),
        (10, PARAMS.df_max_bins, True),
        (10, PARAMS.df_max_bins + 1, False),
        (10, -PARAMS.df_max_bins, True),
        (10, -PARAMS.df_max_bins - 1, False),
    ],
)
def test_the_borders_of_the_zone_belong_to_it(dt: int, df: int, paired: bool) -> None:  # noqa: FBT001 - a column
    """A target on the border is taken, one step beyond it is not."""
    hashes = pair(constellation([(5, 200), (5 + dt, 200 + df)]), PARAMS, 3)
    if not paired:
        assert len(hashes) == 0
        return
    assert [part.tolist() for part in unpack(hashes.values)] == [[200], [df], [dt]]
    assert hashes.offsets.tolist() == [5]


@pytest.mark.parametrize("n_peaks", [0, 1])
def test_fewer_than_two_peaks_make_no_landmark(n_peaks: int) -> None:
    """Nothing and a single peak have no hashes."""
    assert len(pair(constellation([(3, 30)][:n_peaks]), PARAMS, 3)) == 0


@given(st.integers(0, 2**31 - 200))
def test_a_later_start_only_moves_the_offsets(shift: int) -> None:
    """The same peaks later in time have the same hashes at later offsets."""
    rng = np.random.default_rng(0)
    peaks = [(int(f), int(b)) for f, b in zip(rng.integers(0, 100, 60), rng.integers(8, 480, 60), strict=True)]
    moved = pair(constellation([(f + shift, b) for f, b in peaks]), PARAMS, 3)
    assert [(value, offset - shift) for value, offset in rows(moved)] == rows(pair(constellation(peaks), PARAMS, 3))
