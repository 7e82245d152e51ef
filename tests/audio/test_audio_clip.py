"""Clips are cut to the sample."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest
from audio_files import encode
from synthetic import synthesize
from synthetic import write_wav as write_test_wav

from dejavud.audio.clip import cut_clip, write_wav
from dejavud.audio.decode import decode_audio
from dejavud.errors import InvalidRequest, UnreadableFile

if TYPE_CHECKING:
    from pathlib import Path

MUSIC = synthesize(51, 5, 32000)


def test_a_clip_is_cut_to_the_sample(tmp_path: Path) -> None:
    """A clip from the middle is the samples of the middle, at the file's own rate and at another."""
    path = encode(tmp_path / "a.flac", MUSIC, 32000, "flac", sample_format="s16")
    clip = cut_clip(path, 1.5, 2)
    assert clip.rate_hz == 32000
    assert len(clip.samples) == 64000
    assert np.abs(clip.samples - MUSIC[48000 : 48000 + 64000]).max() < 1e-4
    resampled = cut_clip(path, 1.5, 2, rate_hz=8000)
    assert np.array_equal(resampled.samples, decode_audio(path, name="a", rate_hz=8000)[12000:28000])


def test_near_the_end_a_clip_is_what_is_left(tmp_path: Path) -> None:
    """A clip may reach beyond the end, but not begin there."""
    path = encode(tmp_path / "a.flac", MUSIC, 32000, "flac")
    assert len(cut_clip(path, 4, 10).samples) == 32000
    with pytest.raises(InvalidRequest, match=r"ends at 5\.00 s"):
        cut_clip(path, 5, 1)


@pytest.mark.parametrize(("start_s", "duration_s"), [(-1, 1), (0, 0), (0, -2), (float("nan"), 1)])
def test_what_is_no_stretch_is_refused(tmp_path: Path, start_s: float, duration_s: float) -> None:
    """A clip has a beginning and a length."""
    with pytest.raises(InvalidRequest, match="a clip cannot"):
        cut_clip(tmp_path / "a", start_s, duration_s)


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    """The decoder's errors pass through."""
    with pytest.raises(UnreadableFile):
        cut_clip(tmp_path / "a.wav", 0, 1)


def test_what_is_written_is_a_plain_wav(tmp_path: Path) -> None:
    """Sixteen bits, mono, clipped to the range, and read back alike."""
    samples = np.concatenate([MUSIC[:1000], [2.0, -2.0]]).astype(np.float32)
    write_wav(tmp_path / "a.wav", samples, 32000)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (1, 2, 32000, 1002)
    heard = cut_clip(tmp_path / "a.wav", 0, 1).samples
    assert np.abs(heard - np.clip(samples, -1, 1)).max() < 1e-4
    assert (tmp_path / "a.wav").read_bytes() == write_test_wav(tmp_path / "b.wav", samples, 32000).read_bytes()
