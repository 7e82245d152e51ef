from __future__ import annotations

import hashlib
import os
import pty
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from client_daemon import Asked, FakeDaemon, track

from dejavud.errors import Busy, UnreadableFile, UnsupportedAudio

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from client_runs import Ran


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Give a folder with three recordings, one of them below, and what is not to be taken."""
    folder = tmp_path / "music"
    (folder / "album").mkdir(parents=True)
    for name in ("b.mp3", "a.OGG", "album/c.flac", "cover.jpg", ".hidden.mp3"):
        (folder / name).write_bytes(name.encode() * 10)
    return folder


def _added(asked: Asked) -> dict[str, Any]:
    return {"track": track(len(asked.daemon.asked), path=asked.params.get("path")), "added": True}


def test_a_folder_is_added_and_summed_up(daemon: FakeDaemon, ctl: Callable[..., Ran], music: Path) -> None:
    """Every recording below the folder is asked for by its absolute path, and the summary counts them."""
    daemon.table["fingerprint"] = _added
    ran = ctl("fingerprint", music, "--limit", "60", "--jobs", "1")
    assert ran.status == 0
    asked = [each.params for each in daemon.asked if each.request.method == "fingerprint"]
    assert asked == [
        {"path": str(music / name), "name": str(music / name), "limit_s": 60.0}
        for name in ("a.OGG", "b.mp3", "album/c.flac")
    ]
    assert re.fullmatch(
        r"3 tracks added, 0 known already, 0 failed; 10:58 of audio in 0:0\d, \d+x real time\n", ran.out
    )
    assert ran.err == ""


def test_programs_get_an_object_a_file_and_a_summary(daemon: FakeDaemon, ctl: Callable[..., Ran], music: Path) -> None:
    """Added, known and failed files each have their object, and the last object sums up; one failure is exit 4."""

    def by_name(asked: Asked) -> dict[str, Any]:
        if asked.params["name"].endswith("b.mp3"):
            raise UnsupportedAudio(source=asked.params["name"], reason="no audio in it")
        return {"track": track(), "added": asked.params["name"].endswith("OGG")}

    daemon.table["fingerprint"] = by_name
    ran = ctl("fingerprint", "--json", music, "--jobs", "1")
    *files, last = ran.records
    assert ran.status == 4
    assert [record["source"] for record in files] == [str(music / name) for name in ("a.OGG", "b.mp3", "album/c.flac")]
    assert files[0]["added"] is True
    assert files[0]["track"]["id"] == 7
    assert files[1]["error"]["code"] == "unsupported_audio"
    assert files[2]["added"] is False
    summary = last["summary"]
    assert {**summary, "elapsed_s": 0} == {
        "n_added": 1,
        "n_known": 1,
        "n_failed": 1,
        "n_duplicates": 0,
        "audio_s": 219.4,
        "elapsed_s": 0,
        "interrupted": False,
    }


def test_failures_are_listed_with_their_reason(daemon: FakeDaemon, ctl: Callable[..., Ran], music: Path) -> None:
    """Even with --quiet each failed file and its reason is said; what is not there is one of them."""

    def refuse(asked: Asked) -> dict[str, Any]:
        raise UnsupportedAudio(source=asked.params["name"], reason="no audio in it")

    daemon.table["fingerprint"] = refuse
    ran = ctl("fingerprint", "--quiet", music / "b.mp3", music / "missing")
    assert (ran.status, ran.out) == (4, "")
    assert ran.err.splitlines() == [
        f"failed: {music}/missing: No such file or directory",
        f"failed: {music}/b.mp3: no audio in it",
    ]


@pytest.mark.parametrize("words", [("--ext", "mp3,flac"), ("--ext", ".MP3", "--ext", "flac")], ids=" ".join)
def test_ext_chooses_what_is_taken(
    daemon: FakeDaemon, ctl: Callable[..., Ran], music: Path, words: tuple[str, ...]
) -> None:
    """--ext can be repeated or hold a list, with or without dots, whatever the case."""
    daemon.table["fingerprint"] = _added
    ctl("fingerprint", music, *words, "--jobs", "1")
    paths = [each.params["path"] for each in daemon.asked if each.request.method == "fingerprint"]
    assert paths == [str(music / "b.mp3"), str(music / "album/c.flac")]


def test_nothing_found_is_said(ctl: Callable[..., Ran], music: Path) -> None:
    """A folder without a recording is a mistake worth a word, not a success."""
    ran = ctl("fingerprint", music, "--ext", "wma")
    assert (ran.status, ran.err) == (2, f"dejavuctl: no audio files in {music} (looked for wma)\n")


def test_unreadable_files_are_sent_only_when_unknown(daemon: FakeDaemon, ctl: Callable[..., Ran], music: Path) -> None:
    """Where the daemon cannot read, its contents are compared by SHA1 first: what it knows is not sent."""
    known = hashlib.sha1((music / "b.mp3").read_bytes()).hexdigest()  # noqa: S324 - the protocol's name of a content

    def only_bytes(asked: Asked) -> dict[str, Any]:
        if "path" in asked.params:
            raise UnreadableFile(source=asked.params["name"], reason="Permission denied")
        return _added(asked)

    daemon.table["fingerprint"] = only_bytes
    daemon.table["tracks.known"] = lambda asked: {
        "tracks": {sha1: track() for sha1 in asked.params["sha1s"] if sha1 == known}
    }
    ran = ctl("fingerprint", "--json", music, "--jobs", "1")
    assert [record.get("added") for record in ran.records] == [True, False, True, None]
    assert list(daemon.uploads.values()) == [(music / name).read_bytes() for name in ("a.OGG", "album/c.flac")]
    assert [each.params["size_bytes"] for each in daemon.asked if each.request.method == "upload.open"] == [50, 120]


def test_ctrl_c_sums_up_what_was_done(
    daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]], music: Path
) -> None:
    """An interrupted run cancels what is in flight, says what was added before, and ends with 130."""
    stuck: list[Any] = []

    def first_only(asked: Asked) -> dict[str, Any] | None:
        if asked.params["path"].endswith("a.OGG"):
            return _added(asked)
        stuck.append(asked.request.id)
        process.send_signal(signal.SIGINT)
        return None

    daemon.table["fingerprint"] = first_only
    process = start_ctl("fingerprint", "--json", "--jobs", "1", music)
    out, _ = process.communicate()
    assert process.returncode == 130
    assert '"n_added":1,"n_known":0,"n_failed":0' in out.splitlines()[-1]
    assert '"interrupted":true' in out.splitlines()[-1]
    assert set(stuck) <= set(daemon.cancelled.queue)


def test_a_terminal_sees_a_bar(
    daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]], music: Path
) -> None:
    """On a terminal there is a bar with files, rate and remaining time, and it is gone when the summary comes."""
    refused: list[int] = []

    def slowly(asked: Asked) -> dict[str, Any]:
        if len(refused) < 4:  # the client's own pauses make the run long enough for a bar
            refused.append(1)
            raise Busy(what="a test")
        asked.progress(done_s=100.0, total_s=200.0)
        return _added(asked)

    daemon.table["fingerprint"] = slowly
    ours, theirs = pty.openpty()
    process = start_ctl("fingerprint", "--jobs", "1", music, stderr=theirs)
    os.close(theirs)
    out, _ = process.communicate()
    drawn = b""
    try:
        while data := os.read(ours, 65536):
            drawn += data
    except OSError:  # the terminal's other side is closed
        pass
    os.close(ours)
    assert process.returncode == 0
    assert re.search(r"\r\[[#-]+\] \d of 3 files, \d+x real time, (\d+:\d\d|\?:\?\?) left", drawn.decode())
    assert drawn.endswith(b"\r\x1b[K")
    assert out.startswith("3 tracks added")


def test_the_same_recording_in_another_file_is_said(daemon: FakeDaemon, ctl: Callable[..., Ran], music: Path) -> None:
    """On a line of its own with the tracks that hold it, and in the sum; a program has it in the file's object."""
    others = [{**track(3), "confidence": 0.99996}, {**track(4, artist=None), "confidence": 0.98}]
    daemon.table["fingerprint"] = lambda asked: {
        **_added(asked),
        "duplicates": others if asked.params["name"].endswith("b.mp3") else [],
    }
    ran = ctl("fingerprint", music, "--jobs", "1")
    assert ran.err == f"same recording: {music}/b.mp3 as 3: Song 3 by Somebody (99.99 %), 4: Song 4 (98 %)\n"
    assert ran.out.startswith("3 tracks added, 1 of them the same recording as another, 0 known already, 0 failed; ")
    records = ctl("fingerprint", music, "--jobs", "1", "--json").records
    assert [record["duplicates"] for record in records[:-1]] == [[], others, []]
    assert records[-1]["summary"]["n_duplicates"] == 1
