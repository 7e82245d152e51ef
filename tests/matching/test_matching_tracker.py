from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matching_library import PARAMS, TRACK_S, Library, constellation_of, library, noise_at
from scipy.signal import resample
from synthetic import synthesize
from tracker_scans import RULES, scan, silence, unknown

from dejavud.fingerprint.extractor import track_hashes
from dejavud.fingerprint.streaming import StreamExtractor
from dejavud.index.memory import MemoryIndex
from dejavud.matching.matcher import Matcher
from dejavud.matching.tracker import Tracker, TrackerRules
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

WITHIN_S = 1.0
PIECE = synthesize(61, 100.0, PARAMS.rate_hz)


def library_of(*audio: NDArray[Any]) -> Library:
    """Return a library of these tracks, with ids from 1."""
    index = MemoryIndex()
    constellations = [constellation_of(samples) for samples in audio]
    tracks = index.add(
        [
            NewTrack(f"Track {n}", None, None, None, f"{n:040x}", len(samples) / 8000, c, track_hashes(c, PARAMS))
            for n, (samples, c) in enumerate(zip(audio, constellations, strict=True), 1)
        ]
    )
    return Library(audio, {track.id: c for track, c in zip(tracks, constellations, strict=True)}, index)


def test_a_play_has_its_place_on_both_clocks() -> None:
    """A part of a track between unknown music and silence is one play; each of its four ends is within a second, mostly a quarter."""
    known = library()
    [heard] = scan(known, unknown(20), known.clip(2, 5, 30), silence(7), unknown(15, 91))
    assert heard.track_id == 2
    assert heard.start_s == pytest.approx(20, abs=0.5)
    assert heard.end_s == pytest.approx(50, abs=0.5)
    assert heard.track_start_s == pytest.approx(heard.start_s - 15, abs=0.1)
    assert heard.track_end_s == pytest.approx(heard.end_s - 15, abs=0.1)
    assert heard.play.confidence > 0.9999
    assert heard.play.coverage == 1.0
    assert heard.play.gaps == ()


def test_tracks_in_a_row_are_plays_in_a_row() -> None:
    """Whole tracks without a break between them are told apart at the second."""
    known = library()
    heard = scan(known, *(known.audio[n] for n in (3, 0, 5)))
    assert [one.track_id for one in heard] == [4, 1, 6]
    for number, one in enumerate(heard):
        assert one.start_s == pytest.approx(number * TRACK_S, abs=WITHIN_S)
        assert one.end_s == pytest.approx((number + 1) * TRACK_S, abs=WITHIN_S)


@pytest.mark.parametrize("part_frames", [160, 333, 4096])
def test_the_timeline_does_not_depend_on_the_parts(part_frames: int) -> None:
    """However a recording is cut into parts, its plays are the same ones."""
    known = library()
    recording = np.concatenate([known.clip(1, 3, 20), unknown(17), known.clip(2, 0, 25), known.clip(1, 3, 20)])
    whole = scan(known, recording)
    assert [one.track_id for one in whole] == [1, 2, 1]
    assert scan(known, recording, part_frames=part_frames) == whole


@pytest.mark.parametrize("part_frames", [160, 4096])
def test_a_track_is_traced_back_for_a_minute(part_frames: int) -> None:
    """Recognized late, from under noise, a play begins a minute before that at the earliest, however long the parts are."""
    loud = noise_at(PIECE, -16.0)
    known = library_of(PIECE)
    clear = PARAMS.seconds_to_samples(80)
    recording = np.concatenate([loud[:clear], PIECE[clear:]])
    whole, heard = scan(known, recording), scan(known, recording, part_frames=part_frames)
    assert heard == whole
    [one] = heard
    assert 15 < one.start_s <= 81
    assert one.end_s == pytest.approx(100, abs=WITHIN_S)


@pytest.mark.parametrize("recording", [unknown(90), silence(40), noise_at(silence(40) + 1e-3, 0.0)])
def test_what_the_library_does_not_hold_is_no_play(recording: NDArray[Any]) -> None:
    """Unknown music, silence and noise are nothing."""
    assert scan(library(), recording) == []


