from __future__ import annotations

import numpy as np
import pytest

from dejavud.matching.evidence import AUDIBLE_GRADES, HOP_FRAMES, STEP_FRAMES, Audibility, Laid, RecentEvidence
from dejavud.values import Constellation

N_BINS = 400
CHANCE = 0.02


def laid(kinds: list[int], found: list[bool]) -> Laid:
    """Return two hundred times these peaks in as many steps, some of the kinds found and some not."""
    n = 200
    is_found = np.tile(found, n)
    odds = np.where(is_found, AUDIBLE_GRADES[0] / CHANCE, AUDIBLE_GRADES[2] / (1 - CHANCE))
    room = np.full(len(is_found), AUDIBLE_GRADES[0] - CHANCE)
    return Laid(np.tile(kinds, n), odds, is_found - CHANCE, room, np.arange(n + 1) * len(kinds), 0)


def test_what_was_drowned_before_is_not_missed() -> None:
    """A play of which the low notes have been heard and the high ones not is likelier where that is so again, and less likely where it is the other way."""
    audibility = Audibility()
    usual, unusual = (
        laid([4] * 2 + [32] * 8, [True] * 2 + [False] * 8),
        laid([4] * 8 + [32] * 2, [False] * 8 + [True] * 2),
    )
    before = usual.steps().log_ratios[0], unusual.steps().log_ratios[0]
    audibility.learn(usual, 0, 200)
    after = usual.steps(audibility).log_ratios[0], unusual.steps(audibility).log_ratios[0]
    assert before[0] == pytest.approx(before[1])
    assert after[0] > before[0]
    assert after[1] < before[1]


def test_what_has_not_been_seen_is_as_audible_as_anything() -> None:
    """Nothing is known of a play's kinds at first; a few peaks change little, and those of all kinds nothing."""
    audibility = Audibility()
    assert np.all(audibility.relative == 1.0)
    few = laid([4, 32], [True, False])
    audibility.learn(few, 0, 2)
    assert audibility.relative == pytest.approx(np.ones(len(audibility.relative)), abs=0.2)
    even = Audibility()
    even.learn(laid(list(range(36)), [True] * 36), 0, 200)
    assert even.relative == pytest.approx(np.ones(36))


def test_how_much_is_left_is_learnt_and_unlearnt() -> None:
    """Where nearly all of a track was heard, a step with nothing of it is less usual than where half was, and no longer once less is left."""
    audibility = Audibility()
    nothing = laid([0] * 12, [False] * 12)
    before = nothing.steps(audibility).usual_ratios[0]
    audibility.learn(laid([0] * 12, [True] * 12), 0, 200)
    after_all = nothing.steps(audibility).usual_ratios[0]
    audibility.learn(laid([0] * 12, [True] * 2 + [False] * 10), 0, 200)
    after_little = nothing.steps(audibility).usual_ratios[0]
    assert after_all < before - 0.5
    assert after_little > after_all + 0.5
    assert audibility.likely.sum() == pytest.approx(1.0)


def test_a_track_is_told_from_another_and_from_nothing() -> None:
    """Laid where it is, a track is likelier than chance in each step; laid elsewhere it is less likely; and where it has no peaks nothing is said."""
    rng = np.random.default_rng(1)
    n_frames = 4 * HOP_FRAMES
    depths = rng.integers(4, 200, (n_frames, N_BINS)).astype(np.uint8)
    frames = np.sort(rng.integers(0, n_frames // 2, 900))
    track = Constellation(frames, rng.integers(8, 8 + N_BINS, 900), n_frames, rng.integers(0, 4, 900))
    depths[track.frames, track.bins - 8] = 0
    recent = RecentEvidence(8, N_BINS, 10)
    recent.append(depths, 0)
    there = recent.lay(track, 0, 0, n_frames).steps()
    n_heard = n_frames // 2 // STEP_FRAMES
    assert len(there) == n_frames // STEP_FRAMES
    assert np.all(there.log_ratios[:n_heard] > 0)
    assert np.all(there.log_ratios[n_heard:] == 0)
    assert recent.lay(track, 3, 0, n_frames // 2).steps().log_ratios.sum() < 0
    assert recent.count(track, 0, 0, n_frames) == 900


def test_silence_is_quiet_and_music_is_not() -> None:
    """A step is quiet where next to none of its places is a local maximum."""
    depths = np.full((4 * STEP_FRAMES, N_BINS), 60, np.uint8)
    depths[STEP_FRAMES : 2 * STEP_FRAMES, ::40] = 0
    depths[3 * STEP_FRAMES, 7] = 0
    recent = RecentEvidence(8, N_BINS, 1)
    recent.append(depths, 0)
    assert recent.is_quiet(0, 4 * STEP_FRAMES - 3).tolist() == [True, False, True, True]
