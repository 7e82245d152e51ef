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

_SHOWN = 4
"""Listeners, and hooks, of which each has a line: all of it is to fit into a glance."""


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
    yield from _heard(status)
    index, engine = (_object(status, key) for key in ("index", "engine"))
    if index:
        view = f" and {size(index['view_bytes'])} of the resident view" if index.get("view_bytes") else ""
        away = ", which is away" if index.get("reachable") is False else ""
        profile = f", {engine.get('profile')} ({engine.get('params')})" if engine else ""
        yield "index", f"{index.get('url')}{away}, {size(index.get('size_bytes') or 0)}{view}{profile}"
    for label, told in (("history", _history), ("queries", _figures)):
        figures = _object(status, label)
        if figures:
            yield label, told(figures)
    for hook in (status.get("hooks") or ())[:_SHOWN]:
        yield "hook", hook_line(hook)
    if "workers" in status:
        yield "load", _load(status)
    last = _object(status, "troubles").get("last")
    if isinstance(last, dict):
        yield "last error", _trouble(last, _object(status, "troubles"))
    places = [
        str(place)
        for name, places in _object(status, "endpoints").items()
        if name != "control"
        for place in _list(places)
    ]
    if places:
        yield "reached at", ", ".join(places)


def _heard(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield how the listeners are, first those where something plays, then those that hear nothing; without one, how the microphone is."""
    listeners = sorted(
        status.get("listeners") or (), key=lambda one: (not one.get("plays"), one["state"] == "listening")
    )
    for listener in listeners[:_SHOWN]:
        yield "listens to", listener_line(listener)
    if len(listeners) > _SHOWN:
        yield "listens to", f"{len(listeners) - _SHOWN} more: dejavuctl listen ls"
    microphone = _object(status, "microphone")
    if microphone and not listeners:
        yield "microphone", "available" if microphone.get("available") else f"not available: {microphone.get('reason')}"


def _load(status: Mapping[str, Any]) -> str:
    """Return how busy it is, and what it takes."""
    workers, process, loop = (_object(status, key) for key in ("workers", "process", "loop"))
    n_streams = workers.get("n_streams", 0)
    n_busy = workers.get("n_busy", 0) - n_streams
    parts = [
        f"{n_busy} of {count(workers.get('n_processes', 0), 'worker')} busy, {workers.get('n_waiting', 0)} waiting"
    ]
    parts += [f"{n_streams} more for what is heard"] if n_streams else []
    parts += [f"{workers['n_died']} died"] if workers.get("n_died") else []
    parts += [size(process["memory_bytes"])] if process.get("memory_bytes") else []
    parts += [f"loop held up for {1000 * loop['longest_turn_s']:.0f} ms at most"] if "longest_turn_s" in loop else []
    return ", ".join(parts)


def _trouble(last: Mapping[str, Any], troubles: Mapping[str, Any]) -> str:
    reason = f": {last['reason']}" if last.get("reason") else ""
    counted = f"{count(troubles.get('n_errors', 0), 'error')}, {count(troubles.get('n_warnings', 0), 'warning')} in all"
    return f"{last.get('event')}{reason} ({last.get('at')}; {counted})"


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


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
