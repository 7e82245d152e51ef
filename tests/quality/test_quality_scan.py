from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dejavud.audio.decode import decode_audio
from dejavud.fingerprint.extractor import TrackExtractor, track_hashes
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.streaming import StreamExtractor
from dejavud.index.memory import MemoryIndex
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.matching.tracker import Tracker, TrackerRules
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dejavud.matching.plays import Play

PARAMS = Params()
RATE_HZ = PARAMS.rate_hz
HEARD_S = 100.0
FADE_S, VOICE_S, JINGLE_S = 6.0, 8.0, 5.0
N_HELD_OUT = 4
"""One in so many recordings is kept out of the library: unknown music, and the voices and jingles."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What was really played: seconds of the show, and whether its borders can be heard to the second."""

    title: str
    start_s: float
    end_s: float
    track_start_s: float
    is_hard: bool


@dataclass(frozen=True, slots=True)
class Music:
    """Recordings by title: some in a library, some kept out of it."""

    index: MemoryIndex
    known: dict[str, NDArray[Any]]
    unknown: list[NDArray[Any]]


@pytest.fixture(scope="module")
def music() -> Music:
    """Give the music that ./run-tests fetches; skip where the tests were started without it."""
    folder = os.environ.get("TEST_MUSIC")
    if folder is None:
        pytest.skip("TEST_MUSIC names no folder of music: start the tests by ./run-tests")
    index, known, unknown = MemoryIndex(), {}, []
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in {".ogg", ".wav"})
    for number, path in enumerate(paths):
        samples = decode_audio(path, name=path.name, rate_hz=RATE_HZ, limit_s=HEARD_S)
        if len(samples) < HEARD_S * RATE_HZ:
            continue
        samples = samples * np.float32(0.1 / np.sqrt(np.mean(samples**2)))
        if number % N_HELD_OUT == N_HELD_OUT - 1:
            unknown.append(samples)
            continue
        known[path.name] = samples
        extractor = TrackExtractor(PARAMS)
        extractor.feed(samples)
        constellation = extractor.finish()
        hashes = track_hashes(constellation, PARAMS)
        index.add([NewTrack(path.name, None, None, None, f"{number:040x}", HEARD_S, constellation, hashes)])
    assert known
    assert unknown
    return Music(index, known, unknown)


def radio_show(music: Music) -> tuple[NDArray[Any], list[Truth]]:
    """Return a show in which every known recording is played once, in one of five ways, and unknown music between them."""
    show = np.zeros(round(len(music.known) * (HEARD_S + 40) * RATE_HZ), np.float32)
    at, truths = 0, []
    for number, (title, samples) in enumerate(music.known.items()):
        way = ("after unknown music", "from the middle", "cross-fade", "voice", "jingle")[number % 5]
        other = music.unknown[number % len(music.unknown)]
        start = 0
        piece = samples.copy()
        if way == "after unknown music":
            show[at : at + 20 * RATE_HZ] = other[30 * RATE_HZ : 50 * RATE_HZ]
            at += 20 * RATE_HZ
        elif way == "from the middle":
            start = 23 * RATE_HZ
            piece = piece[start : start + 41 * RATE_HZ]
        elif way == "cross-fade":
            fade = round(FADE_S * RATE_HZ)
            ramp = np.linspace(0, 1, fade, dtype=np.float32)
            at -= fade
            show[at : at + fade] *= ramp[::-1]
            piece[:fade] *= ramp
            truths[-1] = replace(truths[-1], is_hard=False)
        elif way == "voice":
            voice = other[: round(VOICE_S * RATE_HZ)]
            piece[: len(voice)] = 0.6 * piece[: len(voice)] + voice
        else:
            jingle = other[-round(JINGLE_S * RATE_HZ) :]
            piece[50 * RATE_HZ : 50 * RATE_HZ + len(jingle)] = jingle
        show[at : at + len(piece)] += piece
        is_hard = way not in {"cross-fade", "voice"}
        truths.append(Truth(title, at / RATE_HZ, (at + len(piece)) / RATE_HZ, start / RATE_HZ, is_hard))
        at += len(piece)
    return show[:at], truths


def scan(music: Music, recording: NDArray[Any]) -> list[Play]:
    """Return the plays that the daemon would list."""
    matcher = Matcher(PARAMS, MatchRules(max_matches=4, enough_s=2.0, n_refined=6))
    tracker, extractor = Tracker(PARAMS, TrackerRules(), matcher.match), StreamExtractor(PARAMS, 4096)
    n_frames = music.index.statistics().duration_s * PARAMS.frames_per_s
    plays: list[Play] = []
    for part in (*extractor.feed(recording), *extractor.finish()):
        plays += tracker.feed(part, music.index.lookup(part.hashes), music.index.constellations, n_frames)
    return sorted([*plays, *tracker.finish(music.index.constellations, n_frames)], key=lambda play: play.first_frame)


def titles_of(music: Music, plays: Sequence[Play]) -> list[str]:
    """Return the titles of plays, in order."""
    titles = {track.id: track.title for track in music.index.tracks()}
    return [titles[play.track_id] for play in plays]


def test_a_radio_show_of_real_music_is_listed_right(music: Music) -> None:
    """Every play is listed once and in order, none that was not played; hard borders are within a second, places in tracks within a tenth."""
    show, truths = radio_show(music)
    plays = scan(music, show)
    assert titles_of(music, plays) == [truth.title for truth in truths]
    seconds = PARAMS.frames_to_seconds
    for truth, play in zip(truths, plays, strict=True):
        within_s = 1.0 if truth.is_hard else FADE_S
        assert seconds(play.first_frame) == pytest.approx(truth.start_s, abs=within_s), truth
        assert seconds(play.end_frame) == pytest.approx(truth.end_s, abs=within_s), truth
        place_s = seconds(play.track_first_frame - play.first_frame)
        assert place_s == pytest.approx(truth.track_start_s - truth.start_s, abs=0.1), truth
        assert play.confidence > 0.9999


def test_a_jingle_over_real_music_is_a_gap(music: Music) -> None:
    """Where five seconds of a recording were replaced, its play has one gap, there."""
    show, truths = radio_show(music)
    found = scan(music, show)
    plays = dict(zip(titles_of(music, found), found, strict=True))
    for truth in truths[4::5]:
        [(first, end)] = plays[truth.title].gaps
        assert PARAMS.frames_to_seconds(first) == pytest.approx(truth.start_s + 50, abs=1)
        assert PARAMS.frames_to_seconds(end) == pytest.approx(truth.start_s + 50 + JINGLE_S, abs=1)


def test_hours_of_music_that_the_library_does_not_hold_give_no_play(music: Music) -> None:
    """Recordings that were kept out of the library, by the same artist as those in it, are no plays of it."""
    assert titles_of(music, scan(music, np.concatenate(music.unknown))) == []
