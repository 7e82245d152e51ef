"""How a query's cost grows with the library, to a thousand million postings: ``python benchmarks/index_scale.py RECORDINGS``.

RECORDINGS is a folder of music, or a file that names a recording a line.  The library is those, and as many distractors made of them as
it takes: their postings are as real music's are, unevenly spread and given to repeats.  It is written as a resident view's segment, without a
database, and mapped.  What is asked are five seconds of recordings in the library, every second one in noise as loud as itself, with
all that a query can ask: some 15 000 hashes.  Times are of the wall and of the processor, everything warm; the ratio to the
first size is what to compare.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from distractors import distractor
from index_lookup import memory
from recordings import recordings_of

from dejavud.audio.decode import decode_audio
from dejavud.evaluation.degrade import mixed, pink_noise
from dejavud.fingerprint.extractor import fingerprint_query, track_hashes
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.scaling import scaled_hashes, search_scales
from dejavud.index.entries import stored_track
from dejavud.index.meetings import MAX_HITS
from dejavud.index.postings import postings_of
from dejavud.index.view.building import segments_of
from dejavud.index.view.merging import merge
from dejavud.index.view.segment_files import SegmentFolder
from dejavud.index.view.view import Part, View
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.matching.voting import vote
from dejavud.services.jobs import fingerprint_file
from dejavud.values import UNSCALED, NewTrack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dejavud.values import Constellation, QueryFingerprint

QUERY_S = 5.0
N_QUERIES = 24
N_CANDIDATES = 80
TRACKS_A_TASK = 200
SEARCHED_EVERY = 8
"""One query in so many is asked at all speeds too: that takes long, and what it takes is the same for all."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording in the library, and the query that is cut from it."""

    entry: NewTrack
    query: QueryFingerprint | None


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians over the queries, in milliseconds; those of a search are of the processor."""

    n_postings: int
    n_tracks: int
    bytes_a_posting: float
    open_ms: float
    n_hashes: int
    n_hits: int
    lookup_ms: float
    vote_ms: float
    cpu_ms: float
    match_cpu_ms: float
    search_cpu_ms: float
    answered_rightly: str


def recording_of(number: int, path: Path, params: Params) -> Recording:
    """Return a recording, with the query that is cut from its middle where its number says so."""
    found = fingerprint_file(path, path.name, params, None)
    entry = NewTrack(path.stem, None, None, None, f"{number:040x}", found.duration_s, found.constellation, found.hashes)
    if number >= N_QUERIES or found.duration_s < 3 * QUERY_S:
        return Recording(entry, None)
    samples = decode_audio(path, name=path.name, rate_hz=params.rate_hz)
    start = len(samples) // 2
    clip = samples[start : start + round(QUERY_S * params.rate_hz)]
    if number % 2:
        clip = mixed(clip, pink_noise(len(clip), np.random.default_rng(number)), 0.0).astype(np.float32)
    return Recording(entry, fingerprint_query(clip, params))


def write_part(folder: Path, first: int, entries: Sequence[NewTrack], params: Params) -> Path:
    """Write a segment of these tracks, whose ids begin with `first`, into a folder of its own; return that."""
    now = datetime.now(UTC)
    tracks = [stored_track(entry, first + number, now) for number, entry in enumerate(entries)]
    constellations = {track.id: entry.constellation for track, entry in zip(tracks, entries, strict=True)}
    with SegmentFolder(folder / f"part-{first}", params).new(_go_on) as sink:
        merge(segments_of(tracks, postings_of(tracks, entries), constellations), sink)
    return sink.folder


def write_distractors(folder: Path, first: int, numbers: range, params: Params) -> Path:
    """Write a segment of the distractors of these numbers; the recordings are this process's `sources`."""
    made = [
        distractor(number, sources[number % len(sources)], sources[number % len(sources)].constellation, params)
        for number in numbers
    ]
    return write_part(folder, first, made, params)


sources: list[NewTrack] = []
"""The recordings that libraries are made of; module-wide, so that forked processes have them."""


def _go_on() -> None:
    """Nobody stops this."""


def grow(folder: Path, n_tracks: int, params: Params) -> Path:
    """Return the folder of one segment of the recordings and of distractors, `n_tracks` in all; made where it is not there yet."""
    there = SegmentFolder(folder, params).folders()
    if there:
        return there[0]
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(len(sources), n_tracks, TRACKS_A_TASK)
    parts = [write_part(folder, 1, sources, params)]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("fork")) as pool:
        made = [
            pool.submit(
                write_distractors,
                folder,
                start + 1,
                range(start - len(sources), min(start + TRACKS_A_TASK, n_tracks) - len(sources)),
                params,
            )
            for start in starts
        ]
        for done in as_completed(made):
            parts.append(done.result())
            print(f"\r{len(parts)} of {len(made) + 1} parts made", end="", file=sys.stderr)
    print(file=sys.stderr)
    segments = [SegmentFolder(part.parent, params).open(part, _go_on, is_new=True) for part in parts]
    with SegmentFolder(folder, params).new(_go_on) as sink:
        merge(segments, sink)
    for part in parts:
        shutil.rmtree(part.parent)
    return sink.folder


