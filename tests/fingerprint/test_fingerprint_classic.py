"""dejavu's fingerprint: what the original gives for the same samples, for every generation and any sound."""

from __future__ import annotations

import hashlib
import wave
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from plain_classic import plain_fingerprint, plain_footprint, plain_levels
from scipy import ndimage

from dejavud.fingerprint import classic
from dejavud.fingerprint.classic import (
    ClassicHashes,
    classic_fingerprint,
    classic_fingerprint_channels,
    classic_peaks,
)
from dejavud.fingerprint.classic_params import DIAMOND, GENERATIONS, SQUARE, ClassicParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

GOLDEN = Path(__file__).parent.parent / "golden"
SMALL = {"n_fft": 64, "hop_samples": 32}
"""Everything else as the generation has it: spectra that hypothesis can afford."""

LOWER_LATER = (np.array([3, 9]), np.array([70, 20]))
"""Frames and bins of two peaks."""

small_generations = st.sampled_from([replace(params, **SMALL) for params in GENERATIONS.values()])


@st.composite
def sounds(draw: st.DrawFn) -> Array:
    """Draw int16 samples: noise, exactly periodic tones (whose levels tie), steps and digital silence, one after another."""
    pieces = [np.empty(0, np.int16)]
    for _ in range(draw(st.integers(0, 4))):
        n_samples, level = draw(st.integers(0, 3000)), draw(st.integers(1, 32767))
        times = np.arange(n_samples)
        rng = np.random.default_rng(draw(st.integers(0, 1000)))
        kinds = {
            "noise": rng.integers(-level, level + 1, n_samples),
            "tone": np.round(level * np.sin(2 * np.pi * times / draw(st.integers(2, 80)))),
            "clicks": np.where(times % draw(st.integers(1, 500)) == 0, level, 0),
            "constant": np.full(n_samples, -level),
            "silence": np.zeros(n_samples),
        }
        pieces.append(kinds[draw(st.sampled_from(sorted(kinds)))].astype(np.int16))
    return np.concatenate(pieces)


def as_set(hashes: ClassicHashes) -> set[tuple[str, int]]:
    """Return the hashes as the plain way gives them."""
    return {
        (value.tobytes().hex(), offset) for value, offset in zip(hashes.values, hashes.offsets.tolist(), strict=True)
    }


def golden_samples() -> Array:
    """Return the samples that the golden sets are of."""
    with wave.open(str(GOLDEN / "classic.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def sha1_digits(anchor_bin: int, target_bin: int, dt_frames: int) -> str:
    """Return the hash of one pair."""
    text = f"{anchor_bin}|{target_bin}|{dt_frames}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:20]


def noise(n_samples: int, seed: int = 0, level: int = 3000) -> Array:
    """Return int16 [n_samples] of white noise."""
    return np.random.default_rng(seed).integers(-level, level, n_samples).astype(np.int16)


@pytest.mark.parametrize("name", ["dejavu-0.1.3", "dejavu-2020", "ivlovric-1.5"])
def test_the_original_gives_the_same_set(name: str) -> None:
    """For the golden sound every (hash, offset) of the original code comes out, and no other."""
    with np.load(GOLDEN / f"classic-{name}.npz") as golden:
        hashes = classic_fingerprint(golden_samples(), GENERATIONS[name])
        np.testing.assert_array_equal(hashes.values, golden["hash"])
        np.testing.assert_array_equal(hashes.offsets, golden["offset"])


@settings(max_examples=60, deadline=None)
@given(sounds(), small_generations)
def test_the_fast_way_equals_the_plain_way(samples: Array, params: ClassicParams) -> None:
    """Any sound, with ties, silence and less than a frame, has the hashes that the description gives step by step."""
    expected = plain_fingerprint(samples, params) if len(samples) else set()
    hashes = classic_fingerprint(samples, params)
    assert as_set(hashes) == expected
    assert len(hashes) == len(expected)


def test_a_steady_tone_ties_as_it_did() -> None:
    """With the real window too, cells that are equal but for rounding win and lose as in the original order of operations."""
    samples = np.round(12000 * np.sin(2 * np.pi * np.arange(120_000) / 7)).astype(np.int16)
    params = GENERATIONS["dejavu-2020"]
    expected = plain_fingerprint(samples, params)
    assert len(expected) > 10
    assert as_set(classic_fingerprint(samples, params)) == expected


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.sampled_from([-np.inf, 0, 1, 2])
    ),
    st.integers(1, 7),
    st.sampled_from([DIAMOND, SQUARE]),
)
def test_the_maximum_is_that_of_the_footprint(levels: Array, reach: int, connectivity: int) -> None:
    """Running maxima give what scipy's filter gives with the whole footprint, at the borders too."""
    footprint = plain_footprint(ClassicParams("any", neighborhood_cells=reach, connectivity=connectivity))
    padded = np.pad(levels, reach, constant_values=-np.inf)
    expected = ndimage.maximum_filter(levels, footprint=footprint)
    np.testing.assert_array_equal(classic._maximum_around(padded, reach, connectivity), expected)


