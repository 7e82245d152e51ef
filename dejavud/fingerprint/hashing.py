"""Landmarks to 32-bit hashes and back.

Bits, from the lowest: dt 6, df + 128 8, anchor bin 9; 23 bits in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dejavud.values import Array

DT_BITS, DF_BITS, BIN_BITS = 6, 8, 9
DF_OFFSET = 1 << (DF_BITS - 1)


def pack(anchor_bins: Array, df_bins: Array, dt_frames: Array) -> Array:
    """Return uint32 [n]: one hash a landmark.

    Parameters
    ----------
    anchor_bins : int [n], 0..511.
    df_bins : int [n], target bin minus anchor bin, -128..127.
    dt_frames : int [n], target frame minus anchor frame, 0..63.
    """
    packed = anchor_bins.astype(np.uint32) << (DF_BITS + DT_BITS)
    packed |= (df_bins.astype(np.int32) + DF_OFFSET).astype(np.uint32) << DT_BITS
    packed |= dt_frames.astype(np.uint32)
    return packed


def unpack(hashes: Array) -> tuple[Array, Array, Array]:
    """Return (anchor_bins, df_bins, dt_frames), each int32 [n]: what `pack` was given."""
    dt = hashes & ((1 << DT_BITS) - 1)
    df = (hashes >> DT_BITS) & ((1 << DF_BITS) - 1)
    return (hashes >> (DF_BITS + DT_BITS)).astype(np.int32), df.astype(np.int32) - DF_OFFSET, dt.astype(np.int32)
