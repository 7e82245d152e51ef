"""Clips to ask about: where they are cut, and how the shorter ones follow from the longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.audio.clip import cut_clip
from dejavud.audio.decode import open_audio
from dejavud.errors import DejavudError, InvalidRequest
from dejavud.evaluation.conditions import MAX_CHANGE_PERCENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Samples = NDArray[Any]

CLIP_HZ = 44_100
"""Clips are degraded at the rate that music is sold at, and only then brought to the engine's."""
SILENCE_RMS = 3e-3
"""Fifty dB below full scale: nobody would ask what is playing."""
RESERVE_S = 0.5
MAX_MISSES = 4
"""A pool that gave nothing in so many rounds has nothing to give."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A stretch of a recording, with the reserve that a condition which plays it faster uses up.

    number : from 0, within its pool.
    samples : float32 [n] at `CLIP_HZ`.
    """

    number: int
    path: Path
    start_s: float
    samples: Samples


class Cutter:
    """Draws clips from recordings, the same ones for the same seed.

    Every recording has its turn before one is drawn from again, so a few long ones do not outweigh the others.
    After `draw`, `skipped` says by path why a recording gave no clip.
    """

    def __init__(self, *, longest_s: float, padding_s: float, seed: int) -> None:
        self._longest_s = longest_s
        self._cut_s = reserve_s(longest_s)
        self._padding_s = padding_s
        self._seed = seed
        self.skipped: dict[Path, str] = {}

    def draw(self, paths: Sequence[Path], n_clips: int, pool: int) -> Iterator[Cut]:
        """Yield up to `n_clips` clips of `paths`; fewer only where there is not one to be had any more.

        pool : tells the draws of one seed apart.
        """
        rng = np.random.default_rng([self._seed, pool])
        n_drawn, n_misses = 0, 0
        while n_drawn < n_clips and n_misses < MAX_MISSES:
            n_before = n_drawn
            for place in rng.permutation(len(paths)):
                cut = self._try(paths[place], n_drawn, rng)
                if cut is not None:
                    yield cut
                    n_drawn += 1
                if n_drawn == n_clips:
                    return
            n_misses = 0 if n_drawn > n_before else n_misses + 1

    def _try(self, path: Path, number: int, rng: np.random.Generator) -> Cut | None:
        at = rng.random()  # drawn whatever becomes of it, so that one bad file does not move the clips of others
        try:
            duration_s = _duration_s(path)
            last_s = min(duration_s - self._padding_s - self._longest_s, duration_s - self._cut_s)
            if last_s < self._padding_s:
                shortest_s = max(2 * self._padding_s + self._longest_s, self._padding_s + self._cut_s)
                self.skipped[path] = f"{duration_s:.0f} s is too short, it takes {shortest_s:.0f} s"
                return None
            start_s = round(self._padding_s + at * (last_s - self._padding_s), 3)
            samples = cut_clip(path, start_s, self._cut_s, rate_hz=CLIP_HZ).samples
        except DejavudError as error:
            self.skipped[path] = reason_of(error)
            return None
        heard = samples[: round(self._longest_s * CLIP_HZ)]
        if len(heard) < round(self._longest_s * CLIP_HZ) or loudness(heard[:CLIP_HZ]) < SILENCE_RMS:
            return None  # its header promised more than there is, or it is silent here: another place may do
        self.skipped.pop(path, None)
        return Cut(number, path, start_s, samples)


def reserve_s(longest_s: float) -> float:
    """Return how much is cut for a clip of `longest_s`: enough to play it as fast as any condition does."""
    return longest_s * (1 + MAX_CHANGE_PERCENT / 100) + RESERVE_S


def recut(cut_from: Path, start_s: float, longest_s: float) -> Samples:
    """Return the samples of a cut again."""
    return cut_clip(cut_from, start_s, reserve_s(longest_s), rate_hz=CLIP_HZ).samples


def prefix(samples: Samples, length_s: float, rate_hz: int) -> Samples:
    """Return the first `length_s` of `samples`: all lengths of a clip begin at the same moment, so they compare pairwise."""
    return samples[: round(length_s * rate_hz)]


def loudness(samples: Samples) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def reason_of(error: DejavudError) -> str:
    """Return why a recording is of no use, without its name."""
    return str(error.details.get("reason", error.message))


@dataclass(frozen=True, slots=True)
class Split:
    """The recordings of an evaluation: those that the index will hold, and those that it will not."""

    kept: tuple[Path, ...]
    held_out: tuple[Path, ...]


def split(paths: Sequence[Path], hold_out: float, n_tracks: int, seed: int) -> Split:
    """Draw at most `n_tracks` of `paths` and hold out a share of them: at least one is left on either side where that can be.

    Raises `InvalidRequest` when there is nothing to draw from.
    """
    if not paths:
        raise InvalidRequest(reason="there are no recordings to evaluate")
    drawn = [paths[place] for place in np.random.default_rng([seed, _SPLIT]).permutation(len(paths))[:n_tracks]]
    n_held_out = min(max(1, round(hold_out * len(drawn))), len(drawn) - 1) if hold_out else 0
    return Split(tuple(sorted(drawn[n_held_out:])), tuple(sorted(drawn[:n_held_out])))


_SPLIT = 1_000_000
"""A pool of its own for the draw of recordings."""


def _duration_s(path: Path) -> float:
    """Return how long a recording is: as it says itself, counted where it does not."""
    with open_audio(path, name=str(path), rate_hz=None) as reader:
        if reader.info.duration_s is not None:
            return reader.info.duration_s
        return sum(len(block) for block in reader) / reader.rate_hz
