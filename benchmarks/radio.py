"""A radio station that is made up of recordings: what it broadcasts, and what was in it."""

from __future__ import annotations

import sys
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from voices import speech

from dejavud.audio.decode import decode_audio
from dejavud.errors import DejavudError
from dejavud.fingerprint.params import Params

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

RATE_HZ = Params().rate_hz
LOUDNESS = 0.1
FAINT, FAINTEST = LOUDNESS * 10 ** (-40 / 20), LOUDNESS * 10 ** (-60 / 20)
"""Between 40 and 60 dB below its loudness a track comes in and dies away, many for seconds; who says that it begins or ends there is right."""
BLOCK = 1600


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


def between(blocks: Iterator[Samples], first: int, end: int) -> Iterator[Samples]:
    """Yield what of `blocks` lies in these samples."""
    at = 0
    for block in blocks:
        if at >= end:
            return
        if at + len(block) > first:
            yield block[max(0, first - at) : end - at]
        at += len(block)
