"""Queries that play faster, slower, higher or lower than the track.

A pair of peaks that was moved by more than half a bin or half a frame has another hash, so a query at another speed is asked as if it had
been played at each of a grid of speeds: its peaks are moved, not its samples, which costs a thousandth of resampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dejavud.fingerprint.landmarks import pair
from dejavud.values import Constellation, Hashes, Scale

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array, QueryFingerprint

SCALE_STEP = 0.005
"""Between two scales of a search: a quarter of a per cent off is half a bin at 1.5 kHz, below which most peaks of music lie."""

_FRAME_BITS = 20


SEARCHES = {"off": 0.0, "clock": 0.005, "radio": 0.06}
"""How far each named search goes: clocks of sound cards and players are off by less than half a per cent, turntables and radio
stations that play faster by less than six."""

SEARCHED_S = 10.0
"""A search asks with so much of the query only: what ten seconds do not show at a scale, more would not."""


def search_scales(search: str) -> tuple[Scale, ...]:
    """Return the scales of a search of `SEARCHES`, the nearest first, without the unscaled; none for "off".

    Speeds change tempo and pitch together; "radio" looks for changes of pitch alone too.
    """
    limit, pitch = SEARCHES[search], search == "radio"
    n_steps = round(limit / SCALE_STEP)
    factors = [1 + sign * k * SCALE_STEP for k in range(1, n_steps + 1) for sign in (1, -1)]
    speeds = [Scale(factor, factor) for factor in factors]
    return tuple(speeds + [Scale(1.0, factor) for factor in factors] if pitch else speeds)


def scaled_hashes(query: QueryFingerprint, scales: tuple[Scale, ...], params: Params) -> Hashes:
    """Return the hashes of the query at every scale; `split_offsets` tells whose offset is whose.

    The unshifted constellation is moved to where the track has it: bins, to a fraction, down by the pitch, frames apart by the speed.
    """
    asked = query.constellation.frames < SEARCHED_S * params.frames_per_s
    frames, bins = query.constellation.frames[asked], _fine_bins(query)[asked]
    moved = []
    for number, scale in enumerate(scales):
        peaks = np.column_stack([np.rint(frames * scale.speed), np.rint(bins / scale.pitch)]).astype(np.int64)
        peaks = peaks[(peaks[:, 1] >= params.bin_min) & (peaks[:, 1] < params.bin_max)]
        n_frames = round(query.constellation.n_frames * scale.speed)
        constellation = Constellation(peaks[:, 0], peaks[:, 1], n_frames, np.zeros(len(peaks)))
        hashes = pair(constellation, params, params.query_fan_out)
        moved.append(Hashes(hashes.values, hashes.offsets | (number << _FRAME_BITS)))
    return Hashes.concatenate(moved)


def split_offsets(offsets: Array) -> tuple[Array, Array]:
    """Return (number of the scale, frame of the query in the track's time), int32 [n] each, of a query's offsets."""
    if not len(offsets) or offsets.max() < 1 << _FRAME_BITS:  # of one scale: most are, and there may be millions
        return np.zeros(len(offsets), np.int32), offsets
    return offsets >> _FRAME_BITS, offsets & ((1 << _FRAME_BITS) - 1)


def _fine_bins(query: QueryFingerprint) -> Array:
    """Return float64 [n]: the bins of the unshifted peaks to a fraction, by the parabola through each and its neighbours."""
    columns = query.constellation.bins - query.evidence.bin_min
    # the evidence ends with the latest shift, which may have a frame less than the unshifted query
    frames = np.minimum(query.constellation.frames, query.evidence.n_frames - 1)
    depths = query.evidence.depths[0].astype(np.float64)
    last = depths.shape[1] - 1
    below, above = depths[frames, np.maximum(columns - 1, 0)], depths[frames, np.minimum(columns + 1, last)]
    return query.constellation.bins + 0.5 * (below - above) / np.maximum(below + above, 1)