@pytest.mark.parametrize("segment_frames", [1, 7, 41, 1000])
def test_segments_do_not_show(monkeypatch: pytest.MonkeyPatch, segment_frames: int) -> None:
    """The set is the same however many frames are computed at a time, more or fewer than a footprint is high."""
    samples, params = noise(8000), replace(GENERATIONS["dejavu-0.1.3"], **SMALL, neighborhood_cells=5)
    expected = as_set(classic_fingerprint(samples, params))
    monkeypatch.setattr(classic, "SEGMENT_FRAMES", segment_frames)
    assert len(expected) > 100
    assert as_set(classic_fingerprint(samples, params)) == expected


@pytest.mark.parametrize("params", GENERATIONS.values(), ids=GENERATIONS)
@pytest.mark.parametrize("n_samples", [0, 1, 4095, 4096, 100_000])
def test_silence_has_no_hashes(params: ClassicParams, n_samples: int) -> None:
    """Digital silence of any length, and no samples at all, give an empty set and no warning."""
    hashes = classic_fingerprint(np.zeros(n_samples, np.int16), params)
    assert hashes.values.shape == (0, 10)
    assert hashes.offsets.shape == (0,)


def test_less_than_a_frame_is_filled_up() -> None:
    """A click shorter than the window is one frame of it and silence."""
    samples, params = noise(1000), GENERATIONS["dejavu-0.1.3"]
    filled = np.append(samples, np.zeros(params.n_fft - 1000, np.int16))
    assert set(classic_fingerprint(samples, params).offsets.tolist()) == {0}
    assert as_set(classic_fingerprint(samples, params)) == as_set(classic_fingerprint(filled, params))


@settings(max_examples=20, deadline=None)
@given(st.lists(sounds(), max_size=3), small_generations)
def test_channels_are_united(channels: list[Array], params: ClassicParams) -> None:
    """A recording's set is the union of its channels' sets, each hash and offset once, in order."""
    united = classic_fingerprint_channels(channels, params)
    assert as_set(united) == set().union(*(as_set(classic_fingerprint(samples, params)) for samples in channels))
    rows = [(value.tobytes(), offset) for value, offset in zip(united.values, united.offsets.tolist(), strict=True)]
    assert rows == sorted(set(rows))


def test_the_same_channel_twice_adds_nothing() -> None:
    """Mono sound in a stereo file has the set of one channel, each hash and offset once."""
    samples, params = noise(30_000), GENERATIONS["dejavu-2020"]
    stereo, mono = classic_fingerprint_channels([samples, samples], params), classic_fingerprint(samples, params)
    assert len(mono) > 100
    np.testing.assert_array_equal(stereo.values, mono.values)
    np.testing.assert_array_equal(stereo.offsets, mono.offsets)


def test_a_peak_lies_strictly_above_the_threshold() -> None:
    """A peak whose level is the threshold itself is none; a hair below it, it is."""
    samples, params = noise(60_000), GENERATIONS["dejavu-2020"]
    frames, bins = classic_peaks(samples, params)
    level = plain_levels(samples, params)[bins[7], frames[7]]
    found = [
        set(zip(*classic_peaks(samples, replace(params, amp_min_db=threshold)), strict=True))
        for threshold in (level, np.nextafter(level, 0))
    ]
    assert found[1] - found[0] == {(frames[7], bins[7])}


def test_the_first_version_pairs_a_peak_with_itself() -> None:
    """In November 2013 every peak has the hash of (bin, the same bin, 0) at its frame; later versions have none."""
    samples = noise(100_000)
    frames, bins = classic_peaks(samples, GENERATIONS["dejavu-2013-11"])
    alone = {(sha1_digits(bin_, bin_, 0), frame) for frame, bin_ in zip(frames.tolist(), bins.tolist(), strict=True)}
    assert len(alone) > 50
    assert alone <= as_set(classic_fingerprint(samples, GENERATIONS["dejavu-2013-11"]))
    assert not alone & as_set(classic_fingerprint(samples, GENERATIONS["dejavu-2014-02"]))


