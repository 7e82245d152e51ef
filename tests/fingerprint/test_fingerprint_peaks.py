"""Peaks: the local maxima that the definition names, competing fairly, wherever the spectrogram is cut."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dejavud.fingerprint.params import Params
from dejavud.fingerprint.peaks import (
    N_QUARTERS,
    SILENCE_DB,
    Candidates,
    PeakPicker,
    PeakSelector,
    _max_over_bins,
    _max_over_frames,
    _quarter_db,
    _ranks_within,
)

if TYPE_CHECKING:
    from random import Random

    from numpy.typing import NDArray

    Array = NDArray[Any]

SMALL = Params(n_fft=256, bin_min=8, bin_max=120, peak_radius_bins=3, peak_radius_frames=2, density_window_frames=6)


def random_levels(n_frames: int, seed: int = 0) -> Array:
    """Return float32 [n_frames, 128] of levels in whole dB, so that neighbours tie, some of them below silence."""
    return np.random.default_rng(seed).integers(-118, -80, (n_frames, 128)).astype(np.float32)


def picked(levels: Array, cuts: list[int]) -> tuple[Candidates, Array]:
    """Return the candidates and the depths of `levels` handed over in pieces."""
    picker = PeakPicker(SMALL, keep_depths=True)
    parts = [picker.feed(piece) for piece in np.split(levels, cuts)]
    parts.append(picker.finish())
    return Candidates.concatenate(parts), np.concatenate([np.empty((0, 112), np.uint8), *picker.depths])


def depths_by_hand(levels: Array) -> Array:
    """Return dB below the maximum of the neighbourhood, float32 [n_frames, n_bins of SMALL]."""
    depths = np.empty((len(levels), SMALL.bin_max - SMALL.bin_min), np.float32)
    for frame in range(len(levels)):
        for bin_ in range(SMALL.bin_min, SMALL.bin_max):
            radius = SMALL.peak_radius_at(bin_)
            near = levels[
                max(0, frame - SMALL.peak_radius_frames) : frame + SMALL.peak_radius_frames + 1,
                bin_ - radius : bin_ + radius + 1,
            ]
            depths[frame, bin_ - SMALL.bin_min] = near.max() - levels[frame, bin_]
    return depths


LEVELS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(-5, 5).map(float)
)


@given(LEVELS, st.integers(0, 9))
def test_the_maximum_over_frames_is_that_of_each_window(levels: Array, radius: int) -> None:
    """For any radius, wider than the array too, each value is the maximum of the rows there are."""
    expected = [levels[max(0, i - radius) : i + radius + 1].max(axis=0) for i in range(len(levels))]
    np.testing.assert_array_equal(_max_over_frames(levels, radius), expected)


@given(LEVELS, st.lists(st.integers(0, 9), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_the_maximum_over_bins_is_that_of_each_window(levels: Array, radii: list[int], random: Random) -> None:
    """For any radii, wider than the array too, each value is the maximum of the columns within its zone's radius."""
    n_columns = levels.shape[1]
    borders = sorted({0, n_columns, *(random.randint(0, n_columns) for _ in radii[1:])})
    zones = [(begin, end, radius) for (begin, end), radius in zip(pairwise(borders), radii, strict=False)]
    expected = np.empty_like(levels)
    for begin, end, radius in zones:
        for column in range(begin, end):
            expected[:, column] = levels[:, max(0, column - radius) : column + radius + 1].max(axis=1)
    np.testing.assert_array_equal(_max_over_bins(levels, zones), expected)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), max_size=30).map(sorted),
    st.integers(0, 12),
)
def test_a_rank_counts_the_more_prominent_around(peaks: list[tuple[int, int]], window: int) -> None:
    """The rank is how many within the window are more prominent, or as prominent and earlier."""
    frames = np.array([frame for frame, _ in peaks], np.int32)
    prominences = np.array([prominence for _, prominence in peaks], np.float32)
    expected = [
        sum(
            abs(frames[j] - frames[i]) <= window
            and (prominences[j] > prominences[i] or (j < i and prominences[j] == prominences[i]))
            for j in range(len(peaks))
        )
        for i in range(len(peaks))
    ]
    assert _ranks_within(frames, prominences, window).tolist() == expected


