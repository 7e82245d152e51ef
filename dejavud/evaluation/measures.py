"""Queries to figures: what a summary holds and what charts draw."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud import __version__
from dejavud.audio.decode import open_audio
from dejavud.errors import DejavudError
from dejavud.evaluation.codecs import speech_codec_name
from dejavud.evaluation.queries import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dejavud.evaluation.queries import Query
    from dejavud.evaluation.run import Library, Results

    Array = NDArray[Any]

CONFIDENCE_EDGES = (0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0)
"""Of the calibration's classes: even steps of log-odds, because that is how confidence is made."""
WAV_BYTES_PER_S = 44_100 * 2 * 2
"""Of a CD: what dejavu's table calls wav."""
SONG_S = 240.0
"""Four minutes, the song of dejavu's arithmetic."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole, and how far chance could have moved it."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """Return 0 to 1; not a number of nothing."""
        return self.part / self.whole if self.whole else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of Wilson's score, which stays within 0 and 1 for few queries too."""
        if not self.whole:
            return 0.0, 1.0
        z, n = 1.96, self.whole
        centre = (self.value + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(self.value * (1 - self.value) / n + z * z / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def as_json(self) -> dict[str, Any]:
        """Return the counts, the share and its interval."""
        return {
            "n": self.whole,
            "n_right": self.part,
            "share": round(self.value, 4) if self.whole else None,
            "interval": [round(edge, 4) for edge in self.interval],
        }


def share_of(queries: Iterable[Query], holds: Callable[[Query], bool]) -> Share:
    """Return how many of `queries` a condition holds for."""
    held = [holds(query) for query in queries]
    return Share(sum(held), len(held))


def cells(queries: Iterable[Query]) -> dict[tuple[str, float], list[Query]]:
    """Return the queries by (condition, length)."""
    by_cell: dict[tuple[str, float], list[Query]] = defaultdict(list)
    for query in queries:
        by_cell[query.condition, query.length_s].append(query)
    return dict(by_cell)


def song_accuracy(queries: Iterable[Query]) -> Share:
    """Return how many of the known queries were answered with the right track."""
    return share_of((query for query in queries if query.known), lambda query: query.names_right_track)


def offset_accuracy(queries: Iterable[Query]) -> Share:
    """Return how many of the right tracks were placed right, or at a repeat of that place."""
    named = (query for query in queries if query.names_right_track)
    return share_of(named, lambda query: query.outcome is not Outcome.MISPLACED)


def false_answers(queries: Iterable[Query]) -> Share:
    """Return how many of the unknown queries were answered all the same."""
    return share_of((query for query in queries if not query.known), lambda query: query.answered)


@dataclass(frozen=True, slots=True)
class CalibrationClass:
    """Queries whose best guess had about the same confidence.

    predicted : their mean confidence; observed : how many of the guesses were right.
    """

    predicted: float
    observed: Share


def calibration(queries: Sequence[Query]) -> list[CalibrationClass]:
    """Return predicted against observed, class by class of confidence; empty classes are left out.

    Every query counts, answered or not: the best guess is right or it is not.
    """
    confidences = np.array([query.confidence for query in queries])
    classes = np.clip(np.searchsorted(CONFIDENCE_EDGES, confidences, "right") - 1, 0, len(CONFIDENCE_EDGES) - 2)
    found = []
    for number in np.unique(classes):
        members = [query for query, of in zip(queries, classes, strict=True) if of == number]
        predicted = statistics.fmean(query.confidence for query in members)
        found.append(CalibrationClass(predicted, share_of(members, lambda query: query.guesses_right_track)))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """What every threshold would give: float64 [n], both ascending.

    false, right : share of unknown queries answered, and of known ones answered rightly.
    """

    false: Array
    right: Array


def roc(queries: Sequence[Query]) -> Roc:
    """Return the curve over thresholds of confidence, and of score where confidences are equal."""
    n_known = sum(query.known for query in queries)
    ordered = sorted(queries, key=lambda query: (-query.confidence, -query.score))
    right = np.cumsum([query.guesses_right_track for query in ordered]) / max(1, n_known)
    false = np.cumsum([not query.known for query in ordered]) / max(1, len(queries) - n_known)
    return Roc(np.concatenate([[0.0], false]), np.concatenate([[0.0], right]))


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes of the recordings in the index, and of the index.

    by_format : bytes of the files, by extension.
    """

    by_format: dict[str, int]
    audio_s: float
    index_bytes: int

    @property
    def files_bytes(self) -> int:
        """Return the size of the files as they are."""
        return sum(self.by_format.values())

    @property
    def wav_bytes(self) -> int:
        """Return the size that the same music has on a CD."""
        return round(self.audio_s * WAV_BYTES_PER_S)

    @property
    def bytes_a_song(self) -> float:
        """Return the index's size for four minutes of music."""
        return self.index_bytes / self.audio_s * SONG_S if self.audio_s else math.nan


def storage(library: Library) -> Storage:
    """Return what the recordings in the index, and the index, take on the disk."""
    by_format: dict[str, int] = defaultdict(int)
    audio_s = 0.0
    for path in library.kept:
        by_format[path.suffix.lower().lstrip(".") or "other"] += path.stat().st_size
        audio_s += _duration_s(path)
    return Storage(dict(sorted(by_format.items())), audio_s, library.index_bytes)


def times_ms(queries: Sequence[Query], length_s: float) -> Array:
    """Return what the queries of a length took, ascending."""
    return np.sort([query.ms for query in queries if query.length_s == length_s])


def summary(results: Results) -> dict[str, Any]:
    """Return the figures of an evaluation as JSON has them.

    All but ``measured_here`` is the same for the same music, settings and version.
    """
    queries, settings = results.queries, results.settings
    placed = [abs(query.off_s) for query in queries if query.outcome is Outcome.RIGHT and query.off_s is not None]
    return {
        "version": __version__,
        "profile": results.config.engine.profile,
        "params": results.config.engine.digest,
        "interrupted": results.interrupted,
        "settings": {
            "folder": settings.folder,
            "lengths_s": list(settings.lengths_s),
            "clips": settings.n_clips,
            "padding_s": settings.padding_s,
            "seed": settings.seed,
            "conditions": list(settings.conditions),
            "hold_out": settings.hold_out,
            "tracks": settings.n_tracks,
            "false_positive_rate": results.config.recognize.false_positive_rate,
            "phone_codec": speech_codec_name(),
        },
        "library": _library(results),
        "queries": len(queries),
        "song_accuracy": song_accuracy(queries).as_json(),
        "offset_accuracy": offset_accuracy(queries).as_json(),
        "offset_error_ms": {
            "median": round(1000 * statistics.median(placed), 1) if placed else None,
            "p95": round(1000 * float(np.quantile(placed, 0.95)), 1) if placed else None,
        },
        "outcomes": _outcomes(queries),
        "unknown": {"asked": (false := false_answers(queries)).whole, "answered": false.part},
        "by_condition": {
            condition: {f"{length_s:g}": _cell(queries, condition, length_s) for length_s in settings.lengths_s}
            for condition in settings.conditions
        },
        "calibration": [
            {"predicted": round(of.predicted, 4), "observed": of.observed.as_json()} for of in calibration(queries)
        ],
        "measured_here": _measured_here(results),
    }


def _library(results: Results) -> dict[str, Any]:
    library = results.library
    return {
        "found": library.n_found,
        "same_content": library.n_same,
        "indexed": len(library.kept),
        "held_out": len(library.held_out),
        "failed": {path.name: reason for path, reason in library.failed.items()},
        "gave_no_clip": {path.name: reason for path, reason in results.skipped.items()},
    }


def _cell(queries: Sequence[Query], condition: str, length_s: float) -> dict[str, Any]:
    """Return the figures of one condition and length."""
    asked = cells(queries).get((condition, length_s), [])
    answered = [query.confidence for query in asked if query.names_right_track]
    return {
        "song_accuracy": song_accuracy(asked).as_json(),
        "offset_accuracy": offset_accuracy(asked).as_json(),
        "mean_confidence": round(statistics.fmean(answered), 4) if answered else None,
        "outcomes": _outcomes(asked),
    }


def _outcomes(queries: Sequence[Query]) -> dict[str, dict[str, int]]:
    return {
        pool: {
            outcome.value: n
            for outcome in Outcome
            if (n := sum(query.outcome is outcome and query.known is known for query in queries))
        }
        for pool, known in (("known", True), ("unknown", False))
    }


def _measured_here(results: Results) -> dict[str, Any]:
    kept = storage(results.library)
    times: dict[str, Any] = {}
    for length_s in results.settings.lengths_s:
        taken = times_ms(results.queries, length_s)
        if len(taken):
            times[f"{length_s:g}"] = {
                "median": round(float(np.median(taken)), 1),
                "p95": round(float(np.quantile(taken, 0.95)), 1),
            }
    return {
        "ms_to_match": times,
        "index_s": round(results.library.index_s, 2),
        "times_real_time": round(kept.audio_s / max(results.library.index_s, 1e-9)),
        "storage": {
            "audio_s": round(kept.audio_s, 1),
            "files_bytes": kept.by_format,
            "wav_bytes": kept.wav_bytes,
            "index_bytes": kept.index_bytes,
            "index_bytes_a_song": round(kept.bytes_a_song),
        },
    }


def _duration_s(path: Path) -> float:
    try:
        with open_audio(path, name=str(path), rate_hz=None) as reader:
            return reader.info.duration_s or 0.0
    except DejavudError:  # it was there when it was fingerprinted; the storage's table is not worth a failure
        return 0.0
