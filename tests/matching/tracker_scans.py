"""Scans of made-up recordings, as the daemon does them, for the tests of the tracker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matching_library import PARAMS
from synthetic import synthesize

from dejavud.fingerprint.streaming import StreamExtractor
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.matching.tracker import Tracker, TrackerRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matching_library import Library
    from numpy.typing import NDArray

    from dejavud.matching.plays import Play

RULES = MatchRules(max_matches=4, enough_s=2.0, n_refined=6)


@dataclass(frozen=True)
class Heard:
    """A play in seconds."""

    track_id: int
    start_s: float
    end_s: float
    track_start_s: float
    track_end_s: float
    play: Play

    @property
    def gaps_s(self) -> list[tuple[float, float]]:
        """The gaps, in seconds."""
        return [(PARAMS.frames_to_seconds(a), PARAMS.frames_to_seconds(b)) for a, b in self.play.gaps]


def unknown(duration_s: float, seed: int = 90) -> NDArray[Any]:
    """Return music that no library of the tests holds."""
    return synthesize(seed, duration_s, PARAMS.rate_hz)


def silence(duration_s: float) -> NDArray[Any]:
    """Return nothing, for so long."""
    return np.zeros(PARAMS.seconds_to_samples(duration_s), np.float32)


def scan(
    library: Library, *pieces: NDArray[Any], part_frames: int = 1024, rules: TrackerRules | None = None
) -> list[Heard]:
    """Return the plays in a recording of `pieces`, one after another, in order of their beginnings."""
    tracker = Tracker(PARAMS, rules or TrackerRules(), Matcher(PARAMS, RULES).match)
    extractor = StreamExtractor(PARAMS, part_frames)
    parts = [*extractor.feed(np.concatenate(pieces)), *extractor.finish()]
    plays: list[Play] = []
    for part in parts:
        plays += tracker.feed(part, library.index.lookup(part.hashes), library.index.constellations, library.n_frames)
    plays += tracker.finish(library.index.constellations, library.n_frames)
    return in_seconds(plays)


def in_seconds(plays: Sequence[Play]) -> list[Heard]:
    """Return `plays` in seconds, in order of their beginnings."""
    seconds = PARAMS.frames_to_seconds
    heard = [
        Heard(
            play.track_id,
            seconds(play.first_frame),
            seconds(play.end_frame),
            seconds(play.track_first_frame),
            seconds(play.track_end_frame),
            play,
        )
        for play in plays
    ]
    return sorted(heard, key=lambda one: (one.start_s, one.track_id))
