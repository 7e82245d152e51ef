"""A day of radio, faster than real time, and how true a listener's record of it is: ``python benchmarks/broadcast.py RECORDINGS``.

RECORDINGS is a folder of music, or a file that names a recording a line: the library.  What is broadcast are its tracks, whole and in part, faded,
mixed into each other, paused, talked over and under jingles; between them music that the library does not hold (``--unknown``), speech, noise
(``--noise``) and silence.  Every second goes the way that a listener's goes, but for the source.  The same seed gives the same broadcast.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from index_scale import library_of
from radio import LOUDNESS, RATE_HZ, Recordings, Station, Truth, between, mixed
from recordings import recordings_of

from dejavud.evaluation.degrade import pink_noise
from dejavud.fingerprint.params import Params
from dejavud.index.meetings import MAX_HITS
from dejavud.index.view.segment_files import SegmentFolder
from dejavud.index.view.view import Part, View
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.matching.tracker import TrackerRules
from dejavud.services.constellations import ConstellationCache
from dejavud.services.hearing import Hearing, Library
from dejavud.services.listen_jobs import heard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from dejavud.placed_hits import PlacedHits
    from dejavud.services.hearing import HeardPlay
    from dejavud.values import Constellation, Hashes

    Samples = NDArray[np.float32]

PARAMS = Params()
RULES = TrackerRules(max_gap_s=10.0, min_play_s=3.0)
NEAR_S, PLACE_S = 1.0, 0.3
HARD_CUT = frozenset({"whole", "part", "short", "paused", "jingle over it"})
"""Kinds whose beginning and end anybody could tell to a tenth of a second."""


class MappedLibrary:
    """A library's segment, asked as an index is."""

    def __init__(self, folder: Path) -> None:
        segment = SegmentFolder(folder.parent, PARAMS).open(folder, lambda: None, is_new=True)
        self._view = View((Part(segment, folder),))
        self.n_tracks = len(segment.tracks)
        self._statistics = SimpleNamespace(
            duration_s=float(segment.tracks["n_frames"].sum(dtype=np.int64)) / PARAMS.frames_per_s
        )

    def lookup(self, hashes: Hashes, *, timeout_s: float | None = None) -> PlacedHits:
        """See `dejavud.index.base.Index.lookup`."""
        return self._view.lookup(hashes, timeout_s=timeout_s, max_hits=MAX_HITS)

    def statistics(self) -> SimpleNamespace:
        """Return how much music there is."""
        return self._statistics

    def constellations(self, track_ids: Sequence[int]) -> Mapping[int, Constellation]:
        """See `dejavud.index.base.Index.constellations`."""
        return self._view.constellations(track_ids)


@dataclass(slots=True)
class Record:
    """What the listener said: by play, when it said it and what it knew at the end."""

    started_s: dict[int, float] = field(default_factory=dict)
    ended_s: dict[int, float] = field(default_factory=dict)
    plays: dict[int, HeardPlay] = field(default_factory=dict)
    memory_mb: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def seconds(self) -> Callable[[float], float]:
        """Return what makes seconds of frames."""
        return PARAMS.frames_to_seconds


def listened(library: MappedLibrary, blocks: Iterator[Samples], since_s: float) -> Record:
    """Return what a listener says of `blocks`, which begin so many seconds into the broadcast."""
    consider = Matcher(PARAMS, MatchRules(max_matches=4, enough_s=2.0, n_refined=6)).consider
    index: Any = library
    hearing = Hearing(PARAMS, RULES, Library(index, ConstellationCache(index, 0), consider, 60.0))
    record, now_s, began_s = Record(), 0.0, time.process_time()
    base = round(since_s * PARAMS.frames_per_s)
    for sound in heard(blocks, PARAMS, -66.0):
        now_s = since_s + PARAMS.frames_to_seconds(sound.end_frame)
        for change in hearing.hear(sound, base):
            _note(record, change.kind, change.play, now_s)
        if now_s >= 3600 * (len(record.memory_mb) + 0.99):
            record.memory_mb.append(_own_memory_mb())
            print(f"\r{now_s / 3600:.1f} h heard", end="", file=sys.stderr, flush=True)
    for change in hearing.finish():
        _note(record, change.kind, change.play, now_s)
    record.elapsed_s = time.process_time() - began_s
    print(file=sys.stderr)
    return record


def _note(record: Record, kind: str, play: HeardPlay, now_s: float) -> None:
    if kind == "started":
        record.started_s[play.id] = now_s
    elif kind == "ended":
        record.ended_s[play.id] = now_s
    record.plays[play.id] = play


