"""Every usual kind of audio becomes the same mono float32."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from audio_files import RATE_HZ, decode, encode, expected, likeness
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import synthesize, write_wav

from dejavud.audio.decode import decode_audio, open_audio
from dejavud.audio.pcm import Chunk, Resampler, mono
from dejavud.errors import UnsupportedAudio

ROOT = Path(__file__).parents[2]
LOSSLESS = [
    ("wav", "pcm_u8", "u8", 0.02),
    ("wav", "pcm_s16le", "s16", 1e-4),
    ("wav", "pcm_s24le", "s32", 1e-4),
    ("wav", "pcm_s32le", "s32", 1e-4),
    ("nut", "pcm_s64le", "s64", 1e-4),
    ("wav", "pcm_f32le", "flt", 1e-6),
    ("wav", "pcm_f64le", "dbl", 1e-6),
    ("aiff", "pcm_s16be", "s16", 1e-4),
    ("flac", "flac", "s16", 1e-4),
    ("flac", "flac", "s32", 1e-4),
    ("wv", "wavpack", "s16p", 1e-4),
    ("wv", "wavpack", "fltp", 1e-6),
    ("tta", "tta", "s32", 1e-4),
    ("m4a", "alac", "s16p", 1e-4),
]
LOSSY = [
    ("ogg", "vorbis", 0.98),
    ("opus", "libopus", 0.95),
    ("mp3", "libmp3lame", 0.98),
    ("m4a", "aac", 0.97),
    ("ac3", "ac3", 0.9),
    ("mka", "mp2", 0.97),
    ("wma", "wmav2", 0.9),
    ("wav", "adpcm_ima_wav", 0.95),
    ("wav", "pcm_mulaw", 0.97),
]


@pytest.mark.parametrize(("suffix", "codec", "sample_format", "tolerance"), LOSSLESS)
def test_a_lossless_codec_gives_the_samples_back(
    tmp_path: Path, suffix: str, codec: str, sample_format: str, tolerance: float
) -> None:
    """What was encoded without loss comes back as the mean of its channels, within the format's own precision."""
    music = np.stack([synthesize(1, 2), synthesize(2, 2)], axis=1)
    heard, reader = decode(encode(tmp_path / f"a.{suffix}", music, 44100, codec, sample_format=sample_format))
    original = expected(music, 44100)
    assert len(heard) == len(original) == reader.n_samples
    assert np.abs(heard - original).max() < tolerance
    assert reader.info.rate_hz == 44100
    assert reader.info.n_channels == 2
    assert reader.info.duration_s == pytest.approx(2, abs=0.1)
    assert reader.n_damaged_packets == 0


@pytest.mark.parametrize(("suffix", "codec", "least"), LOSSY)
def test_a_lossy_codec_sounds_alike(tmp_path: Path, suffix: str, codec: str, least: float) -> None:
    """What was encoded with loss comes back alike and as long, but for the codec's padding."""
    music = np.stack([synthesize(3, 3), synthesize(3, 3)], axis=1)
    rate_hz = 48000 if codec == "libopus" else 44100
    heard, _ = decode(encode(tmp_path / f"a.{suffix}", music, rate_hz, codec, bit_rate=192_000))
    original = expected(music, rate_hz)
    assert abs(len(heard) - len(original)) < 0.15 * RATE_HZ
    assert likeness(heard, original) > least


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 192000])
def test_every_rate_becomes_the_engines(tmp_path: Path, rate_hz: int) -> None:
    """The same piece at any rate from 8 to 192 kHz has the same length and the same sound."""
    music = synthesize(4, 2, rate_hz)
    heard, reader = decode(write_wav(tmp_path / "a.wav", music, rate_hz))
    assert reader.info.rate_hz == rate_hz
    assert abs(len(heard) - 2 * RATE_HZ) <= 1
    assert np.abs(heard - expected(music, rate_hz)[: len(heard)]).max() < 1e-4


