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
from collections import Counter, defaultdict, deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from index_scale import library_of
from recordings import recordings_of
from voices import speech

from dejavud.audio.decode import decode_audio
from dejavud.errors import DejavudError
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
RATE_HZ = PARAMS.rate_hz
RULES = TrackerRules(max_gap_s=10.0, min_play_s=3.0)
LOUDNESS = 0.1
NEAR_S, PLACE_S = 1.0, 0.3
FAINT, FAINTEST = LOUDNESS * 10 ** (-40 / 20), LOUDNESS * 10 ** (-60 / 20)
"""Between 40 and 60 dB below its loudness a track comes in and dies away, many for seconds; who says that it begins or ends there is right."""
BLOCK = 1600
HARD_CUT = frozenset({"whole", "part", "short", "paused", "jingle over it"})
"""Kinds whose beginning and end anybody could tell to a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A play.

    start_s, end_s : of the broadcast, from where to where it can be heard well.
    first_s, last_s : from where to where it can be heard at all.
    shift_s : of the broadcast less that of the track.
    """

    kind: str
    track_id: int
    start_s: float
    end_s: float
    first_s: float
    last_s: float
    shift_s: float

    def off_s(self, start_s: float, end_s: float) -> tuple[float, float]:
        """Return how far these are from where it starts and ends."""
        return (
            start_s - min(max(start_s, self.first_s), self.start_s),
            end_s - min(max(end_s, self.end_s), self.last_s),
        )


@dataclass(frozen=True, slots=True)
class Layer:
    """Something that sounds from `start` on, in samples of the broadcast."""

    start: int
    samples: Samples