def test_tracks_that_sound_at_once_are_plays_that_overlap() -> None:
    """In a cross-fade both tracks are heard, each over its own stretch."""
    known = library()
    ramp = np.linspace(0, 1, PARAMS.seconds_to_samples(6), dtype=np.float32)
    faded = known.clip(1, 24, 6) * ramp[::-1] + known.clip(2, 0, 6) * ramp
    one, other = scan(known, known.clip(1, 0, 24), faded, known.clip(2, 6, 30))
    assert (one.track_id, other.track_id) == (1, 2)
    assert 26 < one.end_s <= 30.5
    assert 23.5 <= other.start_s < 28
    assert one.end_s > other.start_s
    assert other.end_s == pytest.approx(60, abs=WITHIN_S)


def test_a_mix_is_two_plays() -> None:
    """Two tracks that play together from beginning to end are both named."""
    known = library()
    heard = scan(known, unknown(10), (known.clip(3, 2, 30) + known.clip(5, 6, 30)) / 2, unknown(10, 91))
    assert [one.track_id for one in heard] == [3, 5]
    for one in heard:
        assert one.start_s == pytest.approx(10, abs=WITHIN_S)
        assert one.end_s == pytest.approx(40, abs=WITHIN_S)


def test_a_jingle_over_a_track_is_a_gap() -> None:
    """A track that goes on beneath five seconds of something else is one play with one gap where that was."""
    known = library()
    [heard] = scan(known, known.clip(1, 0, 15), unknown(5), known.clip(1, 20, 18))
    [(first, end)] = heard.gaps_s
    assert first == pytest.approx(15, abs=WITHIN_S)
    assert end == pytest.approx(20, abs=WITHIN_S)
    assert heard.end_s == pytest.approx(38, abs=WITHIN_S)
    assert heard.play.coverage == pytest.approx(33 / 38, abs=0.05)


def test_an_advert_that_holds_a_track_up_is_a_gap() -> None:
    """A track that goes on where it was left is one play with a gap; what was heard of the track is less than the play is long."""
    known = library()
    [heard] = scan(known, known.clip(1, 0, 15), unknown(8), known.clip(1, 15, 20))
    [(first, end)] = heard.gaps_s
    assert first == pytest.approx(15, abs=WITHIN_S)
    assert end == pytest.approx(23, abs=WITHIN_S)
    assert heard.end_s == pytest.approx(43, abs=WITHIN_S)
    assert heard.track_end_s == pytest.approx(35, abs=WITHIN_S)


def test_a_longer_break_makes_two_plays() -> None:
    """A track that goes on after more than the longest gap has been played twice."""
    known = library()
    recording = (known.clip(1, 0, 12), unknown(14), known.clip(1, 26, 12))
    assert len(scan(known, *recording, rules=TrackerRules(max_gap_s=20))) == 1
    first, second = scan(known, *recording, rules=TrackerRules(max_gap_s=8))
    assert first.end_s == pytest.approx(12, abs=WITHIN_S)
    assert second.start_s == pytest.approx(26, abs=WITHIN_S)


def test_a_track_played_again_is_a_second_play() -> None:
    """From its beginning once more, at once or later, a track is played anew."""
    known = library()
    heard = scan(known, known.clip(1, 0, 20), known.clip(1, 0, 20), unknown(30), known.clip(1, 5, 20))
    assert [round(one.start_s) for one in heard] == [0, 20, 70]
    assert [round(one.track_start_s) for one in heard] == [0, 0, 5]


@pytest.mark.parametrize("seed", [31, 35])
def test_a_loop_is_one_play(seed: int) -> None:
    """A track that repeats four bars eight times over fits itself at as many places, and is still one play from its first turn on."""
    loop = synthesize(seed, 6.0, PARAMS.rate_hz)
    known = library_of(np.concatenate([loop] * 8), synthesize(32, 30.0, PARAMS.rate_hz))
    [heard] = scan(known, unknown(10), known.audio[0], unknown(10, 91))
    assert heard.start_s == pytest.approx(10, abs=WITHIN_S)
    assert heard.end_s == pytest.approx(58, abs=WITHIN_S)
    assert heard.track_start_s == pytest.approx(0, abs=WITHIN_S)