def test_candidates_are_the_local_maxima_that_are_heard() -> None:
    """Exactly the cells that no neighbour exceeds and that are above silence become candidates, in order."""
    levels = random_levels(40)
    candidates, _ = picked(levels, [])
    centre = levels[:, SMALL.bin_min : SMALL.bin_max]
    frames, columns = np.nonzero((depths_by_hand(levels) == 0) & (centre > SILENCE_DB))
    assert len(frames) > 50
    assert candidates.frames.tolist() == frames.tolist()
    assert candidates.bins.tolist() == (columns + SMALL.bin_min).tolist()


def test_depths_are_zero_exactly_at_local_maxima() -> None:
    """A depth is 0 at a maximum and nowhere else, 255 in silence, and quarters of a dB between."""
    levels = random_levels(40)
    _, depths = picked(levels, [])
    silent = levels[:, SMALL.bin_min : SMALL.bin_max] <= SILENCE_DB
    expected = np.where(silent, 255, np.minimum(4 * depths_by_hand(levels), 255))
    assert silent.any()
    np.testing.assert_array_equal(depths, expected)


def test_the_smallest_step_down_is_not_a_maximum() -> None:
    """Depths are rounded up: a thousandth of a dB is a quarter, as 63.75 dB and anything below is 255."""
    depths = np.array([[0.0, 0.001, 0.25, 0.251, 63.75, 90.0]], np.float32)
    assert _quarter_db(depths, np.zeros_like(depths)).tolist() == [[0, 1, 1, 2, 255, 255]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.lists(st.integers(0, 60), max_size=6))
def test_what_is_picked_does_not_depend_on_the_segments(n_frames: int, cuts: list[int]) -> None:
    """Frames handed over in any pieces give the same maxima and depths, and prominences equal but for rounding."""
    levels = random_levels(n_frames)
    whole, whole_depths = picked(levels, [])
    cut, cut_depths = picked(levels, sorted(min(c, n_frames) for c in cuts))
    np.testing.assert_array_equal(cut.frames, whole.frames)
    np.testing.assert_array_equal(cut.bins, whole.bins)
    np.testing.assert_allclose(cut.prominences, whole.prominences, atol=1e-4)
    np.testing.assert_array_equal(cut_depths, whole_depths)


def test_the_radius_of_a_peak_grows_with_the_root_of_frequency() -> None:
    """It is what the parameters say at the highest bin, half of it at a quarter of that, and no less than a tone is wide."""
    params = Params(peak_radius_bins=8, bin_max=480)
    assert [params.peak_radius_at(bin_) for bin_ in (480, 120, 30, 8)] == [8, 4, 2, 2]
    assert Params(peak_radius_bins=1).peak_radius_at(8) == 1


def test_prominence_is_the_height_over_the_neighbourhood_as_noise_would_leave_it() -> None:
    """Pink noise with the mean power of the loudest bins around is laid over the peak and over the mean around it; gain makes no difference."""
    prominences = []
    for floor in (-90.0, -40.0):
        levels = np.full((60, 128), floor, np.float32)
        levels[30, 64] += 30
        prominences.append(prominence_at(levels, 30, 64))
    columns = np.arange(5, 123)  # those that the picker looks at: the bins and their margins
    n_frames = 2 * SMALL.density_window_frames + 1
    power = (n_frames - 1 + 10**3) / n_frames  # in units of the floor
    noise = power / 64 / (1 / columns).sum()
    around = 10 ** (0.1 * 30 / n_frames / 32 * 0.5)  # the peak lies where two bands are joined, of 32 bins each
    assert prominences[0] == pytest.approx(prominences[1], abs=1e-3)
    assert prominences[0] == pytest.approx(10 * np.log10((10**3 + noise) / (around + noise)), abs=0.1)


