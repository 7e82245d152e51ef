"""``dejavuctl migrate``: from whatever names the old database to a report."""

from __future__ import annotations

import io
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dejavud.errors import SourceUnavailable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from client_daemon import Asked, FakeDaemon
    from client_runs import Ran

REPORT: dict[str, Any] = {
    "url": "mysql://ada:***@db/dejavu",
    "kind": "mysql",
    "schema": "worldveil-2019",
    "profile": "classic/dejavu-2020",
    "profiles": ["classic/dejavu-2020"],
    "dry_run": False,
    "n_songs": 12,
    "n_rows": 900_000,
    "n_wanted": 10,
    "n_added": 9,
    "n_known": 1,
    "n_without_sha1": 2,
    "n_left_out": {"half_written": 1, "empty": 1, "too_large": 0, "unreadable": 0},
    "left_out": [
        {"id": 3, "title": "Half\x1b[2J", "reason": "half_written"},
        {"id": 4, "title": "None", "reason": "empty"},
    ],
    "n_hashes": 899_000,
    "n_repeated_rows": 7,
    "n_bad_rows": 0,
    "n_orphan_rows": 30,
    "elapsed_s": 75.2,
    "warnings": ["mind the profile"],
}


@pytest.fixture
def asked(daemon: FakeDaemon) -> FakeDaemon:
    """Give a daemon that has brought a database over."""
    daemon.table["migrate"] = lambda _: {"migration": REPORT}
    return daemon


def url_of(daemon: FakeDaemon) -> str:
    """Return the URL that the daemon was asked for last."""
    return str(daemon.asked[-1].params["url"])


def test_the_report_says_what_became_of_it(asked: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """What is not nothing is in the table, songs that were left out are named, warnings stand beside it, and no name moves the cursor."""
    ran = ctl("migrate", "mysql://ada:secret@db/dejavu")
    assert ran.status == 0
    assert asked.asked[-1].params == {"url": "mysql://ada:secret@db/dejavu", "dry_run": False}
    rows = dict(line.split("  ", 1) for line in ran.out.splitlines() if not line.startswith("  "))
    values = {name: value.strip() for name, value in rows.items()}
    assert values["database"] == "mysql://ada:***@db/dejavu, tables of worldveil-2019"
    assert values["brought over"] == "9, 899000 hashes"
    assert values["already there"] == "1"
    assert values["left out: dejavu had not finished them"] == "1"
    assert values["fingerprints that came twice"] == "7"
    assert values["time"] == "1:15"
    assert "could not be read" not in ran.out
    assert "left out: 4: None (empty)" in ran.out
    assert "\x1b" not in ran.out
    assert ran.err == "dejavuctl: mind the profile\n"


def test_programs_get_the_whole_report(asked: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """With --json the report is one object, as the daemon made it."""
    ran = ctl("migrate", "mysql://db/dejavu", "--dry-run", "--json")
    assert ran.records == [REPORT]
    assert asked.asked[-1].params["dry_run"] is True


@pytest.mark.parametrize(
    ("given", "asked_for"),
    [
        ("sqlite:///old.db", "sqlite:///{here}/old.db"),
        ("sqlite+pysqlite:///music/old.db", "sqlite+pysqlite:///{here}/music/old.db"),
        ("sqlite:////srv/old.db", "sqlite:////srv/old.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgres://a@b/c", "postgres://a@b/c"),
    ],
)
def test_a_relative_file_is_named_from_the_root_on(
    asked: FakeDaemon,
    ctl: Callable[..., Ran],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    given: str,
    asked_for: str,
) -> None:
    """The daemon's working directory is not the caller's."""
    monkeypatch.chdir(tmp_path)
    assert ctl("migrate", given).status == 0
    assert url_of(asked) == asked_for.format(here=tmp_path)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (
            {"database": {"host": "db", "user": "ada", "password": "p@ss/w:", "database": "dejavu"}},
            "mysql://ada:p%40ss%2Fw%3A@db/dejavu",
        ),
        (
            {
                "database": {"host": "db", "user": "a", "password": "p", "database": "d", "port": 5433},
                "database_type": "postgres",
            },
            "postgresql://a:p@db:5433/d",
        ),
        (
            {"database": {"host": "127.0.0.1", "user": "root", "passwd": "", "db": "dejavu"}},
            "mysql://root:@127.0.0.1/dejavu",
        ),
        ({"database": {"hostname": "h", "username": "u", "password": "p", "database": "d"}}, "mysql://u:p@h/d"),
        ({"database": {"database": "d"}}, "mysql://localhost/d"),
    ],
)
def test_dejavus_own_configuration_names_the_database(
    asked: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path, settings: dict[str, Any], url: str
) -> None:
    """The configuration of every version of worldveil's dejavu is understood, whatever characters the password has."""
    path = tmp_path / "dejavu.cnf"
    path.write_text(json.dumps(settings))
    assert ctl("migrate", path).status == 0
    assert url_of(asked) == url


