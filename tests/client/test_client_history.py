"""The commands of the history: filters as a person says them, tables that fit, exports of any length, and nothing forgotten by mistake."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from dejavuctl.plays import local_zone
from dejavud.errors import IndexUnavailable
from dejavud.wire.play_csv import text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from client_daemon import Asked, FakeDaemon
    from client_runs import Ran

N_PLAYS = 2345
TITLE = '=HYPERLINK("http://evil")\r\n"quoted", é'


def play(number: int, **changes: object) -> dict[str, Any]:
    """Return a play as the daemon shows it."""
    return {
        "id": f"0f-{number}",
        "listener": "kitchen",
        "source": "mic",
        "track": {"id": 7, "title": TITLE, "artist": None, "album": None, "file_sha1": "a" * 40},
        "started_at": "2026-10-25T00:30:00+00:00",
        "ended_at": "2026-10-25T01:30:00+00:00",
        **dict.fromkeys(("start_s", "end_s", "track_start_s", "track_end_s"), 1.5),
        "heard_s": 95.7,
        "coverage": 1.0,
        "confidence": 1.0,
        "gaps": [],
        "twins": [],
        "outcome": "going" if number == 0 else "unheard",
        "daemon": "d",
        "host": "h",
        **changes,
    }


@pytest.fixture(autouse=True)
def history(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    """Have `daemon` keep a history, and this machine be in Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()

    def listed(asked: Asked) -> dict[str, Any]:
        first, limit = int(asked.params.get("cursor", 0)), asked.params["limit"]
        plays = [play(number) for number in range(first, min(first + limit, N_PLAYS))]
        if first:
            plays[-1] = play(0)  # which turned out to have started earlier
        following = first + limit
        return {"plays": plays, "next": str(following) if following < N_PLAYS else None, "since": None, "until": None}

    def summary(asked: Asked) -> dict[str, Any]:
        by = asked.params.get("by", "track")
        what = {"track": play(1)["track"], "day": "2026-10-25"}.get(by)
        group = {by: what, "n_plays": 3, "heard_s": 200.0, "first_at": "2026-10-25T00:30:00+00:00"}
        group["last_at"] = "2026-10-25T01:30:00+00:00"
        totals = {"n_groups": 5, "n_plays": 12, "n_tracks": 4, "heard_s": 4000.0}
        return {"by": by, "groups": [group], **totals, "since": "2026-10-24T22:00:00+00:00", "until": None}

    daemon.table |= {
        "history.list": listed,
        "history.summary": summary,
        "history.remove": lambda _: {"n_removed": 12, "since": None, "until": None},
    }
    return daemon


def test_the_last_plays_are_listed_in_local_time(ctl: Callable[..., Ran], daemon: FakeDaemon) -> None:
    """Fifty of them unless all are asked for; titles cannot drive the terminal."""
    ran = ctl("history", "--listener", "kitchen", "--search", "a b", "--since", "24h", "--min", "30", "--track", "7")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["started", "heard", "listener", "title", "artist"]
    assert lines[1].startswith("2026-10-25 02:30:00  1:35   kitchen   =HYPERLINK")
    assert lines[1].endswith("playing now")
    assert (len(lines), ran.err) == (51, "50 plays; all there are with --all\n")
    asked = daemon.asked[-1].params
    assert asked == {
        "listener": "kitchen",
        "search": "a b",
        "since": "24h",
        "min_heard_s": 30.0,
        "tracks": [7],
        "zone": "Europe/Berlin",
        "limit": 50,
    }
    assert len(ctl("history", "ls", "--json", "--limit", "3").records) == 3


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_an_export_has_every_play_once(ctl: Callable[..., Ran], tmp_path: Path, form: str) -> None:
    """Into a file, which is there only once it is whole, and the same to standard output; a going play is not told again."""
    path = tmp_path / f"plays.{form}"
    assert ctl("history", "export", path).out == f"{N_PLAYS - 2} plays in {path}\n"
    text = path.read_bytes().decode()
    ids = [f"0f-{number}" for number in range(N_PLAYS) if number not in (1999, N_PLAYS - 1)]
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert text_of(rows[0]["title"]) == TITLE
        assert rows[0]["started_at"] == "2026-10-25T02:30:00.000+02:00"
        assert [row["id"] for row in rows] == ids
    else:
        plays = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
        assert [found["id"] for found in plays] == ids
        assert plays[0] == play(0)
    assert ctl("history", "export", "--format", form).out == text.replace("\r\n", "\r\n")
    ran = ctl("history", "export", path, "--force")
    assert ran.status == 0
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_an_export_that_fails_leaves_what_was_there(
    ctl: Callable[..., Ran], daemon: FakeDaemon, tmp_path: Path
) -> None:
    """Neither a part of a file nor a file overwritten; one that is there is replaced only where that is said."""
    path = tmp_path / "plays.csv"
    path.write_text("mine")
    with pytest.raises(SystemExit):
        ctl("history", "export", path)

    def fail(_: Asked) -> dict[str, Any]:
        raise IndexUnavailable(reason="it is gone")

    daemon.table["history.list"] = fail
    assert ctl("history", "export", path, "--force").status == 4
    assert (path.read_text(), [found.name for found in tmp_path.iterdir()]) == ("mine", [path.name])
    assert "cannot be written" in ctl("history", "export", tmp_path / "no" / "folder.csv").err


