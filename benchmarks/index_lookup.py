"""How fast the index looks up and grows, with a resident view and without, and how big it is: ``python benchmarks/index_lookup.py [--json]``.

Look-ups are given in milliseconds of the processor, all threads together; each figure is of a process of its own, so that its memory is too.

Postings are drawn as real music has them: the popularity of a hash is lognormal, so that a hash of a query meets
a given posting of another recording with a chance of 4.5e-6, the mean over pairs of 24 recordings (all hashes equally
likely would give 1.2e-7), and nearly half of a query's hashes repeat another of its hashes (16 250 hashes of a 5 s query
had 8 660 values).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from own_daemon import own_daemon

from dejavud.fingerprint.params import Params
from dejavud.index.open import IndexSettings, open_index, open_kept_index
from dejavud.values import Constellation, Hashes, NewTrack

if TYPE_CHECKING:
    from collections.abc import Callable

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
QUERIES = {2000: 15, 20_000: 15, 240_000: 3}
"""How often each number of hashes is asked: a clean clip's, a hard one's with all shifts, and those of a search for speed."""
N_CONSTELLATIONS = 80
POLL_S = 0.01
REPEATS = 15


class Music:
    """Draws tracks and queries."""

    def __init__(self, params: Params, seed: int = 1) -> None:
        self._rng = np.random.default_rng(seed)
        self._popularity = np.cumsum(np.random.default_rng(0).lognormal(0.0, SKEW, N_VALUES))
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


def timed(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the milliseconds that `action` takes."""
    started_s = clock()
    action()
    return 1000 * (clock() - started_s)


def grow(url: str, n_postings: int) -> dict[str, Any]:
    """Make the index at `url` and return how fast that was."""
    params = Params()
    music = Music(params)
    n_tracks = n_postings // HASHES_A_TRACK
    add_ms = 0.0
    with open_index(url, params) as index:
        for first in range(0, n_tracks, TRACKS_AN_ADD):
            batch = [music.track() for _ in range(min(TRACKS_AN_ADD, n_tracks - first))]
            add_ms += timed(partial(index.add, batch))
    size_bytes = Path(url.removeprefix("duckdb:///")).stat().st_size
    return {
        "add_postings_per_s": round(1000 * n_postings / add_ms),
        "bytes_a_posting": round(size_bytes / n_postings, 2),
    }


def look_up(index: Index) -> dict[str, Any]:
    """Return what look-ups and reading constellations cost, everything warm, each query a new one."""
    music = Music(Params(), seed=2)
    index.lookup(music.query(max(QUERIES)))
    figures: dict[str, Any] = {}
    for n_hashes, n_repeats in QUERIES.items():
        queries = [music.query(n_hashes) for _ in range(n_repeats)]
        costs_ms = [timed(partial(index.lookup, query), time.process_time) for query in queries]
        figures[f"lookup_{n_hashes}_cpu_ms"] = round(statistics.median(costs_ms), 2)
        figures[f"hits_{n_hashes}"] = len(index.lookup(queries[0]))
    ids = [track.id for track in index.tracks()]
    chosen = np.random.default_rng(3).choice(ids, N_CONSTELLATIONS).tolist()
    index.constellations(chosen)
    index.statistics()
    figures["constellations_80_cpu_ms"] = round(timed(partial(index.constellations, chosen), time.process_time), 2)
    figures["tracks_cpu_ms"] = round(timed(partial(index.tracks, ids=chosen[:1]), time.process_time), 3)
    figures["statistics_cpu_ms"] = round(timed(index.statistics, time.process_time), 3)
    return figures


def measure(url: str, mode: str) -> dict[str, Any]:
    """Return the figures of an index that is there: of the "store" alone, or with a view that is built first, or mapped."""
    started_s = time.perf_counter()
    settings = IndexSettings("never" if mode == "store" else "always", 0)
    figures: dict[str, Any] = {}
    with open_kept_index(url, Params(), settings) as kept:
        figures["open_ms"] = round(1000 * (time.perf_counter() - started_s), 1)
        if kept.upkeep is not None:
            cpu_s = time.process_time()
            report = kept.upkeep.run(lambda: False)
            figures["until_the_view_answers_and_is_merged_s"] = round(time.perf_counter() - started_s, 2)
            figures["upkeep_cpu_s"] = round(time.process_time() - cpu_s, 2)
            figures["view_bytes_a_posting"] = round(report.n_bytes / kept.index.statistics().n_postings, 2)
        else:
            kept.index.lookup(Music(Params(), seed=3).query(1))
        figures["memory"] = memory()
        figures |= look_up(kept.index)
        music = Music(Params(), seed=4)
        fresh = [replace(music.track(), file_sha1=f"{mode}{n}".encode().hex().zfill(40)) for n in range(REPEATS)]
        costs_ms = [timed(partial(kept.index.add, [track])) for track in fresh]
        figures["add_one_track_ms"] = round(statistics.median(costs_ms), 1)
        figures["memory_at_the_end"] = memory()
    return figures


def start(url: str) -> dict[str, Any]:
    """Return how long a daemon takes from the start of its process until it is ready, and until it answers by the view."""
    started_s = time.perf_counter()
    with own_daemon(environment={"DATABASE_URL": url, "DEJAVUD_INDEX_RESIDENT_VIEW": "always"}) as daemon:
        while not daemon.status()["index"]["view_bytes"]:
            time.sleep(POLL_S)
        return {"ready_s": round(daemon.ready_s, 2), "view_answers_s": round(time.perf_counter() - started_s, 2)}


def memory() -> str:
    """Return what this process holds, in MB: its own, the most it ever had with what is mapped, and what is mapped of files."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, most, mapped = (int(fields[name].split()[0]) // 1024 for name in ("RssAnon", "VmHWM", "RssFile"))
    return f"{own} MB, {mapped} MB mapped, at most {most} MB"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a size")
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 8], help="postings, in millions (1 8)")
    parser.add_argument("--folder", type=Path, help="where the database files are made (a temporary folder)")
    parser.add_argument("--measure", nargs=2, metavar=("URL", "MODE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for millions in options.millions:
            path = Path(folder, f"{millions:g}.duckdb")
            url = f"duckdb:///{path}"
            figures: dict[str, Any] = {"n_postings": round(millions * 1e6), "made": grow(url, round(millions * 1e6))}
            for mode in ("store", "view built", "view mapped"):
                command = [sys.executable, __file__, "--measure", url, mode]
                figures[mode] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            figures["daemon"] = start(url)
            print(json.dumps(figures) if options.json else table(figures), flush=True)
            path.unlink()
            shutil.rmtree(f"{path}.view")


def table(figures: dict[str, Any]) -> str:
    """Return the figures for reading."""
    lines = [f"{figures['n_postings'] / 1e6:g} million postings"]
    for group, values in figures.items():
        if isinstance(values, dict):
            lines += ["", group, *(f"  {name:40}{value!s:>14}" for name, value in values.items())]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
