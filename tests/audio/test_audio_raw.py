"""Raw samples: every format to the same sound, however the bytes are cut; and what is no raw sound."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dejavud.audio.pcm import Chunk, Resampler
from dejavud.audio.pcm_format import DTYPES, PcmFormat, container_of
from dejavud.audio.raw import raw_blocks
from dejavud.errors import UnsupportedAudio

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 8000
SOUND = np.random.default_rng(4).uniform(-0.9, 0.9, (3000, 2))


def packed(sound: NDArray[Any], encoding: str) -> bytes:
    """Return `sound`, [n, n_channels] within 1, as samples of an encoding."""
    order = ">" if encoding.endswith("be") else "<"
    n_bits = int("".join(character for character in encoding if character.isdigit()))
    if encoding[0] == "f":
        return sound.astype(f"{order}f{n_bits // 8}").tobytes()
    whole = np.round(sound * (2 ** (n_bits - 1) - 1)).astype(np.int64)
    if encoding == "u8":
        return (whole + 128).astype(np.uint8).tobytes()
    if n_bits == 24:
        wide = whole.astype(f"{order}i4").view(np.uint8).reshape(-1, 4)
        return (wide[:, 1:] if order == ">" else wide[:, :3]).tobytes()
    return whole.astype(f"{order}i{n_bits // 8}").tobytes()


def heard(data: bytes, pcm: PcmFormat, pieces: tuple[int, ...] = ()) -> NDArray[Any]:
    """Return all of `data` as the engine hears it, read in pieces of these lengths and then as it comes."""
    file, lengths = io.BytesIO(data), iter(pieces)
    blocks = list(raw_blocks(lambda n: file.read(min(n, next(lengths, n))), pcm, name="kitchen", rate_hz=RATE_HZ))
    assert all(len(block) for block in blocks)
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


@pytest.mark.parametrize("encoding", DTYPES)
def test_every_encoding_is_the_same_sound(encoding: str) -> None:
    """Both byte orders, 8 to 64 bits: the mean of the channels within what the encoding can tell."""
    found = heard(packed(SOUND, encoding), PcmFormat(encoding, RATE_HZ, 2))
    assert found == pytest.approx(SOUND.mean(axis=1), abs=0.012 if "8" in encoding else 2e-4)


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.integers(1, 4000), max_size=20), encoding=st.sampled_from(["s24le", "s16be", "f32le"]))
def test_however_the_bytes_are_cut_the_sound_is_the_same(pieces: list[int], encoding: str) -> None:
    """Pieces that end within a sample change nothing, at another rate too."""
    pcm = PcmFormat(encoding, 44100, 2)
    data = packed(SOUND, encoding)
    resampler = Resampler(RATE_HZ)
    whole = resampler.feed(Chunk(heard(data, PcmFormat(encoding, RATE_HZ, 2)), 44100))
    expected = np.concatenate([whole, resampler.finish()])
    assert heard(data, pcm, tuple(pieces)) == pytest.approx(expected, abs=1e-5)


def test_a_frame_that_is_cut_short_by_the_end_is_dropped() -> None:
    """Half a sample at the end is no sound."""
    data = packed(SOUND[:100], "s16le")
    assert len(heard(data + b"\1\2\3", PcmFormat("s16le", RATE_HZ, 2))) == 100


def test_bytes_that_are_no_floats_are_refused() -> None:
    """Where most samples are far beyond full scale or no numbers, it is another format: said, not heard."""
    with pytest.raises(UnsupportedAudio, match="no samples of f32le"):
        heard(np.full(4000, np.nan, "<f4").tobytes(), PcmFormat("f32le", RATE_HZ, 1))
    with pytest.raises(UnsupportedAudio, match="another format"):
        heard(np.random.default_rng(1).bytes(8000), PcmFormat("f32le", RATE_HZ, 2))


def test_a_format_has_a_name_and_defaults() -> None:
    """What is left out is s16le at 48 kHz in two channels; what is wrong is named with what there is."""
    assert PcmFormat.parse("") == PcmFormat("s16le", 48000, 2)
    assert PcmFormat.parse("f32le") == PcmFormat("f32le", 48000, 2)
    assert PcmFormat.parse("s24le:44100:1") == PcmFormat("s24le", 44100, 1)
    assert PcmFormat.parse("u8::1").bytes_per_s == 48000
    assert PcmFormat.parse("s24be:8000:8").frame_bytes == 24
    for text, reason in [
        ("mp3", "no format of samples; there are u8"),
        ("s16le:48k", "'48k' is no whole number"),
        ("s16le:3", "a rate is 4000 to 384000"),
        ("s16le:48000:9", "1 to 8 channels"),
        ("s16le:48000:2:1", "too many parts"),
        ("s16le:99999999999", "no whole number"),
    ]:
        with pytest.raises(ValueError, match=reason):
            PcmFormat.parse(text)


def test_files_are_told_from_raw_sound() -> None:
    """What begins as a file does is one; silence and sound are not."""
    assert container_of(b"RIFF....WAVE") == "a wav file"
    assert container_of(b"\0\0\0\x20ftypM4A ") == "an MP4 file"
    assert container_of(b"OggS\0") == "an Ogg stream"
    assert container_of(bytes(12)) is None
    assert container_of(b"") is None
