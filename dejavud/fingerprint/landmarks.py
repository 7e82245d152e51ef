"""Peaks to landmarks: each anchor with the first targets of the zone that follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dejavud.fingerprint.hashing import pack
from dejavud.values import Hashes

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array, Constellation


def pair(constellation: Constellation, params: Params, fan_out: int) -> Hashes:
    """Return the hashes of each anchor with the first `fan_out` peaks of its target zone, in order of (frame, bin).

    The zone is dt_min_frames..dt_max_frames ahead and df_max_bins to either side.
    """
    frames, bins = constellation.frames, constellation.bins.astype(np.int32)
    used = np.zeros(len(frames), np.int32)
    paired: list[Array] = []
    targets: list[Array] = []
    for lag in range(1, len(frames)):  # the lag-th next peak of every anchor at once
        dt = frames[lag:] - frames[:-lag]
        open_zone = (dt <= params.dt_max_frames) & (used[:-lag] < fan_out)
        if not open_zone.any():
            break
        df = bins[lag:] - bins[:-lag]
        anchors = np.flatnonzero(open_zone & (dt >= params.dt_min_frames) & (np.abs(df) <= params.df_max_bins))
        used[anchors] += 1
        paired.append(anchors)
        targets.append(anchors + lag)
    if not paired:
        return Hashes.concatenate([])
    anchor, target = np.concatenate(paired), np.concatenate(targets)
    return Hashes(pack(bins[anchor], bins[target] - bins[anchor], frames[target] - frames[anchor]), frames[anchor])
