from __future__ import annotations

import numpy as np
import pytest
from matching_library import PARAMS, TRACK_S, UNKNOWN_SEED, library, noise_at
from synthetic import synthesize

from dejavud.fingerprint.extractor import fingerprint_query, fingerprint_quickly
from dejavud.matching.matcher import Matcher, MatchRules


@pytest.mark.parametrize("start_s", [3.0, 11.013, 24.51])
@pytest.mark.parametrize("duration_s", [1.0, 2.0, 5.0])
def test_a_clip_is_placed_to_a_quarter_of_a_frame(start_s: float, duration_s: float) -> None:
    """A clip cut anywhere, on a frame's border or not, names its track and its place in it."""
    [answer] = library().match(library().clip(4, start_s, duration_s))
    assert answer.track_id == 4
    assert PARAMS.frames_to_seconds(answer.delta_frames) == pytest.approx(start_s, abs=0.008)
    assert answer.confidence > 0.9999
    assert answer.coverage > 0.9


@pytest.mark.parametrize("track_id", range(1, 7))
def test_noise_as_loud_as_the_music_does_not_hide_it(track_id: int) -> None:
    """Three seconds at 0 dB are enough."""
    [answer] = library().match(noise_at(library().clip(track_id, 15.3, 3.0), 0.0, seed=track_id))
    assert answer.track_id == track_id
    assert PARAMS.frames_to_seconds(answer.delta_frames) == pytest.approx(15.3, abs=0.02)


@pytest.mark.parametrize("start_s", np.arange(0.0, 30.0, 5.0))
def test_unknown_music_is_no_match(start_s: float) -> None:
    """Music that the index does not hold gets no answer, however the clip is cut."""
    unknown = synthesize(UNKNOWN_SEED, TRACK_S, PARAMS.rate_hz)
    start = PARAMS.seconds_to_samples(start_s)
    assert library().match(unknown[start : start + 5 * PARAMS.rate_hz]) == ()


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros(500, np.float32),
        np.zeros(5 * 8000, np.float32),
        np.full(5 * 8000, 0.3, np.float32),
        np.random.default_rng(3).standard_normal(5 * 8000).astype(np.float32) * 0.1,
        np.sin(np.arange(5 * 8000) * 0.4).astype(np.float32),
    ],
    ids=["empty", "too short", "silence", "constant", "noise", "a tone"],
)
def test_what_is_not_music_is_no_match(samples: np.ndarray) -> None:
    """Silence, noise, a held tone and less than a frame match nothing and break nothing."""
    assert library().match(samples) == ()


def test_of_two_tracks_that_sound_together_both_are_named() -> None:
    """A mix of two tracks gives both when two answers are asked for, each at its place."""
    mix = library().clip(2, 10.0, 6.0) + library().clip(5, 20.0, 6.0)
    answers = library().match(mix, max_matches=2)
    places = {a.track_id: round(PARAMS.frames_to_seconds(a.delta_frames), 1) for a in answers}
    assert places == {2: 10.0, 5: 20.0}


def test_a_track_that_is_gone_is_not_answered() -> None:
    """Hits of a track whose constellation is no longer there count for nothing."""
    query = fingerprint_query(library().clip(3, 8.0, 3.0), PARAMS)
    hits = library().index.lookup(query.hashes)
    matcher = Matcher(PARAMS, MatchRules())

    def without_the_third(ids: list[int]) -> dict:  # type: ignore[type-arg]
        return {k: v for k, v in library().index.constellations(ids).items() if k != 3}

    assert matcher.match(query, hits, library().index.constellations, library().n_frames)
    assert matcher.match(query, hits, without_the_third, library().n_frames) == ()


def test_a_surer_rule_answers_less() -> None:
    """The confidence that is asked for decides, nothing else."""
    hard = noise_at(library().clip(1, 12.0, 1.0), -8.0)
    lenient = library().match(hard, min_confidence=0.0, min_coverage=0.0)
    assert lenient
    limit = lenient[0].confidence
    assert library().match(hard, min_confidence=min(1.0, limit + 1e-6), min_coverage=0.0) == ()


def test_a_track_under_a_louder_one_is_named_too() -> None:
    """Of a mix in which the second is 6 dB softer both are named, and a first look does not settle for one of them."""
    mix = library().clip(2, 10.0, 8.0) + 0.5 * library().clip(5, 20.0, 8.0)
    assert {answer.track_id for answer in library().match(mix)} == {2, 5}
    query = fingerprint_quickly(mix, PARAMS)
    hits = library().index.lookup(query.hashes)
    matcher = Matcher(PARAMS, MatchRules())
    assert matcher.match_quickly(query, hits, library().index.constellations, library().n_frames) == ()


def test_a_cross_fade_has_a_stretch_of_each() -> None:
    """The first ends and the second begins where they do, on the query's clock."""
    fading = np.clip((np.arange(10 * 8000) / 8000 - 4.0) / 2.0, 0.0, 1.0)
    fade = library().clip(2, 10.0, 10.0) * (1 - fading) + library().clip(5, 20.0, 10.0) * fading
    by_track = {answer.track_id: answer for answer in library().match(fade.astype(np.float32))}
    assert set(by_track) == {2, 5}
    assert by_track[2].first_frame == 0
    assert PARAMS.frames_to_seconds(by_track[2].last_frame) == pytest.approx(5.0, abs=1.2)
    assert PARAMS.frames_to_seconds(by_track[5].first_frame) == pytest.approx(5.0, abs=1.2)


def test_silence_beside_a_sound_proves_nothing() -> None:
    """Four seconds in which nothing sounds, before a clip in noise, speak neither for its track nor against it."""
    hard = noise_at(library().clip(1, 12.0, 3.0), 0.0)
    beside_silence = np.concatenate([np.zeros(4 * PARAMS.rate_hz, np.float32), hard])
    [alone] = library().match(hard, max_matches=1)
    [beside] = library().match(beside_silence, max_matches=1, min_coverage=0.2)
    assert beside.track_id == alone.track_id == 1
    assert beside.score == pytest.approx(alone.score, rel=0.1)


def test_the_last_notes_of_another_piece_prove_nothing() -> None:
    """A track that begins after a held tone is no more evidence than its beginning alone, although little of the query is like it."""
    n_tone = 4 * PARAMS.rate_hz
    tone = 0.02 * np.sin(np.arange(n_tone) * 2 * np.pi * 441.0 / PARAMS.rate_hz) * np.linspace(1, 0.3, n_tone)
    hard = noise_at(library().clip(1, 0.0, 3.0), 0.0)
    [alone] = library().match(hard, max_matches=1)
    [after] = library().match(np.concatenate([tone, hard]).astype(np.float32), max_matches=1, min_coverage=0.2)
    assert after.track_id == alone.track_id == 1
    assert after.score <= 1.05 * alone.score


def test_what_is_likely_and_not_sure_is_a_candidate() -> None:
    """What falls short of the confidence that is asked for is told apart from what does not."""
    query = fingerprint_query(noise_at(library().clip(1, 12.0, 1.0), -8.0), PARAMS)
    hits = library().index.lookup(query.hashes)
    sure = Matcher(PARAMS, MatchRules(min_confidence=0.5, min_coverage=0.0))
    [answer] = sure.match(query, hits, library().index.constellations, library().n_frames)
    surer = Matcher(PARAMS, MatchRules(min_confidence=answer.confidence + 1e-6, min_coverage=0.0))
    considered = surer.consider(query, hits, library().index.constellations, library().n_frames)
    assert not considered.answers
    assert [candidate.track_id for candidate in considered.candidates] == [answer.track_id]
