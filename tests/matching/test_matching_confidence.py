from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavud.matching.confidence import confidence, evidence_weight, least_agreement
from dejavud.matching.logarithms import log_sum_exp

RATIOS = st.floats(-1e4, 1e4)
SIZES = st.floats(0, 1e12)
NOBODY = np.empty(0)
WEIGHT = 0.8


@given(RATIOS, st.lists(RATIOS, max_size=5), SIZES)
def test_confidence_is_a_probability(ratio: float, rivals: list[float], size: float) -> None:
    """Whatever the evidence, the answer lies in [0, 1]."""
    assert 0.0 <= confidence(ratio, np.array(rivals), size, WEIGHT) <= 1.0


@given(RATIOS, RATIOS, SIZES)
def test_more_evidence_is_never_less_sure(one: float, other: float, size: float) -> None:
    """Confidence grows with the ratio."""
    low, high = sorted((one, other))
    assert confidence(low, NOBODY, size, WEIGHT) <= confidence(high, NOBODY, size, WEIGHT)


@given(RATIOS, SIZES, SIZES)
def test_more_music_gives_chance_more_tries(ratio: float, one: float, other: float) -> None:
    """Confidence falls with the size of the index."""
    small, large = sorted((one, other))
    assert confidence(ratio, NOBODY, small, WEIGHT) >= confidence(ratio, NOBODY, large, WEIGHT)


def test_a_rival_as_good_leaves_even_odds() -> None:
    """Of two recordings that fit equally well neither is surer than a half."""
    assert confidence(80.0, np.array([80.0]), 1e6, WEIGHT) == pytest.approx(0.5, abs=1e-6)


def test_the_worth_of_evidence_depends_on_the_index() -> None:
    """Twenty-five nats convince among a hundred tracks (400 000 frames) and not among a hundred thousand."""
    assert confidence(25.0, NOBODY, 4e5, WEIGHT) > 0.99
    assert confidence(25.0, NOBODY, 4e8, WEIGHT) < 0.6


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=6))
def test_log_sum_exp_is_what_its_name_says(values: list[float]) -> None:
    """It agrees with numpy's pairwise form, far beyond where exp overflows."""
    assert log_sum_exp(np.array(values)) == pytest.approx(np.logaddexp.reduce(values), rel=1e-9, abs=1e-9)
    assert log_sum_exp(np.array(values) + 5000) == pytest.approx(np.logaddexp.reduce(values) + 5000, rel=1e-9)


@given(st.floats(0, 1), st.floats(0, 1))
def test_evidence_from_noise_is_worth_more_than_from_chords(one: float, other: float) -> None:
    """The more music stands out of a query, the less each agreeing peak says; it always says something."""
    flat, tonal = sorted((one, other))
    assert evidence_weight(flat, scaled=False) >= evidence_weight(tonal, scaled=False) > 0


@given(st.floats(0, 1))
def test_a_stretched_fit_proves_less(relief: float) -> None:
    """What was sought at many speeds has to fit better to convince as much."""
    assert evidence_weight(relief, scaled=True) < evidence_weight(relief, scaled=False)


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_clearer_a_query_the_more_of_a_track_it_must_show(one: float, other: float) -> None:
    """Where no noise hides them, peaks that are missing are not there; in noise hardly any is asked for."""
    flat, tonal = sorted((one, other))
    assert 0 < least_agreement(flat) <= least_agreement(tonal) < 0.5