def test_a_loop_that_leads_somewhere_is_followed_there() -> None:
    """Where a track's beginning comes again later, what follows decides where in it the recording is."""
    loop, rest = synthesize(31, 6.0, PARAMS.rate_hz), synthesize(33, 30.0, PARAMS.rate_hz)
    known = library_of(np.concatenate([loop] * 6 + [rest]))
    [heard] = scan(known, unknown(10), known.audio[0][PARAMS.seconds_to_samples(18) :], unknown(10, 91))
    assert heard.start_s == pytest.approx(10, abs=WITHIN_S)
    assert heard.track_start_s == pytest.approx(18, abs=WITHIN_S)
    assert heard.end_s == pytest.approx(58, abs=WITHIN_S)


def test_two_releases_of_a_recording_are_one_play() -> None:
    """Two tracks that hold the same recording are not two plays: one is named, and the other as its twin."""
    piece = synthesize(41, 40.0, PARAMS.rate_hz)
    known = library_of(piece, noise_at(np.concatenate([silence(3), piece]), 25.0), synthesize(42, 30.0, PARAMS.rate_hz))
    [heard] = scan(known, unknown(10), piece, unknown(10, 91))
    assert {heard.track_id, *heard.play.twins} == {1, 2}
    assert heard.start_s == pytest.approx(10, abs=WITHIN_S)


@pytest.mark.parametrize("speed", [0.998, 0.999, 1.001, 1.003])
def test_a_clock_that_is_off_does_not_lose_a_play(speed: float) -> None:
    """A track played a little fast or slow is one play to its end, and ends where the track does."""
    known = library()
    piece = resample(known.audio[1], round(len(known.audio[1]) / speed)).astype(np.float32)
    [heard] = scan(known, unknown(10), piece, unknown(10, 91))
    assert heard.start_s == pytest.approx(10, abs=WITHIN_S)
    assert heard.end_s == pytest.approx(10 + TRACK_S / speed, abs=WITHIN_S)
    assert heard.track_end_s == pytest.approx(TRACK_S, abs=0.2)


def test_noise_moves_no_end_by_more_than_a_moment() -> None:
    """Under noise as loud as the music a play still has its place."""
    known = library()
    recording = np.concatenate([unknown(20), known.clip(2, 0, 40), unknown(20, 91)])
    [heard] = scan(known, noise_at(recording, 3.0))
    assert heard.start_s == pytest.approx(20, abs=2)
    assert heard.end_s == pytest.approx(60, abs=2)


@pytest.mark.parametrize("softer_db", [6, 18])
def test_soft_beginnings_and_ends_are_heard_in_noise(softer_db: int) -> None:
    """Seconds that are softer than the noise belong to a play: what is left of them is of the kind that was left of the rest."""
    known = library()
    played = known.clip(2, 0, 40).copy()
    soft = PARAMS.seconds_to_samples(8)
    played[:soft] *= 10 ** (-softer_db / 20)
    played[-soft:] *= 10 ** (-softer_db / 20)
    [heard] = scan(known, noise_at(np.concatenate([unknown(20), played, unknown(20, 91)]), 10.0))
    assert heard.start_s == pytest.approx(20, abs=WITHIN_S)
    assert heard.end_s == pytest.approx(60, abs=WITHIN_S)


def test_what_follows_a_cut_speaks_against_the_track() -> None:
    """Some seconds after a track was cut off it is gone, however long a pause may be, and while it plays it never is."""
    known = library()
    tracker = Tracker(PARAMS, TrackerRules(max_gap_s=30), Matcher(PARAMS, RULES).match)
    for part in StreamExtractor(PARAMS, 160, is_live=True).feed(np.concatenate([known.clip(2, 0, 25), unknown(30)])):
        tracker.feed(part, known.index.lookup(part.hashes), known.index.constellations, known.n_frames)
        now_s = PARAMS.frames_to_seconds(tracker.end_frame)
        if 6 < now_s < 25 or now_s > 30:
            assert [play.is_gone for play in tracker.sounding()] == [now_s > 25]