def test_a_summary_says_what_it_comes_to(ctl: Callable[..., Ran], daemon: FakeDaemon) -> None:
    """A line a group, and one for all; the whole answer for programs."""
    ran = ctl("history", "summary", "--day", "yesterday", "--sort", "heard")
    assert ran.out.splitlines()[0].split() == ["plays", "heard", "title", "artist", "last"]
    assert (
        ran.err == "1 of 5 lines; more with --limit\n12 plays of 4 tracks, 1 h 6 min heard, from 2026-10-25 00:00:00\n"
    )
    assert (daemon.asked[-1].params["day"], daemon.asked[-1].params["sort"]) == ("yesterday", "heard")
    assert ctl("history", "summary", "--by", "day").out.splitlines()[1].split() == ["3", "3:20", "2026-10-25"]
    assert ctl("history", "summary", "--by", "artist").out.splitlines()[1].split()[2:4] == ["(no", "artist)"]
    assert ctl("history", "summary", "--json").records[0]["n_plays"] == 12


def test_nothing_is_forgotten_without_a_yes(ctl: Callable[..., Ran], daemon: FakeDaemon) -> None:
    """Where nobody can be asked it is refused; with --yes it is what was shown that goes."""
    ran = ctl("history", "rm", "--listener", "kitchen")
    assert (ran.status, "nobody to ask" in ran.err) == (4, True)
    assert "would be" not in ran.out
    assert "12 plays of 4 tracks" in ctl("history", "rm", "--all", "--dry-run").out
    assert [asked.request.method for asked in daemon.asked] == ["history.summary", "history.summary"]
    ran = ctl("history", "rm", "--day", "yesterday", "--yes")
    assert (ran.status, ran.out) == (0, "forgot 12 plays\n")
    assert daemon.asked[-1].params == {"zone": "Europe/Berlin", "since": "2026-10-24T22:00:00+00:00"}
    ctl("history", "rm", "--all", "--yes", "--json")
    assert daemon.asked[-1].params["everything"] is True


@pytest.mark.parametrize(
    "words",
    [
        ("ls", "--since", "soon"),
        ("ls", "--zone", "Nowhere"),
        ("ls", "--day", "today", "--since", "1h"),
        ("rm",),
        ("rm", "--all", "--listener", "x"),
        ("summary", "--by", "month"),
        ("export", "plays.xlsx"),
    ],
)
def test_a_wrong_command_line_is_refused(ctl: Callable[..., Ran], daemon: FakeDaemon, words: tuple[str, ...]) -> None:
    """Before anything is asked."""
    with pytest.raises(SystemExit) as caught:
        ctl("history", *words)
    assert caught.value.code == 2
    assert not daemon.asked


def test_the_zone_is_that_of_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """By TZ or the machine's own; where only rules are named, the offset of now."""
    for given, expected in ((":America/New_York", "America/New_York"), ("", "UTC"), ("XYZ-5:45", "+05:45")):
        monkeypatch.setenv("TZ", given)
        time.tzset()
        assert local_zone() == expected
    monkeypatch.delenv("TZ")
    time.tzset()
    assert local_zone()
