"""How fast the DuckDB index looks up and grows, and how big it is: ``python benchmarks/index_lookup.py [--json]``.

Postings are drawn as real music has them: the popularity of a hash is lognormal, so that a hash of a query meets
a given posting of another recording with a chance of 4.5e-6, the mean over pairs of 24 recordings (all hashes equally
likely would give 1.2e-7), and nearly half of a query's hashes repeat another of its hashes (16 250 hashes of a 5 s query
had 8 660 values).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.fingerprint.params import Params
from dejavud.index.duckdb import open_duckdb
from dejavud.values import Constellation, Hashes, NewTrack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dejavud.index.base import Index

    Array = NDArray[Any]

TRACK_S = 240.0
HASHES_A_TRACK = 20_000
PEAKS_A_TRACK = 7200
TRACKS_AN_ADD = 50
N_VALUES = 1 << 23
SKEW = 1.9
"""Sigma of the lognormal popularity: the chance of a meeting is exp(SKEW ** 2) / N_VALUES."""
DISTINCT_SHARE = 0.53
QUERIES = (2000, 15_000)
REPEATS = 15


class Music:
    """Draws tracks and queries."""

    def __init__(self, params: Params) -> None:
        self._rng = np.random.default_rng(1)
        self._popularity = np.cumsum(self._rng.lognormal(0.0, SKEW, N_VALUES))
        self._n_frames = round(TRACK_S * params.frames_per_s)
        self._n_tracks = 0

    def hashes(self, n_hashes: int, n_frames: int) -> Hashes:
        """Return `n_hashes` hashes of other music than all before."""
        chosen = np.searchsorted(self._popularity, self._rng.random(n_hashes) * self._popularity[-1])
        return Hashes(chosen, self._rng.integers(0, n_frames, n_hashes))

    def track(self) -> NewTrack:
        """Return a track of four minutes."""
        self._n_tracks += 1
        frames = np.sort(self._rng.integers(0, self._n_frames, PEAKS_A_TRACK))
        bins, quarters = self._rng.integers(20, 480, PEAKS_A_TRACK), self._rng.integers(0, 4, PEAKS_A_TRACK)
        return NewTrack(
            title=f"Track {self._n_tracks}",
            artist="Nobody",
            album=None,
            path=f"/music/{self._n_tracks}.flac",
            file_sha1=f"{self._n_tracks:040x}",
            duration_s=TRACK_S,
            constellation=Constellation(frames, bins, self._n_frames, quarters),
            hashes=self.hashes(HASHES_A_TRACK, self._n_frames),
        )

    def query(self, n_hashes: int) -> Hashes:
        """Return a query of `n_hashes`, some of them repeated as its sub-frame shifts repeat them."""
        values = self.hashes(round(n_hashes * DISTINCT_SHARE), 1).values
        again = self._rng.choice(values, n_hashes - len(values))
        return Hashes(np.concatenate([values, again]), self._rng.integers(0, 156, n_hashes))


def timed(action: Any, *args: Any) -> float:  # noqa: ANN401 - any callable and what it takes
    """Return the seconds that `action` takes."""
    started_s = time.perf_counter()
    action(*args)
    return time.perf_counter() - started_s


def measure_lookups(index: Index, music: Music) -> dict[str, Any]:
    """Return the median time of a look-up by number of hashes, each query a new one, the file warm."""
    index.lookup(music.query(max(QUERIES)))
    figures: dict[str, Any] = {}
    for n_hashes in QUERIES:
        queries = [music.query(n_hashes) for _ in range(REPEATS)]
        figures[f"lookup_{n_hashes}_ms"] = round(1000 * statistics.median(timed(index.lookup, q) for q in queries), 2)
        figures[f"hits_{n_hashes}"] = round(statistics.mean(len(index.lookup(query)) for query in queries))
    return figures


def measure(n_postings: int, folder: Path) -> dict[str, Any]:
    """Return the figures of an index that is grown to `n_postings`."""
    params = Params()
    music = Music(params)
    path = folder / f"{n_postings}.duckdb"
    n_tracks = n_postings // HASHES_A_TRACK
    with open_duckdb(path, params) as index:
        batches = (
            [music.track() for _ in range(min(TRACKS_AN_ADD, n_tracks - first))]
            for first in range(0, n_tracks, TRACKS_AN_ADD)
        )
        add_s = sum(timed(index.add, batch) for batch in batches)
        figures = measure_lookups(index, music)
        one_ms = 1000 * statistics.median(timed(index.add, [music.track()]) for _ in range(REPEATS))
        ids = [track.id for track in index.tracks(limit=200)]
        constellations_ms = 1000 * timed(index.constellations, ids)
    size_bytes = path.stat().st_size
    return {
        "n_postings": n_postings,
        **figures,
        "add_postings_per_s": round(n_postings / add_s),
        "add_one_track_ms": round(one_ms, 1),
        "read_constellations_ms_a_track": round(constellations_ms / len(ids), 3),
        "bytes_a_posting": round(size_bytes / (n_postings + REPEATS * HASHES_A_TRACK), 2),
        "open_ms": round(1000 * timed(_open_and_close, path, params), 1),
    }


def _open_and_close(path: Path, params: Params) -> None:
    with open_duckdb(path, params):
        pass


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a size")
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10], help="postings, in millions (1 10)")
    parser.add_argument("--folder", type=Path, help="where the database files are made (a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for millions in options.millions:
            figures = measure(round(millions * 1e6), Path(folder))
            if options.json:
                sys.stdout.write(json.dumps(figures) + "\n")
            else:
                print(*(f"{name:32}{value:>14}" for name, value in figures.items()), "", sep="\n")


if __name__ == "__main__":
    main()