@pytest.mark.parametrize("n_channels", range(1, 9))
@pytest.mark.parametrize("codec", ["pcm_s16le", "flac"])
def test_channels_are_averaged(tmp_path: Path, n_channels: int, codec: str) -> None:
    """One to eight channels become their mean, each with the same weight, the low-frequency one too."""
    music = np.stack([synthesize(seed, 1, 22050) for seed in range(n_channels)], axis=1)
    suffix = "flac" if codec == "flac" else "wav"
    heard, reader = decode(encode(tmp_path / f"a.{suffix}", music, 22050, codec))
    assert reader.info.n_channels == n_channels
    assert np.abs(heard - expected(music, 22050)).max() < 2e-4


def test_planar_eight_channels_are_averaged(tmp_path: Path) -> None:
    """A decoder that hands out eight separate planes is read to the last of them and not beyond."""
    music = np.stack([synthesize(seed, 2, 48000) for seed in range(8)], axis=1)
    heard, reader = decode(encode(tmp_path / "a.m4a", music, 48000, "aac", bit_rate=768_000))
    assert reader.info.n_channels == 8
    assert likeness(heard, expected(music, 48000)) > 0.9


def test_a_limit_stops_early(tmp_path: Path) -> None:
    """`limit_s` gives exactly so much of the beginning, and all where there is less."""
    path = write_wav(tmp_path / "a.wav", synthesize(5, 4), 44100)
    whole = decode_audio(path, name="a.wav", rate_hz=RATE_HZ)
    limited, reader = decode(path, limit_s=1.25)
    assert len(limited) == reader.n_samples == 10000
    assert np.array_equal(limited, whole[:10000])
    assert np.array_equal(decode_audio(path, name="a.wav", rate_hz=RATE_HZ, limit_s=60), whole)


