"""Two tracks, one recording: an album's release and a compilation's say the same of a query, and must not cast doubt on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dejavud.values import Array, Constellation

CONTEXT_FRAMES = 150
"""Compared to either side of the query, about 5 s: two pieces that share a drum loop for a second differ around it."""

MIN_SHARED = 0.4
"""Share of peaks in common from which two stretches are one recording.  Two encodings of one share 70 % and more, two pieces
with the same samples a quarter, chance gives 3 %."""

_BIN_BITS = 10


def same_recording(one: Constellation, other: Constellation, shift: int, first: int, last: int) -> bool:
    """Tell whether two tracks hold the same recording around the frames [first, last) of `one`.

    shift : a frame of `other` less the frame of `one` that would sound at the same time.
    """
    return shared(one, other, shift, first - CONTEXT_FRAMES, last + CONTEXT_FRAMES) >= MIN_SHARED


def shared(one: Constellation, other: Constellation, shift: int, first: int, last: int) -> float:
    """Return the share, 0 to 1, of the peaks in the frames [first, last) of `one` that are, within a frame and a bin, peaks of `other` too.

    shift : as `same_recording` takes it.
    """
    peaks = _keys(one, first, last)
    if not len(peaks):
        return 0.0
    candidates = _keys(other, first + shift - 1, last + shift + 1) - (shift << _BIN_BITS)
    steps = [(frames << _BIN_BITS) + bins for frames in (-1, 0, 1) for bins in (-1, 0, 1)]
    near = np.concatenate([candidates + step for step in steps])
    return float(np.mean(np.isin(peaks, near)))


def _keys(track: Constellation, first: int, last: int) -> Array:
    """Return int64 [n]: frame and bin, as one number, of the peaks in the frames [first, last)."""
    under = slice(*np.searchsorted(track.frames, (first, last)))
    return (track.frames[under].astype(np.int64) << _BIN_BITS) + track.bins[under]
