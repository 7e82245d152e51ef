"""What is played in real time to a real daemon, through a sound card and through a real station, and what it tells of it."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PULSE, STATION = ("pulseaudio", "pacat", "parec", "pactl"), ("icecast2", "ffmpeg")
N_RECORDINGS, CLIP_S = 5, 3
HARD_AT_MOST = 1
"""Of a show's plays, those that the noise may hide: a chorale of low horns is one of the recordings."""
UNNAMED_AT_MOST, UNTOLD_AT_MOST = 2, 3
"""Of sixteen clips, those that a voice may hide from a query, and from a listener that has three seconds to be certain."""


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def heard(music: list[Path]) -> Iterator[dict[str, dict[str, Any]]]:
    """Return what became of all that is played here: at the same time, as it takes its time."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor() as pool:
        patch.syspath_prepend(str(BENCHMARKS))  # its modules know each other by name
        from dejavu_readme import proof as clips_proof  # noqa: PLC0415 - on the path only now
        from playlist import proof  # noqa: PLC0415

        unknown = music[3::4]
        known = [path for path in music if path not in unknown]
        played = {
            "sound card": pool.submit(proof, known, unknown, 3.0, 10.0, through="pulse", seed=1),
            "station": pool.submit(proof, known, unknown, 1.5, 10.0, through="icecast", seed=1),
            "clips": pool.submit(clips_proof, music, "icecast", seed=1, n_lanes=2, lengths_s=(CLIP_S,)),
        }
        yield {name: judgement.result() for name, judgement in played.items()}


@pytest.mark.timeout(420)
@pytest.mark.parametrize("through", ["sound card", "station"])
def test_a_playlist_in_real_time_is_told_play_by_play(heard: dict[str, dict[str, Any]], through: str) -> None:
    """Three minutes at a sound card, half as much from Icecast, in noise at 10 dB: known plays once, where and when they were, nothing else."""
    judgement = heard[through]
    plays, told = judgement["plays"], [play for play in judgement["plays"] if play["n_reported"]]
    assert len(plays) >= 3
    assert all(play["n_reported"] == 1 for play in told), judgement
    assert not judgement["false"], judgement
    assert all(abs(play["track_error_s"]) <= 0.3 for play in told), judgement
    exact = [play for play in told if abs(play["start_error_s"]) <= 1.0 and abs(play["end_error_s"]) <= 1.0]
    assert len(plays) - len(exact) <= HARD_AT_MOST, judgement
    assert not judgement["n_overruns"], judgement


@pytest.mark.timeout(420)
def test_clips_under_a_voice_are_named(heard: dict[str, dict[str, Any]]) -> None:
    """Three seconds from anywhere, somebody speaking and humming over them, through mp3: named when asked, and told by the listener; no other track is."""
    clips = heard["clips"]["clips"]
    assert len(clips) >= N_RECORDINGS
    assert sum(clip["is_right"] for clip in clips) >= len(clips) - UNNAMED_AT_MOST, clips
    assert sum(clip["told"] is not None for clip in clips) >= len(clips) - UNTOLD_AT_MOST, clips
    assert not any(clip["is_wrong"] for clip in clips), clips
    assert not heard["clips"]["false"], heard["clips"]["false"]
