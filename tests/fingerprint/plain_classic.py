"""dejavu's fingerprint the plain way, step by step as its description goes: slow, and what the fast way must equal."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dejavud.fingerprint.classic_params import ClassicParams

    Array = NDArray[Any]


def plain_footprint(params: ClassicParams) -> Array:
    """Return the cells that a peak has to be the maximum of."""
    structure = ndimage.generate_binary_structure(2, params.connectivity)
    return ndimage.iterate_structure(structure, params.neighborhood_cells)


def plain_levels(samples: Array, params: ClassicParams) -> Array:
    """Return float64 [n_bins, n_frames]: dB of the one-sided power density, digital silence being 0."""
    padded = np.append(samples, np.zeros(max(0, params.n_fft - len(samples)), np.int16))
    starts = range(0, len(padded) - params.n_fft + 1, params.hop_samples)
    columns = np.stack([padded[start : start + params.n_fft] for start in starts], axis=1)
    window = np.hanning(params.n_fft)
    spectra = np.fft.fft(columns * window[:, None], axis=0)[: params.n_fft // 2 + 1]
    density = np.conj(spectra) * spectra
    density[1:-1] *= 2
    density /= params.rate_hz
    density /= (window**2).sum()
    heard = density.real > 0
    return np.where(heard, 10 * np.log10(density.real, where=heard, out=np.zeros(heard.shape)), 0)


def plain_peaks(samples: Array, params: ClassicParams) -> list[tuple[int, int]]:
    """Return (bin, frame) of each peak in the order in which they are paired."""
    levels, footprint = plain_levels(samples, params), plain_footprint(params)
    top = ndimage.maximum_filter(levels, footprint=footprint) == levels
    silent = ndimage.binary_erosion(levels == 0, structure=footprint, border_value=1)
    bins, frames = np.where((top ^ silent) & (levels > params.amp_min_db))
    peaks = list(zip(bins.tolist(), frames.tolist(), strict=True))
    return sorted(peaks, key=lambda peak: peak[1]) if params.sorted_by_time else peaks


def plain_fingerprint(samples: Array, params: ClassicParams) -> set[tuple[str, int]]:
    """Return the set of (hexadecimal hash, offset)."""
    found = set()
    peaks = plain_peaks(samples, params)
    for i, (anchor_bin, anchor_frame) in enumerate(peaks):
        partners = peaks[i if params.pairs_with_itself else i + 1 : i + params.fan_value]
        for target_bin, target_frame in partners:
            dt = target_frame - anchor_frame
            if dt >= params.dt_min_frames and (params.dt_max_frames is None or dt <= params.dt_max_frames):
                text = f"{anchor_bin}|{target_bin}|{dt}"
                digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
                found.add((digest[: params.hash_digits], anchor_frame))
    return found
