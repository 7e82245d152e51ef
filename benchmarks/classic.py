"""What dejavu's fingerprint costs the plain way and ours: ``python benchmarks/classic.py [--json] [FILE...]``.

Files are read as dejavu read them, every channel in int16 at the file's own rate; without any, the golden sound is taken.  Compare
the ratios: both ways run on the same samples in one process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from scipy import ndimage

from dejavud.fingerprint import classic
from dejavud.fingerprint.classic_params import GENERATIONS, ClassicParams

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "classic.wav"
MEASURED = ("dejavu-0.1.3", "dejavu-2020", "ivlovric-1.5")
REPEATS = 3


def milliseconds(action: Callable[..., object], *args: object, repeats: int = REPEATS) -> float:
    """Return the shortest of some runs."""
    times = []
    for _ in range(repeats):
        started_s = time.perf_counter()
        action(*args)
        times.append(1000 * (time.perf_counter() - started_s))
    return min(times)


def footprint_maximum(levels: Any, params: ClassicParams) -> Any:  # noqa: ANN401 - arrays
    """Return the maximum around every cell as dejavu seeks it."""
    structure = ndimage.generate_binary_structure(2, params.connectivity)
    return ndimage.maximum_filter(levels, footprint=ndimage.iterate_structure(structure, params.neighborhood_cells))


def measure(channels: list[Any], params: ClassicParams, duration_s: float) -> dict[str, Any]:
    """Return the figures of one recording and generation; times in milliseconds a second of audio, all channels."""
    reach = params.neighborhood_cells
    n_frames = min(params.n_frames(len(channels[0])), 4 * classic.SEGMENT_FRAMES)
    levels = classic._levels(channels[0], 0, n_frames, params)  # noqa: SLF001 - a stage by itself
    inner = levels[:, reach:-reach].copy()
    edge = np.full((reach, levels.shape[1]), -np.inf)
    padded = np.concatenate([edge, levels, edge])
    ours_ms = milliseconds(classic._maximum_around, padded, reach, params.connectivity)  # noqa: SLF001
    plain_ms = milliseconds(footprint_maximum, inner, params, repeats=1)
    pairs = np.concatenate([classic._pair(*classic.classic_peaks(c, params), params)[0] for c in channels])  # noqa: SLF001
    distinct = np.unique(pairs)
    whole_ms = milliseconds(classic.classic_fingerprint_channels, channels, params)
    return {
        "generation": params.name,
        "duration_s": round(duration_s, 1),
        "n_channels": len(channels),
        "whole_ms_per_s": round(whole_ms / duration_s, 3),
        "maximum_footprint_over_ours": round(plain_ms / ours_ms, 1),
        "pairs_per_s": round(len(pairs) / duration_s),
        "distinct_share": round(len(distinct) / max(len(pairs), 1), 3),
        "sha1_all_over_distinct": round(
            milliseconds(classic._sha1, pairs)  # noqa: SLF001
            / milliseconds(lambda: classic._sha1(np.unique(pairs))),  # noqa: SLF001
            2,
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a file and generation")
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE", help="recordings that libsndfile reads")
    options = parser.parse_args()
    for path in options.files or [GOLDEN]:
        samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
        channels = list(np.ascontiguousarray(samples.T))
        for name in MEASURED:
            figures = {"file": path.name, **measure(channels, GENERATIONS[name], len(samples) / rate_hz)}
            if options.json:
                sys.stdout.write(json.dumps(figures) + "\n")
            else:
                print(*(f"{key:32}{value:>24}" for key, value in figures.items()), "", sep="\n")


if __name__ == "__main__":
    main()