@pytest.mark.parametrize("text", [None, "not json", "[]", "{}", '{"database": "x"}', '{"database": {"host": "x"}}'])
def test_what_names_no_database_is_refused(ctl: Callable[..., Ran], tmp_path: Path, text: str | None) -> None:
    """A file that is not there or is no configuration of dejavu's: 2, before the daemon is asked."""
    path = tmp_path / "dejavu.cnf"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit, match="2"):
        ctl("migrate", path)


def test_the_url_may_come_on_standard_input(
    asked: FakeDaemon, ctl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody sees the password in the list of processes."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("mysql://ada:secret@db/dejavu\n"))
    assert ctl("migrate", "-").status == 0
    assert url_of(asked) == "mysql://ada:secret@db/dejavu"


def test_an_error_is_said_and_ends_with_4(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """What the daemon cannot read is told with its code for programs, as a sentence for people."""

    def refuse(_: Asked) -> dict[str, Any]:
        raise SourceUnavailable(url="mysql://ada:***@db/dejavu", reason="no route")

    daemon.table["migrate"] = refuse
    ran = ctl("migrate", "mysql://ada:secret@db/dejavu")
    assert (ran.status, ran.err) == (4, "dejavuctl: mysql://ada:***@db/dejavu cannot be read: no route\n")
    ran = ctl("migrate", "mysql://ada:secret@db/dejavu", "--json")
    assert ran.records[0]["error"]["code"] == "source_unavailable"


def test_ctrl_c_says_what_stays(daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]]) -> None:
    """The daemon is told to stop, what came over is counted, and the exit status is 130."""

    def migrate(asked: Asked) -> None:
        asked.progress(state="reading", n_songs_done=3, n_songs=9, n_rows_done=300, n_rows=900)  # type: ignore[arg-type]
        process.send_signal(signal.SIGINT)

    daemon.table["migrate"] = migrate
    process = start_ctl("migrate", "mysql://db/dejavu")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert err == "interrupted: 3 songs came over and stay; run it again to go on\n"
    assert daemon.cancelled.get(timeout=5) == daemon.asked[-2].request.id


def test_progress_shows_songs_fingerprints_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each state of a migration has its line; rate and remaining time are of the reading alone."""
    from dejavuctl.commands.migrate import _Progress  # noqa: PLC0415 - only this test draws

    clock_s = [100.0]
    monkeypatch.setattr("dejavuctl.progress.time.monotonic", lambda: clock_s[0])
    stream = io.StringIO()
    progress = _Progress(stream, enabled=True)
    reading = {"state": "reading", "n_songs": 9, "n_rows": 9_000_000}
    for after_s, figures in (
        (60.0, {"state": "counting"}),
        (60.0, {**reading, "n_songs_done": 0, "n_rows_done": 0}),
        (60.0, {**reading, "n_songs_done": 3, "n_rows_done": 3_000_000}),
        (60.0, {"state": "waiting", "reason": "the server is gone"}),
    ):
        clock_s[0] += after_s
        progress.note(figures)
    assert stream.getvalue().splitlines() == [
        "the old database counts its fingerprints …",
        "0 of 9 songs, 0.0 of 9.0 M fingerprints, 0 k/s, ?:?? left",
        "3 of 9 songs, 3.0 of 9.0 M fingerprints, 50 k/s, 2:00 left",
        "waiting: the server is gone",
    ]
