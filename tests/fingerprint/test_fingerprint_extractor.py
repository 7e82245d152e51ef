"""Samples to fingerprints: the same for every cut, moved by time, untouched by gain, nothing in silence."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import synthesize

from dejavud.fingerprint.extractor import Extractor, TrackExtractor, fingerprint_query, track_hashes
from dejavud.fingerprint.landmarks import pair
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.spectrogram import Spectrogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dejavud.values import Constellation

    Array = NDArray[Any]

PARAMS = Params()
EDGE_FRAMES = 2 * PARAMS.density_window_frames + PARAMS.peak_radius_frames
"""How far from a cut a peak may win or lose its place because of what is not there."""


@cache
def music(duration_s: float = 20.0) -> Array:
    """Return synthetic music over a faint hiss, as any recording has one."""
    hiss = np.random.default_rng(1).normal(0, 0.001, PARAMS.seconds_to_samples(duration_s))
    samples = (0.9 * synthesize(5, duration_s, PARAMS.rate_hz) + hiss).astype(np.float32)
    samples.flags.writeable = False
    return samples


def constellation(samples: Array) -> Constellation:
    """Return the constellation that would be stored."""
    extractor = TrackExtractor(PARAMS)
    extractor.feed(samples)
    return extractor.finish()


def peaks(of: Constellation, shift: int = 0, margin: int = 0) -> set[tuple[int, int, int]]:
    """Return (frame + shift, bin, quarter) of the peaks at least `margin` frames from both ends."""
    inner = (of.frames >= margin) & (of.frames < of.n_frames - margin)
    columns = (of.frames[inner] + shift, of.bins[inner], of.quarters[inner])
    return set(zip(*(column.tolist() for column in columns), strict=True))


def places(of: Constellation) -> set[tuple[int, int]]:
    """Return (frame, bin) of the peaks."""
    return set(zip(of.frames.tolist(), of.bins.tolist(), strict=True))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 120_000),
    st.lists(st.one_of(st.integers(0, 120_000), st.integers(60_000, 67_000)), max_size=8),
)
def test_streaming_equals_batch_to_the_bit(n_samples: int, cuts: list[int]) -> None:
    """Peaks, quarters, length and depths are the same for every way of cutting any stretch into blocks."""
    samples = music()[:n_samples]
    whole, streamed = (Extractor(PARAMS, PARAMS.query_peaks_per_s, keep_depths=True) for _ in range(2))
    whole.feed(samples)
    for block in np.split(samples, sorted(min(cut, n_samples) for cut in cuts)):
        streamed.feed(block)
    one, other = whole.finish(), streamed.finish()
    assert other.n_frames == one.n_frames == PARAMS.n_frames(n_samples)
    np.testing.assert_array_equal(other.frames, one.frames)
    np.testing.assert_array_equal(other.bins, one.bins)
    np.testing.assert_array_equal(other.quarters, one.quarters)
    np.testing.assert_array_equal(streamed.depths(), whole.depths())


def test_one_sample_at_a_time_equals_batch() -> None:
    """The smallest blocks there are make no difference."""
    samples = music()[:3000]
    extractor = TrackExtractor(PARAMS)
    for sample in samples:
        extractor.feed(np.array([sample]))
    assert peaks(extractor.finish()) == peaks(constellation(samples)) != set()


@pytest.mark.parametrize("n_hops", [1, 7, 255, 256, 300])
def test_a_shift_by_whole_hops_shifts_the_peaks(n_hops: int) -> None:
    """What begins later has the same peaks that much earlier, but near its edges."""
    whole = constellation(music())
    later = constellation(music()[n_hops * PARAMS.hop_samples :])
    expected = {peak for peak in peaks(whole, margin=EDGE_FRAMES) if peak[0] >= n_hops + EDGE_FRAMES}
    assert len(expected) > 200
    assert peaks(later, shift=n_hops, margin=EDGE_FRAMES) == expected


@pytest.mark.parametrize("exponent", [-4, -2, -1, 2])
def test_a_gain_by_a_power_of_two_changes_no_peak(exponent: int) -> None:
    """Samples whose digits are the same have the same peaks: loudness is no feature."""
    assert places(constellation(music() * np.float32(2.0**exponent))) == places(constellation(music()))


@settings(max_examples=8, deadline=None)
@given(st.floats(-30, 6))
def test_any_gain_leaves_almost_every_peak(gain_db: float) -> None:
    """At any usual volume at most one peak in 200 differs, by rounding."""
    before = places(constellation(music()))
    after = places(constellation(music() * np.float32(10 ** (gain_db / 20))))
    assert len(before ^ after) <= len(before) / 200


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_digital_silence_has_no_peaks(level: float) -> None:
    """Nothing, and a constant offset, which no ear hears, give an empty constellation of full length."""
    found = constellation(np.full(80_000, level, np.float32))
    assert len(found) == 0
    assert found.n_frames == PARAMS.n_frames(80_000)


def test_rounding_to_16_bits_is_not_heard() -> None:
    """The quantization noise of a 16-bit file, left by itself, has no peaks."""
    error = np.round(music() * 32768) / 32768 - music()
    assert error.any()
    assert len(constellation(error.astype(np.float32))) == 0


def test_the_density_is_the_one_asked_for_in_every_passage() -> None:
    """All over a recording, loud or quiet, there are as many peaks a second as the parameters say."""
    fade = np.logspace(0, -2, len(music()))
    found = constellation((music() * fade).astype(np.float32))
    inner = found.frames[(found.frames >= EDGE_FRAMES) & (found.frames < found.n_frames - EDGE_FRAMES)]
    counts, _ = np.histogram(inner, bins=10)
    n_expected = PARAMS.track_peaks_per_s * PARAMS.frames_to_seconds(found.n_frames - 2 * EDGE_FRAMES) / 10
    np.testing.assert_allclose(counts.mean(), n_expected, rtol=0.1)
    np.testing.assert_allclose(counts, n_expected, rtol=0.3)


def test_peaks_are_in_order_and_in_the_band() -> None:
    """Peaks come in order of (frame, bin), none twice, none outside the band of the parameters."""
    found = constellation(music())
    order = found.frames.astype(np.int64) << 16 | found.bins
    assert (np.diff(order) > 0).all()
    assert found.bins.min() >= PARAMS.bin_min
    assert found.bins.max() < PARAMS.bin_max


def test_a_track_is_stored_as_pairs_of_its_most_prominent_peaks() -> None:
    """The hashes of a track are those of the quarters that the parameters name, and all of them can be derived again."""
    found = constellation(music())
    hashes = track_hashes(found, PARAMS)
    expected = pair(found.most_prominent(PARAMS.track_landmark_quarters), PARAMS, PARAMS.track_fan_out)
    assert len(hashes) > 0
    np.testing.assert_array_equal(hashes.values, expected.values)
    np.testing.assert_array_equal(hashes.offsets, expected.offsets)


def test_a_query_contains_the_hashes_of_the_track() -> None:
    """A query cut at a hop asks for nearly every hash that the track has there, at its own offsets."""
    start, n_frames = 200, 150
    query = fingerprint_query(music()[start * PARAMS.hop_samples :][: n_frames * PARAMS.hop_samples], PARAMS)
    stored = track_hashes(constellation(music()), PARAMS)
    asked = set(zip(query.hashes.values.tolist(), (query.hashes.offsets + start).tolist(), strict=True))
    there = {
        (value, offset)
        for value, offset in zip(stored.values.tolist(), stored.offsets.tolist(), strict=True)
        if start + EDGE_FRAMES <= offset < start + n_frames - EDGE_FRAMES - PARAMS.dt_max_frames
    }
    assert len(there) > 20
    assert len(there & asked) > 0.9 * len(there)


@pytest.mark.parametrize("n_samples", [0, 1, PARAMS.n_fft - 1, PARAMS.n_fft, PARAMS.n_fft + 100, PARAMS.n_fft + 192])
def test_a_query_too_short_for_a_frame_asks_nothing(n_samples: int) -> None:
    """Too little audio, for all or some of the shifts, gives no hashes and evidence of as many frames as all shifts have."""
    query = fingerprint_query(music()[:n_samples], PARAMS)
    assert len(query.hashes) == 0
    last_shift = PARAMS.hop_samples * (PARAMS.query_shifts - 1) // PARAMS.query_shifts
    expected = (PARAMS.query_shifts, PARAMS.n_frames(n_samples - last_shift), PARAMS.bin_max - PARAMS.bin_min)
    assert query.evidence.depths.shape == expected
    assert query.duration_s == n_samples / PARAMS.rate_hz


def test_a_long_query_is_asked_without_shifts() -> None:
    """Past the length that the parameters name there is one map of evidence, up to it one a shift."""
    limit = PARAMS.seconds_to_samples(PARAMS.query_shifts_until_s)
    samples = np.zeros(limit + 1, np.float32)
    assert fingerprint_query(samples[:limit], PARAMS).evidence.n_shifts == PARAMS.query_shifts
    assert fingerprint_query(samples, PARAMS).evidence.n_shifts == 1


def test_the_evidence_is_zero_where_the_levels_peak() -> None:
    """For each sub-frame shift, a cell has depth 0 exactly when no cell around it is louder and it is heard."""
    samples = music()[:12_000]
    evidence = fingerprint_query(samples, PARAMS).evidence
    for shift, depths in enumerate(evidence.depths):
        levels = levels_of(samples[shift * PARAMS.hop_samples // PARAMS.query_shifts :])
        rows, columns = PARAMS.peak_radius_frames, PARAMS.peak_radius_bins
        padded = np.pad(levels, ((rows, rows), (columns, columns)), constant_values=-np.inf)
        tallest = np.lib.stride_tricks.sliding_window_view(padded, 2 * rows + 1, axis=0).max(axis=2)
        top = np.empty((evidence.n_frames, PARAMS.bin_max - PARAMS.bin_min), bool)
        for bin_ in range(PARAMS.bin_min, PARAMS.bin_max):
            radius = PARAMS.peak_radius_at(bin_)
            around = tallest[:, bin_ + columns - radius : bin_ + columns + radius + 1].max(axis=1)
            top[:, bin_ - PARAMS.bin_min] = (levels[:, bin_] == around)[: evidence.n_frames]
        assert top.sum() > 50
        np.testing.assert_array_equal(depths == 0, top)


def levels_of(samples: Array) -> Array:
    """Return the levels of all frames of `samples`."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, PARAMS.n_fft)[:: PARAMS.hop_samples]
    return Spectrogram(PARAMS).levels(frames)
