"""Frames to levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array

POWER_FLOOR = np.float32(1e-14)
"""Added to every power (-140 dB relative to a full-scale sine) so that digital silence has a level."""

DB_PER_NEPER = np.float32(10.0 / np.log(10.0))


class Spectrogram:
    """Windowed power spectra in dB relative to a full-scale sine."""

    def __init__(self, params: Params) -> None:
        window = np.hanning(params.n_fft + 1)[:-1]  # periodic: its side lobes are those of the textbook
        self._window = (window * 2.0 / window.sum()).astype(np.float32)

    def levels(self, frames: Array) -> Array:
        """Return the level of every bin of every frame.

        Parameters
        ----------
        frames : float32 [n_frames, n_fft], samples in [-1, 1].

        Returns
        -------
        float32 [n_frames, n_fft // 2], dB: 0 for a full-scale sine at a bin's centre, never below -140.
            The Nyquist bin is left out.
        """
        spectra = scipy.fft.rfft(frames * self._window, axis=1)[:, :-1]
        power = spectra.real**2
        power += spectra.imag**2
        power += POWER_FLOOR
        np.log(power, out=power)
        power *= DB_PER_NEPER
        return power
