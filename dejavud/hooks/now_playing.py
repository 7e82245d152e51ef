"""What plays now, kept from events: what the hooks that show a state have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from dejavud.hooks.settings import FORMAT_FIELDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from dejavud.hooks.base import Figures, ListenerViews
    from dejavud.services.events import Event, EventHub

TOPICS = (
    "match.started",
    "match.updated",
    "match.ended",
    "listener.started",
    "listener.state",
    "listener.stopped",
    "daemon.stopping",
)

_DASHES = " -|:,/\u00b7\u2013\u2014"


@dataclass(frozen=True, slots=True)
class Playing:
    """A play that goes on.

    play : its number among all plays.
    position_s : where in the track it was when it was last told of.
    """

    listener: str
    play: int
    track: Mapping[str, Any]
    started_at: str
    position_s: float
    confidence: float

    @property
    def artist(self) -> str:
        """Return who plays, empty where nobody knows."""
        return _line(self.track.get("artist"))

    @property
    def title(self) -> str:
        """Return what plays: its title, else the name of its file."""
        path = str(self.track.get("path") or "").rpartition("/")[2]
        return (
            _line(self.track.get("title")) or _line(path.rpartition(".")[0] or path) or f"track {self.track.get('id')}"
        )

    @property
    def album(self) -> str:
        """Return where it is from, empty where nobody knows."""
        return _line(self.track.get("album"))

    def text(self, template: str) -> str:
        """Return it as `template` has it; with a field that is empty go the brackets around it, or the dash that joins it to another."""
        fields = {name: getattr(self, name) for name in FORMAT_FIELDS}
        dashes = re.escape(_DASHES)
        for name in (name for name, value in fields.items() if not value):
            template = re.sub(rf" *[(\[]{{{name}}}[)\]]", "", template)
            template = re.sub(rf"(?<=}})[{dashes}]*{{{name}}}|{{{name}}}[{dashes}]*", "", template)
        return template.format(**fields).strip(_DASHES)


@dataclass(slots=True)
class ListenerNow:
    """A listener as it is: its last view, and what plays there by the number of the play."""

    view: Mapping[str, Any]
    plays: dict[int, Playing] = field(default_factory=dict)

    @property
    def latest(self) -> Playing | None:
        """Return the play that began last, None where nothing plays."""
        return self.plays[max(self.plays)] if self.plays else None


class NowPlaying:
    """All listeners as the events up to now have them.

    listeners : by name.
    """

    def __init__(self, views: ListenerViews) -> None:
        self.listeners: dict[str, ListenerNow] = {}
        self._stopping = False
        for view in views():
            now = self._of(str(view["listener"]))
            now.view = view
            now.plays = {play.play: play for play in map(_playing, view["plays"])}

    @property
    def latest(self) -> Playing | None:
        """Return the play that began last, wherever."""
        latest = [play for now in self.listeners.values() if (play := now.latest) is not None]
        return max(latest, key=lambda play: play.play, default=None)

    def take(self, event: Event) -> None:
        """Note what happened; listeners that stop because the daemon does are not gone."""
        data = event.data
        name = str(data.get("listener"))
        if event.topic == "daemon.stopping":
            self._stopping = True
        elif event.topic == "listener.stopped" and self._stopping:
            self.listeners[name] = ListenerNow({**self._of(name).view, "state": "stopped"})
        elif event.topic == "listener.stopped":
            self.listeners.pop(name, None)
        elif event.topic in ("listener.started", "listener.state"):
            self._of(name).view = data
        elif event.topic == "match.ended":
            if name in self.listeners:
                self.listeners[name].plays.pop(data["play"], None)
        else:
            self._of(name).plays[data["play"]] = _playing(data)

    def _of(self, name: str) -> ListenerNow:
        return self.listeners.setdefault(name, ListenerNow({"listener": name, "state": "starting"}))


async def follow(
    hub: EventHub, views: ListenerViews, figures: Figures, show: Callable[[NowPlaying], Awaitable[None]]
) -> None:
    """Have `show` show what plays, now and whenever that changes, until cancelled.

    While it takes its time further events are taken together: what it shows next is what plays then.
    """
    with hub.subscribe(*TOPICS) as subscription:
        now = NowPlaying(views)
        await show(now)
        figures.state, figures.next_try_at = "ready", None
        async for first in subscription:
            for delivery in (first, *subscription.queued()):
                if delivery.lost:
                    figures.n_lost += delivery.lost
                    now = NowPlaying(views)
                now.take(delivery.event)
            await show(now)


def identifier(name: str) -> str:
    """Return a listener's name as topics, files and Home Assistant take it: no two names have the same."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return plain if plain == name else f"{plain}_{sha1(name.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"  # noqa: S324 - tells names apart


def _playing(data: Mapping[str, Any]) -> Playing:
    return Playing(
        str(data["listener"]),
        data["play"],
        data["track"],
        str(data["started_at"]),
        float(data["track_end_s"]),
        float(data["confidence"]),
    )


def _line(value: object) -> str:
    """Return a tag on one line."""
    return " ".join(str(value or "").split())
