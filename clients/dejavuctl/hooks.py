"""What the commands about hooks share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.output import count, printable

if TYPE_CHECKING:
    from collections.abc import Mapping


HEADING = ("hook", "kind", "state", "target", "how it went")


def hook_cells(view: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a hook as a row."""
    texts = (printable(str(view[key])) for key in ("hook", "kind", "state", "target"))
    return (*texts, ", ".join(_course(view)))


def hook_line(view: Mapping[str, Any]) -> str:
    """Return a hook in a line."""
    name, kind, state, target, course = hook_cells(view)
    return f"{name if name == kind else f'{name} ({kind})'}  {state}, {target}, {course}"


def _course(view: Mapping[str, Any]) -> list[str]:
    parts = [f"{view['n_delivered']} delivered"]
    parts += [f"{view[key]} {word}" for key, word in _FIGURES.items() if view.get(key)]
    if view.get("next_try_at"):
        parts.append(f"next try at {printable(view['next_try_at'])[11:19]}")
    if view.get("last_error"):
        parts.append(f"last error {printable(str(view.get('last_error_at')))[11:19]}: {printable(view['last_error'])}")
    return parts


_FIGURES = {"n_waiting": "waiting", "n_failed": "given up", "n_lost": "lost"}


def outcome_line(outcome: Mapping[str, Any]) -> str:
    """Return what became of a sample."""
    verdict = "ok" if outcome["ok"] else "failed"
    return f"{printable(outcome['hook'])}  {verdict}, {printable(outcome['target'])}: {printable(outcome['said'])}"


def failures_line(outcomes: list[Mapping[str, Any]]) -> str:
    """Return how many hooks failed."""
    return f"dejavuctl: {count(sum(not outcome['ok'] for outcome in outcomes), 'hook')} of {len(outcomes)} failed"
