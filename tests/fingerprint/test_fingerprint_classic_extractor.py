"""dejavu's hashes of audio that arrives in blocks, as an index holds them and as a query asks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_classic import plain_fingerprint

from dejavud.fingerprint import classic
from dejavud.fingerprint.classic import ClassicHashes, ClassicPeakPicker, classic_peaks
from dejavud.fingerprint.classic_extractor import ClassicExtractor, last_offsets, packed
from dejavud.fingerprint.classic_params import GENERATIONS
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.profiles import PROFILES, params_of
from dejavud.values import Hashes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

SMALL = replace(GENERATIONS["dejavu-0.1.3"], n_fft=64, hop_samples=32, neighborhood_cells=5)


def noise(n_channels: int, n_samples: int, seed: int = 0) -> Array:
    """Return int16 [n_channels, n_samples]."""
    return np.random.default_rng(seed).integers(-3000, 3000, (n_channels, n_samples)).astype(np.int16)


def extracted(params: Any, channels: Array, rate_hz: int = 44100) -> ClassicExtractor:  # noqa: ANN401 - of any generation
    """Return an extractor that has heard `channels`."""
    extractor = ClassicExtractor(params, rate_hz)
    extractor.feed(channels)
    return extractor


def pairs_of(hashes: Hashes) -> list[tuple[int, int]]:
    """Return (hash, offset) pairs in order."""
    return sorted(zip(hashes.values.tolist(), hashes.offsets.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9000), st.lists(st.integers(0, 9000), max_size=8), st.integers(1, 40))
def test_blocks_do_not_show(n_samples: int, cuts: list[int], segment_frames: int) -> None:
    """However the samples are handed over, one by one or all at once, the peaks are the same."""
    samples = noise(1, n_samples)[0]
    expected = classic_peaks(samples, SMALL)
    bounds = sorted({0, n_samples, *(min(cut, n_samples) for cut in cuts)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classic, "SEGMENT_FRAMES", segment_frames)
        picker = ClassicPeakPicker(SMALL)
        for start, stop in pairwise(bounds):
            picker.feed(samples[start:stop])
        found = picker.finish()
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_track_is_the_union_of_its_channels() -> None:
    """What is stored are the first 64 bits of every hash of any channel, each at each of its offsets once."""
    channels = np.concatenate([noise(1, 20_000, 1), noise(1, 20_000, 1), noise(1, 20_000, 2)])
    extractor = extracted(SMALL, channels)
    expected = set().union(*(plain_fingerprint(channel, SMALL) for channel in channels))
    hashes = extractor.track()
    assert hashes.values.dtype == np.uint64
    assert pairs_of(hashes) == sorted((int(digits[:16], 16), offset) for digits, offset in expected)
    assert extractor.duration_s == pytest.approx(20_000 / 44100)
    assert extractor.n_frames == (20_000 - 64) // 32 + 1


def test_levels_are_those_of_the_files_own_rate() -> None:
    """The file's rate, not that of the constants, sets the scale of levels, as in every generation that reads files."""
    samples = (
        np.random.default_rng(1).integers(-200, 201, (1, 60_000)).astype(np.int16)
    )  # about as loud as the threshold
    params = replace(SMALL, amp_min_db=0.0)
    for rate_hz in (8000, 48000):
        expected = plain_fingerprint(samples[0], replace(params, rate_hz=rate_hz))
        assert len(pairs_of(extracted(params, samples, rate_hz).track())) == len(expected)
    assert len(expected) < len(plain_fingerprint(samples[0], replace(params, rate_hz=8000)))


def test_a_query_asks_as_its_generation_did() -> None:
    """The newest asks with the union of all channels, the others channel by channel with the last offset of each hash."""
    one, other = noise(1, 60_000, 1), noise(1, 60_000, 2)
    repeated = np.concatenate([one[:, :30_000], one[:, :30_000]], axis=1)
    channels = np.concatenate([repeated, repeated, other])
    united = extracted(replace(SMALL, query_united=True), channels).query()
    assert pairs_of(united.hashes) == pairs_of(extracted(SMALL, channels).track())
    before = extracted(SMALL, channels).query()
    expected: list[tuple[int, int]] = []
    n_pairs = 0
    for channel in channels:
        pairs = pairs_of(extracted(SMALL, channel[None]).track())
        expected += dict(sorted(pairs, key=lambda pair: pair[1])).items()
        n_pairs += len(pairs)
    assert pairs_of(before.hashes) == sorted(expected)
    assert len(expected) < n_pairs
    assert before.frame_s == united.frame_s == pytest.approx(32 / 44100)


@pytest.mark.parametrize("n_samples", [0, 5])
def test_silence_asks_nothing(n_samples: int) -> None:
    """No channels, no samples and silence give a query without hashes, of the right type."""
    query = extracted(SMALL, np.zeros((2, n_samples), np.int16)).query()
    assert (len(query.hashes), query.hashes.values.dtype) == (0, np.uint64)
    assert len(ClassicExtractor(SMALL, 44100).query().hashes) == 0
    assert len(ClassicExtractor(SMALL, 44100).track()) == 0


def test_the_last_offset_of_each_value_is_kept() -> None:
    """By hand, and of nothing nothing."""
    kept = last_offsets(Hashes(np.array([3, 3, 5, 9, 9, 9], np.uint64), [1, 7, 2, 0, 4, 8]))
    assert pairs_of(kept) == [(3, 7), (5, 2), (9, 8)]
    assert len(last_offsets(Hashes(np.empty(0, np.uint64), np.empty(0)))) == 0


def test_hashes_keep_their_first_eight_bytes() -> None:
    """The number reads as the hexadecimal digits do, whatever the order of bytes of the machine."""
    rows = np.array([[0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x11, 0x22], [0xFF] * 10], np.uint8)
    assert packed(ClassicHashes(rows, np.array([5, 6]))).values.tolist() == [0x0123456789ABCDEF, 2**64 - 1]


def test_each_generation_is_a_profile_of_its_own_name() -> None:
    """Names lead to constants and back; our own profile leads to the parameters that were given."""
    assert list(PROFILES) == ["landmark-2", *(f"classic/{name}" for name in GENERATIONS)]
    for name, params in GENERATIONS.items():
        assert params_of(Params(profile=f"classic/{name}")) is params
        assert params.profile == f"classic/{name}"
    given_ = Params(hop_samples=128)
    assert params_of(given_) is given_
