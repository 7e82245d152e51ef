"""What the library knows: added from files and folders, listed, deleted."""

from __future__ import annotations

import hashlib
import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest
from api_music import PIECES, clip, clip_file, piece_file

import dejavud.recognize
from dejavud import Dejavu
from dejavud.api import SongDatabase
from dejavud.errors import IndexFull, InvalidRequest, NoFingerprint, UnreadableFile, UnsupportedAudio
from dejavud.index.memory import MemoryIndex
from dejavud.recognize import FileRecognizer

OLD_INTERFACE: dict[Any, dict[str, list[str]]] = {
    Dejavu: {
        "fingerprint_directory": ["path", "extensions", "nprocesses"],
        "fingerprint_file": ["path", "song_name"],
        "generate_fingerprints": ["samples", "Fs"],
        "find_matches": ["hashes"],
        "align_matches": ["matches", "dedup_hashes", "queried_hashes", "topn"],
        "recognize": ["recognizer", "options", "kwoptions"],
        "get_fingerprinted_songs": [],
        "delete_songs_by_id": ["song_ids"],
    },
    SongDatabase: {
        "empty": [],
        "get_num_songs": [],
        "get_num_fingerprints": [],
        "get_songs": [],
        "get_song_by_id": ["song_id"],
        "insert_song": ["_song"],
        "insert_hashes": ["_hashes"],
        "return_matches": ["hashes"],
    },
    dejavud.recognize: {"FileRecognizer": ["dejavu"], "MicrophoneRecognizer": ["dejavu"]},
}


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in OLD_INTERFACE.items() for name in names])
def test_every_call_of_the_old_library_is_here(owner: Any, name: str) -> None:  # noqa: ANN401 - a class or a module
    """Each name of the old interface takes the old arguments, first and in their order, by their names."""
    parameters = [parameter for parameter in inspect.signature(getattr(owner, name)).parameters if parameter != "self"]
    expected = OLD_INTERFACE[owner][name]
    assert parameters[: len(expected)] == expected


def test_a_file_is_known_by_its_bytes(music: Path, tmp_path: Path) -> None:
    """Adding a file returns the SHA1 of its bytes; a copy under another name adds nothing."""
    copy = shutil.copy(music / "piece1.wav", tmp_path / "copy.wav")
    with Dejavu(dburl="memory://") as library:
        sha1 = library.fingerprint_file(music / "piece1.wav")
        assert sha1 == hashlib.sha1(Path(copy).read_bytes()).hexdigest()  # noqa: S324 - as files are told apart
        assert library.fingerprint_file(str(copy), "another name") == sha1
        (song,) = library.get_fingerprinted_songs()
        assert (song["song_name"], song["file_sha1"]) == ("piece1", sha1)


def test_a_song_is_called_what_it_was_named(music: Path, tmp_path: Path) -> None:
    """The name that is given stands in every answer, whatever is in it; without one it is the stem of the file."""
    named = "AC/DC - T.N.T. (live)"
    with Dejavu(dburl="memory://") as library:
        library.fingerprint_file(music / "piece1.wav", song_name=named)
        library.fingerprint_file(music / "piece2.wav")
        assert [song["song_name"] for song in library.get_fingerprinted_songs()] == [named, "piece2"]
        found = library.recognize(FileRecognizer, clip_file(tmp_path / "clip.wav", 1, 3.0))["results"]
        assert [song["song_name"] for song in found] == [named]


def test_a_tilde_is_the_home_folder(music: Path, tmp_path: Path) -> None:
    """As in the old program's examples, ~/Music is the user's; the test's home is its own folder."""
    shutil.copytree(music, tmp_path / "Music")
    with Dejavu(dburl="memory://") as library:
        library.fingerprint_file("~/Music/piece1.wav")
        report = library.fingerprint_directory("~/Music", nprocesses=1)
        assert len(report.added) == len(PIECES) - 1
        assert library.recognize(FileRecognizer, "~/Music/piece2.wav")["results"]


def test_files_that_cannot_be_added_say_why(tmp_path: Path) -> None:
    """A missing file, one that is no audio and one without a sound are errors, and leave nothing behind."""
    (tmp_path / "text.mp3").write_text("no music")
    with Dejavu(dburl="memory://") as library:
        for path, error in (("missing.wav", UnreadableFile), ("text.mp3", UnsupportedAudio)):
            with pytest.raises(error):
                library.fingerprint_file(tmp_path / path)
        with pytest.raises(NoFingerprint):
            library.fingerprint_file(clip_file(tmp_path / "short.wav", 1, 0.0, 0.05))
        assert library.db.get_num_songs() == 0


def test_a_folder_tells_what_became_of_each_file(music: Path, tmp_path: Path) -> None:
    """Files below a folder are added; copies and known ones, and bad ones, are told apart and hinder no other."""
    folder = tmp_path / "folder"
    shutil.copytree(music, folder / "below")
    shutil.copy(music / "piece1.wav", folder / "copy.wav")
    (folder / "bad.mp3").write_text("no music")
    (folder / "cover.jpg").write_text("no music either, and not meant to be")
    told: list[tuple[int, int, str]] = []
    with Dejavu(dburl="memory://") as library:
        first = library.fingerprint_directory(folder, progress=lambda *figures: told.append(figures))
        again = library.fingerprint_directory(folder)
        assert library.db.get_num_songs() == len(PIECES)
    assert sorted(first.added.values()) == [1, 2, 3]
    assert len(first.known) == 1
    assert {*first.added, *first.known} == {str(path) for path in folder.rglob("*.wav")}
    assert list(first.failed) == [str(folder / "bad.mp3")]
    assert isinstance(first.failed[str(folder / "bad.mp3")], UnsupportedAudio)
    assert (len(again.added), len(again.known), len(again.failed)) == (0, len(PIECES) + 1, 1)
    assert [(done, n_files) for done, n_files, _ in told] == [(done, 5) for done in range(1, 6)]
    assert {path for *_, path in told} == {*first.added, *first.known, *first.failed}


