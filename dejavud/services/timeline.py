"""What was played in a recording, in seconds and with names, and as the JSON that every transport shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dejavud.services.views import track_in_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dejavud.fingerprint.params import HashParams, Params
    from dejavud.matching.plays import Play
    from dejavud.values import Track


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a play, on the recording's clock, in which the track is not heard."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class PlayedTrack:
    """A play: `dejavud.matching.plays.Play` in seconds, with the track it names."""

    track: Track
    start_s: float
    end_s: float
    track_start_s: float
    track_end_s: float
    confidence: float
    coverage: float
    gaps: tuple[Gap, ...]
    twins: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The answer to a scan; `plays` in order of their beginnings, none when nothing is recognized.

    duration_s : how much of the recording was heard.
    n_damaged_packets : how much of it could not be decoded, and was silent.
    partial : what of the index could not be asked at times, such as a server that was down.
    """

    source: str
    duration_s: float
    plays: tuple[PlayedTrack, ...]
    n_damaged_packets: int
    partial: tuple[str, ...] = ()


def played_track(play: Play, track: Track, params: Params) -> PlayedTrack:
    """Return `play` on the clocks of recording and track."""
    seconds = params.frames_to_seconds
    return PlayedTrack(
        track=track,
        start_s=seconds(play.first_frame),
        end_s=seconds(play.end_frame),
        track_start_s=seconds(play.track_first_frame),
        track_end_s=seconds(play.track_end_frame),
        confidence=play.confidence,
        coverage=play.coverage,
        gaps=tuple(Gap(seconds(first), seconds(end)) for first, end in play.gaps),
        twins=play.twins,
    )


def timeline_view(timeline: Timeline, params: HashParams) -> dict[str, Any]:
    """Return a timeline as ``/v1/scan`` and the control socket show it."""
    return {
        "recording": {
            "source": timeline.source,
            "duration_s": round(timeline.duration_s, 3),
            "n_damaged_packets": timeline.n_damaged_packets,
        },
        "plays": plays_view(timeline.plays),
        "engine": {"profile": params.profile, "params": params.digest},
        "partial": list(timeline.partial),
    }


def plays_view(plays: Sequence[PlayedTrack]) -> list[dict[str, Any]]:
    """Return plays as JSON shows them."""
    return [
        {
            "track": track_in_answer(play.track),
            "start_s": round(play.start_s, 3),
            "end_s": round(play.end_s, 3),
            "track_start_s": round(play.track_start_s, 3),
            "track_end_s": round(play.track_end_s, 3),
            "confidence": round(play.confidence, 6),
            "coverage": round(play.coverage, 3),
            "gaps": [{"start_s": round(gap.start_s, 3), "end_s": round(gap.end_s, 3)} for gap in play.gaps],
            "twins": list(play.twins),
        }
        for play in plays
    ]
