from __future__ import annotations

import os
import pty
import re
from typing import TYPE_CHECKING, Any

import pytest
from client_daemon import Asked, FakeDaemon, track

from dejavud.errors import TrackNotFound

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from client_runs import Ran


@pytest.fixture
def library(daemon: FakeDaemon) -> dict[int, dict[str, Any]]:
    """Give a library of 1200 tracks that `daemon` lists, shows and removes."""
    tracks = {number: track(number) for number in range(1, 1201)}

    def listed(asked: Asked) -> dict[str, Any]:
        after, limit = asked.params["after_id"], asked.params["limit"]
        page = [tracks[number] for number in sorted(tracks) if number > after][:limit]
        return {"tracks": page, "next_after_id": page[-1]["id"] if len(page) == limit else None}

    def got(asked: Asked) -> dict[str, Any]:
        if asked.params["id"] not in tracks:
            raise TrackNotFound(track=asked.params["id"])
        return {"track": tracks[asked.params["id"]]}

    def removed(asked: Asked) -> dict[str, Any]:
        return {"removed": [tracks.pop(number) for number in asked.params["ids"]]}

    daemon.table |= {"tracks.list": listed, "tracks.get": got, "tracks.remove": removed}
    return tracks


@pytest.mark.parametrize(("words", "n_listed"), [((), 1200), (("--limit", "3"), 3), (("--limit", "700"), 700)])
def test_the_library_is_listed_page_by_page(
    library: dict[int, dict[str, Any]],
    daemon: FakeDaemon,
    ctl: Callable[..., Ran],
    words: tuple[str, ...],
    n_listed: int,
) -> None:
    """All tracks by default, however many pages that takes, and exactly as many as --limit says."""
    ran = ctl("tracks", "ls", "--json", *words)
    assert ran.records == [library[number] for number in range(1, n_listed + 1)]
    assert ran.status == 0
    assert max(each.params["limit"] for each in daemon.asked) <= 500


def test_an_empty_library_says_what_to_do(library: dict[int, dict[str, Any]], ctl: Callable[..., Ran]) -> None:
    """No table of nothing: the command that fills the library."""
    library.clear()
    ran = ctl("tracks", "ls")
    assert (ran.status, ran.out, ran.err) == (0, "", "the library is empty: dejavuctl fingerprint PATH\n")


def test_a_table_goes_to_files_uncut(library: dict[int, dict[str, Any]], ctl: Callable[..., Ran]) -> None:
    """Where the reader is no terminal, a long title is there whole."""
    library[1]["title"] = "A very long title, " * 20
    lines = ctl("tracks", "ls", "--limit", "2").out.splitlines()
    assert lines[0].split() == ["id", "title", "artist", "album", "length"]
    assert library[1]["title"].strip() in lines[1]
    assert lines[2].split() == ["2", "Song", "2", "Somebody", "3:39"]


def test_a_table_fits_the_terminal(
    library: dict[int, dict[str, Any]], start_ctl: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal of 60 columns no line is longer, and what was cut ends in an ellipsis."""
    library[1] |= {"title": "A very long title, " * 20, "artist": "\N{CJK UNIFIED IDEOGRAPH-97F3}" * 40}
    monkeypatch.setenv("COLUMNS", "60")
    ours, theirs = pty.openpty()
    process = start_ctl("tracks", "ls", "--limit", "2", stdout=theirs)
    os.close(theirs)
    assert process.wait() == 0
    drawn = os.read(ours, 65536).decode().replace("\r\n", "\n").splitlines()
    os.close(ours)
    widths = [len(line) + line.count("\N{CJK UNIFIED IDEOGRAPH-97F3}") for line in drawn]
    assert max(widths) <= 60
    assert len(drawn) == 3
    assert drawn[1].count("…") == 2


def test_a_title_cannot_drive_the_terminal(library: dict[int, dict[str, Any]], ctl: Callable[..., Ran]) -> None:
    """Escape sequences and line breaks in tags are shown as replacement characters."""
    library[1]["title"] = "evil\x1b]0;owned\x07\nnext"
    out = ctl("tracks", "ls", "--limit", "1").out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert len(out.splitlines()) == 2


def test_a_track_is_shown(library: dict[int, dict[str, Any]], ctl: Callable[..., Ran]) -> None:
    """Every field that has a value is a line; a program gets the object."""
    out = ctl("tracks", "show", "7").out
    assert re.search(r"^title +Song 7$", out, re.MULTILINE)
    assert re.search(r"^duration +3:39 \(219.4 s\)$", out, re.MULTILINE)
    assert "album" not in out
    assert ctl("tracks", "show", "7", "--json").records == [library[7]]


def test_a_track_that_is_not_there_is_said(library: dict[int, dict[str, Any]], ctl: Callable[..., Ran]) -> None:
    """Exit 4 with the daemon's sentence, or its error as an object."""
    assert 99999 not in library
    ran = ctl("tracks", "show", "99999")
    assert (ran.status, ran.err) == (4, "dejavuctl: there is no track 99999 in the library\n")
    assert ctl("tracks", "show", "99999", "--json").records[0]["error"]["code"] == "track_not_found"


def test_tracks_are_removed(library: dict[int, dict[str, Any]], ctl: Callable[..., Ran]) -> None:
    """With --yes what is there is removed, and what is not is exit 4."""
    ran = ctl("tracks", "rm", "7", "8", "99999", "7", "--yes")
    assert ran.status == 4
    assert ran.out == "removed 7: Song 7 by Somebody\nremoved 8: Song 8 by Somebody\n"
    assert ran.err == "dejavuctl: there is no track 99999 in the library\n"
    assert not {7, 8} & library.keys()
    assert ctl("tracks", "rm", "9", "-y").status == 0


def test_nothing_is_removed_where_nobody_can_be_asked(
    library: dict[int, dict[str, Any]], start_ctl: Callable[..., subprocess.Popen[str]]
) -> None:
    """In a script, without --yes, nothing happens, and the message names --yes."""
    process = start_ctl("tracks", "rm", "7")
    out, err = process.communicate()
    assert (process.returncode, out) == (4, "")
    assert "say --yes" in err
    assert 7 in library


@pytest.mark.parametrize(("answer", "is_removed"), [("y\n", True), ("\n", False), ("no\n", False)])
def test_a_person_is_asked(
    library: dict[int, dict[str, Any]],
    start_ctl: Callable[..., subprocess.Popen[str]],
    answer: str,
    *,
    is_removed: bool,
) -> None:
    """The question names the tracks, and anything but yes leaves them."""
    ours, theirs = pty.openpty()
    process = start_ctl("tracks", "rm", "7", stdin=theirs)
    os.close(theirs)
    os.write(ours, answer.encode())
    _, err = process.communicate()
    os.close(ours)
    assert err.startswith("  7: Song 7 by Somebody\nRemove 1 track from the library? [y/N] ")
    assert (process.returncode, 7 not in library) == ((0, True) if is_removed else (4, False))
