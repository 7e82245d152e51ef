from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import synthesize, write_wav

from dejavud.errors import InvalidRequest
from dejavud.evaluation.clips import CLIP_HZ, Cutter, recut, reserve_s, split

PATHS = [Path(f"/music/{number}.mp3") for number in range(20)]


def cutter(*, longest_s: float = 2.0, padding_s: float = 1.0, seed: int = 1) -> Cutter:
    """Return a cutter."""
    return Cutter(longest_s=longest_s, padding_s=padding_s, seed=seed)


def test_clips_keep_away_from_the_ends(music: Path) -> None:
    """The longest clip lies within the recording less its padding, and is cut with its reserve."""
    drawn = list(cutter(padding_s=1.5).draw(sorted(music.iterdir()), 12, 0))
    assert len(drawn) == 12
    assert all(1.5 <= cut.start_s <= 9.0 - 1.5 - 2.0 for cut in drawn)
    assert {len(cut.samples) for cut in drawn} == {round(reserve_s(2.0) * CLIP_HZ)}
    assert len({cut.start_s for cut in drawn}) == 12


def test_every_recording_has_its_turn(music: Path) -> None:
    """Before one is drawn from again, all have been."""
    paths = sorted(music.iterdir())
    drawn = [cut.path for cut in cutter().draw(paths, 12, 0)]
    assert set(drawn[:6]) == set(drawn[6:]) == set(paths)


def test_a_seed_cuts_the_same_clips(music: Path) -> None:
    """The same seed gives the same ones to the sample, another seed or another pool others."""
    paths = sorted(music.iterdir())
    (first,), (again,) = (list(cutter().draw(paths, 1, 0)) for _ in range(2))
    assert (first.path, first.start_s) == (again.path, again.start_s)
    np.testing.assert_array_equal(first.samples, again.samples)
    np.testing.assert_array_equal(first.samples, recut(first.path, first.start_s, 2.0))
    others = [next(cutter(seed=2).draw(paths, 1, 0)), next(cutter().draw(paths, 1, 1))]
    assert all((other.path, other.start_s) != (first.path, first.start_s) for other in others)


def test_what_gives_no_clip_is_passed_over(tmp_path: Path) -> None:
    """One too short, one silent and one that is no audio leave the others their clips; two of them say why."""
    short, silent, broken, good = (tmp_path / name for name in ("short.wav", "silent.wav", "broken.wav", "good.wav"))
    write_wav(short, synthesize(1, 3.0, 8000), 8000)
    write_wav(silent, np.zeros(80_000), 8000)
    broken.write_bytes(b"no audio at all")
    write_wav(good, synthesize(1, 8.0, 8000), 8000)
    cutting = cutter()
    drawn = list(cutting.draw([short, silent, broken, good], 3, 0))
    assert [cut.path for cut in drawn] == [good] * 3
    assert [cut.number for cut in drawn] == [0, 1, 2]
    assert set(cutting.skipped) == {short, broken}
    assert "3 s is too short, it takes 4 s" in cutting.skipped[short]


def test_nothing_to_cut_ends(tmp_path: Path) -> None:
    """Where no recording can give a clip there is none, soon."""
    write_wav(tmp_path / "silent.wav", np.zeros(80_000), 8000)
    assert list(cutter().draw([tmp_path / "silent.wav"], 5, 0)) == []
    assert list(cutter().draw([], 5, 0)) == []


@pytest.mark.parametrize(
    ("n_paths", "hold_out", "n_tracks", "n_kept", "n_held_out"),
    [
        (20, 0.2, 500, 16, 4),
        (20, 0.2, 5, 4, 1),
        (5, 0.05, 500, 4, 1),
        (2, 0.9, 500, 1, 1),
        (1, 0.5, 9, 1, 0),
        (20, 0, 9, 9, 0),
    ],
)
def test_a_share_is_held_out(n_paths: int, hold_out: float, n_tracks: int, n_kept: int, n_held_out: int) -> None:
    """Of few recordings or many: no more than asked for are drawn, none is on both sides, and one is left on each where that can be."""
    parts = split(PATHS[:n_paths], hold_out, n_tracks, seed=4)
    assert (len(parts.kept), len(parts.held_out)) == (n_kept, n_held_out)
    assert not set(parts.kept) & set(parts.held_out)
    assert parts == split(PATHS[:n_paths], hold_out, n_tracks, seed=4)
    with pytest.raises(InvalidRequest, match="no recordings"):
        split([], hold_out, n_tracks, seed=4)
