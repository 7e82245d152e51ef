"""What a listener heard in its last seconds, as a picture, and what plays laid over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from synthetic import synthesize

from dejavud.fingerprint.extractor import TrackExtractor
from dejavud.fingerprint.params import Params
from dejavud.services.heard_peaks import SHOWN_TICKS, RecentPeaks, peaks_view
from dejavud.services.heard_plays import HeardPlay
from dejavud.services.hearing import Hearing
from dejavud.services.listen_jobs import TICK_FRAMES, heard

if TYPE_CHECKING:
    from typing import Any

    from synthetic import Samples

    from dejavud.values import Constellation

PARAMS = Params()
AT_S, HEARD_S = 5, 14
DELTA = AT_S * TICK_FRAMES + 8  # five seconds of 8000 samples are so many frames


def peaks_of(music: Samples) -> Constellation:
    """Return a track's own peaks."""
    extractor = TrackExtractor(PARAMS)
    extractor.feed(music)
    return extractor.finish()


class Known:
    """A library that knows one track."""

    def __init__(self, track: Constellation) -> None:
        self.constellations = self
        self._track = track

    def read(self, track_ids: list[int]) -> dict[int, Constellation]:
        """Return the track, where it is asked for."""
        return {7: self._track} if 7 in track_ids else {}


@pytest.fixture(scope="module")
def hearing() -> Hearing:
    """Return what has heard fourteen seconds of a track, from its fifth on."""
    rate_hz = PARAMS.rate_hz
    music = synthesize(5, AT_S + HEARD_S + 2, rate_hz)
    library: Any = Known(peaks_of(music))
    rules: Any = None
    hearing = Hearing(PARAMS, rules, library)
    skipped = DELTA * PARAMS.hop_samples
    for sound in heard([music[skipped : skipped + HEARD_S * rate_hz]], PARAMS, -66.0):
        hearing.recent.note(sound, 0)
    return hearing


def shown(hearing: Hearing, delta: int) -> dict[str, Any]:
    """Return the picture with the track laid at `delta`."""
    hearing.plays[:] = [HeardPlay(3, 7, delta, 0, 400, 1.0)]
    return peaks_view(hearing)


def test_a_track_lies_on_what_is_heard_where_it_plays_and_nowhere_else(hearing: Hearing) -> None:
    """Nearly all peaks of the track are met where it plays, few where it is laid elsewhere; both are in the same ten seconds."""
    right = shown(hearing, DELTA)
    wrong = shown(hearing, DELTA - 70)
    [track] = right["tracks"]
    assert (track["play"], track["track_id"]) == (3, 7)
    assert np.mean(track["is_met"]) > 0.85
    assert np.mean(wrong["tracks"][0]["is_met"]) < 0.45
    assert right["to_s"] - right["from_s"] == pytest.approx(PARAMS.frames_to_seconds(SHOWN_TICKS * TICK_FRAMES))
    for columns in (right["heard"], track):
        assert len(columns["time_s"]) == len(columns["hz"]) > 200
        assert columns["time_s"] == sorted(columns["time_s"])
        assert right["from_s"] <= columns["time_s"][0] <= columns["time_s"][-1] <= right["to_s"]
        assert right["min_hz"] <= min(columns["hz"]) <= max(columns["hz"]) <= right["max_hz"]


def test_looks_that_overlap_give_each_peak_once(hearing: Hearing) -> None:
    """Two looks have seen each second; no peak is told twice, and none is missing between two looks."""
    frames, bins = hearing.recent.since(4 * TICK_FRAMES)
    assert len(np.unique(frames * 1000 + bins)) == len(frames)
    assert np.diff(frames).max() < TICK_FRAMES // 2


def test_what_was_heard_long_ago_is_not_kept() -> None:
    """A listener that hears for months keeps its last seconds."""
    recent = RecentPeaks()
    music = synthesize(5, 3, PARAMS.rate_hz)
    *_, sound = (sound for sound in heard([music], PARAMS, -66.0) if sound.looks)
    for tick in range(1000):
        recent.note(sound, tick * TICK_FRAMES)
    assert len(recent._looks) <= SHOWN_TICKS + 1
    assert recent.since(0)[0].min() > (1000 - SHOWN_TICKS - 2) * TICK_FRAMES


def test_nothing_heard_is_nothing_shown() -> None:
    """Before the first second, and of silence, the picture is empty and whole."""
    none: Any = Known(peaks_of(synthesize(5, 6, PARAMS.rate_hz)))
    rules: Any = None
    view = peaks_view(Hearing(PARAMS, rules, none))
    assert view["heard"] == {"time_s": [], "hz": []}
    assert view["tracks"] == []
    assert (view["from_s"], view["to_s"]) == (0.0, 0.0)
