"""The parameters of the fingerprint, their units, and every conversion between units.

A hash made with one set of parameters never meets one made with another, so an index stores the digest of the
parameters that made it.  What only the query side uses is left out of the digest: it may change from one query to the next.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import ClassVar, Protocol

MIN_PEAK_RADIUS_BINS = 2
"""The main lobe of a tone in a Hann window is so wide to either side."""


class HashParams(Protocol):
    """What an index has to know of the parameters that make its hashes, whatever their profile.

    hash_bits : 32 or 64, how wide a hash is.
    """

    hash_bits: ClassVar[int]

    @property
    def profile(self) -> str:
        """Return the name of the family of fingerprints."""
        ...

    @property
    def digest(self) -> str:
        """Return 16 hex digits that differ whenever stored hashes would."""
        ...

    def stored(self) -> dict[str, object]:
        """Return every parameter that stored hashes depend on, by name, as JSON takes it."""
        ...


def digest_of(stored: dict[str, object]) -> str:
    """Return 16 hex digits that differ whenever one of the parameters does."""
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Params:
    """One set of parameters.

    rate_hz : everything is resampled to this rate before anything else.
    n_fft, hop_samples : STFT window length and the distance between frames.
    bin_min, bin_max : peaks are sought in bins [bin_min, bin_max).
    peak_radius_bins, peak_radius_frames : a peak is the maximum of this many bins and frames to either side; of so many bins at
        bin_max, of fewer below, with the root of frequency, and of two at least.
    density_window_frames : peaks compete for their place among those this far to either side.
    track_peaks_per_s : how densely a track's constellation is stored, for verification.
    track_landmark_quarters, track_fan_out : its landmarks are pairs of the most prominent quarters of the peaks, so many an anchor.
    query_peaks_per_s, query_fan_out, query_shifts : how densely a query is asked; shifts are parts of a hop, made for
        queries of up to query_shifts_until_s.
    query_quick_fan_out : of the first, quick look at a query.
    dt_min_frames, dt_max_frames, df_max_bins : the target zone.
    """

    hash_bits: ClassVar[int] = 32

    profile: str = "landmark-2"
    rate_hz: int = 8000
    n_fft: int = 1024
    hop_samples: int = 256
    bin_min: int = 8
    bin_max: int = 480
    peak_radius_bins: int = 6
    peak_radius_frames: int = 4
    density_window_frames: int = 16
    track_peaks_per_s: float = 50.0
    track_landmark_quarters: int = 2
    track_fan_out: int = 2
    query_peaks_per_s: float = 90.0
    query_fan_out: int = 12
    query_shifts: int = 4
    query_quick_fan_out: int = 6
    query_shifts_until_s: float = 20.0
    dt_min_frames: int = 2
    dt_max_frames: int = 63
    df_max_bins: int = 127

    @property
    def digest(self) -> str:
        """Return 16 hex digits that differ whenever stored hashes would."""
        return digest_of(self.stored())

    def stored(self) -> dict[str, object]:
        """Return every parameter that stored hashes depend on, by name."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("query_")}

    @property
    def frames_per_s(self) -> float:
        """Return how many frames a second of audio has."""
        return self.rate_hz / self.hop_samples

    def frames_to_seconds(self, n_frames: float) -> float:
        """Return the time from the start of frame 0 to the start of frame `n_frames`."""
        return n_frames * self.hop_samples / self.rate_hz

    def samples_to_seconds(self, n_samples: float) -> float:
        """Return the duration of `n_samples` at the engine's rate."""
        return n_samples / self.rate_hz

    def seconds_to_samples(self, duration_s: float) -> int:
        """Return how many samples at the engine's rate `duration_s` is, rounded."""
        return round(duration_s * self.rate_hz)

    def n_frames(self, n_samples: int) -> int:
        """Return how many whole frames `n_samples` hold; 0 when there is not even one."""
        return max(0, (n_samples - self.n_fft) // self.hop_samples + 1)

    def peak_radius_at(self, bin_: int) -> int:
        """Return of how many bins to either side a peak in `bin_` is the maximum."""
        radius = round(self.peak_radius_bins * math.sqrt(min(1.0, bin_ / self.bin_max)))
        return max(radius, min(MIN_PEAK_RADIUS_BINS, self.peak_radius_bins))
