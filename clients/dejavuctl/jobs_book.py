"""What the commands about jobs share: a job as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.output import clock, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNNING, DONE = "running", "done"
_SHOWN = 3
"""Figures of its progress that a job's line has."""


HEADING = ("job", "command", "state", "took", "how far", "asked for by")


def job_cells(job: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a job as a row."""
    return (*_words(job), ", ".join(_course(job)), _asked(job))


def job_line(job: Mapping[str, Any]) -> str:
    """Return a job in a line: its id, what it is, how it is, and how far or why not."""
    name, command, state, took = _words(job)
    return ", ".join([f"{name}  {command}  {state}", took, *_course(job)])


def _words(job: Mapping[str, Any]) -> tuple[str, str, str, str]:
    name, command, state = (printable(str(job[key])) for key in ("id", "command", "state"))
    return name, command, state, clock(job["elapsed_s"])


def _course(job: Mapping[str, Any]) -> list[str]:
    words = figures_of(job) if job["state"] == RUNNING else []
    if job.get("error"):
        words.append(printable(str(job["error"]["message"])))
    return words


def figures_of(job: Mapping[str, Any]) -> list[str]:
    """Return how far a job is, in the words of what it told last."""
    figures = {key: value for key, value in job["progress"].items() if isinstance(value, int | float | str)}
    done, total = (figures.pop(key, None) for key in ("done_s", "total_s"))
    words = []
    if isinstance(done, int | float):
        words.append(f"{clock(done)} of {clock(total)}" if isinstance(total, int | float) else clock(done))
    n_done, n_total = (figures.pop(key, None) for key in ("n_done", "n_total"))
    if isinstance(n_done, int):
        words.append(f"{n_done} of {n_total}" if isinstance(n_total, int) else str(n_done))
    words += [f"{printable(key)} {printable(str(value))}" for key, value in figures.items()]
    return words[:_SHOWN]


def _asked(job: Mapping[str, Any]) -> str:
    """Return who asked for a job, and when."""
    asked = job["asked_by"]
    door = f" over {printable(asked['transport'])}" if asked.get("transport") else ""
    return f"{printable(str(asked['client']))}{door}, {_moment(job['started_at'])}"


def _moment(text: str) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - of what is printed for a person only

    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
