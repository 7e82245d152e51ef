"""What a daemon tells of its listeners and plays while a benchmark plays to it."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dejavuctl.commands.events import subscribe
from dejavuctl.connection import Connection
from dejavuctl.failures import NoDaemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from on_air import Air
    from own_daemon import OwnDaemon

PROBE_S, OPEN_S = 0.05, 20.0


@dataclass(frozen=True, slots=True)
class Told:
    """An event and when it came, on `time.monotonic`'s clock."""

    at: float
    topic: str
    data: dict[str, Any]


class Events:
    """What a daemon tells of its listeners and plays, as it comes."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self._changed = threading.Condition()

    def follow(self, endpoint: str) -> None:
        """Take events until the daemon ends."""
        with suppress(NoDaemon):
            for event in subscribe(endpoint, ["match.", "listener."]):
                with self._changed:
                    self.told.append(Told(time.monotonic(), event["topic"], event["data"]))
                    self._changed.notify_all()

    def of(self, topic: str, **wanted: object) -> list[Told]:
        """Return the events of a topic whose data have these values."""
        return [told for told in list(self.told) if told.topic == topic and wanted.items() <= told.data.items()]

    def until(self, is_so: Callable[[], bool], within_s: float) -> bool:
        """Wait for events until `is_so`; tell whether it came to be."""
        with self._changed:
            return self._changed.wait_for(is_so, within_s)


@contextmanager
def events_of(daemon: OwnDaemon) -> Iterator[Events]:
    """Give what a daemon tells from now on; in a thread that ends with the daemon."""
    events = Events()
    endpoint = daemon.status()["endpoints"]["events"]
    threading.Thread(target=events.follow, args=(endpoint,), daemon=True).start()
    for number in range(200):  # what is published before the subscription has arrived is lost
        with Connection(daemon.control) as connection:
            connection.call("listen.add", {"name": f"probe{number}", "source": "/missing", "once": True})
            connection.call("listen.remove", {"name": f"probe{number}"})
        if events.until(lambda: bool(events.told), PROBE_S):
            break
    else:
        sys.exit("no event arrives from the daemon")
    yield events


def hears(daemon: OwnDaemon, events: Events, name: str, air: Air) -> None:
    """Have a daemon listen to `air`; returns when it hears it."""
    with Connection(daemon.control) as connection:
        connection.call("listen.add", {"name": name, "source": air.source, "once": True})
    states = ("silent", "listening")
    if not events.until(lambda: any(events.of("listener.state", listener=name, state=s) for s in states), OPEN_S):
        sys.exit(f"the daemon does not hear {air.source}: {[told.data for told in events.told][-3:]}")
