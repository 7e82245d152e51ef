"""How fast the history answers and is written, by its size: ``python benchmarks/history.py [--plays N] [--url URL] [--json]``.

Without a URL it is a DuckDB file in a temporary folder.  One listener in four hears a given play; tracks are drawn as stations do, a few often and most seldom.
Each question is asked several times; the first answer and the median are told, in milliseconds of wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dejavud.fingerprint.params import Params
from dejavud.index.history.plays import EVERY_PLAY, KeptPlay, Place, PlayFilter
from dejavud.index.open import history_of, open_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dejavud.index.history.history import History

N_LISTENERS, N_TRACKS, N_ARTISTS = 4, 20_000, 3000
APART_S = 60.0
BATCH = 5000
REPEATS = 9
PAGE = 100


def main(argv: Sequence[str] | None = None) -> int:
    """Fill a history, ask it, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plays", type=int, default=1_000_000, help="how many there are (default: 1 000 000)")
    parser.add_argument("--url", help="an empty database of its own")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="dejavud-") as folder:
        path = Path(folder, "index.duckdb")
        url = options.url or f"duckdb:///{path}"
        with open_index(url, Params()) as store, closing(history_of(store)) as history:
            started_s = time.perf_counter()
            end = _fill(history, options.plays)
            filled_s = time.perf_counter() - started_s
            figures = {name: _timed(ask) for name, ask in _questions(history, end).items()}
        n_bytes = path.stat().st_size if path.exists() else None
    report = {
        "n_plays": options.plays,
        "fill_s": round(filled_s, 1),
        "n_bytes": n_bytes,
        "load": os.getloadavg()[0],
        "ms": figures,
    }
    sys.stdout.write(json.dumps(report) + "\n" if options.json else _table(report["ms"], report))
    return 0


def _fill(history: History, n_plays: int) -> datetime:
    """Record that many plays, the last of them a minute ago, and return when that was."""
    rng = np.random.default_rng(1)
    popularity = 1.0 / np.arange(1, N_TRACKS + 1)
    tracks = rng.choice(N_TRACKS, n_plays, p=popularity / popularity.sum()) + 1
    end = datetime.now(UTC) - timedelta(seconds=APART_S)
    for first in range(0, n_plays, BATCH):
        last = min(first + BATCH, n_plays)
        moments = [end - timedelta(seconds=APART_S * (n_plays - 1 - number)) for number in range(first, last)]
        history.record([_play(n, int(tracks[n]), at) for n, at in zip(range(first, last), moments, strict=True)])
    return end


def _play(number: int, track: int, at: datetime) -> KeptPlay:
    start_s = APART_S * number
    return KeptPlay(
        id=f"{number // 100_000:016x}-{number}",
        daemon="0" * 32,
        host="studio",
        listener=f"station {number % N_LISTENERS}",
        source=f"https://example.org/{number % N_LISTENERS}.mp3",
        track_id=track,
        title=f"The title of track number {track}",
        artist=f"Artist {track % N_ARTISTS}",
        album=f"Album {track % (2 * N_ARTISTS)}",
        file_sha1=f"{track:040x}",
        started_at=at,
        ended_at=at + timedelta(seconds=181.5),
        start_s=start_s,
        end_s=start_s + 181.5,
        track_start_s=0.25,
        track_end_s=181.75,
        heard_s=179.3,
        coverage=0.988,
        confidence=0.999999,
        gaps=((start_s + 60, start_s + 62.2),),
        twins=(),
        outcome="unheard",
        updated_at=at + timedelta(seconds=190),
    )


def _questions(history: History, end: datetime) -> dict[str, Callable[[], object]]:
    """Return what is asked, by name."""
    day = PlayFilter(since=end - timedelta(days=2), until=end - timedelta(days=1))
    on_one = replace(day, listener="station 2")
    [newest] = history.page(EVERY_PLAY, 1)
    numbers = iter(range(1_000_000))

    def one_more() -> None:
        at = end + timedelta(seconds=next(numbers))
        history.record([replace(newest, id=f"x-{at.timestamp():.0f}", started_at=at, ended_at=at)])

    def summary(wanted: PlayFilter) -> None:
        history.totals(wanted)
        history.top(wanted, "track", PAGE)
        history.n_groups(wanted, "track")

    return {
        "the newest page": partial(history.page, EVERY_PLAY, PAGE),
        "a page in the middle": partial(
            history.page, EVERY_PLAY, PAGE, Place(end - (end - _first(history, end)) / 2, "")
        ),
        "the newest page of a listener": partial(history.page, PlayFilter(listener="station 2"), PAGE),
        "the newest page with a word": partial(history.page, PlayFilter(words=("number 777",)), PAGE),
        "a day": partial(summary, day),
        "a day of a listener": partial(summary, on_one),
        "everything": partial(summary, EVERY_PLAY),
        "all of it by quarters": partial(history.quarters, EVERY_PLAY),
        "how many there are": history.count,
        "one play more": one_more,
        "that play again": partial(history.record, [newest]),
    }


def _first(history: History, end: datetime) -> datetime:
    quarters = history.top(EVERY_PLAY, "listener", 1)
    return quarters[0].first_at if quarters else end


def _timed(ask: Callable[[], object]) -> tuple[float, float]:
    """Return how long the first answer took and how long the median one, in milliseconds."""
    times = []
    for _ in range(REPEATS):
        started_s = time.perf_counter()
        ask()
        times.append(1000 * (time.perf_counter() - started_s))
    return round(times[0], 1), round(statistics.median(times), 1)


def _table(figures: dict[str, tuple[float, float]], report: dict[str, object]) -> str:
    lines = ["| | first, ms | median, ms |", "|---|---|---|"]
    lines += [f"| {name} | {first} | {median} |" for name, (first, median) in figures.items()]
    size = report["n_bytes"]
    told = f"{report['n_plays']} plays, written in {report['fill_s']} s"
    return "\n".join([*lines, "", f"{told}, {size} bytes" if size else told, f"load {report['load']:.1f}"]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
