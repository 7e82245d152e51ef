"""``dejavuctl status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.hooks import hook_line
from dejavuctl.listeners import listener_line
from dejavuctl.output import count, long_time, printable, size
from dejavud import __version__
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping

    from dejavuctl.session import Session

DESCRIPTION = "Says how the daemon is, in about ten lines."
EXAMPLES = """\
examples:
  dejavuctl status
  dejavuctl status --json | jq .n_tracks
  dejavuctl status > /dev/null && echo it is there"""


def configure(parser: ArgumentParser) -> None:
    """Take nothing of its own."""


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(_options: Namespace, session: Session) -> int:
    """Print what the daemon says of itself."""
    with session.connect() as connection:
        status = connection.call("status", {})
    rows = list(_rows(status, session.endpoint))
    width = max(len(label) for label, _ in rows)
    session.out.show(status, "\n".join(f"{label:{width}}  {printable(text)}" for label, text in rows))
    if status.get("version") != __version__ and not session.out.as_json:
        session.out.remark(
            f"dejavuctl: the daemon is version {status.get('version')}, this client {__version__}: "
            "restart the daemon after an upgrade"
        )
    return EXIT_MATCHED


def _rows(status: Mapping[str, Any], endpoint: str) -> Iterator[tuple[str, str]]:
    """Yield labels and texts; what this daemon's version does not tell is left out."""
    yield "dejavud", f"{status.get('version')}, up {long_time(status.get('uptime_s', 0))}, at {endpoint}"
    if "n_tracks" in status:
        music = long_time(status.get("duration_s", 0))
        disabled = f" ({status['n_disabled']} disabled)" if status.get("n_disabled") else ""
        yield (
            "library",
            f"{count(status['n_tracks'], 'track')}{disabled}, {music} of audio, {status.get('n_postings', 0):,} hashes",
        )
    index, engine, microphone = (_object(status, key) for key in ("index", "engine", "microphone"))
    if index:
        view = f" and {size(index['view_bytes'])} of the resident view" if index.get("view_bytes") else ""
        yield "index", f"{index.get('url')}, {size(index.get('size_bytes') or 0)}{view}"
    if engine:
        yield "engine", f"{engine.get('profile')}, parameters {engine.get('params')}"
    if microphone:
        yield "microphone", "available" if microphone.get("available") else f"not available: {microphone.get('reason')}"
    for listener in status.get("listeners") or ():
        yield "listens to", listener_line(listener)
    for hook in status.get("hooks") or ():
        yield "hook", hook_line(hook)
    for label, told in (("history", _history), ("queries", _figures), ("workers", _figures)):
        figures = _object(status, label)
        if figures:
            yield label, told(figures)
    for name, addresses in _object(status, "endpoints").items():
        yield name, ", ".join(map(str, addresses)) if isinstance(addresses, list) else str(addresses)


def _object(status: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = status.get(key)
    return value if isinstance(value, dict) else {}


def _history(history: Mapping[str, Any]) -> str:
    """Return how many plays are kept, and what is wrong where something is."""
    parts = [count(history["n_plays"], "play") if history.get("n_plays") is not None else "not counted"]
    parts += [] if history.get("enabled") else ["switched off"]
    parts += [f"kept for {history['keep_days']:g} days"] if history.get("keep_days") else []
    parts += [
        f"{history[key]} {word}" for key, word in (("n_waiting", "waiting"), ("n_dropped", "lost")) if history.get(key)
    ]
    parts += [str(history["reason"])] if history.get("reason") else []
    return ", ".join(parts)


def _figures(figures: Mapping[str, Any]) -> str:
    """Return named figures as a list: ``n_matched: 3`` is "3 matched"."""
    return ", ".join(
        f"{value} {name.removeprefix('n_').replace('_', ' ')}"
        for name, value in figures.items()
        if isinstance(value, int | float)
    )