@pytest.mark.parametrize("extensions", [["mp3"], [".mp3"], ["MP3", "ogg"]])
def test_extensions_choose(tmp_path: Path, extensions: list[str]) -> None:
    """Only files with one of the extensions are taken, with or without a dot and in any case."""
    for name in ("a.mp3", "b.MP3", "c.wav", "mp3"):
        (tmp_path / name).write_text("no music")
    with Dejavu(dburl="memory://") as library:
        report = library.fingerprint_directory(tmp_path, extensions, nprocesses=1)
    assert sorted(report.failed) == [str(tmp_path / "a.mp3"), str(tmp_path / "b.MP3")]


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    """A missing folder, a file, extensions as one text and a number of processes that is none say what is wrong."""
    song = piece_file(tmp_path / "song.wav", 1, 8000, 2.0)
    with Dejavu(dburl="memory://") as library:
        with pytest.raises(UnreadableFile, match="no such folder"):
            library.fingerprint_directory(tmp_path / "missing")
        with pytest.raises(UnreadableFile, match="fingerprint_file"):
            library.fingerprint_directory(song)
        with pytest.raises(InvalidRequest, match=r"\['mp3'\]"):
            library.fingerprint_directory(tmp_path, "mp3")
        with pytest.raises(InvalidRequest, match="nprocesses"):
            library.fingerprint_directory(tmp_path, nprocesses=0)
        (tmp_path / "empty").mkdir()
        assert len(library.fingerprint_directory(tmp_path / "empty")) == 0


def test_an_error_of_the_progress_function_is_the_callers_own(music: Path) -> None:
    """What the function raises comes out as it is, not in a group; what was added until then stays."""

    def stop(done: int, n_files: int, path: str) -> None:
        message = f"{done} of {n_files}: {path}"
        raise LookupError(message)

    with Dejavu(dburl="memory://") as library:
        with pytest.raises(LookupError, match="1 of 3"):
            library.fingerprint_directory(music, nprocesses=1, progress=stop)
        assert library.db.get_num_songs() >= 1


def test_a_full_disk_ends_a_folder(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be stored the folder ends with that error, instead of failing file by file."""

    def full(_index: MemoryIndex, _entries: object) -> None:
        raise IndexFull(reason="no space left")

    monkeypatch.setattr(MemoryIndex, "add", full)
    with Dejavu(dburl="memory://") as library, pytest.raises(IndexFull, match="no space left"):
        library.fingerprint_directory(music, nprocesses=1)


def test_songs_are_counted_listed_and_deleted(library: Dejavu) -> None:
    """The database tells of its songs by the old names, and forgets those that are deleted."""
    songs = library.get_fingerprinted_songs()
    assert [song["song_name"] for song in songs] == ["piece1", "piece2", "piece3"]
    assert set(songs[0]) == {"song_id", "song_name", "file_sha1", "total_hashes", "date_created"}
    assert songs == library.db.get_songs()
    assert library.db.get_num_songs() == 3
    assert library.db.get_num_fingerprints() == sum(song["total_hashes"] for song in songs)
    second = songs[1]["song_id"]
    assert library.db.get_song_by_id(second) == songs[1]
    assert library.delete_songs_by_id([second, 999]) == [second]
    assert library.db.get_song_by_id(second) is None
    assert library.db.get_songs() == [songs[0], songs[2]]
    library.db.empty()
    assert (library.db.get_num_songs(), library.db.get_num_fingerprints(), library.db.get_songs()) == (0, 0, [])


def test_a_long_list_of_songs_is_whole(library: Dejavu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs are read page by page, and none is lost or doubled between two pages."""
    whole = library.db.get_songs()
    for page_tracks in (1, 2, 3):
        monkeypatch.setattr("dejavud.api.songs._PAGE_TRACKS", page_tracks)
        assert library.db.get_songs() == whole


def test_pairs_are_met_where_they_are_stored(library: Dejavu) -> None:
    """Hashes as pairs of text and frame meet the songs that have them, at the difference of their frames."""
    fingerprints, _ = library.generate_fingerprints(clip(3, 4.0))
    pairs = list(fingerprints)
    found, by_song = library.db.return_matches(pairs)
    assert sorted(found) == sorted(library.find_matches(fingerprints)[0])
    best = max(set(found), key=found.count)
    song = library.db.get_song_by_id(best[0])
    assert song is not None
    assert song["song_name"] == "piece3"
    assert best[1] * 0.032 == pytest.approx(4.0, abs=0.04)
    assert sum(by_song.values()) == len(found)
    assert library.db.return_matches([]) == ([], {})


@pytest.mark.parametrize("pairs", [[("no hash", 1)], [("fffffffff", 1)], [("ff", None)], [1], ["ff"], [(b"", 2)]])
def test_pairs_that_are_none_are_refused(library: Dejavu, pairs: Any) -> None:  # noqa: ANN401 - what the case says
    """What is not a list of (hash, offset) says what one looks like."""
    with pytest.raises(InvalidRequest, match="hex digits"):
        library.db.return_matches(pairs)


def test_half_a_song_cannot_be_stored(library: Dejavu) -> None:
    """The two old calls that stored a song in two steps name the one that does it in one."""
    with pytest.raises(InvalidRequest, match="fingerprint_file"):
        library.db.insert_song("name", "sha1", 7)
    with pytest.raises(InvalidRequest, match="fingerprint_file"):
        library.db.insert_hashes(1, [("00000001", 2)])
