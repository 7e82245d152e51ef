from __future__ import annotations

import csv
import io
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from client_daemon import track

from dejavud.errors import InternalError, UnreadableFile, UnsupportedUrl

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from client_daemon import Asked, FakeDaemon
    from client_runs import Ran


def play(track_id: int = 7, start_s: float = 61.2, **changes: object) -> dict[str, Any]:
    """Return a play as the daemon tells it."""
    return {
        "track": track(track_id),
        "start_s": start_s,
        "end_s": start_s + 184.6,
        "track_start_s": 0.0,
        "track_end_s": 184.6,
        "confidence": 0.999996,
        "coverage": 0.97,
        "gaps": [{"start_s": start_s + 69.1, "end_s": start_s + 74.5}],
        "twins": [],
        **changes,
    }


def scanning(*plays: dict[str, Any], n_damaged: int = 0) -> Callable[[Asked], dict[str, Any]]:
    """Return how a daemon answers that finds these, one after another."""

    def answer(asked: Asked) -> dict[str, Any]:
        for number, one in enumerate(plays, 1):
            asked.progress(done_s=600.0 * number, total_s=600.0 * len(plays), plays=[one], sounding=[])  # type: ignore[arg-type]
        source = asked.params.get("source") or asked.params["url"]
        recording = {"source": source, "duration_s": 3600.0, "n_damaged_packets": n_damaged}
        return {"recording": recording, "plays": sorted(plays, key=lambda one: one["start_s"]), "engine": {}}

    return answer


@pytest.fixture
def show(tmp_path: Path) -> Path:
    """Give a file that the daemon never looks into."""
    path = tmp_path / "a show.mp3"
    path.write_bytes(b"RIFF")
    return path


def test_a_table_has_a_row_a_play(daemon: FakeDaemon, ctl: Callable[..., Ran], show: Path) -> None:
    """Each play is a line for a person, under one heading; the summary stands beside the answer."""
    daemon.table["scan"] = scanning(play(), play(8, 300.0, gaps=[]))
    ran = ctl("scan", show)
    heading, first, second = ran.out.splitlines()
    assert ran.status == 0
    assert heading.split() == ["start", "end", "track", "from", "to", "sure", "gaps"]
    assert re.split(r"  +", first) == ["1:01", "4:05", "Song 7 by Somebody", "0:00", "3:04", "99.99 %", "2:10-2:15"]
    assert re.split(r"  +", second)[:3] == ["5:00", "8:04", "Song 8 by Somebody"]
    assert ran.err == "2 plays in 1:00:00\n"
    assert daemon.asked[-1].params == {"path": str(show), "source": str(show)}


def test_json_lines_are_the_plays_and_then_the_recording(
    daemon: FakeDaemon, ctl: Callable[..., Ran], show: Path
) -> None:
    """A program gets each play as the daemon tells it, and at the end what the recording was."""
    daemon.table["scan"] = scanning(play(), play(8, 300.0))
    for words in (["--json"], ["--format", "json"]):
        ran = ctl("scan", show, "-q", *words)
        assert ran.records[:2] == [play(), play(8, 300.0)]
        assert ran.records[2]["recording"] == {
            "source": str(show),
            "duration_s": 3600.0,
            "n_damaged_packets": 0,
            "n_plays": 2,
            "interrupted": False,
        }
        assert ran.err == ""


def test_csv_is_a_table_for_a_spreadsheet(daemon: FakeDaemon, ctl: Callable[..., Ran], show: Path) -> None:
    """One heading, a row a play; what a title holds does not break a row."""
    odd = play(track=track(7, title='Say "hi", twice\nplease', artist=None))
    daemon.table["scan"] = scanning(odd, play(8, 300.0, gaps=[]))
    first, second = csv.DictReader(io.StringIO(ctl("scan", show, "--format", "csv", "-q").out, newline=""))
    assert first["title"] == 'Say "hi", twice\nplease'
    assert first["artist"] == ""
    assert (first["start_s"], first["end_s"], first["track_id"]) == ("61.2", "245.8", "7")
    assert first["gaps"] == "130.3-135.7"
    assert second["gaps"] == ""


def test_a_cue_sheet_is_in_order_and_in_frames(daemon: FakeDaemon, ctl: Callable[..., Ran], show: Path) -> None:
    """Tracks are numbered by their beginnings, whichever ended first; times are minutes, seconds and 75ths."""
    late, early = play(8, 4000.51, track=track(8, title='A "b"', artist=None)), play(7, 61.2)
    daemon.table["scan"] = scanning(late, early)
    assert ctl("scan", show, "--format", "cue", "-q").out.splitlines() == [
        'TITLE "a show.mp3"',
        'FILE "a show.mp3" MP3',
        "  TRACK 01 AUDIO",
        '    TITLE "Song 7"',
        '    PERFORMER "Somebody"',
        "    INDEX 01 01:01:15",
        "  TRACK 02 AUDIO",
        "    TITLE \"A 'b'\"",
        "    INDEX 01 66:40:38",
    ]