@pytest.mark.parametrize(
    ("dt_frames", "names"),
    [(200, set(GENERATIONS)), (201, {"dejavu-2013-11", "dejavu-2014-02"})],
)
def test_pairs_reach_200_frames_since_march_2014(dt_frames: int, names: set[str]) -> None:
    """Two peaks 200 frames apart are paired by every generation, one frame further by the first two only."""
    frames, bins = np.array([3, 3 + dt_frames]), np.array([20, 20])
    paired = set()
    for name, params in GENERATIONS.items():
        _, offsets = classic._pair(frames, bins, replace(params, pairs_with_itself=False))
        if offsets.tolist() == [3]:
            paired.add(name)
    assert paired == names


def test_before_july_2014_peaks_are_paired_by_frequency() -> None:
    """A later peak of a lower bin comes first, so that the two are no pair; sorted by time they are."""
    paired = {name for name, params in GENERATIONS.items() if len(classic._pair(*LOWER_LATER, params)[0]) == 1}
    assert paired == {"dejavu-0.1.3", "dejavu-2020", "ivlovric-1.4", "ivlovric-1.5"}


def test_shorter_hashes_are_their_beginnings() -> None:
    """With fewer digits kept a set is the same with every hash cut short; where they then coincide it is smaller."""
    samples, params = noise(60_000), GENERATIONS["dejavu-0.1.3"]
    whole = as_set(classic_fingerprint(samples, params))
    assert as_set(classic_fingerprint(samples, replace(params, hash_digits=2))) == {(h[:2], t) for h, t in whole}
    assert {(h[:20], t) for h, t in as_set(classic_fingerprint(samples, replace(params, hash_digits=40)))} == whole


def test_the_rate_moves_only_the_scale() -> None:
    """A tenth of the rate is 10 dB more: the same peaks over a threshold that is 10 dB higher."""
    samples, params = np.append(noise(100_000), noise(200_000, level=160)), GENERATIONS["dejavu-0.1.3"]
    tenth = replace(params, rate_hz=4410)
    peaks = len(classic_peaks(samples, params)[0])
    assert 0 < peaks < len(classic_peaks(samples, tenth)[0])
    assert as_set(classic_fingerprint(samples, replace(tenth, amp_min_db=20.0))) == as_set(
        classic_fingerprint(samples, params)
    )


@pytest.mark.parametrize(
    "samples", [np.zeros(9000, np.float32), np.zeros(9000, np.int32), np.zeros((9000, 2), np.int16)]
)
def test_other_samples_are_refused(samples: Array) -> None:
    """Samples that dejavu would have read otherwise are refused by name, not fingerprinted wrongly."""
    with pytest.raises(ValueError, match=f"not of {samples.dtype} in {samples.ndim} dimensions"):
        classic_fingerprint(samples, GENERATIONS["dejavu-2020"])


@pytest.mark.parametrize(
    "change",
    [
        {"fan_value": 0},
        {"amp_min_db": -1.0},
        {"neighborhood_cells": 0},
        {"connectivity": 3},
        {"rate_hz": 0},
        {"dt_min_frames": -1},
        {"dt_max_frames": -1},
        {"hash_digits": 19},
        {"hash_digits": 42},
        {"n_fft": 4095},
        {"hop_samples": 0},
    ],
)
def test_constants_no_dejavu_had_are_refused(change: dict[str, Any]) -> None:
    """A constant out of its range is named in the error."""
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(GENERATIONS["dejavu-2020"], **change)


def test_the_digest_is_of_the_constants() -> None:
    """Generations share a digest exactly when they share all constants, whatever they are called."""
    digests = {name: params.digest for name, params in GENERATIONS.items()}
    assert digests["dejavu-0.1.3"] == digests["ivlovric-1.4"]
    assert len(set(digests.values())) == len(digests) - 1
    assert all(name == params.name for name, params in GENERATIONS.items())


def test_offsets_become_seconds_by_the_rate_of_the_file() -> None:
    """One frame is 2048 samples of the file, whatever rate the constants name."""
    params = GENERATIONS["ivlovric-1.5"]
    assert params.frames_to_seconds(48_000, rate_hz=48_000) == 2048
    assert params.n_frames(4096 + 2047) == 1
    assert params.n_frames(4096 + 2048) == 2


def test_hashes_are_read_only_and_parallel() -> None:
    """A set cannot be changed, and values without as many offsets are refused."""
    hashes = classic_fingerprint(noise(9000), GENERATIONS["dejavu-2020"])
    assert len(hashes) > 0
    with pytest.raises(ValueError, match="read-only"):
        hashes.values[0] = 0
    with pytest.raises(ValueError, match="shape"):
        ClassicHashes(hashes.values, hashes.offsets[1:])
