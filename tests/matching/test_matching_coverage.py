from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dejavud.fingerprint.params import Params
from dejavud.matching.coverage import find_stretch

PARAMS = Params()
STEP = round(0.5 * PARAMS.frames_per_s)
PEAKS_A_STEP = 15


def seen(pattern: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Return peaks of a query, a step of half a second a letter: + all agree, - none does, space: the track is silent."""
    frames, agree = [], []
    for n, letter in enumerate(pattern):
        if letter != " ":
            frames += [n * STEP + k for k in range(PEAKS_A_STEP)]
            agree += [letter == "+"] * PEAKS_A_STEP
    return np.array(frames, int), np.array(agree, bool), len(pattern) * STEP


def stretch_of(pattern: str) -> tuple[int, int, float]:
    """Return the stretch in steps, and the coverage."""
    stretch = find_stretch(*seen(pattern), PARAMS)
    return round(stretch.first / STEP), round(stretch.last / STEP), stretch.coverage


def test_a_query_that_is_all_track_is_covered_whole() -> None:
    """Every step explained: one stretch, coverage 1."""
    assert stretch_of("++++++++++") == (0, 10, 1.0)


def test_a_track_that_starts_within_the_query_has_a_stretch_that_does() -> None:
    """What comes before and after is not counted."""
    assert stretch_of("----++++++") == (4, 10, 0.6)
    assert stretch_of("++++++----") == (0, 6, 0.6)


def test_a_short_break_does_not_end_a_stretch() -> None:
    """A jingle over the music leaves one stretch, with a gap that coverage tells."""
    assert stretch_of("++++-+++++") == (0, 10, 0.9)


def test_scattered_moments_are_no_stretch() -> None:
    """A shared drum sound every second and a half explains nothing but itself."""
    assert stretch_of("+--+--+--+--")[2] <= 0.1


def test_a_silent_part_of_the_track_is_no_gap() -> None:
    """Where the track has nothing to show, nothing is missing."""
    assert stretch_of("+++   ++++") == (0, 10, 1.0)


def test_nothing_seen_is_nothing_covered() -> None:
    """No agreement: coverage 0."""
    assert stretch_of("----------")[2] == 0.0


def test_the_stretch_begins_and_ends_with_the_peaks_that_agree() -> None:
    """Between two steps it is the peaks themselves that say where."""
    frames = np.arange(0, 320, 2)
    stretch = find_stretch(frames, (frames >= 87) & (frames < 251), 320, PARAMS)
    assert (stretch.first, stretch.last) == (88, 251)


def test_breaks_of_a_second_and_longer_are_gaps() -> None:
    """They are told by their frames; a beat that is missing is not one."""
    assert find_stretch(*seen("+++--++++-+++"), PARAMS).gaps == ((3 * STEP, 5 * STEP),)


@given(st.lists(st.tuples(st.integers(0, 399), st.booleans()), max_size=200), st.integers(400, 420))
def test_coverage_is_a_share_and_the_stretch_lies_in_the_query(peaks: list[tuple[int, bool]], n_frames: int) -> None:
    """Whatever agrees, the stretch is within the query and the coverage within [0, 1]."""
    peaks.sort()
    frames, agree = np.array([f for f, _ in peaks], int), np.array([a for _, a in peaks], bool)
    stretch = find_stretch(frames, agree, n_frames, PARAMS)
    assert 0 <= stretch.first <= stretch.last <= n_frames
    assert 0.0 <= stretch.coverage <= (stretch.last - stretch.first + 2 * STEP) / n_frames
