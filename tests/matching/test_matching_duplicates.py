from __future__ import annotations

import numpy as np
import pytest
from matching_library import PARAMS, TRACK_S, constellation_of, library, noise_at
from synthetic import synthesize

from dejavud.fingerprint.extractor import fingerprint_query, track_hashes
from dejavud.index.memory import MemoryIndex
from dejavud.matching.duplicates import same_recording
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.values import NewTrack

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