def test_what_noise_would_take_first_is_less_prominent() -> None:
    """Of two peaks as high over their neighbourhoods the one that is 40 dB softer than the other comes after it, in the treble further."""
    levels = np.full((60, 128), -50.0, np.float32)
    levels[:, 40:] = -90.0
    for bin_ in (20, 60, 110):
        levels[30, bin_] += 20
    bass, middle, treble = (prominence_at(levels, 30, bin_) for bin_ in (20, 60, 110))
    assert bass > middle + 6
    assert bass > treble + 6
    levels[:, :40] = -90.0  # alone, they are heard as well
    levels[30, 20] = -70.0
    assert prominence_at(levels, 30, 110) > treble + 6


def prominence_at(levels: Array, frame: int, bin_: int) -> float:
    """Return the prominence of the candidate at (frame, bin), which must be one."""
    candidates, _ = picked(levels, [])
    (at,) = np.flatnonzero((candidates.frames == frame) & (candidates.bins == bin_))
    return float(candidates.prominences[at])


@pytest.mark.parametrize("level", [-140.0, float(SILENCE_DB)])
def test_silence_has_no_candidates(level: float) -> None:
    """A level that is not above silence makes no peak, though it is the maximum of its neighbourhood."""
    candidates, depths = picked(np.full((50, 128), level, np.float32), [])
    assert len(candidates.frames) == 0
    assert (depths == 255).all()


def crowd(n_frames: int, an_average_of: int, seed: int = 0) -> Candidates:
    """Return candidates crowded into a part of the time, prominent at random."""
    rng = np.random.default_rng(seed)
    frames = np.sort((rng.beta(1, 3, an_average_of * n_frames) * n_frames).astype(np.int32))
    return Candidates(frames, rng.integers(8, 480, len(frames)), rng.normal(10, 5, len(frames)).astype(np.float32))


def selected(candidates: Candidates, ends: list[int], params: Params, peaks_per_s: float) -> tuple[Array, Array, Array]:
    """Return (frames, bins, quarters) of the winners when the candidates before each of `ends` are known in turn."""
    selector = PeakSelector(params, peaks_per_s)
    borders = np.searchsorted(candidates.frames, ends)
    won, first = [], 0
    for border, end in zip(borders, ends, strict=True):
        won.append(selector.feed(candidates[first:border], end))
        first = border
    won += [selector.feed(candidates[first:], ends[-1] if ends else 0), selector.finish()]
    peaks = Candidates.concatenate([part.peaks for part in won])
    return peaks.frames, peaks.bins, np.concatenate([part.quarters for part in won])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=5).map(sorted))
def test_who_wins_does_not_depend_on_the_segments(ends: list[int]) -> None:
    """The winners and their quarters are the same however the recording was cut."""
    candidates = crowd(200, 4)
    whole = selected(candidates, [], SMALL, 30.0)
    cut = selected(candidates, ends, SMALL, 30.0)
    for one, other in zip(cut, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_winners_are_the_most_prominent_around() -> None:
    """A candidate wins when fewer than its share are more prominent, and its quarter is where it stands among them."""
    candidates = crowd(200, 6)
    window = SMALL.density_window_frames
    n_places = round(30.0 * SMALL.frames_to_seconds(2 * window + 1))
    expected = []
    for i, frame in enumerate(candidates.frames):
        near = np.abs(candidates.frames - frame) <= window
        rank = int((near & (candidates.prominences > candidates.prominences[i])).sum())
        if rank < n_places:
            expected.append((int(frame), int(candidates.bins[i]), rank * N_QUARTERS // n_places))
    found = selected(candidates, [], SMALL, 30.0)
    assert len(expected) < len(candidates.frames)
    assert [tuple(map(int, row)) for row in zip(*found, strict=True)] == expected
    assert set(found[2].tolist()) == set(range(N_QUARTERS))
