"""What the commands about jobs share: a job as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.output import clock, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNNING, DONE = "running", "done"
_SHOWN = 3
"""Figures of its progress that a job's line has."""


def job_line(job: Mapping[str, Any]) -> str:
    """Return a job in a line: its id, what it is, how it is, and how far or why not."""
    words = [f"{printable(job['id'])}  {printable(job['command'])}  {job['state']}, {clock(job['elapsed_s'])}"]
    if job["state"] == RUNNING:
        words += figures_of(job)
    if job.get("error"):
        words.append(printable(str(job["error"]["message"])))
    return ", ".join(words)


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


def asked_line(job: Mapping[str, Any]) -> str:
    """Return who asked for a job, and when."""
    asked = job["asked_by"]
    door = f" over {printable(asked['transport'])}" if asked.get("transport") else ""
    return f"asked for by {printable(str(asked['client']))}{door}, {_moment(job['started_at'])}"


def _moment(text: str) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - of what is printed for a person only

    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
