"""``dejavuctl compact`` and ``dejavuctl check``: what is asked, what is said, and the exit status."""

from __future__ import annotations

import json
import queue
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from client_daemon import FakeDaemon
    from client_runs import Ran

FINDINGS: list[dict[str, Any]] = [
    {"kind": "postings_differ", "track_id": 17, "reason": "its 9 postings are not the 10", "repair": "made again"},
    {"kind": "view_damaged", "track_id": None, "reason": "segment-1: places\x1b[2J is damaged", "repair": None},
]
REPORT: dict[str, Any] = {
    "n_tracks": 402,
    "n_findings": 2,
    "n_repaired": 1,
    "kinds": {"postings_differ": 1, "view_damaged": 1},
    "findings": FINDINGS,
    "elapsed_s": 61.0,
}


@pytest.mark.parametrize(
    ("words", "command", "left"),
    [
        ("compact", "compact", "the index is as it was"),
        ("check --repair", "check", "what was repaired stays so"),
        ("backup /nowhere", "backup", "nothing of the file is left"),
        ("export /nowhere", "export", "nothing of the file is left"),
        ("import /nowhere", "import", "the tracks that came stay; run it again to go on"),
        ("restore /nowhere", "restore", "the library is between what it was and the backup; run it again to go on"),
        ("status", "status", ""),
    ],
)
def test_ctrl_c_ends_it_in_the_daemon_too_and_says_what_is_left(
    daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]], words: str, command: str, left: str
) -> None:
    """The request is cancelled, one line says what there is now, for a program too, and the exit status is 130."""
    started: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
    daemon.table[command] = lambda _: started.get(timeout=20).send_signal(signal.SIGINT)
    for form in ("", "--json"):
        process = start_ctl(*words.split(), *form.split())
        started.put(process)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 130
        assert daemon.cancelled.get(timeout=5) == 1
        told = f"interrupted: {left}\n" if left else "interrupted\n"
        assert (out, err) == (('{"interrupted":true}\n', "") if form and left else ("", told))


def test_check_shows_what_is_wrong_and_ends_with_one(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """A row a finding, what became of it, and how many are left; nothing that could harm the terminal."""
    daemon.table["check"] = lambda _: REPORT
    ran = ctl("check", "--repair")
    assert daemon.asked[-1].params == {"repair": True}
    assert ran.status == 1
    assert "17" in ran.out
    assert "postings differ" in ran.out
    assert "made again" in ran.out
    assert "not repaired" in ran.out
    assert "2 findings, 1 repaired, 1 left" in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.parametrize(
    ("report", "status"),
    [
        ({**REPORT, "n_findings": 0, "n_repaired": 0, "findings": []}, 0),
        ({**REPORT, "n_repaired": 2}, 0),
        ({**REPORT, "n_repaired": 0}, 1),
    ],
    ids=["all is well", "all repaired", "none repaired"],
)
def test_the_exit_status_tells_whether_something_is_wrong_still(
    daemon: FakeDaemon, ctl: Callable[..., Ran], report: dict[str, Any], status: int
) -> None:
    """0 where nothing is, or was repaired; 1 else; and the report itself as JSON."""
    daemon.table["check"] = lambda _: report
    ran = ctl("check", "--json")
    assert daemon.asked[-1].params == {"repair": False}
    assert ran.status == status
    assert json.loads(ran.out) == report


def test_of_more_findings_than_are_told_the_number_is_said(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """The daemon tells the first ones only."""
    daemon.table["check"] = lambda _: {**REPORT, "n_findings": 12_000}
    assert "and 11998 more" in ctl("check").out


def test_compact_tells_what_it_gave_back(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Bytes before and after, or that there was nothing to do."""
    done = {"n_bytes_before": 247_000_000, "n_bytes_after": 221_000_000, "is_rewritten": True, "elapsed_s": 16.2}
    daemon.table["compact"] = lambda _: done
    ran = ctl("compact")
    assert ran.status == 0
    assert "247 MB before, 221 MB after" in ran.out
    assert json.loads(ctl("compact", "--json").out) == done
    daemon.table["compact"] = lambda _: {**done, "is_rewritten": False}
    assert "nothing to do" in ctl("compact").out
