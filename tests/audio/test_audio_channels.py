"""Audio as it is in its file: every channel, 16 bits, its own rate."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dejavud.audio import decode
from dejavud.audio.decode import open_channels
from dejavud.audio.pcm import Chunk, sixteen_bit
from dejavud.errors import UnreadableFile, UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def stereo_wav(path: Path, samples: NDArray[Any], rate_hz: int = 22050) -> Path:
    """Write int16 [n_channels, n] as a wav file."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(len(samples))
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(np.ascontiguousarray(samples.T).astype("<i2").tobytes())
    return path


def noise(n_channels: int, n_samples: int) -> NDArray[np.int16]:
    """Return samples over the whole range."""
    return np.random.default_rng(n_samples).integers(-32768, 32768, (n_channels, n_samples)).astype(np.int16)


@pytest.mark.parametrize("n_channels", [1, 2, 5])
def test_samples_come_as_the_file_holds_them(tmp_path: Path, n_channels: int) -> None:
    """Every sample of every channel, neither mixed nor scaled nor resampled, in blocks that make up the whole."""
    samples = noise(n_channels, 150_000)
    with open_channels(stereo_wav(tmp_path / "a.wav", samples), name="a.wav") as reader:
        assert reader.rate_hz == 22050
        blocks = list(reader)
    assert len(blocks) > 1
    assert all(block.dtype == np.int16 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), samples)
    assert reader.n_samples == 150_000


@pytest.mark.parametrize("limit_s", [0.0, 1.0, 3.5, 100.0])
def test_a_limit_is_kept_to_the_sample(tmp_path: Path, limit_s: float) -> None:
    """So many seconds at the file's rate, or all where it is shorter."""
    path = stereo_wav(tmp_path / "a.wav", noise(2, 150_000))
    with open_channels(path, name="a.wav", limit_s=limit_s) as reader:
        n_samples = sum(block.shape[1] for block in reader)
    assert n_samples == reader.n_samples == min(150_000, round(limit_s * 22050))


def test_bytes_without_a_format_are_samples_where_asked(tmp_path: Path) -> None:
    """With the fallback they are one channel of 16 bits at 8 kHz, without it they are refused; a missing file is what it is."""
    samples = noise(1, 5000)
    (tmp_path / "raw").write_bytes(samples.astype("<i2").tobytes())
    with open_channels(tmp_path / "raw", name="raw", raw_fallback=True) as reader:
        assert reader.rate_hz == 8000
        np.testing.assert_array_equal(np.concatenate(list(reader), axis=1), samples)
    with pytest.raises(UnsupportedAudio), open_channels(tmp_path / "raw", name="raw"):
        pytest.fail("opened")
    with pytest.raises(UnreadableFile), open_channels(tmp_path / "none", name="none"):
        pytest.fail("opened")


@pytest.mark.parametrize("changed", [(2, 44100), (1, 22050)])
def test_what_changes_in_the_middle_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: tuple[int, int]
) -> None:
    """Another rate or number of channels half way has no frames to go on with, and the message says what to do."""
    path = stereo_wav(tmp_path / "a.wav", noise(2, 30_000))
    bounded = decode._bounded

    def then_changed(chunks: Any, *limits: Any) -> Any:  # noqa: ANN401 - as `_bounded`
        yield from bounded(chunks, *limits)
        yield Chunk(np.zeros((changed[0], 100), np.int16), changed[1])

    monkeypatch.setattr(decode, "_bounded", then_changed)
    with (
        pytest.raises(UnsupportedAudio, match=r"changes from 2 channels at 22050 Hz.*convert"),
        open_channels(path, name="a.wav") as reader,
    ):
        list(reader)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.array([0, 128, 255], np.uint8), [-32768, 0, 32512]),
        (np.array([-128, 0, 127], np.int8), [-32768, 0, 32512]),
        (np.array([-32768, 7, 32767], np.int16), [-32768, 7, 32767]),
        (np.array([-(2**31), 65535, 2**31 - 1], np.int32), [-32768, 0, 32767]),
        (np.array([-(2**63), -1, 2**63 - 1], np.int64), [-32768, -1, 32767]),
        (np.array([-1.0, 0.5, 1.0], np.float32), [-32768, 16384, 32767]),
        (np.array([np.nan, np.inf, -1e30], np.float64), [0, 32767, -32768]),
        (np.array([1.5, 2.5, -0.5], np.float32) / 32768, [2, 2, 0]),
    ],
    ids=lambda given: str(given.dtype) if isinstance(given, np.ndarray) else "",
)
def test_every_type_becomes_sixteen_bits(given: NDArray[Any], expected: list[int]) -> None:
    """Low bits are dropped, floats rounded to the even neighbour and clipped, and what is no number is silence."""
    converted = sixteen_bit([given, given])
    assert converted.dtype == np.int16
    assert converted.tolist() == [expected, expected]
