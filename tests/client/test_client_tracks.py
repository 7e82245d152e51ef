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
        params = asked.params
        after, limit = int(params.get("cursor", 0)), params["limit"]
        chosen = [tracks[number] for number in sorted(tracks) if number in params.get("ids", tracks)]
        chosen = [each for each in chosen if each["file_sha1"] in params.get("sha1s", [each["file_sha1"]])]
        chosen = [each for each in chosen if params.get("artist", each["artist"]) == each["artist"]]
        if params.get("state", "all") != "all":
            chosen = [each for each in chosen if each["disabled"] == (params["state"] == "disabled")]
        page = [each for each in chosen if each["id"] > after][: limit + 1]
        cursor = str(page[limit - 1]["id"]) if len(page) > limit else None
        return {"tracks": page[:limit], "n_total": len(chosen), "next": cursor}

    def got(asked: Asked) -> dict[str, Any]:
        if asked.params["id"] not in tracks:
            raise TrackNotFound(track=asked.params["id"])
        return {"track": tracks[asked.params["id"]]}

    def removed(asked: Asked) -> dict[str, Any]:
        return {"removed": [tracks.pop(number) for number in asked.params["ids"]]}

    def changed(asked: Asked) -> dict[str, Any]:
        change = {key: value for key, value in asked.params.items() if key != "ids"}
        if asked.request.method != "tracks.edit":
            change = {"disabled": asked.request.method == "tracks.disable"}
        for number in asked.params["ids"]:
            tracks[number] |= change
        return {"updated": [tracks[number] for number in asked.params["ids"]]}

    daemon.table |= {"tracks.list": listed, "tracks.get": got, "tracks.remove": removed}
    daemon.table |= dict.fromkeys(("tracks.edit", "tracks.disable", "tracks.enable"), changed)
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
    assert drawn[0].startswith("\x1b[1m")  # the heading is bold
    drawn = [re.sub(r"\x1b\[[0-9]*m", "", line) for line in drawn]
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


@pytest.mark.parametrize(
    ("words", "params"),
    [
        ((), {"state": "enabled"}),
        (("chopin", "op 9", "--all"), {"state": "all", "search": "chopin op 9"}),
        (("--disabled", "--sort", "title", "--reverse"), {"state": "disabled", "sort": "title", "reverse": True}),
        (
            ("--artist", "A", "--album", "B", "--path", "/m", "--added-after", "2026-01-01", "--added-before", "2027"),
            {
                "state": "enabled",
                "artist": "A",
                "album": "B",
                "path": "/m",
                "added_after": "2026-01-01",
                "added_before": "2027",
            },
        ),
    ],
)
def test_ls_asks_for_what_the_command_line_says(
    daemon: FakeDaemon, ctl: Callable[..., Ran], words: tuple[str, ...], params: dict[str, Any]
) -> None:
    """Words and options become the daemon's parameters; disabled tracks are left out unless they are asked for."""
    daemon.table["tracks.list"] = lambda _: {"tracks": [], "n_total": 0, "next": None}
    assert ctl("tracks", "ls", *words).status == 0
    assert daemon.asked[-1].params == {**params, "limit": 500}


def test_ls_says_how_many_there_are(library: dict[int, dict[str, Any]], ctl: Callable[..., Ran]) -> None:
    """With --limit of how many; with --all which are disabled; where nothing is like that, none."""
    library[2]["disabled"] = True
    assert ctl("tracks", "ls", "--limit", "3").err == "3 of 1199 tracks\n"
    lines = ctl("tracks", "ls", "--all", "--limit", "2").out.splitlines()
    assert lines[0].split()[-1] == "state"
    assert [line.split()[-1] for line in lines[1:]] == ["3:39", "disabled"]
    assert [track["id"] for track in ctl("tracks", "ls", "--disabled", "--json").records] == [2]
    assert ctl("tracks", "ls", "--artist", "Nobody").err == "0 tracks\n"


