"""Two tracks, one recording: an album's release and a compilation's say the same of a query, and must not cast doubt on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.nearness import near

if TYPE_CHECKING:
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
