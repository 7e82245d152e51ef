"""Tags, as far as there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mutagen
import mutagen.flac
import mutagen.id3
import numpy as np
import pytest
from audio_files import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import synthesize, write_wav

from dejavud.audio.tags import _text, read_tags
from dejavud.values import Tags

if TYPE_CHECKING:
    from pathlib import Path

MUSIC = synthesize(41, 1)
FULL = Tags(title="Älpler — 音", artist="Some Body", album="First")


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp3", "libmp3lame"),
        ("a.flac", "flac"),
        ("a.ogg", "vorbis"),
        ("a.opus", "libopus"),
        ("a.m4a", "aac"),
        ("a.wma", "wmav2"),
        ("a.wav", "pcm_s16le"),
        ("a.aiff", "pcm_s16be"),
    ],
)
def test_title_artist_and_album_are_read(tmp_path: Path, name: str, codec: str) -> None:
    """Every usual container gives the same three values."""
    path = encode(tmp_path / name, MUSIC, 48000, codec, bit_rate=128_000)
    file = mutagen.File(path, easy=name.endswith((".mp3", ".m4a")))
    if file.tags is None:
        file.add_tags()
    values = (FULL.title, FULL.artist, FULL.album)
    if name.endswith((".wav", ".aiff")):
        for frame, value in zip((mutagen.id3.TIT2, mutagen.id3.TPE1, mutagen.id3.TALB), values, strict=True):
            file.tags.add(frame(encoding=3, text=[value]))
    else:
        names = ("Title", "Author", "WM/AlbumTitle") if name.endswith(".wma") else ("title", "artist", "album")
        for key, value in zip(names, values, strict=True):
            file.tags[key] = [value]
    file.save()
    assert read_tags(path, name) == FULL


def test_the_name_stands_in_for_the_title(tmp_path: Path) -> None:
    """Without tags the title is the stem of the name that the owner gave, not of the file it happens to be in."""
    path = write_wav(tmp_path / "upload-1234", MUSIC)
    assert read_tags(path, "Music/03 - Some Song.live.wav") == Tags(title="03 - Some Song.live")
    assert read_tags(path, ".wav") == Tags(title=".wav")


def test_what_cannot_be_read_has_no_tags(tmp_path: Path) -> None:
    """A missing file, a directory, a text and an empty file say nothing of themselves."""
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "text.mp3").write_text("hello")
    for name in ("missing.mp3", ".", "empty.mp3", "text.mp3"):
        assert read_tags(tmp_path / name, "x.mp3") == Tags(title="x")


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp3", "libmp3lame"), ("a.flac", "flac"), ("a.m4a", "aac"), ("a.ogg", "vorbis"), ("a.wma", "wmav2")],
)
def test_damaged_tags_never_fail(tmp_path: Path, name: str, codec: str) -> None:
    """Any byte of the head may be anything, and any length of the file missing."""
    path = encode(tmp_path / name, MUSIC, 44100, codec, bit_rate=128_000, metadata={"title": "abc", "artist": "def"})
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, 1000, 20):
            data[at] = rng.integers(256)
        path.write_bytes(data[: rng.integers(20, len(data))])
        tags = read_tags(path, "n.mp3")
        assert tags.title
        assert all(value is None or len(value) <= 1000 for value in (tags.title, tags.artist, tags.album))


def test_tags_that_are_not_unicode_are_kept_as_far_as_they_are(tmp_path: Path) -> None:
    """Latin-1 bytes where UTF-8 is promised cost no more than themselves."""
    path = encode(tmp_path / "a.flac", MUSIC, 44100, "flac", metadata={"title": "cafXX noir", "artist": "Somebody"})
    path.write_bytes(path.read_bytes().replace(b"cafXX", b"caf\xe9\xff"))
    tags = read_tags(path, "a.flac")
    assert tags.title is not None
    assert tags.title.startswith("caf")
    assert tags.artist == "Somebody"


def test_several_values_are_joined_once_each(tmp_path: Path) -> None:
    """Two artists are both named, a repeated one once."""
    path = encode(tmp_path / "a.flac", MUSIC, 44100, "flac")
    file = mutagen.flac.FLAC(path)
    file["artist"] = ["Ann", "Bob", "Ann", " "]
    file.save()
    assert read_tags(path, "a.flac").artist == "Ann; Bob"


def test_the_album_artist_stands_in_for_the_artist(tmp_path: Path) -> None:
    """An album's artist is better than none."""
    path = encode(tmp_path / "a.flac", MUSIC, 44100, "flac")
    file = mutagen.flac.FLAC(path)
    file["albumartist"] = ["Ann"]
    file.save()
    assert read_tags(path, "a.flac").artist == "Ann"


def test_an_absurdly_long_title_is_clipped(tmp_path: Path) -> None:
    """A megabyte of title becomes a thousand characters."""
    path = encode(tmp_path / "a.flac", MUSIC, 44100, "flac")
    file = mutagen.flac.FLAC(path)
    file["title"] = ["x" * 1_000_000]
    file.save()
    assert read_tags(path, "a.flac").title == "x" * 1000


@given(st.text(st.characters(codec=None), max_size=3000) | st.lists(st.text(max_size=50), max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_becomes_one_clean_line(text: str | list[str]) -> None:
    """Whatever a tag holds, what comes out is one line that can be shown and encoded, or None."""
    cleaned = _text(text)
    if cleaned is not None:
        assert 0 < len(cleaned) <= 1000
        assert cleaned == cleaned.strip()
        assert len(cleaned.splitlines()) == 1
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in cleaned)
        cleaned.encode("utf-8")
