"""What our own FFmpeg lacks, through the ffmpeg of the machine."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from audio_files import RATE_HZ, decode
from synthetic import synthesize, write_wav

from dejavud.errors import UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on this machine")


@needs_ffmpeg
def test_tracker_music_is_played_by_the_machines_ffmpeg(tmp_path: Path) -> None:
    """A ProTracker module, which our own FFmpeg has no demuxer for, becomes sound at the engine's rate."""
    _skip_unless_ffmpeg_has("-demuxers", "libopenmpt")
    path = tmp_path / "tune.mod"
    path.write_bytes(_module())
    heard, reader = decode(path)
    assert reader.info.container == "libopenmpt"
    assert 6 * RATE_HZ < len(heard) < 9 * RATE_HZ  # 64 rows of 6 ticks of 20 ms are 7.68 s
    spectrum = np.abs(np.fft.rfft(heard[RATE_HZ : 3 * RATE_HZ]))
    assert np.abs(heard).max() > 0.01
    assert spectrum.argmax() / 2 == pytest.approx(8287 / 32, rel=0.02)  # note C-2 plays 8287 samples a second


@needs_ffmpeg
def test_a_limit_holds_for_the_fallback_too(tmp_path: Path) -> None:
    """`limit_s` cuts what the machine's ffmpeg decodes."""
    _skip_unless_ffmpeg_has("-demuxers", "libopenmpt")
    (tmp_path / "tune.mod").write_bytes(_module())
    assert len(decode(tmp_path / "tune.mod", limit_s=1.5)[0]) == 12000


@needs_ffmpeg
def test_a_codec_that_is_not_built_in_is_decoded_by_the_machines_ffmpeg(tmp_path: Path) -> None:
    """A container we know with a codec we lack is handed to ffmpeg, and is not of double length or half."""
    _skip_unless_ffmpeg_has("-encoders", "libcodec2")
    path = tmp_path / "a.c2"
    wav = write_wav(tmp_path / "a.wav", synthesize(31, 3, RATE_HZ), RATE_HZ)
    subprocess.run(["ffmpeg", "-v", "error", "-i", wav, "-c:a", "libcodec2", path], check=True)
    heard, reader = decode(path)
    assert abs(len(heard) - 3 * RATE_HZ) < 0.1 * RATE_HZ
    assert 0.01 < float(np.sqrt(np.mean(heard**2))) < 0.5
    assert reader.info.rate_hz == RATE_HZ


def test_without_ffmpeg_the_error_says_what_might_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no ffmpeg the error of such a file names it."""
    (tmp_path / "tune.mod").write_bytes(_module())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedAudio, match=r"apt install ffmpeg"):
        decode(tmp_path / "tune.mod")


def test_what_is_clearly_no_audio_does_not_start_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text called .mp3 is refused without asking another program."""
    trap = tmp_path / "bin"
    trap.mkdir()
    for program in ("ffmpeg", "ffprobe"):
        (trap / program).write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        (trap / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(trap), prepend=":")
    (tmp_path / "a.mp3").write_text("not music\n" * 1000)
    started = time.monotonic()
    with pytest.raises(UnsupportedAudio, match="not audio that can be decoded"):
        decode(tmp_path / "a.mp3")
    assert time.monotonic() - started < 1
    assert not (tmp_path / "started").exists()


@needs_ffmpeg
def test_a_list_of_files_called_a_module_opens_none(tmp_path: Path) -> None:
    """The machine's ffmpeg is held to one demuxer: a concat script or playlist called .mod stays closed."""
    secret = write_wav(tmp_path / "secret.wav", synthesize(1, 2, RATE_HZ), RATE_HZ)
    for script in (f"ffconcat version 1.0\nfile '{secret.name}'\n", f"#EXTM3U\n#EXTINF:2,\n{secret}\n"):
        for content in (script, f"\n{script}"):
            (tmp_path / "list.mod").write_text(content)
            with pytest.raises(UnsupportedAudio):
                decode(tmp_path / "list.mod")


def _skip_unless_ffmpeg_has(what: str, name: str) -> None:
    listed = subprocess.run(["ffmpeg", "-hide_banner", what], capture_output=True, text=True, check=True).stdout
    if not any(name in line.split()[1:2] for line in listed.splitlines()):
        pytest.skip(f"the ffmpeg of this machine has no {name}")


def _module() -> bytes:
    """Return a ProTracker module: one pattern in which one looped sample, a 32-sample sine, plays C-2."""
    sine = np.round(100 * np.sin(2 * np.pi * np.arange(32) / 32)).astype("i1").tobytes()
    sample = b"sine".ljust(22, b"\0") + struct.pack(">HBBHH", len(sine) // 2, 0, 64, 0, len(sine) // 2)
    silence = bytes(22) + struct.pack(">HBBHH", 0, 0, 0, 0, 1)
    header = b"tune".ljust(20, b"\0") + sample + 30 * silence + bytes([1, 127]) + bytes(128) + b"M.K."
    note = struct.pack(">HH", 428, 0x1000)  # period of C-2, sample 1
    return header + note + bytes(12) + 63 * bytes(16) + sine