def test_a_cue_sheet_holds_99_tracks_and_says_so(daemon: FakeDaemon, ctl: Callable[..., Ran], show: Path) -> None:
    """More plays than a sheet can number are left out with a word; beginnings always ascend."""
    daemon.table["scan"] = scanning(*(play(7, 5.0 * (number // 2)) for number in range(120)))
    ran = ctl("scan", show, "--format", "cue")
    assert "99 tracks, 120 were played" in ran.err
    indices = re.findall(r"INDEX 01 (\d\d):(\d\d):(\d\d)", ran.out)
    times = [(int(m) * 60 + int(s)) * 75 + int(f) for m, s, f in indices]
    assert len(times) == 99
    assert all(a < b for a, b in zip(times, times[1:], strict=False))  # noqa: RUF007 - the pairs are the claim


def test_nothing_played_is_no_match(daemon: FakeDaemon, ctl: Callable[..., Ran], show: Path) -> None:
    """A recording without a known track ends with 1; a spreadsheet still gets its heading."""
    daemon.table["scan"] = scanning()
    assert (ctl("scan", show).status, ctl("scan", show).out) == (1, "")
    assert ctl("scan", show, "--format", "csv").out.startswith("start_s,end_s,")


def test_an_address_goes_to_the_daemon(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """What looks like an address is not looked for among the files."""
    daemon.table["scan"] = scanning(play())
    assert ctl("scan", "https://radio.example/live", "--limit", "60").status == 0
    assert daemon.asked[-1].params == {"url": "https://radio.example/live", "limit_s": 60.0}


def test_a_file_that_the_daemon_cannot_read_is_sent(daemon: FakeDaemon, ctl: Callable[..., Ran], show: Path) -> None:
    """Where the daemon may not open the path, the bytes go there."""
    found = scanning(play())

    def scan(asked: Asked) -> dict[str, Any]:
        if "path" in asked.params:
            raise UnreadableFile(source=asked.params["path"], reason="permission denied")
        return found(asked)

    daemon.table["scan"] = scan
    assert ctl("scan", show).status == 0
    assert daemon.uploads == {"u0": b"RIFF"}


def test_damage_is_told(daemon: FakeDaemon, ctl: Callable[..., Ran], show: Path) -> None:
    """A person learns that parts could not be heard."""
    daemon.table["scan"] = scanning(play(), n_damaged=3)
    assert "3 damaged packets" in ctl("scan", show).err


@pytest.mark.parametrize("form", ["table", "json", "csv", "cue"])
def test_a_failure_is_told_after_what_was_found(
    daemon: FakeDaemon, ctl: Callable[..., Ran], show: Path, form: str
) -> None:
    """When a scan breaks off, the plays before are printed in every format, and the exit status is 4."""

    def scan(asked: Asked) -> dict[str, Any]:
        asked.progress(done_s=600.0, total_s=None, plays=[play()], sounding=[])  # type: ignore[arg-type]
        raise InternalError(reason="a bug")

    daemon.table["scan"] = scan
    ran = ctl("scan", show, "--format", form)
    assert ran.status == 4
    assert "Song 7" in ran.out
    assert "a bug" in (ran.out if form == "json" else ran.err)


def test_a_refusal_is_told_alone(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Where nothing was heard, a program gets the error and nothing else."""

    def scan(_asked: Asked) -> dict[str, Any]:
        raise UnsupportedUrl(url="ftp://x", reason="no")

    daemon.table["scan"] = scan
    ran = ctl("scan", "ftp://x", "--json")
    assert ran.status == 4
    assert [record["error"]["code"] for record in ran.records] == ["unsupported_url"]


@pytest.mark.parametrize("words", [["a.mp3", "--json", "--format", "csv"], [], ["a", "b"], ["a", "--format", "xml"], ["a", "--limit", "0"]])  # fmt: skip
def test_a_wrong_command_line_is_refused(ctl: Callable[..., Ran], words: list[str]) -> None:
    """Two formats, no recording, two recordings, an unknown format, no time at all: 2."""
    with pytest.raises(SystemExit, match="2"):
        ctl("scan", *words)


@pytest.mark.parametrize("form", ["json", "cue"])
def test_ctrl_c_prints_what_is_known(
    daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]], form: str
) -> None:
    """What is over and what still sounds is printed; the daemon is told to stop, and the exit status is 130."""

    def scan(asked: Asked) -> None:
        asked.progress(done_s=600.0, total_s=None, plays=[play()], sounding=[play(8, 400.0)])  # type: ignore[arg-type]
        process.send_signal(signal.SIGINT)

    daemon.table["scan"] = scan
    process = start_ctl("scan", "http://radio.example/live", "--format", form)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Song 7" in out
    assert "Song 8" in out
    assert err == "interrupted: 2 plays in 10:00\n"
    assert daemon.cancelled.get(timeout=5) == daemon.asked[-2].request.id
