"""One query of an evaluation, and what came of it."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dejavud.fingerprint.params import Params
    from dejavud.values import Array, Constellation

MAX_OFF_S = 0.5
"""An answer within it is at the right place."""
REPEAT_SHARE = 0.35
"""Of a stretch's peaks found in another stretch of the track: strangers share some 10 % of them, a repeat more than half."""
_FRAMES_APART, _BINS_APART = 1, 1


class Outcome(StrEnum):
    """What an answer is worth.

    RIGHT : the right track at the right place.
    REPEAT : the right track, at a place where it plays the same once more.
    MISPLACED : the right track at another place.
    WRONG : another track.
    SILENT : no answer; of unknown music that is what is wanted.
    FALSE : unknown music was answered.
    """

    RIGHT = "right"
    REPEAT = "repeat"
    MISPLACED = "misplaced"
    WRONG = "wrong"
    SILENT = "silent"
    FALSE = "false"


@dataclass(frozen=True, slots=True)
class Query:
    """A clip that was asked about.

    known : whether the index holds the recording that it is cut from.
    clip : its number among the clips of its kind; every condition and length has it.
    path, start_s : what it is cut from, and where it begins in that.
    answer : path of the track that was named, or, where none was, would have been first; None where there was no candidate.
    confidence, score : of that one.
    answer_start_s : where in that one the clip would begin; negative where the clip began first.
    ms : fingerprint, look-up and match together, after decoding.
    """

    known: bool
    clip: int
    path: str
    start_s: float
    condition: str
    length_s: float
    outcome: Outcome
    answer: str | None
    confidence: float
    score: float
    answer_start_s: float | None
    ms: float

    @property
    def off_s(self) -> float | None:
        """Return how much later in the track than in truth the first guess places the clip; None of another track."""
        return (
            self.answer_start_s - self.start_s if self.guesses_right_track and self.answer_start_s is not None else None
        )

    @property
    def answered(self) -> bool:
        """Return whether a track was named."""
        return self.outcome is not Outcome.SILENT

    @property
    def names_right_track(self) -> bool:
        """Return whether the named track is the right one."""
        return self.outcome in {Outcome.RIGHT, Outcome.REPEAT, Outcome.MISPLACED}

    @property
    def guesses_right_track(self) -> bool:
        """Return whether the track that comes first, named or not, is the right one."""
        return self.known and self.answer == self.path


def plays_the_same(track: Constellation, first_s: float, other_s: float, length_s: float, params: Params) -> bool:
    """Tell whether a track plays at `other_s` what it plays at `first_s`: its peaks there lie as they do here."""
    first, other = (_cells(track, start_s, length_s, params) for start_s in (first_s, other_s))
    if not len(first) or not len(other):
        return False
    apart = np.abs(first[:, np.newaxis, :] - other[np.newaxis, :, :])
    found = ((apart[..., 0] <= _FRAMES_APART) & (apart[..., 1] <= _BINS_APART)).any(axis=1)
    return bool(found.mean() >= REPEAT_SHARE)


def write_queries(path: Path, queries: Iterable[Query]) -> None:
    """Write one line a query under a line of names."""
    names = [field.name for field in fields(Query)]
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        table.writerows([getattr(query, name) for name in names] for query in queries)


def _cells(track: Constellation, start_s: float, length_s: float, params: Params) -> Array:
    """Return int [n, 2]: frame from the stretch's start, and bin, of a track's peaks in a stretch."""
    start, n_frames = round(start_s * params.frames_per_s), round(length_s * params.frames_per_s)
    first, last = np.searchsorted(track.frames, (start, start + n_frames))
    return np.stack([track.frames[first:last] - start, track.bins[first:last].astype(np.int64)], axis=1)