class Recordings:
    """Recordings of equal loudness, decoded once into a folder, so that a day of them takes no memory."""

    def __init__(self, paths: Sequence[Path], folder: Path, least_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files: dict[int, Path] = {}
        for number, path in enumerate(paths):
            kept = folder / f"{number}.npy"
            if not kept.exists():
                try:
                    samples = decode_audio(path, name=path.name, rate_hz=RATE_HZ, limit_s=1200)
                except DejavudError as error:
                    print(f"{path.name}: {error.message}", file=sys.stderr)
                    continue
                loud = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
                np.save(kept, (samples * (LOUDNESS / max(loud, 1e-6))).astype(np.float16))
            if np.load(kept, mmap_mode="r").shape[0] >= least_s * RATE_HZ:
                self.files[number] = kept

    def read(self, number: int) -> Samples:
        """Return float32 [n] at `RATE_HZ`."""
        return np.load(self.files[number]).astype(np.float32)


class Turns:
    """Draws from numbers so that each has its turn before one comes again."""

    def __init__(self, numbers: Sequence[int], rng: np.random.Generator) -> None:
        self._numbers, self._rng = list(numbers), rng
        self._left: list[int] = []

    def draw(self) -> int:
        """Return the next."""
        if not self._left:
            self._left = self._rng.permutation(self._numbers).tolist()
        return self._left.pop()


@dataclass(slots=True)
class Station:
    """Makes the programme, piece by piece.

    known : by number, whose track has the id number + 1.
    truths : of what has been made.
    """

    known: Recordings
    unknown: Recordings
    noise: Recordings
    rng: np.random.Generator
    truths: list[Truth] = field(default_factory=list)
    seconds_of: Counter[str] = field(default_factory=Counter)
    _at: int = 0

    def layers(self, seconds: float) -> Iterator[Layer]:
        """Yield layers in order of their beginnings until the programme is `seconds` long."""
        turns = Turns(list(self.known.files), self.rng)
        kinds = ("whole", "part", "short", "faded", "mixed", "paused", "talked over", "bed of speech", "jingle over it")
        shares = np.array([0.2, 0.18, 0.08, 0.12, 0.14, 0.08, 0.1, 0.04, 0.06])
        while self._at < seconds * RATE_HZ:
            yield from self._between()
            kind = str(self.rng.choice(kinds, p=shares / shares.sum()))
            yield from self._play(kind, turns)

    def _between(self) -> Iterator[Layer]:
        """Yield what comes between two plays."""
        shares = {"nothing": 0.2, "silence": 0.1, "speech": 0.25, "unknown music": 0.3, "noise": 0.07, "advert": 0.08}
        what = str(self.rng.choice(list(shares), p=list(shares.values())))
        samples = np.zeros(0, np.float32)
        if what == "silence":
            samples = np.zeros(round(self.rng.uniform(1, 15) * RATE_HZ), np.float32)
        elif what == "speech":
            samples = self._said(self.rng.uniform(5, 90))
        elif what == "unknown music":
            samples = self._cut(self._any(self.unknown), self.rng.uniform(30, 300))
        elif what == "noise":
            samples = self._cut(self._any(self.noise), self.rng.uniform(2, 20))
        elif what == "advert":  # a voice over music that nobody knows
            samples = self._said(self.rng.uniform(10, 40))
            under = self._cut(self._any(self.unknown), len(samples) / RATE_HZ)
            samples[: len(under)] += 0.3 * under
        self.seconds_of[what] += len(samples) / RATE_HZ
        yield Layer(self._at, samples)
        self._at += len(samples)

    def _play(self, kind: str, turns: Turns) -> Iterator[Layer]:
        """Yield a known track, played as `kind` says."""
        number = turns.draw()
        samples = self.known.read(number)
        first = 0
        if kind in ("part", "short", "bed of speech"):
            length = round(self.rng.uniform(*(8, 15) if kind == "short" else (25, 120)) * RATE_HZ)
            first = int(self.rng.integers(max(1, len(samples) - length)))
            samples = samples[first : first + length]
        overlap = 0
        if kind == "faded":
            _fade(samples, self.rng.uniform(0.5, 3), self.rng.uniform(3, 8))
        elif kind == "mixed":
            overlap = min(round(self.rng.uniform(3, 8) * RATE_HZ), len(samples) // 3)
            _fade(samples, 0, overlap / RATE_HZ)
        elif kind == "talked over":
            self._talk(samples, 0, min(self.rng.uniform(6, 15), len(samples) / RATE_HZ))
        elif kind == "bed of speech":
            self._talk(samples, 0, len(samples) / RATE_HZ)
        elif kind == "jingle over it":
            jingle = self._cut(self._any(self.unknown), self.rng.uniform(2, 4))
            at = int(self.rng.integers(max(1, len(samples) - len(jingle))))
            samples[at : at + len(jingle)] += jingle[: len(samples) - at]
        elif kind == "paused":
            at, pause = len(samples) // 2, np.zeros(round(self.rng.uniform(2, 7) * RATE_HZ), np.float32)
            samples = np.concatenate([samples[:at], pause, samples[at:]])
        yield self._told(kind, number, samples, first)
        self._at += len(samples) - overlap
        if overlap:  # it is the next one that it is mixed into
            number = turns.draw()
            samples = self.known.read(number)
            _fade(samples, overlap / RATE_HZ, 0)
            yield self._told(kind, number, samples, 0)
            self._at += len(samples)

    def _told(self, kind: str, number: int, samples: Samples, first: int) -> Layer:
        """Return the layer of a track that plays from its sample `first` on, and note the truth: from where to where it can be heard."""
        self.seconds_of["known music"] += len(samples) / RATE_HZ
        well, at_all = (np.flatnonzero(np.abs(samples) > level)[[0, -1]] for level in (FAINT, FAINTEST))
        (start_s, end_s), (first_s, last_s) = (self._at + well) / RATE_HZ, (self._at + at_all) / RATE_HZ
        self.truths.append(Truth(kind, number + 1, start_s, end_s, first_s, last_s, (self._at - first) / RATE_HZ))
        return Layer(self._at, samples)

    def _talk(self, samples: Samples, first_s: float, seconds: float) -> None:
        """Have a voice speak over `samples`, which are turned down to a third for it: the music 6 dB under the voice."""
        first, end = round(first_s * RATE_HZ), round((first_s + seconds) * RATE_HZ)
        samples[first:end] *= 0.35
        said = self._said(seconds)[: len(samples[first:end])]
        samples[first : first + len(said)] += 0.7 * said

    def _said(self, seconds: float) -> Samples:
        return speech(round(seconds * RATE_HZ), RATE_HZ, int(self.rng.integers(1 << 31)))

    def _any(self, recordings: Recordings) -> Samples:
        return recordings.read(int(self.rng.choice(list(recordings.files))))

    def _cut(self, samples: Samples, seconds: float) -> Samples:
        length = round(seconds * RATE_HZ)
        first = int(self.rng.integers(max(1, len(samples) - length)))
        return samples[first : first + length].copy()


def _fade(samples: Samples, in_s: float, out_s: float) -> None:
    """Fade in and out, in place."""
    n_in, n_out = round(in_s * RATE_HZ), round(out_s * RATE_HZ)
    samples[:n_in] *= np.linspace(0, 1, n_in, dtype=np.float32)
    samples[len(samples) - n_out :] *= np.linspace(1, 0, n_out, dtype=np.float32)


def mixed(layers: Iterator[Layer], noise: Samples | None) -> Iterator[Samples]:
    """Yield the sum of `layers`, which come in order, in blocks; over `noise`, again and again."""
    sounding: deque[Layer] = deque()
    at = 0
    for layer in layers:
        sounding.append(layer)
        yield from _blocks(sounding, at, layer.start, noise)
        at = layer.start
        sounding = deque(one for one in sounding if one.start + len(one.samples) > at)
    end = max((one.start + len(one.samples) for one in sounding), default=at)
    yield from _blocks(sounding, at, end, noise)


def _blocks(sounding: Sequence[Layer] | deque[Layer], at: int, end: int, noise: Samples | None) -> Iterator[Samples]:
    for first in range(at, end, BLOCK):
        block = np.zeros(min(BLOCK, end - first), np.float32)
        for layer in sounding:
            begin, stop = max(first, layer.start), min(first + len(block), layer.start + len(layer.samples))
            if begin < stop:
                block[begin - first : stop - first] += layer.samples[begin - layer.start : stop - layer.start]
        if noise is not None:
            block += noise.take(np.arange(first, first + len(block)), mode="wrap")
        yield block


def _between(blocks: Iterator[Samples], first: int, end: int) -> Iterator[Samples]:
    """Yield what of `blocks` lies in these samples."""
    at = 0
    for block in blocks:
        if at >= end:
            return
        if at + len(block) > first:
            yield block[max(0, first - at) : end - at]
        at += len(block)


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
        record = listened(library, _between(blocks, since, round(until_s * RATE_HZ)), since / RATE_HZ)
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