def _own_memory_mb() -> float:
    """Return this process's own memory, without the files that it has mapped."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(slots=True)
class Score:
    """How true a record is, by kind of play."""

    n: Counter[str] = field(default_factory=Counter)
    once: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    waits_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    late_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def scored(record: Record, truths: Sequence[Truth]) -> tuple[Score, list[int]]:
    """Return how true `record` is, and the plays in it that never were."""
    score, used = Score(), set()
    seconds = record.seconds
    for truth in truths:
        own = [
            play_id
            for play_id, play in record.plays.items()
            if truth.track_id in (play.track_id, *play.twins)
            and seconds(play.first_frame) < truth.end_s
            and seconds(play.seen_frame) > truth.start_s
        ]
        used |= set(own)
        score.n[truth.kind] += 1
        score.once[truth.kind] += len(own) == 1
        if len(own) != 1:
            score.wrong.append(
                f"{len(own)} times: {_shown(truth)}" + "".join(f" | {_told(record, one)}" for one in own)
            )
        if not own:
            continue
        play = record.plays[own[0]]
        off_s = truth.off_s(seconds(play.first_frame), seconds(record.plays[own[-1]].seen_frame))
        exact = bool(max(map(abs, off_s)) <= NEAR_S)
        place_s = seconds(play.first_frame - play.track_first_frame) - truth.shift_s
        score.ends[truth.kind] += exact
        score.places[truth.kind] += bool(abs(place_s) <= PLACE_S)
        score.waits_s[truth.kind].append(record.started_s[own[0]] - truth.start_s)
        score.late_s.append(record.ended_s[own[-1]] - truth.end_s)
        if len(own) == 1 and ((not exact and truth.kind in HARD_CUT) or abs(place_s) > PLACE_S):
            score.wrong.append(f"off by {off_s[0]:.1f}, {off_s[1]:.1f} s, place {place_s:.1f} s: {_shown(truth)}")
    return score, sorted(record.plays.keys() - used)


def _shown(truth: Truth) -> str:
    return f"{truth.kind} track {truth.track_id} {truth.start_s:.1f}-{truth.end_s:.1f} s from {truth.start_s - truth.shift_s:.1f} s"


def _told(record: Record, play_id: int) -> str:
    play, seconds = record.plays[play_id], record.seconds
    return (
        f"play {play_id} of {play.track_id} {seconds(play.first_frame):.1f}-{seconds(play.seen_frame):.1f} s"
        f" told {record.started_s[play_id]:.1f}-{record.ended_s[play_id]:.1f} s {play.confidence:.6f}"
    )


def main() -> None:
    """Broadcast, listen and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", type=Path, help="the library: a folder, or a file that names a recording a line")
    parser.add_argument("--unknown", type=Path, required=True, help="music that the library does not hold")
    parser.add_argument("--noise", type=Path, required=True, help="recordings of noises")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--tracks", type=int, default=10_000, help="in the library, distractors among them (10000)")
    parser.add_argument("--snr", type=float, help="of pink noise under it all, in dB (none)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--between", type=float, nargs=2, metavar="S", help="listen to these seconds of it only, to look at a case"
    )
    parser.add_argument("--folder", type=Path, help="keep the library and what was decoded here (a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() if options.folder is None else nullcontext(options.folder) as name:
        folder = Path(name)
        paths = recordings_of(options.recordings)
        known = Recordings(paths, folder / "known", 30)
        unknown = Recordings(recordings_of(options.unknown), folder / "unknown", 20)
        noise = Recordings(recordings_of(options.noise), folder / "noise", 2)
        library = MappedLibrary(library_of(paths, folder / f"library-{options.tracks}", options.tracks, PARAMS))
        rng = np.random.default_rng(options.seed)
        station = Station(known, unknown, noise, rng)
        hiss = None
        if options.snr is not None:
            hiss = pink_noise(600 * RATE_HZ, np.random.default_rng(options.seed + 1)).astype(np.float32)
            hiss *= LOUDNESS / np.sqrt(np.mean(hiss**2)) * 10 ** (-options.snr / 20)
        blocks = mixed(station.layers(3600 * options.hours), hiss)
        since_s, until_s = options.between or (0.0, 3600 * options.hours + 3600)
        since = round(since_s * PARAMS.frames_per_s) * PARAMS.hop_samples
        record = listened(library, between(blocks, since, round(until_s * RATE_HZ)), since / RATE_HZ)
        station.truths = [one for one in station.truths if one.end_s > since_s and one.start_s < until_s]
    report(record, station, library)


def report(record: Record, station: Station, library: MappedLibrary) -> None:
    """Print the figures, and every case that is not as it should be."""
    score, false = scored(record, station.truths)
    for line in score.wrong:
        print(line)
    for play_id in false:
        print(f"never was: {_told(record, play_id)}")
    for kind in sorted(score.n):
        waits_s = score.waits_s[kind]
        row = {
            "kind": kind,
            "n": score.n[kind],
            "once": score.once[kind],
            "ends_within_1_s": score.ends[kind],
            "place_within_0_3_s": score.places[kind],
            "median_s_to_started": round(float(np.median(waits_s)), 2) if waits_s else None,
        }
        print(json.dumps(row))
    n, n_once = score.n.total(), score.once.total()
    hard = sum(score.n[kind] for kind in HARD_CUT), sum(score.ends[kind] for kind in HARD_CUT)
    hours = max(1, len(record.memory_mb))
    total = {
        "hours": round(station.seconds_of.total() / 3600, 2),
        "n_tracks": library.n_tracks,
        "n_plays": n,
        "once_percent": round(100 * n_once / max(1, n), 2),
        "n_false": len(false),
        "ends_within_1_s_of_hard_cuts_percent": round(100 * hard[1] / max(1, hard[0]), 1),
        "place_within_0_3_s_percent": round(100 * score.places.total() / max(1, n), 1),
        "median_s_to_started": round(float(np.median([s for one in score.waits_s.values() for s in one])), 2),
        "median_s_to_ended": round(float(np.median(score.late_s)), 1),
        "memory_mb_first_and_last_hour": [round(mb) for mb in (record.memory_mb[:1] + record.memory_mb[-1:])],
        "cpu_s_an_hour": round(record.elapsed_s / hours, 1),
        "hours_of": {what: round(seconds / 3600, 2) for what, seconds in station.seconds_of.items()},
    }
    print(json.dumps(total))


if __name__ == "__main__":
    main()
