"""What is played in real time to a real daemon, through a sound card and through a real station, and what it tells of it."""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PULSE, STATION = ("pulseaudio", "pacat", "parec", "pactl"), ("icecast2", "ffmpeg")
N_RECORDINGS = 5
HARD_AT_MOST = 1
"""Of a show's plays, those that the noise may hide: a chorale of low horns is one of the recordings."""


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the modules of benchmarks/ importable, which know each other by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.fixture
def music() -> list[Path]:
    """Return recordings; skips where there are none, or nothing to play them through."""
    missing = [program for program in (*PULSE, *STATION) if shutil.which(program) is None]
    if missing:
        pytest.skip(
            f"{', '.join(missing)} not installed (apt install pulseaudio-utils libasound2-plugins icecast2 ffmpeg)"
        )
    pytest.importorskip("pyaudio", reason="PyAudio is an extra", exc_type=ImportError)
    if "TEST_MUSIC" not in os.environ:
        pytest.skip("TEST_MUSIC names no folder of music: start the tests by ./run-tests")
    found = [path for path in sorted(Path(os.environ["TEST_MUSIC"]).rglob("*")) if path.suffix in {".ogg", ".wav"}]
    if len(found) < N_RECORDINGS:
        pytest.skip(f"there are no {N_RECORDINGS} recordings in {os.environ['TEST_MUSIC']}")
    return found


@pytest.mark.timeout(420)
@pytest.mark.usefixtures("benchmarks")
async def test_a_playlist_in_real_time_is_told_play_by_play(music: list[Path]) -> None:
    """Three minutes at a sound card, and half as much from Icecast meanwhile, in noise at 10 dB: known plays once, where and when they were, nothing else."""
    from playlist import proof  # noqa: PLC0415 - on the path only now

    unknown = music[3::4]
    known = [path for path in music if path not in unknown]
    judged: dict[str, dict[str, Any]] = {}

    async def play(through: str, minutes: float) -> None:
        job = partial(proof, known, unknown, minutes, 10.0, through=through, seed=1)
        judged[through] = await trio.to_thread.run_sync(job)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play, "pulse", 3.0)
        nursery.start_soon(play, "icecast", 1.5)
    for through, judgement in judged.items():
        plays, said = judgement["plays"], (through, judgement)
        told = [play for play in plays if play["n_reported"]]
        assert len(plays) >= 3, said
        assert all(play["n_reported"] == 1 for play in told), said
        assert not judgement["false"], said
        assert all(abs(play["track_error_s"]) <= 0.3 for play in told), said
        exact = [play for play in told if abs(play["start_error_s"]) <= 1.0 and abs(play["end_error_s"]) <= 1.0]
        assert len(plays) - len(exact) <= HARD_AT_MOST, said
        assert not judgement["n_overruns"], said
