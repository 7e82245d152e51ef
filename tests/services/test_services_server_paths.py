"""Files that clients of other machines name: in the folders that conf allows, wherever links, dots and races lead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dejavud.errors import Forbidden, UnreadableFile
from dejavud.services.server_paths import ServerPaths

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return a folder that may be read from, beside one that may not."""
    for name in ("music/album", "music-private", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "music/album/a.wav").write_bytes(b"music")
    for name in ("secret/key", "music-private/a.wav"):
        (tmp_path / name).write_bytes(b"secret")
    return tmp_path / "music"


@pytest.mark.parametrize("root", ["music", "linked", "music/"])
def test_files_in_the_folders_are_read(tmp_path: Path, music: Path, root: str) -> None:
    """By their name, through links within, and where the folder itself is called by a link; their place is told without links."""
    (tmp_path / "linked").symlink_to(music)
    (music / "short").symlink_to(music / "album")
    paths = ServerPaths([f"{tmp_path}/{root}"])
    for name in ("album/a.wav", "short/a.wav", "album/../album/a.wav"):
        with paths.holding(f"{music}/{name}") as held:
            assert held.path.read_bytes() == b"music"
            assert held.place == str(music / "album/a.wav")


LEADING_OUT: dict[str, Callable[[Path], str]] = {
    "another folder": lambda music: f"{music.parent}/secret/key",
    "dots": lambda music: f"{music}/../secret/key",
    "dots behind a folder that is not there": lambda music: f"{music}/nothing/../../secret/key",
    "a link to a file": lambda music: linked(music / "a", music.parent / "secret/key"),
    "a link to a folder": lambda music: linked(music / "b", music.parent / "secret") + "/key",
    "a link that goes up": lambda music: linked(music / "c", Path("../secret")) + "/key",
    "a link to nothing outside": lambda music: linked(music / "d", music.parent / "nothing"),
    "a folder whose name begins the same": lambda music: f"{music}-private/a.wav",
    "the folder above": lambda music: str(music.parent),
    "nothing": lambda music: f"{music.parent}/nothing/at/all",
    "a process's own files": lambda _: "/proc/self/environ",
    "a descriptor": lambda _: "/proc/self/fd/0",
    "a device": lambda _: "/dev/zero",
}


def linked(name: Path, target: Path) -> str:
    """Return the name of a new link."""
    name.symlink_to(target)
    return str(name)


@pytest.mark.parametrize("way", LEADING_OUT)
def test_nothing_else_is(music: Path, way: str) -> None:
    """However a file outside is named, the answer is the same, and does not tell whether it is there."""
    path = LEADING_OUT[way](music)
    with pytest.raises(Forbidden, match="none of the folders") as caught, ServerPaths([str(music)]).holding(path):
        pass
    assert "secret" not in caught.value.message.replace(path, "")


@pytest.mark.parametrize("what", ["missing", "folder", "pipe", "too long"])
def test_what_is_no_file_in_the_folders_is_unreadable(music: Path, what: str) -> None:
    """Of the folders themselves it is said what is wrong; a pipe is not opened."""
    os.mkfifo(music / "pipe")
    path = {"missing": "x.wav", "folder": "album", "pipe": "pipe", "too long": "x" * 300}[what]
    with pytest.raises(UnreadableFile), ServerPaths([str(music)]).holding(f"{music}/{path}"):
        pass


def test_what_was_looked_at_is_what_is_read(music: Path) -> None:
    """A name that is made a link to somewhere else between the look and the reading changes nothing."""
    song = music / "album/a.wav"
    with ServerPaths([str(music)]).holding(str(song)) as held:
        song.unlink()
        song.symlink_to(music.parent / "secret/key")
        assert held.path.read_bytes() == b"music"


@pytest.mark.parametrize("path", ["a.wav", "../secret/key", "", "/music/\0", "/music/\ud800"])
def test_relative_names_mean_nothing(music: Path, path: str) -> None:
    """A path is absolute."""
    with pytest.raises(Forbidden), ServerPaths([str(music)]).holding(path):
        pass


def test_without_folders_nothing_may_be_named(music: Path) -> None:
    """Nothing is allowed until conf allows it, and no more once it does not."""
    paths = ServerPaths([str(music)])
    paths.change(())
    with pytest.raises(Forbidden, match="send the bytes"), paths.holding(f"{music}/album/a.wav"):
        pass


def test_descriptors_are_given_back(music: Path) -> None:
    """Neither an answer nor an error keeps a file open."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names, not paths
    test_files_in_the_folders_are_read(music.parent, music, "music")
    with pytest.raises(Forbidden), ServerPaths([str(music)]).holding("/dev/zero"):
        pass
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
