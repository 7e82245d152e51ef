"""``dejavuctl listen``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.arguments import positive_count
from dejavuctl.commands.events import ask_endpoint, subscribe
from dejavuctl.listeners import listener_line
from dejavuctl.output import clock, percent, printable, track_name
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from dejavuctl.session import Session

DESCRIPTION = "Shows what is heard, as it is heard, until Ctrl-C or until the daemon ends."
EXAMPLES = """\
examples:
  dejavuctl listen
  dejavuctl listen --name kitchen
  dejavuctl listen --json | jq -r 'select(.topic == "match.ended") | .data.track.title'
  dejavuctl listen add radio https://example.org/live.mp3     listen to something else; see dejavuctl listen --help

commands: dejavuctl listen add, ls, rm, pause, resume"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--name", metavar="NAME", help="only of this listener")
    parser.add_argument("-n", "--count", metavar="N", type=positive_count, help="end after N plays have ended")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Print how the listeners are, then what happens."""
    with session.connect() as connection:
        listeners = connection.call("listen.list", {})["listeners"]
    endpoint = ask_endpoint(session)
    for view in listeners:
        if options.name in (None, view["listener"]):
            session.out.show({"topic": "listener.state", "data": view}, listener_line(view))
    if not listeners:
        session.out.remark("the daemon listens to nothing yet; see dejavuctl listen add --help")
    n_ended = 0
    for event in subscribe(endpoint, ["match.started", "match.updated", "match.ended", "listener."]):
        data, topic = event.get("data") or {}, str(event.get("topic"))
        if options.name not in (None, data.get("listener")):
            continue
        if event.get("lost"):
            session.out.remark(f"dejavuctl: {event['lost']} events were lost here")
        text = _text(topic, data)
        if text or session.out.as_json:
            session.out.show(event, f"{printable(str(event.get('time'))[11:19])}  {text}")
        n_ended += topic == "match.ended"
        if n_ended == options.count:
            break
    return EXIT_MATCHED


def _text(topic: str, data: Mapping[str, Any]) -> str:
    """Return an event as a person reads it; nothing of what only programs care for."""
    name = printable(str(data.get("listener")))
    if topic == "match.started":
        at = clock(data["track_end_s"])
        return f"{name}  ▶ {track_name(data['track'])}, at {at}, confidence {percent(data['confidence'])}"
    if topic == "match.ended":
        heard = clock(data["end_s"] - data["start_s"])
        span = f"{clock(data['track_start_s'])} to {clock(data['track_end_s'])}"
        return (
            f"{name}  ■ {track_name(data['track'])}, {heard} heard, {span} of it, coverage {percent(data['coverage'])}"
        )
    if topic == "listener.overrun":
        return f"{name}  sound was lost ({data['n_overruns']} overruns so far)"
    if topic == "listener.state":
        return listener_line(data)
    if topic == "listener.stopped":
        return f"{name}  stopped"
    return ""
