"""Samples to fingerprints, for tracks and for queries.

The two differ on purpose: a track is stored sparsely, a query is asked densely and at several sub-frame shifts, because what the
index holds costs bytes for ever and what a query asks costs milliseconds once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dejavud.fingerprint.framing import Framer
from dejavud.fingerprint.landmarks import pair
from dejavud.fingerprint.peaks import Candidates, PeakPicker, PeakSelector, Winners
from dejavud.fingerprint.spectrogram import Spectrogram
from dejavud.values import Constellation, Evidence, Hashes, QueryFingerprint

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array


class Extractor:
    """The constellation of a recording that arrives in blocks: the same one, to the bit, for every way of cutting it into blocks."""

    def __init__(self, params: Params, peaks_per_s: float, *, keep_depths: bool = False) -> None:
        self._n_bins = params.bin_max - params.bin_min
        self._framer = Framer(params)
        self._spectrogram = Spectrogram(params)
        self._picker = PeakPicker(params, keep_depths=keep_depths)
        self._selector = PeakSelector(params, peaks_per_s)
        self._won: list[Winners] = []

    def feed(self, block: Array) -> None:
        """Take the next samples: float32 [n], mono at the engine's rate, in [-1, 1]."""
        for frames in self._framer.feed(block):
            self._take(frames)

    def finish(self) -> Constellation:
        """Return the constellation; nothing may be fed after it."""
        for frames in self._framer.finish():
            self._take(frames)
        rest = self._picker.finish()
        self._won += [self._selector.feed(rest, self._picker.n_done), self._selector.finish()]
        peaks = Candidates.concatenate([won.peaks for won in self._won])
        quarters = np.concatenate([won.quarters for won in self._won])
        return Constellation(peaks.frames, peaks.bins, self._picker.n_done, quarters)

    def depths(self) -> Array:
        """Return uint8 [n_frames, n_bins], after `finish`: one shift of `values.Evidence`."""
        return np.concatenate([np.empty((0, self._n_bins), np.uint8), *self._picker.depths])

    def _take(self, frames: Array) -> None:
        candidates = self._picker.feed(self._spectrogram.levels(frames))
        self._won.append(self._selector.feed(candidates, self._picker.n_done))


class TrackExtractor(Extractor):
    """The constellation to store of a track."""

    def __init__(self, params: Params) -> None:
        super().__init__(params, params.track_peaks_per_s)


def track_hashes(constellation: Constellation, params: Params) -> Hashes:
    """Return the hashes to store of a track's constellation: pairs of its most prominent peaks, which noise takes last."""
    return pair(constellation.most_prominent(params.track_landmark_quarters), params, params.track_fan_out)


QUICK_QUARTERS = 2
"""A first look asks with the pairs of a query's more prominent peaks, of which a track's are made."""


def fingerprint_quickly(samples: Array, params: Params) -> QueryFingerprint:
    """Return what to ask the index about `samples` first, as `fingerprint_query`: enough for a query that is hardly damaged.

    It costs a quarter of the whole: one look without sub-frame shifts, and a tenth of the hashes.
    """
    constellation, depths = _look(samples, params)
    asked = constellation.most_prominent(QUICK_QUARTERS)
    return QueryFingerprint(
        pair(asked, params, params.query_quick_fan_out),
        constellation,
        Evidence(depths[None], params.bin_min),
        params.samples_to_seconds(len(samples)),
    )


def fingerprint_query(samples: Array, params: Params) -> QueryFingerprint:
    """Return what to ask the index about `samples`: float32 [n], mono at the engine's rate, in [-1, 1].

    Too little audio for a frame gives no hashes, which match nothing.  A long query says enough without sub-frame shifts: past
    `query_shifts_until_s` only the unshifted one is made, so that cost grows no faster than the query.
    """
    duration_s = params.samples_to_seconds(len(samples))
    n_shifts = params.query_shifts if duration_s <= params.query_shifts_until_s else 1
    looks = [_look(samples[shift * params.hop_samples // n_shifts :], params) for shift in range(n_shifts)]
    constellations, depths = zip(*looks, strict=True)
    n_frames = min(len(rows) for rows in depths)
    evidence = Evidence(np.stack([rows[:n_frames] for rows in depths]), params.bin_min)
    hashes = Hashes.concatenate([pair(c, params, params.query_fan_out) for c in constellations])
    return QueryFingerprint(hashes, constellations[0], evidence, duration_s)


def _look(samples: Array, params: Params) -> tuple[Constellation, Array]:
    """Return a query's constellation, and its depths as `Extractor.depths` has them."""
    extractor = Extractor(params, params.query_peaks_per_s, keep_depths=True)
    extractor.feed(np.asarray(samples, np.float32))
    return extractor.finish(), extractor.depths()
