"""Two tracks, one recording: an album's release and a compilation's say the same of a query, and must not cast doubt on each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.nearness import near
from dejavud.matching.voting import vote
from dejavud.values import Hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dejavud.placed_hits import AnyHits
    from dejavud.values import Constellation

CONTEXT_FRAMES = 150
"""Compared to either side of the query, about 5 s: two pieces that share a drum loop for a second differ around it."""

MIN_SHARED = 0.4
"""Share of peaks in common from which two stretches are one recording.  Two encodings of one share 70 % and more, two pieces
with the same samples a quarter, chance gives 3 %."""


def same_recording(one: Constellation, other: Constellation, shift: int, first: int, last: int) -> bool:
    """Tell whether two tracks hold the same recording around the frames [first, last) of `one`.

    shift : a frame of `other` less the frame of `one` that would sound at the same time.
    """
    return shared(one, other, shift, first - CONTEXT_FRAMES, last + CONTEXT_FRAMES) >= MIN_SHARED


def shared(one: Constellation, other: Constellation, shift: int, first: int, last: int) -> float:
    """Return the share, 0 to 1, of the peaks in the frames [first, last) of `one` that are, within a frame and a bin, peaks of `other` too.

    shift : as `same_recording` takes it.
    """
    ours, theirs = _span(one, first, last), _span(other, first + shift - 1, last + shift + 1)
    if ours.start == ours.stop:
        return 0.0
    their_frames = other.frames[theirs].astype(np.int64) - shift
    return float(np.mean(near(one.frames[ours], one.bins[ours], their_frames, other.bins[theirs])))


def _span(track: Constellation, first: int, last: int) -> slice:
    """Return where the peaks in the frames [first, last) lie."""
    start, stop = np.searchsorted(track.frames, (first, last)).tolist()
    return slice(start, stop)


# -- a whole recording among those of an index ----------------------------------------------------------------------

N_WINDOWS = 5
WINDOW_S, LEAST_WINDOW_S = 8.0, 3.0
"""A recording is compared in stretches all over it; of a short one they are shorter, or fewer."""
LEAST_PEAKS = 10
"""A stretch with fewer says nothing."""
EVEN_SHARE, STEEPNESS = 0.42, 45.0
"""Share of peaks in common, in the stretch with the least, at which two recordings are as likely one as two, and how fast that turns.

Measured over some 60 recordings of games: the same one as mp3 of 64 kbit/s, ogg of low quality with half a second cut off, and AAC of 48 kbit/s has 0.54 and more in
its worst stretch (0.7 in the median), flac 1; another one at most 0.13.  Over 172, with stretches chosen otherwise, two mixes of one piece came to 0.28.
"""
N_CANDIDATES = 24
N_COMPARED = 6
"""Tracks that are looked at closer, those with most votes."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A track that holds the same recording as another, and how sure that is, 0..1."""

    track_id: int
    confidence: float


def windows_of(n_frames: int, frames_per_s: float) -> list[tuple[int, int]]:
    """Return the stretches, frames [first, last), in which a recording of `n_frames` is compared, evenly all over it."""
    n_windows = min(N_WINDOWS, max(1, int(n_frames / (LEAST_WINDOW_S * frames_per_s))))
    length = min(round(WINDOW_S * frames_per_s), n_frames // n_windows)
    centers = [n_frames * (2 * part + 1) // (2 * n_windows) for part in range(n_windows)]
    return [(center - length // 2, center - length // 2 + length) for center in centers]


def hashes_in(hashes: Hashes, windows: Sequence[tuple[int, int]]) -> Hashes:
    """Return the hashes whose anchors lie in one of `windows`."""
    inside = np.zeros(len(hashes), bool)
    for first, last in windows:
        inside |= (hashes.offsets >= first) & (hashes.offsets < last)
    return Hashes(hashes.values[inside], hashes.offsets[inside])


def duplicates_of(
    track: Constellation,
    windows: Sequence[tuple[int, int]],
    hits: AnyHits,
    read_constellations: Callable[[Sequence[int]], Mapping[int, Constellation]],
    is_candidate: Callable[[int], bool],
) -> list[Duplicate]:
    """Return the tracks that hold the same recording as `track`, the surest first.

    What shares an intro, a chorus or a loop is another recording: every one of the stretches has to agree, at one place.

    windows, hits : of `windows_of`, and what the hashes in them met.
    is_candidate : tells which tracks count, by id.
    """
    candidates = vote(hits, N_CANDIDATES)
    shifts: dict[int, list[int]] = {}
    for track_id, delta in zip(candidates.track_ids.tolist(), candidates.deltas.tolist(), strict=True):
        if is_candidate(track_id):
            shifts.setdefault(track_id, []).append(delta)
    compared = list(shifts)[:N_COMPARED]
    others = read_constellations(compared) if compared else {}
    found = [
        Duplicate(track_id, max(_sameness(track, others[track_id], shift, windows) for shift in shifts[track_id]))
        for track_id in compared
        if track_id in others
    ]
    return sorted((each for each in found if each.confidence >= 0.5), key=lambda each: -each.confidence)  # noqa: PLR2004 - likelier than not


def _sameness(one: Constellation, other: Constellation, shift: int, windows: Sequence[tuple[int, int]]) -> float:
    """Return how likely two tracks are one recording, by the stretch in which they share least."""
    spoken = [
        (first, last) for first, last in windows if np.ptp(np.searchsorted(one.frames, (first, last))) >= LEAST_PEAKS
    ]
    if not spoken:
        return 0.0
    least = min(shared(one, other, shift, first, last) for first, last in spoken)
    return 1 / (1 + math.exp(STEEPNESS * (EVEN_SHARE - least)))
