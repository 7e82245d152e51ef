"""What the commands about hooks share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.output import count, printable

if TYPE_CHECKING:
    from collections.abc import Mapping


def hook_line(view: Mapping[str, Any]) -> str:
    """Return a hook as a person reads it."""
    name, kind = printable(view["hook"]), printable(view["kind"])
    parts = [f"{name if name == kind else f'{name} ({kind})'}  {view['state']}", printable(view["target"])]
    parts.append(f"{view['n_delivered']} delivered")
    parts += [f"{view[key]} {word}" for key, word in _FIGURES.items() if view.get(key)]
    if view.get("next_try_at"):
        parts.append(f"next try at {printable(view['next_try_at'])[11:19]}")
    if view.get("last_error"):
        parts.append(f"last error {printable(str(view.get('last_error_at')))[11:19]}: {printable(view['last_error'])}")
    return ", ".join(parts)


_FIGURES = {"n_waiting": "waiting", "n_failed": "given up", "n_lost": "lost"}


def outcome_line(outcome: Mapping[str, Any]) -> str:
    """Return what became of a sample."""
    verdict = "ok" if outcome["ok"] else "failed"
    return f"{printable(outcome['hook'])}  {verdict}, {printable(outcome['target'])}: {printable(outcome['said'])}"


def failures_line(outcomes: list[Mapping[str, Any]]) -> str:
    """Return how many hooks failed."""
    return f"dejavuctl: {count(sum(not outcome['ok'] for outcome in outcomes), 'hook')} of {len(outcomes)} failed"