def test_a_long_file_is_not_held_in_memory(tmp_path: Path) -> None:
    """Four hours of audio, half a gigabyte decoded, pass through a few megabytes."""
    path = tmp_path / "long.wav"
    n_bytes = 4 * 3600 * RATE_HZ
    header = write_wav(tmp_path / "short.wav", np.zeros(0), RATE_HZ).read_bytes()
    with path.open("wb") as file:  # 8-bit samples, in a sparse file
        file.write(header[:4] + (36 + n_bytes).to_bytes(4, "little") + header[8:28])
        file.write(RATE_HZ.to_bytes(4, "little") + (1).to_bytes(2, "little") + (8).to_bytes(2, "little"))
        file.write(b"data" + n_bytes.to_bytes(4, "little"))
        file.truncate(44 + n_bytes)
    code = (
        "import resource, sys\n"
        "from dejavud.audio.decode import open_audio\n"
        "def peak_kib(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with open_audio(sys.argv[1], name='long.wav', rate_hz=8000) as reader:\n"
        "    blocks = iter(reader)\n"
        "    n_first, before = len(next(blocks)), peak_kib()\n"
        "    n_samples = n_first + sum(len(block) for block in blocks)\n"
        "print(n_samples, peak_kib() - before)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True)
    n_samples, grown_kib = map(int, result.stdout.split())
    assert n_samples == n_bytes
    assert grown_kib < 16_000


def test_more_than_the_longest_duration_is_refused(tmp_path: Path) -> None:
    """A recording beyond the cap is refused with what helps, unless a limit stops before it."""
    path = write_wav(tmp_path / "a.wav", synthesize(6, 4, RATE_HZ), RATE_HZ)
    with pytest.raises(UnsupportedAudio, match=r"longer than .* hours; split it"):
        decode_audio(path, name="a.wav", rate_hz=RATE_HZ, max_duration_s=3)
    assert len(decode_audio(path, name="a.wav", rate_hz=RATE_HZ, max_duration_s=3, limit_s=1)) == RATE_HZ


def test_the_files_own_rate_can_be_kept(tmp_path: Path) -> None:
    """Without a rate the samples come as they are."""
    music = synthesize(7, 1, 32000)
    path = write_wav(tmp_path / "a.wav", music, 32000)
    with open_audio(path, name="a.wav", rate_hz=None) as reader:
        assert reader.rate_hz == 32000
        assert np.abs(np.concatenate(list(reader)) - music).max() < 1e-4


def test_a_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    """The content says what a file is: an mp3 called .wav, a wav called .mp3, a flac called .txt or nothing."""
    music = synthesize(8, 2)
    original = expected(music, 44100)
    for codec, container, name in (
        ("libmp3lame", "mp3", "a.wav"),
        ("pcm_s16le", "wav", "b.mp3"),
        ("flac", "flac", "c.txt"),
        ("vorbis", "ogg", "d"),
        ("aac", "mp4", "e.jpg"),
        ("flac", "flac", "f.m3u8"),
    ):
        heard, _ = decode(encode(tmp_path / name, music, 44100, codec, container=container))
        assert likeness(heard, original) > 0.95, name


def test_formats_without_a_mark_are_known_by_their_names(tmp_path: Path) -> None:
    """A-law out of a telephone exchange has no header: its name is all there is."""
    music = synthesize(12, 2, RATE_HZ)
    heard, reader = decode(encode(tmp_path / "a.al", music, RATE_HZ, "pcm_alaw", container="alaw"))
    assert reader.info.codec == "pcm_alaw"
    assert likeness(heard, music) > 0.99


def test_a_limit_of_nothing_gives_nothing(tmp_path: Path) -> None:
    """No audio, no block, no error."""
    path = write_wav(tmp_path / "a.wav", synthesize(5, 1, RATE_HZ), RATE_HZ)
    for limit_s in (0, -1):
        assert len(decode_audio(path, name="a.wav", rate_hz=RATE_HZ, limit_s=limit_s)) == 0


@pytest.mark.parametrize(
    "name",
    ["-y.wav", "http:%2f%2fa.wav", "concat:a|b.wav", "%03d.wav", "a b\n*?'\"$.wav", "Größe 音楽.wav", "file:a.wav"],
)
def test_odd_names_are_only_names(tmp_path: Path, name: str) -> None:
    """No character in a name means anything to the decoder."""
    heard, _ = decode(write_wav(tmp_path / name, synthesize(9, 1, RATE_HZ), RATE_HZ))
    assert len(heard) == RATE_HZ


def test_a_name_that_is_not_unicode_is_read(tmp_path: Path) -> None:
    """A file whose name is bytes of another century is read like any other."""
    path = Path(f"{tmp_path}/caf\udce9.wav")
    write_wav(tmp_path / "plain.wav", synthesize(9, 1, RATE_HZ), RATE_HZ).rename(path)
    assert len(decode_audio(path, name=path.name, rate_hz=RATE_HZ)) == RATE_HZ


@given(cuts=st.lists(st.integers(0, 5000), max_size=12), rate_hz=st.sampled_from([8000, 11025, 44100, 48000]))
@settings(deadline=None, max_examples=30)
def test_resampling_does_not_depend_on_the_chunks(cuts: list[int], rate_hz: int) -> None:
    """Cut anywhere, the stream gives the same samples as in one piece."""
    samples = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    bounds = [0, *sorted(cuts), 5000]
    resampler = Resampler(RATE_HZ)
    parts = [resampler.feed(Chunk(samples[start:stop], rate_hz)) for start, stop in pairwise(bounds)]
    whole = np.concatenate([*parts, resampler.finish()])
    assert np.array_equal(whole, expected(samples, rate_hz))


def test_floats_that_are_no_numbers_become_silence() -> None:
    """NaN, infinities and absurd values are silence; what is around them stays."""
    channel = np.array([0.5, np.nan, -0.5, np.inf, -np.inf, 3e38, 0.25], np.float32)
    assert mono([channel]).tolist() == [0.5, 0, -0.5, 0, 0, 0, 0.25]


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("u1", 0, 255), ("i2", -(2**15), 2**15 - 1), ("i4", -(2**31), 2**31 - 1)]
)
def test_integers_fill_the_range(dtype: str, low: int, high: int) -> None:
    """The lowest integer is -1, the highest just below 1, whatever the type and the number of channels."""
    channel = np.array([low, high], dtype)
    for n_channels in (1, 2, 3):
        assert mono([channel] * n_channels).tolist() == pytest.approx([-1, 1], abs=0.01)
