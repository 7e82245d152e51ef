from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dejavud.evaluation.examples import chosen
from dejavud.evaluation.measures import (
    CONFIDENCE_EDGES,
    Share,
    calibration,
    false_answers,
    offset_accuracy,
    roc,
    song_accuracy,
)
from dejavud.evaluation.queries import Outcome, Query, plays_the_same, write_queries
from dejavud.fingerprint.params import Params
from dejavud.values import Constellation

if TYPE_CHECKING:
    from pathlib import Path


def query(outcome: Outcome, *, confidence: float = 0.999, **others: Any) -> Query:  # noqa: ANN401 - any field's
    """Return a query with this outcome."""
    known = outcome is not Outcome.FALSE and others.pop("known", True)
    right = outcome in {Outcome.RIGHT, Outcome.REPEAT, Outcome.MISPLACED}
    fields: dict[str, Any] = {
        "known": known,
        "clip": 0,
        "path": "/a",
        "start_s": 10.0,
        "condition": "clean",
        "length_s": 5.0,
        "outcome": outcome,
        "answer": "/a" if right else "/b",
        "confidence": confidence,
        "score": 1.0,
        "answer_start_s": 10.0,
        "ms": 5.0,
    }
    return Query(**{**fields, **others})


def test_accuracies_count_what_they_say() -> None:
    """Songs: of the known queries those with the right track, wherever; places: of those the well placed; false: of the unknown."""
    counts = {Outcome.RIGHT: 5, Outcome.REPEAT: 1, Outcome.MISPLACED: 2, Outcome.WRONG: 1, Outcome.SILENT: 3}
    queries = [query(outcome) for outcome, n in counts.items() for _ in range(n)]
    queries += [query(Outcome.FALSE), *(query(Outcome.SILENT, known=False) for _ in range(9))]
    assert song_accuracy(queries) == Share(8, 12)
    assert offset_accuracy(queries) == Share(6, 8)
    assert false_answers(queries) == Share(1, 10)


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)]
)
def test_intervals_are_wilsons(part: int, whole: int, low: float, high: float) -> None:
    """The published values, and never beyond 0 and 1; of nothing, anything is possible."""
    assert Share(part, whole).interval == pytest.approx((low, high), abs=1e-3)
    assert Share(0, 0).interval == (0.0, 1.0)
    assert math.isnan(Share(0, 0).value)


def test_calibration_holds_predictions_against_what_was_right() -> None:
    """A class has its queries' mean confidence and how many of their guesses were right; unknown music is never right."""
    queries = [query(Outcome.RIGHT, confidence=1.0)] * 3 + [query(Outcome.FALSE, confidence=0.9999, answer="/a")]
    queries += [query(Outcome.SILENT, confidence=0.2, answer="/a"), query(Outcome.SILENT, confidence=0.4)]
    low, high = calibration(queries)
    assert (low.predicted, low.observed) == (pytest.approx(0.3), Share(1, 2))
    assert (high.predicted, high.observed) == (pytest.approx(0.999975), Share(3, 4))
    at_edges = [query(Outcome.SILENT, confidence=edge) for edge in CONFIDENCE_EDGES]
    assert sum(of.observed.whole for of in calibration(at_edges)) == len(at_edges)


def test_the_curve_is_that_of_all_thresholds() -> None:
    """From the surest answer to the least sure, right ones climb and false ones go to the right; score decides among equals."""
    queries = [
        query(Outcome.RIGHT, confidence=1.0, score=9.0),
        query(Outcome.FALSE, confidence=1.0, score=5.0),
        query(Outcome.SILENT, confidence=0.5, answer="/a"),
        query(Outcome.SILENT, confidence=0.1, known=False),
    ]
    curve = roc(queries)
    np.testing.assert_allclose(curve.false, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_allclose(curve.right, [0, 0.5, 0.5, 1, 1])


def test_a_repeat_is_told_from_another_place() -> None:
    """Where the same peaks follow once more, even a frame apart, it is a repeat; elsewhere it is not, nor past the end."""
    params = Params()
    rng = np.random.default_rng(1)
    frames = np.sort(rng.integers(0, 300, 500))
    bins = rng.integers(8, 480, 500)
    strangers = np.sort(rng.integers(300, 600, 500))
    track = Constellation(
        np.concatenate([frames, strangers, frames + 600 + rng.integers(0, 2)]),
        np.concatenate([bins, rng.integers(8, 480, 500), bins]),
        900,
        np.zeros(1500, np.uint8),
    )
    at_s = [params.frames_to_seconds(n) for n in (0, 300, 600, 5000)]
    repeats = [plays_the_same(track, at_s[0], other_s, 5.0, params) for other_s in at_s]
    assert repeats == [True, False, True, False]


def test_examples_show_matches_and_failures() -> None:
    """The easiest match, then the hardest, then failures with the worst first; no unknown silence, which is no failure."""
    easy = query(Outcome.RIGHT, condition="clean", score=90.0)
    hard = query(Outcome.RIGHT, condition="room", confidence=0.991)
    false = query(Outcome.FALSE, condition="noise0")
    lost = query(Outcome.SILENT, condition="babble0", confidence=0.1)
    fine = query(Outcome.SILENT, condition="phone", known=False)
    again = query(Outcome.RIGHT, condition="room", confidence=0.995)
    assert chosen([fine, lost, again, false, hard, easy]) == [easy, hard, false, lost]
    assert chosen([fine]) == []


def test_queries_are_kept_as_a_table(tmp_path: Path) -> None:
    """One line a query, under the fields' names, whatever its file is called."""
    write_queries(tmp_path / "queries.csv", [query(Outcome.RIGHT, path='/m/a "b", c\udcff.mp3')])
    with (tmp_path / "queries.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["path"] == '/m/a "b", c?.mp3'
    assert (row["outcome"], row["confidence"], row["length_s"]) == ("right", "0.999", "5.0")
