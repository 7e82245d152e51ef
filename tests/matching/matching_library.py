"""A small library of synthetic tracks, fingerprinted as the daemon does it, for the matching tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from synthetic import synthesize

from dejavud.fingerprint.extractor import TrackExtractor, fingerprint_query, track_hashes
from dejavud.fingerprint.params import Params
from dejavud.index.memory import MemoryIndex
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.values import Constellation, NewTrack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dejavud.values import Alignment

PARAMS = Params()
TRACK_S = 40.0
N_TRACKS = 6
UNKNOWN_SEED = 99


@dataclass(frozen=True)
class Library:
    """Tracks with ids from 1, their audio, and an index of them."""

    audio: tuple[NDArray[Any], ...]
    constellations: dict[int, Constellation]
    index: MemoryIndex

    @property
    def n_frames(self) -> int:
        """Return how many frames of music there are."""
        return sum(constellation.n_frames for constellation in self.constellations.values())

    def clip(self, track_id: int, start_s: float, duration_s: float) -> NDArray[Any]:
        """Return a part of a track, to the sample."""
        start = PARAMS.seconds_to_samples(start_s)
        return self.audio[track_id - 1][start : start + PARAMS.seconds_to_samples(duration_s)]

    def match(self, samples: NDArray[Any], **rules: Any) -> tuple[Alignment, ...]:  # noqa: ANN401 - any rule's value
        """Answer a query as the daemon would."""
        query = fingerprint_query(samples, PARAMS)
        matcher = Matcher(PARAMS, MatchRules(**rules))
        return matcher.match(query, self.index.lookup(query.hashes), self.index.constellations, self.n_frames)


def constellation_of(samples: NDArray[Any]) -> Constellation:
    """Return a track's constellation."""
    extractor = TrackExtractor(PARAMS)
    extractor.feed(samples)
    return extractor.finish()


def noise_at(samples: NDArray[Any], snr_db: float, seed: int = 0) -> NDArray[Any]:
    """Return `samples` with white noise."""
    noise = np.random.default_rng(seed).standard_normal(len(samples))
    return (samples + noise * np.sqrt(np.mean(samples**2)) * 10 ** (-snr_db / 20)).astype(np.float32)


@cache
def library() -> Library:
    """Return the library, made once."""
    index = MemoryIndex()
    audio = tuple(synthesize(seed, TRACK_S, PARAMS.rate_hz) for seed in range(1, N_TRACKS + 1))
    constellations = [constellation_of(samples) for samples in audio]
    entries = [
        NewTrack(
            f"Track {n}", None, None, None, f"{n:040x}", TRACK_S, constellation, track_hashes(constellation, PARAMS)
        )
        for n, constellation in enumerate(constellations, 1)
    ]
    tracks = index.add(entries)
    return Library(audio, {track.id: c for track, c in zip(tracks, constellations, strict=True)}, index)
