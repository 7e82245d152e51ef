"""What the live view knows, from what the daemon tells: nothing here draws, and nothing talks to anybody."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    View = Mapping[str, Any]

METER = "meter.listener"
KEPT_PLAYS = 200
"""Rows of the history: more than any terminal is high."""
PEAK_HOLD_S = 3.0
GOING, CUT_OFF = "going", "cut_off"
HEARS = ("listening", "silent")
"""States in which a listener has a level."""


@dataclass(frozen=True, slots=True)
class HeardPlay:
    """A row of the history.

    id : the daemon's life and the number of the play in it, as the daemon's history has it.
    outcome : why it ended; `GOING` where it has not.
    """

    id: str
    listener: str
    track: View
    started_at: datetime
    heard_s: float
    confidence: float
    outcome: str


@dataclass(slots=True)
class ShownListener:
    """A listener, as far as it is known.

    view : as ``listener.state`` tells it.
    plays : what sounds now, by number.
    peak_db, peak_at : the highest level of late, and when that was (monotonic).
    """

    view: View
    plays: dict[int, View] = field(default_factory=dict)
    level_db: float | None = None
    peak_db: float | None = None
    peak_at: float = 0.0
    heard_s: float = 0.0
    candidates: Sequence[View] = ()
    absent: set[int] = field(default_factory=set)

    def put(self, view: View) -> None:
        """Take how the listener is now."""
        self.view = view
        self.plays = {play["play"]: play for play in view.get("plays", ())}
        self.heard_s = view.get("heard_s") or 0.0
        if view["state"] not in HEARS:
            self.level_db, self.peak_db, self.candidates = None, None, ()

    def measure(self, meter: View, now: float) -> None:
        """Take how its last second was; a play that two of them in a row do not name was never told to have ended."""
        self.level_db, self.candidates = meter["level_db"], meter["candidates"]
        self.view = {**self.view, "state": meter["state"]}
        self.heard_s = meter["heard_s"]
        if self.level_db is not None and (
            self.peak_db is None or self.level_db >= self.peak_db or now - self.peak_at > PEAK_HOLD_S
        ):
            self.peak_db, self.peak_at = self.level_db, now
        absent = self.plays.keys() - set(meter["plays"])
        for number in absent & self.absent:
            del self.plays[number]
        self.absent = absent

    def position_s(self, play: View) -> float:
        """Return where in its track a play is now: where it was heard last, and as much later as was heard since."""
        position_s: float = play["track_end_s"] + max(0.0, self.heard_s - play["end_s"])
        return min(position_s, play["track"]["duration_s"])


class Scene:
    """All listeners and the last plays; `is_changed` until whoever draws has taken note.

    only : the name of the one listener that is looked at; None looks at all.
    is_known : whether the daemon has said which listeners there are.
    """

    def __init__(self, only: str | None = None) -> None:
        self.only = only
        self.listeners: dict[str, ShownListener] = {}
        self.plays: dict[str, HeardPlay] = {}
        self.chosen: str | None = None
        self.n_ended = self.n_lost = 0
        self.note = ""
        self.is_known = False
        self.is_changed = True

    @property
    def latest(self) -> list[HeardPlay]:
        """Return the plays, newest first."""
        return sorted(self.plays.values(), key=lambda play: play.started_at, reverse=True)

    def choose(self, step: int) -> None:
        """Choose the listener `step` places further down."""
        names = list(self.listeners)
        if names:
            at = names.index(self.chosen) if self.chosen in names else 0
            self.chosen = names[max(0, min(len(names) - 1, at + step))]
            self.is_changed = True

    # -- what the daemon tells --------------------------------------------------------------------------------------

    def show_listeners(self, views: Iterable[View], daemon: str) -> None:
        """Take all listeners as they are now in this life of the daemon: what another one was playing is cut off."""
        known, self.listeners = self.listeners, {}
        for view in views:
            if self.only in (None, view["listener"]):
                self.listeners[view["listener"]] = known.get(view["listener"], ShownListener(view))
                self.listeners[view["listener"]].put(view)
        for play in self.plays.values():
            if play.outcome == GOING and not play.id.startswith(f"{daemon}-"):
                self.plays[play.id] = replace(play, outcome=CUT_OFF)
        self.choose(0)
        self.is_known = self.is_changed = True

    def show_history(self, plays: Iterable[View]) -> None:
        """Take plays of the history; what an event has told of one since then is newer."""
        for play in plays:
            row = HeardPlay(
                id=play["id"],
                listener=play["listener"],
                track=play["track"],
                started_at=datetime.fromisoformat(play["started_at"]),
                heard_s=play["heard_s"],
                confidence=play["confidence"],
                outcome=play["outcome"],
            )
            self._keep(row)

    def take(self, event: View, now: float) -> None:
        """Take one event; `now` is monotonic."""
        topic, data = event["topic"], event["data"]
        name = data.get("listener")
        if name is None or self.only not in (None, name):
            return
        self.is_changed = True
        if topic == METER:
            if name in self.listeners:
                self.listeners[name].measure(data, now)
        elif topic.startswith("match."):
            self._take_play(topic, data, event["daemon"])
        elif topic in ("listener.started", "listener.state"):
            self.listeners.setdefault(name, ShownListener(data)).put(data)
        elif topic == "listener.overrun" and name in self.listeners:
            self.listeners[name].view = {**self.listeners[name].view, "n_overruns": data["n_overruns"]}
        elif topic == "listener.stopped":
            self.listeners.pop(name, None)
        if self.chosen not in self.listeners:
            self.choose(0)

    def _take_play(self, topic: str, play: View, daemon: str) -> None:
        has_ended = topic == "match.ended"
        self.n_ended += has_ended
        if play["listener"] in self.listeners:
            going = self.listeners[play["listener"]].plays
            if has_ended:
                going.pop(play["play"], None)
            else:
                going[play["play"]] = play
        row = HeardPlay(
            id=f"{daemon}-{play['play']}",
            listener=play["listener"],
            track=play["track"],
            started_at=datetime.fromisoformat(play["started_at"]),
            heard_s=(play["end_s"] - play["start_s"]) * play["coverage"],
            confidence=play["confidence"],
            outcome=play.get("outcome", "unheard") if has_ended else GOING,
        )
        self._keep(row)

    def _keep(self, row: HeardPlay) -> None:
        """Keep a row, but for one that goes on where it is known to have ended."""
        known = self.plays.get(row.id)
        if known is None or known.outcome == GOING or row.outcome != GOING:
            self.plays[row.id] = row
            self.is_changed = True
        if len(self.plays) > KEPT_PLAYS:
            del self.plays[min(self.plays.values(), key=lambda play: play.started_at).id]
