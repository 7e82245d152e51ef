"""Matching dejavu's hashes: the number that dejavu gives, and how sure that makes one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_align import plain_align, plain_matches_2020, plain_matches_before, stored_by_hash
from synthetic import synthesize

from dejavud.fingerprint.classic_extractor import ClassicExtractor
from dejavud.fingerprint.classic_params import GENERATIONS
from dejavud.index.memory import MemoryIndex
from dejavud.matching.classic_matcher import N_TAIL, ClassicMatcher, agreement, best_of_each_track, confidence
from dejavud.matching.matcher import MatchRules
from dejavud.values import Alignment, ClassicQuery, Constellation, Hashes, Hits, NewTrack

EVERYTHING = MatchRules(min_confidence=0.0, min_coverage=0.0, max_matches=100)
RATE_HZ = 44100
UNKNOWN = 9
FRAME_S = 2048 / RATE_HZ
NOTHING = np.empty(0)

hits_of = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4), st.integers(0, 40)), max_size=200)


def as_hits(rows: list[tuple[int, int, int]]) -> Hits:
    """Return rows of (query offset, track, track offset)."""
    return Hits(*(np.array([row[column] for row in rows], np.int32) for column in range(3)))


def matched(query: ClassicQuery, hits: Hits, rules: MatchRules = EVERYTHING) -> tuple[Alignment, ...]:
    """Return what the matcher finds; it asks for no constellation."""
    return ClassicMatcher(rules).match(query, hits, lambda _ids: pytest.fail("no track has one"), 0.0)


def asking(n_s: float, hashes: Hashes | None = None) -> ClassicQuery:
    """Return a query with a hash in every frame."""
    n_frames = round(n_s / FRAME_S)
    return ClassicQuery(hashes or Hashes(np.arange(n_frames, dtype=np.uint64), np.arange(n_frames)), n_s, FRAME_S)


def piece(seed: int) -> np.ndarray:
    """Return 20 s of stereo music, whose channels differ: int16 [2, n]."""
    samples = np.stack([synthesize(seed, 20.0), 0.8 * np.roll(synthesize(seed, 20.0), 300)])
    return np.round(samples * 20000).astype(np.int16)


def pairs_of(hashes: Hashes) -> list[tuple[int, int]]:
    """Return (hash, offset) pairs."""
    return list(zip(hashes.values.tolist(), hashes.offsets.tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(hits_of)
def test_every_track_has_the_place_and_the_number_that_dejavu_gives(rows: list[tuple[int, int, int]]) -> None:
    """Whatever was met: each song's difference, how many agree on it, and the order of songs are the original's."""
    hits = as_hits(rows)
    places = agreement(hits)
    found = [
        (int(places.track_ids[best]), int(places.deltas[best]), int(places.n_hashes[best]))
        for best in best_of_each_track(places)
    ]
    assert found == plain_align((track, offset - asked) for asked, track, offset in rows)


@pytest.mark.parametrize("name", ["dejavu-2020", "dejavu-0.1.3", "ivlovric-1.5"])
def test_real_queries_are_answered_as_dejavu_answers_them(name: str) -> None:
    """Of stereo music, cut at any sample: track, offset and hashes matched equal those of the generation's own matching."""
    params, index, songs = GENERATIONS[name], MemoryIndex(), {}
    for seed in (1, 2, 3):
        hashes = extracted(params, piece(seed)).track()
        empty = Constellation(NOTHING, NOTHING, 0, NOTHING)
        [track] = index.add([NewTrack(str(seed), None, None, None, f"{seed:040x}", 20.0, empty, hashes)])
        songs[track.id] = pairs_of(hashes)
    stored = stored_by_hash(songs)
    for seed, start in ((1, 100_000), (2, 250_001), (3, 317), (UNKNOWN, 0)):
        clip = piece(seed)[:, start : start + 5 * RATE_HZ]
        query = extracted(params, clip).query()
        channels = [pairs_of(extracted(params, channel[None]).track()) for channel in clip]
        if params.query_united:
            expected = plain_matches_2020({pair for pairs in channels for pair in pairs}, stored)
        else:
            expected = plain_matches_before(channels, stored)
        found = [(a.track_id, a.delta_frames, a.score) for a in matched(query, index.lookup(query.hashes))]
        assert found == plain_align(expected)
        assert bool(found) or seed == UNKNOWN


def extracted(params: object, channels: np.ndarray) -> ClassicExtractor:
    """Return an extractor that has heard `channels`."""
    extractor = ClassicExtractor(params, RATE_HZ)  # type: ignore[arg-type]
    extractor.feed(channels)
    return extractor


@settings(max_examples=200, deadline=None)
@given(hits_of)
def test_a_confidence_is_a_probability(rows: list[tuple[int, int, int]]) -> None:
    """It lies between 0 and 1 for every place of every query."""
    places = agreement(as_hits(rows))
    for place in range(len(places)):
        assert 0.0 <= confidence(places, place, []) <= 1.0


def background(rng: np.random.Generator, n: int, n_tracks: int = 50, length: int = 4000) -> list[tuple[int, int, int]]:
    """Return meetings by chance, all over many tracks."""
    rows = np.column_stack([rng.integers(0, 100, n), rng.integers(1, n_tracks + 1, n), rng.integers(0, length, n)])
    return [tuple(row) for row in rows.tolist()]


