"""Tracks that no query resembles, to make a library large: constellations of real music, stretched and squeezed.

A distractor has the statistics of music (its hashes are as common, it repeats itself as music does) without being any: a recording's
peaks, moved in time and in frequency by 8 to 35 per cent either way.  That is further than a search for speed and pitch goes, and moves all but the
lowest bins by more than a peak is wide.
"""

from __future__ import annotations

import hashlib
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from dejavud.fingerprint.extractor import track_hashes
from dejavud.values import Constellation, NewTrack

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params
    from dejavud.index.base import Index
    from dejavud.values import Track

LEAST_CHANGE, MOST_CHANGE = 1.08, 1.35
TRACKS_A_COMMIT = 256
"""Some two million postings: 25 MB of columns, and a commit every second or two."""
ARTIST = "dejavud's distractors"
_SEED = 1003


def is_distractor(track: Track) -> bool:
    """Return whether `track` is one that `add_distractors` made."""
    return track.artist == ARTIST


def add_distractors(index: Index, n_distractors: int, params: Params) -> int:
    """Have `n_distractors` distractors in `index`, made from its other tracks in turn; return how many had to be made.

    The same recordings give the same distractors, and those that are there already are kept, so this can be interrupted and
    run again.  Progress goes to stderr.
    """
    tracks = index.tracks()
    there = {track.file_sha1 for track in tracks if is_distractor(track)}
    sources = sorted((track for track in tracks if not is_distractor(track)), key=lambda track: track.file_sha1)
    if not sources:
        sys.exit("there are no recordings in the library to make distractors from")
    wanted = [(number, sources[number % len(sources)]) for number in range(n_distractors)]
    missing = [(number, source) for number, source in wanted if _identity(number, source) not in there]
    if len(there) > n_distractors - len(missing):
        sys.exit(
            f"the library holds {len(there)} distractors, of which {n_distractors - len(missing)} are wanted:"
            " ask for as many as it holds, or keep it in another folder"
        )
    constellations = index.constellations([track.id for track in sources])
    started_s = time.monotonic()
    for first in range(0, len(missing), TRACKS_A_COMMIT):
        batch = missing[first : first + TRACKS_A_COMMIT]
        index.add([distractor(number, source, constellations[source.id], params) for number, source in batch])
        elapsed_s = time.monotonic() - started_s
        print(f"{first + len(batch)} of {len(missing)} distractors in {elapsed_s:.0f} s", file=sys.stderr)
    return len(missing)


def warped(constellation: Constellation, time_factor: float, frequency_factor: float, params: Params) -> Constellation:
    """Return `constellation` so many times as long and as high; what leaves the bins where peaks are sought is gone."""
    frames = np.rint(constellation.frames * time_factor).astype(np.int64)
    bins = np.rint(constellation.bins * frequency_factor).astype(np.int64)
    inside = np.flatnonzero((bins >= params.bin_min) & (bins < params.bin_max))
    # ascending by (frame, bin), and of peaks that fell together the first
    _, first = np.unique(frames[inside] * params.n_fft + bins[inside], return_index=True)
    kept = inside[first]
    n_frames = int(frames.max(initial=0) + 1)
    return Constellation(
        frames[kept],
        bins[kept],
        max(n_frames, round(constellation.n_frames * time_factor)),
        constellation.quarters[kept],
    )


def distractor(number: int, source: Track | NewTrack, constellation: Constellation, params: Params) -> NewTrack:
    """Return the distractor of that number, the same one in every run."""
    rng = np.random.default_rng([_SEED, number])
    time_factor, frequency_factor = rng.uniform(LEAST_CHANGE, MOST_CHANGE, 2) ** rng.choice([-1.0, 1.0], 2)
    moved = warped(constellation, time_factor, frequency_factor, params)
    return NewTrack(
        title=f"{source.title} ({time_factor:.3f} times as long, {frequency_factor:.3f} times as high)",
        artist=ARTIST,
        album=None,
        path=None,
        file_sha1=_identity(number, source),
        duration_s=source.duration_s * time_factor,
        constellation=moved,
        hashes=track_hashes(moved, params),
    )


def _identity(number: int, source: Track | NewTrack) -> str:
    """Return what tells this distractor from everything else, in place of the hash of a file that it does not have."""
    return hashlib.sha1(f"{ARTIST} {_SEED} {number} {source.file_sha1}".encode(), usedforsecurity=False).hexdigest()
