"""What a listener heard in its last seconds, peak by peak, and the peaks of the tracks that play laid over it: for whoever wants to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.services.listen_jobs import LOOK_TICKS, TICK_FRAMES

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.services.hearing import Hearing
    from dejavud.services.listen_jobs import Sound
    from dejavud.values import Array, Constellation

SHOWN_TICKS = 10
"""Seconds, so to speak: a tick is 32 frames."""
_NEAR = 1
"""A track's peak is met where one is heard so few frames and bins from it."""


class RecentPeaks:
    """The looks of the last seconds, which are there anyway; nothing is computed before somebody asks.

    Noted by one thread, read by any: what is kept is replaced, never changed.

    end_frame : after what was heard, on the listener's clock.
    """

    def __init__(self) -> None:
        self.end_frame = 0
        self._looks: tuple[tuple[int, Constellation], ...] = ()

    def note(self, sound: Sound, base: int) -> None:
        """Keep what the looks of the last two ticks heard; base : of the sound's frame 0 on the listener's clock."""
        for look in sound.looks:
            first, heard = base + look.first_frame, look.query.constellation
            if heard.n_frames <= LOOK_TICKS * TICK_FRAMES:
                oldest = first - SHOWN_TICKS * TICK_FRAMES
                self._looks = (*(kept for kept in self._looks if oldest <= kept[0] < first), (first, heard))
        self.end_frame = base + sound.end_frame

    def since(self, first_frame: int) -> tuple[Array, Array]:
        """Return (frames, bins), int32 [n], of what was heard from `first_frame` on, in order, on the listener's clock.

        Looks overlap, and a peak near the edge of one may be none in the next: of each tick the last look that had it whole is taken.
        """
        frames, bins = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        looks = self._looks
        for place, (first, heard) in enumerate(looks):
            following = looks[place + 1][0] if place + 1 < len(looks) else None
            end = first + heard.n_frames if following is None else following + TICK_FRAMES // 2
            begin = first if place == 0 or looks[place - 1][0] < first - TICK_FRAMES else first + TICK_FRAMES // 2
            own = heard.frames + first
            kept = (own >= max(begin, first_frame)) & (own < end)
            frames.append(own[kept])
            bins.append(heard.bins[kept].astype(np.int32))
        return np.concatenate(frames), np.concatenate(bins)


def peaks_view(hearing: Hearing) -> dict[str, Any]:
    """Return the peaks of the last ten seconds that were heard, and over them those of each play that goes on.

    May block, as it reads constellations.  Columns: ``time_s`` on the listener's clock, ``hz``, and of a track how prominent each peak is (`Constellation.quarters`), and whether it is met.
    """
    params, end_frame = hearing.params, hearing.recent.end_frame
    first = max(0, end_frame - SHOWN_TICKS * TICK_FRAMES)
    frames, bins = hearing.recent.since(first)
    plays = list(hearing.plays)
    tracks = hearing.library.constellations.read([play.track_id for play in plays])
    grid = _grid(frames - first, bins, end_frame - first, params.bin_max)
    return {
        "from_s": round(params.frames_to_seconds(first), 3),
        "to_s": round(params.frames_to_seconds(end_frame), 3),
        "min_hz": _hz(params, params.bin_min),
        "max_hz": _hz(params, params.bin_max),
        "heard": _columns(params, frames, bins),
        "tracks": [
            {
                "play": play.id,
                "track_id": play.track_id,
                **_laid(params, tracks[play.track_id], play.delta, first, grid),
            }
            for play in plays
            if play.track_id in tracks
        ],
    }


def _laid(params: Params, track: Constellation, delta: int, first: int, grid: Array) -> dict[str, Any]:
    """Return the peaks of a track in the frames of `grid`, the first of which is `first` on the listener's clock."""
    begin, end = np.searchsorted(track.frames, (first + delta, first + delta + len(grid)))
    frames, bins = track.frames[begin:end] - delta, track.bins[begin:end].astype(np.int32)
    quarters = track.quarters[begin:end].tolist()
    return {**_columns(params, frames, bins), "quarter": quarters, "is_met": grid[frames - first, bins].tolist()}


def _grid(frames: Array, bins: Array, n_frames: int, n_bins: int) -> Array:
    """Return bool [n_frames, n_bins]: where a peak is heard, or as near as makes no difference."""
    heard = np.zeros((n_frames + 2 * _NEAR, n_bins + 2 * _NEAR), bool)
    inside = (frames >= 0) & (frames < n_frames)
    for down in range(2 * _NEAR + 1):
        for right in range(2 * _NEAR + 1):
            heard[frames[inside] + down, bins[inside] + right] = True
    return heard[_NEAR:-_NEAR, _NEAR:-_NEAR]


def _columns(params: Params, frames: Array, bins: Array) -> dict[str, Any]:
    time_s = np.round(frames * (params.hop_samples / params.rate_hz), 3)
    return {"time_s": time_s.tolist(), "hz": np.round(bins * (params.rate_hz / params.n_fft), 1).tolist()}


def _hz(params: Params, n_bins: int) -> float:
    return round(n_bins * params.rate_hz / params.n_fft, 1)
