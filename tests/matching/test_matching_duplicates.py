from __future__ import annotations

import numpy as np
import pytest
from matching_library import PARAMS, TRACK_S, constellation_of, library, noise_at
from synthetic import synthesize

from dejavud.fingerprint.extractor import fingerprint_query, track_hashes
from dejavud.index.memory import MemoryIndex
from dejavud.matching.duplicates import N_WINDOWS, duplicates_of, hashes_in, same_recording, windows_of
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.values import Constellation, Hits, NewTrack

LATER = 1234
"""Samples that the second release has in front: not a whole number of frames."""


@pytest.fixture(scope="module")
def two_releases() -> MemoryIndex:
    """Return an index that holds one recording twice: as it is, and noisier, softer and a little later."""
    first = synthesize(7, TRACK_S, PARAMS.rate_hz)
    second = 0.5 * noise_at(np.concatenate([np.zeros(LATER, np.float32), first]), 30.0)
    index = MemoryIndex()
    for n, samples in enumerate((first, second), 1):
        constellation = constellation_of(samples.astype(np.float32))
        hashes = track_hashes(constellation, PARAMS)
        index.add([NewTrack(f"Release {n}", None, None, None, f"{n:040x}", TRACK_S, constellation, hashes)])
    return index


def test_two_releases_are_one_answer(two_releases: MemoryIndex) -> None:
    """A query of a recording that the index holds twice is answered as surely as if it held it once, and the other is named as its twin."""
    start = PARAMS.seconds_to_samples(12.0)
    query = fingerprint_query(synthesize(7, TRACK_S, PARAMS.rate_hz)[start : start + 3 * PARAMS.rate_hz], PARAMS)
    matcher = Matcher(PARAMS, MatchRules(max_matches=2))
    [answer] = matcher.match(query, two_releases.lookup(query.hashes), two_releases.constellations, 2500)
    assert {answer.track_id, *answer.twins} == {1, 2}
    assert answer.confidence > 0.9999
    place_s = PARAMS.frames_to_seconds(answer.delta_frames) - (answer.track_id == 2) * PARAMS.samples_to_seconds(LATER)
    assert place_s == pytest.approx(12.0, abs=0.01)


def test_a_recording_is_itself_at_its_own_place_only() -> None:
    """A track is the same recording as itself unshifted, and not as itself a second later, nor as another track."""
    one, other = library().constellations[1], library().constellations[2]
    assert same_recording(one, one, 0, 300, 400)
    assert not same_recording(one, one, 31, 300, 400)
    assert not same_recording(one, other, 0, 300, 400)


def test_beyond_the_end_nothing_is_the_same() -> None:
    """Where a track has no peaks there is nothing to share."""
    one = library().constellations[1]
    assert not same_recording(one, one, 0, 10**6, 10**6 + 100)


def found_in(index: MemoryIndex, constellation: Constellation) -> list[int]:
    """Return the tracks of `index` that are said to hold the recording of `constellation`."""
    windows = windows_of(constellation.n_frames, PARAMS.frames_per_s)
    hits = index.lookup(hashes_in(track_hashes(constellation, PARAMS), windows))
    found = duplicates_of(constellation, windows, hits, index.constellations, lambda _: True)
    assert all(0.5 <= each.confidence <= 1 for each in found)
    return [each.track_id for each in found]


def test_a_recording_is_found_in_every_release_of_it(two_releases: MemoryIndex) -> None:
    """As it is, noisier and a little later, and with half a second cut off; another piece is in none of them."""
    samples = synthesize(7, TRACK_S, PARAMS.rate_hz)
    for heard in (samples, 0.3 * noise_at(samples, 25.0), samples[PARAMS.rate_hz // 2 :]):
        assert sorted(found_in(two_releases, constellation_of(heard.astype(np.float32)))) == [1, 2]
    assert found_in(two_releases, constellation_of(synthesize(8, TRACK_S, PARAMS.rate_hz))) == []


@pytest.mark.parametrize("shared_s", [5.0, 10.0, TRACK_S - 12.0])
def test_what_shares_a_part_is_another_recording(two_releases: MemoryIndex, shared_s: float) -> None:
    """The same beginning, however long, and then something else: both are worth having."""
    n_shared = PARAMS.seconds_to_samples(shared_s)
    samples = synthesize(11, TRACK_S, PARAMS.rate_hz)
    samples[:n_shared] = synthesize(7, TRACK_S, PARAMS.rate_hz)[:n_shared]
    assert found_in(two_releases, constellation_of(samples)) == []


def test_silence_is_no_recording(two_releases: MemoryIndex) -> None:
    """Nothing is not the same as anything, and short sounds are compared whole."""
    nothing = np.empty(0)
    silence = Constellation(nothing, nothing, 3000, nothing)
    assert found_in(two_releases, silence) == []
    hits = Hits([1] * 50, [1] * 50, [1] * 50)
    assert duplicates_of(silence, [(0, 3000)], hits, two_releases.constellations, lambda _: True) == []
    jingle = synthesize(7, TRACK_S, PARAMS.rate_hz)[: 2 * PARAMS.rate_hz]
    assert sorted(found_in(two_releases, constellation_of(jingle))) == [1, 2]


@pytest.mark.parametrize("n_frames", [0, 1, 40, 93, 94, 700, 1250, 10_000])
def test_stretches_lie_apart_all_over_a_recording(n_frames: int) -> None:
    """From one to five, in order, of one length, none beyond either end."""
    windows = windows_of(n_frames, PARAMS.frames_per_s)
    assert 1 <= len(windows) <= N_WINDOWS
    assert len({last - first for first, last in windows}) == 1
    bounds = [bound for window in windows for bound in window]
    assert bounds == sorted(bounds)
    assert bounds[0] >= 0
    assert bounds[-1] <= n_frames
