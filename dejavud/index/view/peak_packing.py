"""The peaks of constellations in three bytes each, for the resident view: read back in two passes of numpy.

Of each peak there is the step of frames since the one before (of a track's first peak, since its frame 0), in a byte, and its bin with its
quarter, in two.  A step that a byte does not hold is made in several, with peaks between that are none.  A track's peaks
mean the same wherever they lie, so segments are merged by copying.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.values import Constellation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[Any]

PEAK_DTYPES: dict[str, np.dtype[Any]] = {"steps": np.dtype("u1"), "tones": np.dtype("<u2")}
"""The columns: frames since the peak before; the bin, times 4, and the quarter."""

_MAX_STEP = 255
_QUARTER_BITS = 2
_NO_PEAK = 0xFFFF
_MAX_BIN = (_NO_PEAK >> _QUARTER_BITS) - 1


def packed(constellation: Constellation) -> dict[str, Array]:
    """Return the columns of `PEAK_DTYPES`; raises `ValueError` for frames or bins that no STFT has."""
    bins, frames = constellation.bins, constellation.frames
    if len(frames) and (frames[0] < 0 or bins.min() < 0 or bins.max() > _MAX_BIN):
        msg = f"a constellation with frames from {frames[0]} and bins from {bins.min()} to {bins.max()}"
        raise ValueError(msg)
    steps = np.diff(frames.astype(np.int64), prepend=0)
    tones = (bins.astype(np.uint16) << _QUARTER_BITS) | constellation.quarters
    if not len(steps) or steps.max() <= _MAX_STEP:
        return {"steps": steps.astype(np.uint8), "tones": tones}
    n_more = np.maximum(steps - 1, 0) // _MAX_STEP  # rows between, each of the longest step
    ends = np.cumsum(n_more + 1) - 1
    all_steps, all_tones = np.full(ends[-1] + 1, _MAX_STEP, np.uint8), np.full(ends[-1] + 1, _NO_PEAK, np.uint16)
    all_steps[ends] = steps - n_more * _MAX_STEP
    all_tones[ends] = tones
    return {"steps": all_steps, "tones": all_tones}


def unpacked(columns: Mapping[str, Array], n_frames: int) -> Constellation:
    """Return the constellation of `n_frames` whose `packed` columns these are: some 20 us for four minutes."""
    tones = columns["tones"]
    frames = np.cumsum(columns["steps"], dtype=np.int32)
    if _NO_PEAK in tones[columns["steps"] == _MAX_STEP]:
        are_peaks = tones != _NO_PEAK
        tones, frames = tones[are_peaks], frames[are_peaks]
    quarters = tones.astype(np.uint8) & ((1 << _QUARTER_BITS) - 1)
    return Constellation(frames, (tones >> _QUARTER_BITS).view(np.int16), n_frames, quarters)
