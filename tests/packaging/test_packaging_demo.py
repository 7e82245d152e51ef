"""The demonstration that ./quickstart ends with tells the truth, also when the truth is bad news."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import demo
import numpy as np
import pytest
from synthetic import synthesize, write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DEJAVUCTL = Path(sys.executable).with_name("dejavuctl")
TRACK_S = 30.0


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with three tracks, one of them in a folder below, and things that are none."""
    folder = tmp_path_factory.mktemp("music")
    (folder / "b").mkdir()
    for seed, name in enumerate(("a.wav", "b/middle.wav", "c.wav")):
        write_wav(folder / name, synthesize(seed, TRACK_S))
    (folder / "b" / "cover.jpg").write_bytes(b"not music")
    return folder


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run a real daemon and give the environment in which dejavuctl finds it."""
    folder = tmp_path_factory.mktemp("d")
    places = {
        "DEJAVUD_CONTROL_ENDPOINT": f"ipc://{folder}/c.sock",
        "DEJAVUD_EVENTS_ENDPOINT": f"ipc://{folder}/e.sock",
        "DEJAVUD_DATA_DIR": str(folder / "data"),
        "DEJAVUD_HTTP_LISTEN": "127.0.0.1:0",
        "DEJAVUD_WEBSOCKET_LISTEN": "127.0.0.1:0",
    }
    command = [sys.executable, "-m", "dejavud", "--log-format", "json"]
    with subprocess.Popen(
        command,
        env=os.environ | places | {"DEJAVUD_LISTEN_MICROPHONE": "off"},
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        log = []
        for line in process.stderr:
            log.append(line)
            if "daemon_ready" in line:
                break
        else:
            pytest.fail(f"the daemon did not start: {''.join(log)}")
        yield os.environ | {"DEJAVUD_CONTROL": f"ipc://{folder}/c.sock"}
        process.terminate()
        process.communicate(timeout=30)


def run_demo(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the demonstration over `folder`."""
    return subprocess.run(
        [sys.executable, ROOT / "clients" / "demo.py", "--dejavuctl", DEJAVUCTL, folder],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_known_clip_in_noise_is_found_where_it_was_cut(music: Path, daemon: dict[str, str]) -> None:
    """The middle of the middlemost track, with noise, is named with its position, confidence and time; noise alone is not."""
    subprocess.run([DEJAVUCTL, "fingerprint", music], env=daemon, check=True, capture_output=True, timeout=60)
    done = run_demo(music, daemon)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"5 s of middle.wav from {TRACK_S / 2:.2f} s on" in done.stdout
    for words in ("found       middle", "where it was cut", "how surely", "ms in the daemon", "no match, rightly"):
        assert words in done.stdout


def test_music_that_the_daemon_does_not_know_is_admitted(tmp_path: Path, daemon: dict[str, str]) -> None:
    """A wrong answer ends with a status that says so, and in words."""
    write_wav(tmp_path / "unheard.wav", synthesize(77, TRACK_S))
    done = run_demo(tmp_path, daemon)
    assert done.returncode == 1
    assert "nothing: the clip was not recognized" in done.stdout


def test_no_daemon_is_said_and_not_shown_as_a_wrong_answer(music: Path, tmp_path: Path) -> None:
    """The client's own words come through."""
    done = run_demo(music, os.environ | {"DEJAVUD_CONTROL": f"ipc://{tmp_path}/none.sock"})
    assert done.returncode == 1
    assert "dejavuctl could not ask: no daemon is running here" in done.stderr


def test_a_folder_of_short_tracks_is_said_to_be_one(tmp_path: Path) -> None:
    """Jingles have no middle to cut from; what cannot be decoded is passed over."""
    write_wav(tmp_path / "jingle.wav", synthesize(1, demo.SHORTEST_TRACK_S - 1))
    (tmp_path / "broken.mp3").write_bytes(b"no audio at all")
    done = run_demo(tmp_path, dict(os.environ))
    assert done.returncode == 1
    assert "is long enough" in done.stdout


def test_the_clip_is_what_lies_in_the_middle(tmp_path: Path) -> None:
    """What is said to be cut at a moment is what sounds there."""
    music = synthesize(5, TRACK_S)
    write_wav(tmp_path / "track.wav", music)
    clip = demo.middle_of(tmp_path / "track.wav")
    assert clip is not None
    start = round(clip.start_s * demo.RATE_HZ)
    assert clip.start_s == TRACK_S / 2
    np.testing.assert_allclose(clip.samples, music[start : start + len(clip.samples)], atol=1e-4)


def test_the_noise_is_pink() -> None:
    """Each octave has the same power, and the whole has an RMS of 1."""
    noise = demo.pink_noise(1 << 18)
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [power[1 << k : 2 << k].sum() for k in range(10, 16)]
    assert max(octaves) / min(octaves) < 1.1
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("gain", [0.01, 1.0])
def test_the_noise_is_as_loud_as_is_said(gain: float) -> None:
    """At 5 dB the music has 3.16 times the power of the noise, however loud it is, and nothing is clipped."""
    music = np.float32(gain) * synthesize(3, 5.0)
    mixed = demo.mix(music, demo.pink_noise(len(music)), demo.SNR_DB)
    scale = float(np.dot(mixed, music) / np.dot(music, music))
    noise_power = np.mean((mixed - scale * music) ** 2)
    assert 10 * np.log10(np.mean((scale * music) ** 2) / noise_power) == pytest.approx(demo.SNR_DB, abs=0.2)
    assert np.abs(mixed).max() <= 1