def test_more_that_agrees_is_surer() -> None:
    """With each further anchor the confidence grows, from none to certainty."""
    chance = background(np.random.default_rng(1), 3000)
    sure = []
    for n_anchors in range(1, 15):
        places = agreement(as_hits(chance + [(frame, 99, frame + 777) for frame in range(0, 6 * n_anchors, 6)]))
        [place] = np.flatnonzero((places.track_ids == 99) & (places.deltas == 777))
        sure.append(confidence(places, int(place), []))
    assert sure == sorted(sure)
    assert sure[0] < 0.1
    assert sure[-1] > 0.999


def test_hashes_of_one_anchor_are_one_witness() -> None:
    """Fifty hashes of one peak that agree are what one accident looks like; as many of fifty peaks are not."""
    chance = background(np.random.default_rng(1), 3000)
    same = matched(asking(5), as_hits(chance + [(50, 99, 900)] * 50))
    different = matched(asking(5), as_hits(chance + [(frame, 99, frame + 900) for frame in range(50)]))
    assert (same[0].track_id, different[0].track_id) == (99, 99)
    assert same[0].score == different[0].score == 50
    assert same[0].confidence < 0.5
    assert different[0].confidence > 0.9999


def test_a_passage_that_fits_many_tracks_is_no_match() -> None:
    """Where a dozen tracks agree in nearly as many anchors, the one that leads by two is not answered."""
    rows = [
        (frame, track, frame + 40 * track) for track in range(1, 13) for frame in range(20 + 2 * (track == 5))
    ] + background(np.random.default_rng(2), 500)
    assert matched(asking(5), as_hits(rows), MatchRules()) == ()
    assert matched(asking(5), as_hits(rows))[0].track_id == 5


def test_two_releases_of_one_recording_are_no_doubt_of_each_other() -> None:
    """A second track that agrees in the same anchors, at its own offset, leaves the first as sure, and is named as its twin."""
    rows = background(np.random.default_rng(3), 2000)
    rows += [(frame, 98, frame + 300) for frame in range(60)] + [(frame, 99, frame + 700) for frame in range(55)]
    [answer] = matched(asking(5), as_hits(rows), MatchRules(max_matches=5))
    assert (answer.track_id, answer.twins) == (98, (99,))


def test_music_that_repeats_itself_is_no_doubt_of_whose_it_is() -> None:
    """Loops agree at a dozen places of their own track; among other tracks that is one answer."""
    rows = background(np.random.default_rng(4), 2000)
    rows += [(frame, 99, frame + 90 * loop) for loop in range(12) for frame in range(50 - loop)]
    [answer] = matched(asking(5), as_hits(rows), MatchRules())
    assert (answer.track_id, answer.delta_frames) == (99, 0.0)


def test_in_a_library_of_one_track_chance_is_learned_from_that() -> None:
    """Unknown music meets the only track here and there, and is no match of it; its own music is."""
    chance = [(asked, 1, offset) for asked, _, offset in background(np.random.default_rng(5), 400, length=600)]
    assert len(agreement(as_hits(chance))) > N_TAIL
    assert matched(asking(5), as_hits(chance), MatchRules()) == ()
    own = [(frame, 1, frame + 100) for frame in range(40)]
    assert [a.delta_frames for a in matched(asking(5), as_hits(chance + own), MatchRules())] == [100.0]


def test_what_agrees_in_scattered_moments_only_is_no_match() -> None:
    """A sample that two pieces share, a second of ten, is sure to be shared and yet is not the piece."""
    rows = background(np.random.default_rng(6), 1000) + [(frame, 99, frame + 50) for frame in range(20)]
    assert matched(asking(10), as_hits(rows), MatchRules()) == ()
    [answer] = matched(asking(10), as_hits(rows), MatchRules(min_coverage=0.0))
    assert 0.05 < answer.coverage < 0.2


def test_nothing_met_is_no_match() -> None:
    """No hits, and a query without a hash, are answered with nothing."""
    assert matched(asking(5), as_hits([])) == ()
    assert (
        matched(replace(asking(5), hashes=Hashes(np.empty(0, np.uint64), NOTHING), duration_s=0.0), as_hits([])) == ()
    )


def test_a_track_that_ends_within_the_query_is_heard_until_there() -> None:
    """The stretch begins and ends where hashes agree, with the query where they do to its borders; a break of two seconds is a gap."""
    query, last = asking(12), round(12 / FRAME_S)
    rows = background(np.random.default_rng(7), 1000)
    frames = {
        "whole": range(last),
        "ends": range(130),
        "begins": range(107, last),
        "gap": [*range(86), *range(151, last)],
    }
    found = {}
    for track, name in enumerate(frames, start=90):
        [answer] = matched(query, as_hits(rows + [(frame, track, frame + 50) for frame in frames[name]]), MatchRules())
        found[name] = (answer.first_frame, answer.last_frame, answer.gaps)
    assert found["whole"] == (0, last, ())
    assert found["ends"] == (0, 130, ())
    assert found["begins"] == (107, last, ())
    [(gap_first, gap_last)] = found["gap"][2]
    assert 86 <= gap_first < gap_last <= 154


def test_a_second_track_under_a_louder_one_is_named_too() -> None:
    """The one that is sure is no doubt of another that sounds with it."""
    rows = background(np.random.default_rng(8), 2000)
    rows += [(frame, 98, frame + 300) for frame in range(100)] + [(frame, 99, frame) for frame in range(0, 100, 3)]
    answers = matched(asking(5), as_hits(rows), MatchRules(max_matches=3))
    assert [answer.track_id for answer in answers] == [98, 99]
