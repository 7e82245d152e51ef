"""``dejavuctl listen``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from dejavuctl.arguments import positive_count
from dejavuctl.commands.events import ask_endpoint, subscribe
from dejavuctl.failures import EXIT_INTERRUPTED
from dejavuctl.listeners import listener_line
from dejavuctl.output import clock, percent, printable
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from dejavuctl.session import Session

_DASH = " \N{EN DASH} "
DESCRIPTION = """\
Shows what is heard, as it is heard.

In a terminal: each listener with its level, what plays and what may, and below it what was played; until q or Ctrl-C, and beyond a restart
of the daemon. Elsewhere, or with --plain: a line for each play that starts and ends, until Ctrl-C or until the daemon ends."""
EXAMPLES = """\
examples:
  dejavuctl listen
  dejavuctl listen --listener kitchen
  dejavuctl listen --plain | tee plays.txt
  dejavuctl listen --json | jq -r 'select(.topic == "match.ended") | .data.track.title'
  dejavuctl listen add radio https://example.org/live.mp3     listen to something else; see dejavuctl listen --help

keys: q leaves, the arrows choose a listener, p pauses or resumes it, space holds the picture

commands: dejavuctl listen add, ls, rm, pause, resume, send"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--listener", "--name", metavar="NAME", help="only this listener")
    parser.add_argument("-n", "--count", metavar="N", type=positive_count, help="end after N plays have ended")
    parser.add_argument("--plain", action="store_true", help="lines, in a terminal too")
    parser.add_argument("--no-history", action="store_true", help="in a terminal, without what was played before")
    parser.add_argument("--no-color", action="store_true", help="in a terminal, without colours (as NO_COLOR=1)")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Show the view, or print lines."""
    is_plain = options.plain or session.out.as_json or session.environment.get("TERM") == "dumb"
    if is_plain or not session.out.answers.isatty():
        try:
            return _print_lines(options, session)
        except KeyboardInterrupt:  # how it is meant to end: not worth a word
            return EXIT_INTERRUPTED
    ask_endpoint(session)  # where there is no daemon yet, that is an error as of any command
    from dejavuctl.live.view import Wishes, show  # noqa: PLC0415 - nothing else draws, and rich takes as long to import as all else

    wishes = Wishes(
        options.listener,
        options.count,
        with_history=not options.no_history,
        with_colour=not options.no_color and session.out.color != "never",
    )
    return show(session, wishes)


def _print_lines(options: Namespace, session: Session) -> int:
    """Print how the listeners are, then what happens; raises `NoDaemon` when the daemon ends."""
    with session.connect() as connection:
        listeners = connection.call("listen.list", {})["listeners"]
    endpoint = ask_endpoint(session)
    for view in listeners:
        if options.listener in (None, view["listener"]):
            session.out.show({"topic": "listener.state", "data": view}, listener_line(view))
    if not listeners:
        session.out.remark("the daemon listens to nothing yet; see dejavuctl listen add --help")
    elif options.listener and options.listener not in (names := [view["listener"] for view in listeners]):
        session.out.remark(
            f"there is no listener {printable(options.listener)!r} yet; there are: {', '.join(map(printable, names))}"
        )
    n_ended = 0
    topics = ["match.started", "match.updated", "match.ended", "listener."]
    for event in subscribe(endpoint, topics, session.key):
        data, topic = event.get("data") or {}, str(event.get("topic"))
        if options.listener not in (None, data.get("listener")):
            continue
        if event.get("lost"):
            session.out.remark(f"dejavuctl: {event['lost']} events were lost here")
        text = _text(topic, data)
        if text or session.out.as_json:
            session.out.show(event, f"{_local(str(event.get('time')))}  {text}")
        n_ended += topic == "match.ended"
        if n_ended == options.count:
            break
    return EXIT_MATCHED


def _text(topic: str, data: Mapping[str, Any]) -> str:
    """Return an event as a person reads it; nothing of what only programs care for."""
    name = printable(str(data.get("listener")))
    if topic in ("match.started", "match.ended"):
        track = data["track"]
        parts = [printable(str(part)) for part in (track["title"], track.get("artist")) if part]
        sure = f"{_DASH.join(parts)}, {percent(data['confidence'])}"
        if topic == "match.started":
            return f"{name}  started  {sure}, at {clock(data['track_end_s'])} of {clock(track['duration_s'])}"
        heard = f"{clock(data['end_s'] - data['start_s'])} from {_local(data['started_at'])}"
        span = f"{clock(data['track_start_s'])} to {clock(data['track_end_s'])} of {clock(track['duration_s'])}"
        return f"{name}  ended  {sure}, {heard}, {span}, coverage {percent(data['coverage'])}"
    if topic == "listener.overrun":
        return f"{name}  sound was lost ({data['n_overruns']} overruns so far)"
    if topic == "listener.state":
        return listener_line(data)
    if topic == "listener.stopped":
        return f"{name}  stopped"
    return ""


def _local(moment: str) -> str:
    """Return the local time of an ISO moment."""
    return f"{datetime.fromisoformat(moment).astimezone():%H:%M:%S}"
