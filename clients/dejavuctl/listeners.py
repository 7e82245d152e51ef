"""What the commands about listeners share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dejavuctl.output import clock, printable, track_name
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from dejavuctl.session import Session


LATE_S = 1.0
"""Sound that comes so much later than at its best is said to."""


HEADING = ("listener", "state", "source", "what it hears")


def listener_cells(view: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a listener as a row."""
    texts = (printable(str(view[key])) for key in ("listener", "state", "source"))
    return (*texts, ", ".join(_heard(view)))


def listener_line(view: Mapping[str, Any]) -> str:
    """Return a listener in a line."""
    name, state, source, heard = listener_cells(view)
    return f"{name}  {state}, {source}" + (f", {heard}" if heard else "")


def _heard(view: Mapping[str, Any]) -> list[str]:
    """Return what a listener hears, the tracks first, and what is amiss."""
    parts = [f"plays {play_text(play)}" for play in view.get("plays", ())]
    if view.get("reason"):
        parts.append(printable(reason_text(view)))
    if view.get("next_try_at"):
        wait_s = (datetime.fromisoformat(view["next_try_at"]) - datetime.now(UTC)).total_seconds()
        parts.append(f"next try in {wait_s:.0f} s" if wait_s >= 1 else "next try now")
    if view.get("format"):
        parts.append(printable(view["format"]))
    if view.get("level_db") is not None:
        parts.append(f"{view['level_db']:.0f} dB")
    if view.get("drift_ppm") is not None:
        parts.append(f"clock {view['drift_ppm']:+.0f} ppm")
    if (view.get("lag_s") or 0) >= LATE_S:
        parts.append(f"{view['lag_s']:.0f} s late")
    if view.get("n_overruns"):
        parts.append(f"{view['n_overruns']} overrun{'s' if view['n_overruns'] != 1 else ''}")
    return parts


def reason_text(view: Mapping[str, Any]) -> str:
    """Return why a listener is as it is, without the source again, beside which it stands."""
    return str(view["reason"]).removeprefix(f"{view['source']} ").removeprefix(f"{view['source']}: ")


def play_text(play: Mapping[str, Any]) -> str:
    """Return what plays and where in it."""
    track = play["track"]
    return f"{track_name(track)}, {clock(play['track_end_s'])} of {clock(track['duration_s'])}"


class OneListener:
    """A command about one listener, by its name."""

    def __init__(self, command: str, done: str) -> None:
        self._command = command
        self._done = done

    def configure(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument("name", metavar="NAME", help="the listener's name, as `dejavuctl listen ls` has it")

    def check(self, options: Namespace) -> None:
        """Accept anything that parsed."""

    def run(self, options: Namespace, session: Session) -> int:
        """Have the daemon do it."""
        with session.connect() as connection:
            answer = connection.call(self._command, {"name": options.name})
        session.out.show(answer, f"{self._done} {printable(options.name)}")
        return EXIT_MATCHED
