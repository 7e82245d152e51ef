"""The commands of jobs: what a person and a program read, and what they ask of the daemon."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

from dejavud.errors import JobNotFound

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from client_daemon import FakeDaemon
    from client_runs import Ran


def job(**changes: object) -> dict[str, Any]:
    """Return a job as the daemon shows it."""
    return {
        "id": "3f2a-7",
        "command": "scan",
        "state": "running",
        "asked_by": {"client": "kitchen\x1b", "transport": "http", "request_id": "r"},
        "started_at": "2026-01-02T03:04:05+00:00",
        "ended_at": None,
        "elapsed_s": 41.2,
        "progress": {"done_s": 622.0, "total_s": 3483.0, "plays": [], "sounding": []},
        "error": None,
        **changes,
    }


FAILED = job(
    id="3f2a-5",
    command="backup",
    state="failed",
    progress={},
    error={"code": "disk_full", "message": "there is no room\x1b", "details": {}},
)


def test_jobs_are_listed_a_line_each(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """What it is, how it is, how far or why not, and who asked; `jobs` alone is the list."""
    asked = []

    def listed(params: Any) -> dict[str, Any]:  # noqa: ANN401
        asked.append(params.params)
        return {"jobs": [job(), FAILED]}

    daemon.table["jobs.list"] = listed
    for words in (("jobs",), ("jobs", "ls", "--state", "running")):
        lines = ctl(*words).out.splitlines()
        assert re.split("  +", lines.pop(0)) == ["job", "command", "state", "took", "how far", "asked for by"]
        assert re.split("  +", lines[0])[:-1] == ["3f2a-7", "scan", "running", "0:41", "10:22 of 58:03"]
        assert lines[0].endswith(" over http, 2026-01-02 03:04:05 UTC")
        assert lines[1].startswith("3f2a-5  backup   failed   0:41  there is no room")
        assert "\x1b" not in "".join(lines)
    assert asked == [{}, {"state": "running"}]
    assert ctl("jobs", "--json").records == [job(), FAILED]
    daemon.table["jobs.list"] = lambda _: {"jobs": []}
    assert ctl("jobs").err == "there are no jobs\n"


def test_a_job_is_watched_until_it_has_ended(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Its last line says how it ended, and so does the exit status; a job that there is not is said."""
    answers = iter([job(), job(state="done", result={"plays": []}), {**FAILED, "result": None}])
    daemon.table["jobs.get"] = lambda _: {"job": next(answers)}
    done = ctl("jobs", "watch", "3f2a-7")
    assert (done.status, done.out) == (0, "3f2a-7  scan  done, 0:41\n")
    failed = ctl("jobs", "watch", "3f2a-5", "--json")
    assert (failed.status, failed.records[0]["error"]["code"]) == (4, "disk_full")

    def none(_: object) -> dict[str, Any]:
        raise JobNotFound(job="x")

    daemon.table["jobs.get"] = none
    missing = ctl("jobs", "watch", "x")
    assert (missing.status, missing.err.startswith("dejavuctl: there is no job 'x'")) == (4, True)


def test_watching_is_interrupted_and_the_job_goes_on(
    daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]]
) -> None:
    """Ctrl-C ends the watching alone: the daemon is not asked to cancel anything."""
    asked = []

    def get(_: object) -> dict[str, Any]:
        asked.append("jobs.get")
        return {"job": job()}

    daemon.table["jobs.get"] = get
    process = start_ctl("jobs", "watch", "3f2a-7")
    while not asked:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "the job goes on" in err
    assert set(asked) == {"jobs.get"}


def test_jobs_are_cancelled_one_after_the_other(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Of each it is said whether it was still running."""
    answers = iter([{"job": job(), "cancelled": True}, {"job": FAILED, "cancelled": False}])
    daemon.table["jobs.cancel"] = lambda _: next(answers)
    assert ctl("jobs", "cancel", "3f2a-7", "3f2a-5").out.splitlines() == [
        "3f2a-7  scan  cancelled",
        "3f2a-5  backup  had ended already: failed",
    ]
