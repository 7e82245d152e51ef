"""The CPU that a query costs after decoding, by how hard it is to answer."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dejavud.audio.clip import write_wav
from dejavud.audio.decode import decode_audio
from dejavud.evaluation.clips import CLIP_HZ, Cutter
from dejavud.evaluation.conditions import condition_of
from dejavud.evaluation.degrade import degraded
from dejavud.fingerprint.params import Params

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from own_daemon import OwnDaemon

    Ask = Callable[[Path], dict[str, Any]]

_SEED = 3
_PADDING_S = 2.0
_SAME_SPEED = 0.005


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of query.

    condition : what is done to the clips.
    known : whether the library holds what they are cut from.
    required_ms : the most CPU that a query may cost after decoding, in the mean.
    """

    name: str
    condition: str
    known: bool
    required_ms: float

    def is_typical(self, answer: Mapping[str, Any]) -> bool:
        """Return whether `answer` is what this kind stands for: found as it is, found at its speed, or not found at any."""
        if not self.known:
            return not answer["matches"]
        speed = condition_of(self.condition).speed
        return bool(answer["matches"]) and abs(answer["matches"][0]["speed"] - speed) < _SAME_SPEED


CLEAN = Kind("clean", "clean", known=True, required_ms=8.0)
KINDS = (
    CLEAN,
    Kind("hard: pink noise as loud as the music", "noise0", known=True, required_ms=40.0),
    Kind("hard: a small loudspeaker in a noisy room", "roomnoise", known=True, required_ms=40.0),
    Kind("2 per cent fast: found by the search for speed", "speed+2", known=True, required_ms=300.0),
    Kind("unknown: the search for speed finds nothing", "clean", known=False, required_ms=300.0),
)


@dataclass(frozen=True, slots=True)
class Effort:
    """What the clips of one kind cost.

    n_asked : clips, the atypical ones included, which are not counted further.
    cpu_ms : by clip, of the daemon and its workers for one query, decoding included.
    decode_ms : CPU of decoding, mean of the clips.
    stages_ms : what the daemon says its stages took in wall time, means, in the order of `STAGES`.
    """

    kind: Kind
    n_asked: int
    cpu_ms: tuple[float, ...]
    decode_ms: float
    stages_ms: tuple[float, ...]

    @property
    def mean_ms(self) -> float:
        """Return the CPU of a query after decoding."""
        return statistics.mean(self.cpu_ms) - self.decode_ms

    def row(self) -> tuple[str, ...]:
        """Return a line of the table whose heads are `HEADS`."""
        if not self.cpu_ms:
            return (self.kind.name, f"0 of {self.n_asked}", *["-"] * (len(HEADS) - 2))
        after = [clip_ms - self.decode_ms for clip_ms in self.cpu_ms]
        figures = (self.mean_ms, statistics.median(after), max(after), self.decode_ms)
        verdict = f"{self.kind.required_ms:.0f}: {'met' if self.mean_ms <= self.kind.required_ms else 'not met'}"
        stages = " + ".join(f"{stage_ms:.0f}" for stage_ms in self.stages_ms)
        return (
            self.kind.name,
            f"{len(after)} of {self.n_asked}",
            *(f"{figure:.1f}" for figure in figures),
            stages,
            verdict,
        )


STAGES = ("fingerprint_ms", "lookup_ms", "match_ms")
HEADS = (
    "CPU ms a query, after decoding",
    "clips",
    "mean",
    "median",
    "most",
    "decoding",
    "wall: fingerprint + look-up + match",
    "required",
)


def write_clips(kind: Kind, recordings: Sequence[Path], into: Path, n_clips: int, length_s: float) -> list[Path]:
    """Write up to `n_clips` clips of one kind (16-bit mono wav), from each recording in turn, and return their paths."""
    condition = condition_of(kind.condition)
    cutter = Cutter(longest_s=length_s, padding_s=_PADDING_S, seed=_SEED)
    paths = []
    for cut in cutter.draw(recordings, n_clips, pool=int(kind.known)):
        path = into / f"{kind.condition}-{'known' if kind.known else 'unknown'}-{cut.number}.wav"
        write_wav(path, degraded(cut.samples, condition, length_s, [_SEED, cut.number]), CLIP_HZ)
        paths.append(path)
    return paths


def efforts(daemon: OwnDaemon, ask: Ask, clips: Mapping[Kind, Sequence[Path]], n_repeats: int) -> Iterable[Effort]:
    """Yield what each kind costs; every clip is asked about once before that, which tells whether it is of its kind."""
    for kind, paths in clips.items():
        typical = [path for path in paths if kind.is_typical(ask(path))]
        asked = [_asked(daemon, ask, path, n_repeats) for path in typical]
        if typical:
            decode_ms = statistics.mean(map(_decode_cpu_ms, typical))
            stages_ms = tuple(statistics.mean(timings[stage] for _, timings in asked) for stage in STAGES)
            yield Effort(kind, len(paths), tuple(cpu_ms for cpu_ms, _ in asked), decode_ms, stages_ms)
        else:
            yield Effort(kind, len(paths), (), 0.0, ())


def show_efforts(rows: Iterable[Effort]) -> None:
    """Print a table in markdown, a row as soon as it is there."""
    for row in (HEADS, ["---"] * len(HEADS)):
        print(f"| {' | '.join(row)} |")
    for effort in rows:
        print(f"| {' | '.join(effort.row())} |", flush=True)


def _asked(daemon: OwnDaemon, ask: Ask, clip: Path, n_repeats: int) -> tuple[float, Mapping[str, float]]:
    """Return the CPU of one query about `clip`, and the stages of the last one.

    The system counts in ticks of 10 ms, so one clip's figure is as fine as it has repeats, and the mean of many is finer.
    """
    before_s = daemon.cpu_s()
    for _ in range(n_repeats):
        answer = ask(clip)
    return 1000 * (daemon.cpu_s() - before_s) / n_repeats, answer["timings"]


def _decode_cpu_ms(clip: Path) -> float:
    """Return the CPU that decoding `clip` to the engine's rate costs where everything is loaded."""
    rate_hz = Params().rate_hz
    decode_audio(clip, name=clip.name, rate_hz=rate_hz)
    started_s = time.process_time()
    decode_audio(clip, name=clip.name, rate_hz=rate_hz)
    return 1000 * (time.process_time() - started_s)