def test_tracks_are_edited(library: dict[int, dict[str, Any]], ctl: Callable[..., Ran]) -> None:
    """By number and by SHA1, each once; what is not there is said and makes exit 4; "" takes a field away."""
    ran = ctl("tracks", "edit", "7", f"{8:040X}", "7", "99999", "--title", "New", "--artist", "")
    assert ran.status == 4
    assert ran.out == "updated 7: New\nupdated 8: New\n"
    assert ran.err == "dejavuctl: there is no track 99999 in the library\n"
    assert (library[7]["title"], library[8]["artist"], library[9]["title"]) == ("New", "", "Song 9")
    assert ctl("tracks", "edit", "9", "--album", "B", "--json").records == [{"updated": library[9]}]


def test_tracks_are_disabled_and_enabled(library: dict[int, dict[str, Any]], ctl: Callable[..., Ran]) -> None:
    """Those that are named without a question; with --dry-run nothing happens."""
    ran = ctl("tracks", "disable", "7", "8", "--dry-run")
    assert (ran.status, ran.out) == (0, "7: Song 7 by Somebody\n8: Song 8 by Somebody\n")
    assert ran.err == "2 tracks would be disabled\n"
    assert not library[7]["disabled"]
    assert ctl("tracks", "disable", "7", "8").out == "disabled 7: Song 7 by Somebody\ndisabled 8: Song 8 by Somebody\n"
    assert library[7]["disabled"]
    assert re.search(r"^state +disabled", ctl("tracks", "show", "7").out, re.MULTILINE)
    assert ctl("tracks", "enable", "7", "--json").records == [{"enabled": {**library[7], "disabled": True}}]
    assert not library[7]["disabled"]


def test_a_filter_chooses_what_is_changed(library: dict[int, dict[str, Any]], ctl: Callable[..., Ran]) -> None:
    """With --yes all of them; one alone without a question; none is said."""
    for number in range(1, 1101):
        library[number]["artist"] = "Old"
    library[1200]["artist"] = "Alone"
    assert len(ctl("tracks", "disable", "--artist", "Old", "--yes", "--json").records) == 1100
    assert sum(each["disabled"] for each in library.values()) == 1100
    assert ctl("tracks", "disable", "--artist", "Alone").out == "disabled 1200: Song 1200 by Alone\n"
    assert ctl("tracks", "disable", "--artist", "Old").err == "no track is like that; nothing was disabled\n"
    assert len(ctl("tracks", "rm", "--artist", "Old", "--yes", "--json").records) == 1100
    assert len(library) == 100


@pytest.mark.parametrize("command", ["rm", "disable", "enable"])
def test_more_than_one_by_filter_is_asked_about(
    library: dict[int, dict[str, Any]], start_ctl: Callable[..., subprocess.Popen[str]], command: str
) -> None:
    """Where nobody can be asked nothing happens."""
    for each in library.values():
        each["disabled"] = command == "enable"
    before = dict(library)
    process = start_ctl("tracks", command, "--artist", "Somebody")
    out, err = process.communicate()
    assert (process.returncode, out) == (4, "")
    assert "say --yes" in err
    assert library == before


@pytest.mark.parametrize(
    "words",
    [
        ("rm",),
        ("rm", "seven"),
        ("rm", "7", "--artist", "A"),
        ("disable", "--search", ""),
        ("edit", "7"),
        ("edit", "--title", "x"),
        ("ls", "--all", "--disabled"),
        ("ls", "--sort", "colour"),
    ],
)
def test_wrong_command_lines_change_nothing(
    library: dict[int, dict[str, Any]], daemon: FakeDaemon, ctl: Callable[..., Ran], words: tuple[str, ...]
) -> None:
    """Neither named nor chosen, both, or nothing to change: exit 2 before the daemon is asked."""
    assert len(library) == 1200
    with pytest.raises(SystemExit) as caught:
        ctl("tracks", *words)
    assert caught.value.code == 2
    assert daemon.asked == []