def library_of(paths: Sequence[Path], folder: Path, n_tracks: int, params: Params) -> Path:
    """Return the folder of the segment of a library of these recordings and of distractors, `n_tracks` in all.

    Its tracks have the ids from 1 on, the recordings first and in their order.
    """
    if SegmentFolder(folder, params).folders():
        return grow(folder, n_tracks, params)
    with ProcessPoolExecutor() as pool:
        found = pool.map(recording_of, range(len(paths)), paths, [params] * len(paths))
        sources[:] = [recording.entry for recording in found]
    return grow(folder, max(n_tracks, len(sources)), params)


def measure(folder: Path, queries: dict[int, QueryFingerprint], params: Params) -> Cost:
    """Return what `queries`, by the id of the track that each is from, cost in the segment in `folder`."""
    started_s = time.perf_counter()
    segment = SegmentFolder(folder.parent, params).open(folder, _go_on, is_new=True)
    view = View((Part(segment, folder),))
    open_ms = 1000 * (time.perf_counter() - started_s)
    n_frames = float(segment.tracks["n_frames"].sum(dtype=np.int64))
    matcher = Matcher(params, MatchRules())
    look_up = partial(view.lookup, timeout_s=None, max_hits=MAX_HITS)
    read: Callable[[Sequence[int]], dict[int, Constellation]] = lambda ids: dict(view.constellations(ids))  # noqa: E731 - typed
    lookups, votes, cpus, matches, searches, n_hits, n_right = [], [], [], [], [], [], 0
    for query in queries.values():
        vote(look_up(query.hashes), N_CANDIDATES)  # warm
    for number, (track_id, query) in enumerate(queries.items()):
        marks = [(time.perf_counter(), time.process_time())]
        hits = look_up(query.hashes)
        marks.append((time.perf_counter(), time.process_time()))
        vote(hits, N_CANDIDATES)
        marks.append((time.perf_counter(), time.process_time()))
        answers = matcher.match(query, hits, read, n_frames, (UNSCALED,))
        marks.append((time.perf_counter(), time.process_time()))
        lookups.append(marks[1][0] - marks[0][0])
        votes.append(marks[2][0] - marks[1][0])
        cpus.append(marks[2][1] - marks[0][1])
        matches.append(marks[3][1] - marks[2][1])
        n_hits.append(len(hits))
        n_right += bool(answers) and track_id in {answers[0].track_id, *answers[0].twins}
        if number % SEARCHED_EVERY == 0:
            searches.append(searched(view, matcher, query, n_frames, params))
    return Cost(
        len(segment),
        len(segment.tracks),
        round(segment.n_bytes / len(segment), 2),
        round(open_ms, 1),
        round(statistics.median(len(query.hashes) for query in queries.values())),
        round(statistics.median(n_hits)),
        *(round(1000 * statistics.median(costs), 1) for costs in (lookups, votes, cpus, matches, searches)),
        f"{n_right} of {len(queries)}",
    )


def searched(view: View, matcher: Matcher, query: QueryFingerprint, n_frames: float, params: Params) -> float:
    """Return the processor's seconds of a search over all speeds and pitches."""
    started_s = time.process_time()
    scales = search_scales("radio")
    hits = view.lookup(scaled_hashes(query, scales, params), timeout_s=None, max_hits=MAX_HITS)
    matcher.match(query, hits, lambda ids: dict(view.constellations(ids)), n_frames, scales)
    return time.process_time() - started_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", type=Path, help="a folder, or a file that names a recording a line")
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10], help="postings, in millions (1 10)")
    parser.add_argument(
        "--folder", type=Path, help="keep the libraries here, and use those that are there (a temporary folder)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a size")
    options = parser.parse_args()
    params = Params()
    paths = recordings_of(options.recordings)
    queries: dict[int, QueryFingerprint] = {}
    with ProcessPoolExecutor() as pool:
        found = pool.map(recording_of, range(len(paths)), paths, [params] * len(paths))
        for number, recording in enumerate(found):
            sources.append(recording.entry)
            if recording.query is not None:
                queries[number + 1] = recording.query
    n_postings = sum(len(track_hashes(entry.constellation, params)) for entry in sources)
    first: Cost | None = None
    with tempfile.TemporaryDirectory() if options.folder is None else nullcontext(options.folder) as folder:
        for millions in sorted(options.millions):
            n_tracks = max(len(sources), round(millions * 1e6 / n_postings * len(sources)))
            path = grow(Path(folder, f"{millions:g}"), n_tracks, params)
            cost = measure(path, queries, params)
            first = first or cost
            print(json.dumps(asdict(cost)) if options.json else "\n".join(table(cost, first)), flush=True)


def table(cost: Cost, first: Cost) -> Iterator[str]:
    """Give the lines that show what a query costs, and how much more than at the first size."""
    yield f"\n{cost.n_postings / 1e6:.0f} million postings; {memory()}"
    for name, value in asdict(cost).items():
        yield f"  {name:20}{value!s:>14}"
    ratio = (cost.lookup_ms + cost.vote_ms) / (first.lookup_ms + first.vote_ms)
    yield f"  look-up and voting: {cost.lookup_ms + cost.vote_ms:.1f} ms, {ratio:.2f} times the first size"


if __name__ == "__main__":
    main()