def test_a_tracks_own_silence_is_part_of_its_play_where_nothing_else_sounds() -> None:
    """Two silent seconds at a track's end are played where the recording is silent too, and are not where it is not."""
    piece = np.concatenate([synthesize(71, 30.0, PARAMS.rate_hz), silence(2)])
    known = library_of(piece, synthesize(72, 30.0, PARAMS.rate_hz))
    [whole] = scan(known, unknown(10), piece, unknown(10, 91))
    [cut] = scan(known, unknown(10), piece[: PARAMS.seconds_to_samples(30)], unknown(10, 91))
    assert whole.end_s == pytest.approx(42, abs=0.4)
    assert cut.end_s == pytest.approx(40, abs=0.4)


def test_a_jingle_of_two_seconds_is_found() -> None:
    """What is short because its track is short is a play, where as little of a longer track is none."""
    jingle = synthesize(51, 2.2, PARAMS.rate_hz)
    known = library_of(jingle, synthesize(52, 40.0, PARAMS.rate_hz))
    recording = (unknown(21), jingle, unknown(20, 91), known.clip(2, 10, 1.5), unknown(20, 92))
    [heard] = scan(known, *recording)
    assert heard.track_id == 1
    assert heard.start_s == pytest.approx(21, abs=WITHIN_S)


def test_plays_are_known_before_they_are_final() -> None:
    """While a track plays it is among what sounds, and some seconds after its end among what is final."""
    known = library()
    tracker = Tracker(PARAMS, TrackerRules(max_gap_s=5), Matcher(PARAMS, RULES).match)
    extractor = StreamExtractor(PARAMS, 160, is_live=True)
    final: list[float] = []
    for part in extractor.feed(np.concatenate([unknown(20), known.clip(2, 0, 40), unknown(60, 91)])):
        hits = known.index.lookup(part.hashes)
        plays = tracker.feed(part, hits, known.index.constellations, known.n_frames)
        now_s = PARAMS.frames_to_seconds(part.end_frame)
        final += [now_s for _ in plays]
        if 31 < now_s < 59:
            [sounding] = tracker.sounding()
            assert sounding.track_id == 2
            assert PARAMS.frames_to_seconds(sounding.first_frame) == pytest.approx(20, abs=WITHIN_S)
    [final_s] = final
    assert 60 < final_s < 75
    assert tracker.sounding() == []


def test_memory_does_not_grow() -> None:
    """What is kept after many plays is what was kept after a few."""
    known = library()
    tracker = Tracker(PARAMS, TrackerRules(), Matcher(PARAMS, RULES).match)
    extractor = StreamExtractor(PARAMS, 512, is_live=True)
    kept = []
    for _ in range(4):
        for part in extractor.feed(np.concatenate([known.audio[0], known.audio[1], unknown(30)])):
            tracker.feed(part, known.index.lookup(part.hashes), known.index.constellations, known.n_frames)
        kept.append((len(tracker._recent._depths), len(tracker._hits), len(tracker._trails) + len(tracker._lost)))
    a_minute_and_a_part = 60 * PARAMS.frames_per_s + 2 * 512
    assert all(n_frames <= a_minute_and_a_part and n_hits < 3000 and n_plays <= 4 for n_frames, n_hits, n_plays in kept)


def test_plays_come_in_order_of_their_beginnings() -> None:
    """Plays that become final together are in order."""
    known = library()
    heard = scan(
        known, known.clip(1, 0, 15), known.clip(2, 0, 15), known.clip(3, 0, 15), rules=TrackerRules(max_gap_s=100)
    )
    assert [one.track_id for one in heard] == [1, 2, 3]
    assert all(a.end_s <= b.start_s + WITHIN_S for a, b in pairwise(heard))
