from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matching_library import PARAMS, TRACK_S, UNKNOWN_SEED, Library, constellation_of, library, noise_at
from synthetic import synthesize

from dejavud.fingerprint.extractor import fingerprint_query, fingerprint_quickly, track_hashes
from dejavud.index.memory import MemoryIndex
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dejavud.values import Alignment


def settled(samples: NDArray[Any], of: Library | None = None) -> tuple[Alignment, ...]:
    """Return what a first look settles."""
    known = of or library()
    query = fingerprint_quickly(samples, PARAMS)
    hits = known.index.lookup(query.hashes)
    return Matcher(PARAMS, MatchRules()).match_quickly(query, hits, known.index.constellations, known.n_frames)


@pytest.mark.parametrize("track_id", range(1, 7))
@pytest.mark.parametrize(("start_s", "duration_s"), [(3.0, 4.0), (11.013, 5.0), (20.507, 12.0)])
def test_a_clean_clip_is_settled_by_a_first_look_as_by_the_whole(
    track_id: int, start_s: float, duration_s: float
) -> None:
    """The track is the same, its place to a frame, and what is said of it besides."""
    clip = library().clip(track_id, start_s, duration_s)
    [quick], [whole] = settled(clip), library().match(clip)
    assert quick.track_id == whole.track_id == track_id
    assert quick.delta_frames == pytest.approx(whole.delta_frames, abs=1.0)
    assert (quick.twins, quick.gaps) == (whole.twins, whole.gaps)
    assert min(quick.confidence, whole.confidence) > 0.9999


def test_what_a_first_look_settles_is_what_everything_says() -> None:
    """In noise of every level: where it is settled early, the answer is that of the whole fingerprint."""
    n_settled = 0
    for snr_db in np.arange(-6.0, 30.0, 3.0):
        clip = noise_at(library().clip(2, 14.0, 4.0), snr_db, seed=int(snr_db) + 50)
        for quick in settled(clip):
            [whole] = library().match(clip)
            assert (quick.track_id, round(quick.delta_frames - whole.delta_frames)) == (whole.track_id, 0)
            n_settled += 1
    assert 0 < n_settled < 12


@pytest.mark.parametrize(
    "samples",
    [
        library().clip(2, 10.0, 6.0) + library().clip(5, 20.0, 6.0),
        noise_at(library().clip(1, 15.3, 3.0), -3.0),
        np.concatenate([library().clip(3, 30.0, 3.0), synthesize(UNKNOWN_SEED, 3.0, PARAMS.rate_hz)]),
        synthesize(UNKNOWN_SEED, 5.0, PARAMS.rate_hz),
        np.zeros(40_000, np.float32),
        np.zeros(100, np.float32),
    ],
    ids=["a mix", "in noise", "half unknown", "unknown", "silence", "too short"],
)
def test_what_is_not_plain_is_left_open(samples: NDArray[Any]) -> None:
    """A first look that could miss something says nothing."""
    assert settled(samples) == ()


def test_a_place_that_repeats_itself_is_left_open() -> None:
    """Of a loop that is played twice only the whole fingerprint can tell which time it is, if anything can."""
    loop = synthesize(31, 8.0, PARAMS.rate_hz)
    audio = np.concatenate([loop, synthesize(32, 8.0, PARAMS.rate_hz), loop])
    constellation = constellation_of(audio)
    index = MemoryIndex()
    index.add([NewTrack("A", None, None, None, "a" * 40, TRACK_S, constellation, track_hashes(constellation, PARAMS))])
    loops = Library((audio,), {1: constellation}, index)
    assert settled(loop[8000:48000], loops) == ()
    assert settled(audio[9 * 8000 : 14 * 8000], loops)


def test_a_first_look_asks_little() -> None:
    """A tenth of the hashes, and no sub-frame shifts."""
    clip = library().clip(1, 5.0, 5.0)
    quick, whole = fingerprint_quickly(clip, PARAMS), fingerprint_query(clip, PARAMS)
    assert len(quick.hashes) * 8 < len(whole.hashes)
    assert (quick.evidence.n_shifts, whole.evidence.n_shifts) == (1, PARAMS.query_shifts)


def test_without_a_first_look_nothing_is_settled() -> None:
    """A fan-out of 0 leaves every query to the whole fingerprint."""
    query = fingerprint_quickly(library().clip(1, 5.0, 5.0), replace(PARAMS, query_quick_fan_out=0))
    assert len(query.hashes) == 0
