from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from dejavuctl.files import AUDIO_EXTENSIONS, AudioFile, NameStream, find_audio

if TYPE_CHECKING:
    from pathlib import Path


def _names(folder: Path, *paths: str) -> list[str]:
    found = list(find_audio(paths or [str(folder)], AUDIO_EXTENSIONS))
    return [os.path.relpath(file.typed, folder) for file in found if isinstance(file, AudioFile)]


def test_a_folder_is_walked_in_sorted_order(tmp_path: Path) -> None:
    """Files of a folder come sorted, before those of its subfolders, which come sorted too."""
    for name in ("z.mp3", "a.mp3", "B/1.mp3", "B/A/1.mp3", "a/9.mp3", "a/10.mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert _names(tmp_path) == ["a.mp3", "z.mp3", "B/1.mp3", "B/A/1.mp3", "a/10.mp3", "a/9.mp3"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    """A folder that links to itself or to its parent is entered once; a link to a file is that file."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.mp3").touch()
    (tmp_path / "sub" / "self").symlink_to(tmp_path / "sub")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "link.mp3").symlink_to(tmp_path / "sub" / "a.mp3")
    (tmp_path / "dangling.mp3").symlink_to(tmp_path / "nowhere")
    assert _names(tmp_path) == ["link.mp3", "sub/a.mp3"]


def test_hidden_entries_are_passed_over_unless_named(tmp_path: Path) -> None:
    """Hidden files and folders in a folder are not taken; a hidden one that is named is."""
    (tmp_path / ".trash").mkdir()
    for name in (".trash/a.mp3", ".b.mp3", "c.mp3"):
        (tmp_path / name).touch()
    assert _names(tmp_path) == ["c.mp3"]
    assert _names(tmp_path, str(tmp_path / ".b.mp3"), str(tmp_path / ".trash")) == [".b.mp3", ".trash/a.mp3"]


def test_a_named_file_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    """Extensions choose among the files of folders only."""
    (tmp_path / "recording.xyz").touch()
    assert _names(tmp_path) == []
    assert _names(tmp_path, str(tmp_path / "recording.xyz")) == ["recording.xyz"]


def test_what_is_not_a_plain_file_cannot_be_named_to_the_daemon(tmp_path: Path) -> None:
    """A pipe or a descriptor of this process means something else, or nothing, to the daemon."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "plain.wav").touch()
    assert AudioFile(str(tmp_path / "plain.wav")).can_be_named
    assert not AudioFile(str(tmp_path / "pipe")).can_be_named
    assert not AudioFile("/dev/stdin").can_be_named
    assert not AudioFile("/dev/fd/0").can_be_named


@given(
    names=st.lists(st.text(st.characters(exclude_characters="\n\r\0", codec="utf-8"), min_size=1), max_size=8),
    nul_separated=st.booleans(),
)
def test_names_survive_the_stream(names: list[str], *, nul_separated: bool) -> None:
    """Names that are written, one a line or NUL-separated, come out as they went in, and then the end."""
    separator = b"\0" if nul_separated else b"\n"
    reading, writing = os.pipe()
    os.write(writing, separator.join(name.encode() for name in names))
    os.close(writing)
    stream = NameStream(reading, separator=separator)
    taken = []
    while (file := stream.take()) is not None:
        taken.append(file.typed)
    os.close(reading)
    assert taken == names
    assert stream.exhausted


def test_a_name_is_not_taken_before_its_end() -> None:
    """Half a line is no name yet; nothing at hand is not the end."""
    reading, writing = os.pipe()
    stream = NameStream(reading, separator=b"\n")
    os.write(writing, b"one.wav\ntwo")
    first, second = stream.take(), stream.take()
    assert first is not None
    assert (first.typed, second, stream.exhausted) == ("one.wav", None, False)
    os.write(writing, b".wav\r\n")
    third = stream.take()
    assert third is not None
    assert third.typed == "two.wav"
    os.close(writing)
    assert (stream.take(), stream.exhausted) == (None, True)
    os.close(reading)
