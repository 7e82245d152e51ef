"""``dejavuctl events``."""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dejavuctl.arguments import positive_count
from dejavuctl.failures import EXIT_INTERRUPTED, ForeignProtocol
from dejavuctl.listeners import listener_line
from dejavuctl.output import clock, percent, printable, track_name
from dejavud.errors import InvalidRequest
from dejavud.wire.codec import decode
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping

    from dejavuctl.keys import KeyFile
    from dejavuctl.session import Session

_LEVELS = "meter."
_MAX_DIGITS = 19
DESCRIPTION = "Prints events as they happen, until Ctrl-C or until the daemon ends."
EXAMPLES = """\
examples:
  dejavuctl events                         all of them
  dejavuctl events match. track.added      only topics that begin so (or --topic match. --topic track.added)
  dejavuctl events --after 0               first those of before, as far as the daemon keeps them
  dejavuctl events --after 3f2a9c0155d1e07b:418 --json   what came after that event of that life of the daemon, and what comes
  dejavuctl events match. --json | while read -r event; do …; done

topics: match.recognized, match.started, match.updated, match.ended, listener.started, listener.state, listener.overrun,
listener.stopped, track.added, track.updated, track.removed, job.started, job.progress, job.ended, daemon.ready,
daemon.stopping;
meter.listener (once a second, for whoever asks for it)"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("prefixes", metavar="TOPIC", nargs="*", help="what the topic begins with (default: any)")
    parser.add_argument("--topic", metavar="TOPIC", action="append", default=[], help="the same; may be given again")
    parser.add_argument(
        "--after",
        metavar="[DAEMON:]SEQ",
        type=event_place,
        help="first what came after this event, as far as it is kept",
    )
    parser.add_argument("--events", metavar="ENDPOINT", help="the publisher's endpoint (default: what the daemon says)")
    parser.add_argument("-n", "--count", metavar="N", type=positive_count, help="end after N events")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Print events; ends with `NoDaemon` when the publisher goes away."""
    endpoint = options.events or ask_endpoint(session)
    prefixes = [*options.prefixes, *options.topic]
    if options.after is None:
        events = subscribe(endpoint, prefixes, session.key)
    else:
        events = resume(session, endpoint, prefixes, options.after)
    wanted = (event for event in events if not is_level(event) or any(map(is_level_topic, prefixes)))
    try:
        for n_events, event in enumerate(wanted, start=1):
            session.out.show(event, _line(event))
            if n_events == options.count:
                break
    except KeyboardInterrupt:  # how it is meant to end: not worth a word
        return EXIT_INTERRUPTED
    return EXIT_MATCHED


def ask_endpoint(session: Session) -> str:
    """Return where the daemon publishes; raises `NotPublished`."""
    with session.connect() as connection:
        return session.events_endpoint(connection.call("status", {}))


def subscribe(endpoint: str, prefixes: list[str], key: KeyFile | None = None) -> Iterator[dict[str, Any]]:
    """Yield events whose topic begins with one of `prefixes` (any, where there are none); raises `NoDaemon` at their end.

    key : by which a daemon of another machine is asked.
    """
    from dejavuctl.subscription import Subscription  # noqa: PLC0415 - zmq is slow to import, --help needs none

    with Subscription(endpoint, prefixes, key) as subscription:
        for frames in subscription:
            yield _decoded(endpoint, frames)


def resume(session: Session, endpoint: str, prefixes: list[str], after: Place) -> Iterator[dict[str, Any]]:
    """Yield the events after `after` that the daemon still has, then those that come: each once, in order."""
    from dejavuctl.subscription import Subscription  # noqa: PLC0415

    with Subscription(endpoint, prefixes, session.key) as subscription:
        subscription.greet()  # what is published from here on is either told again or comes
        for event in _replayed(session, prefixes, after):
            after = Place(event["daemon"], event["seq"])
            yield event
        is_first = True
        for frames in subscription:
            event = _decoded(endpoint, frames)
            seq = event.get("seq")
            if seq is not None and is_first:  # a subscription reaches the publisher a moment after it was made
                for missed in _replayed(session, prefixes, after):
                    after = Place(missed["daemon"], missed["seq"])
                    yield missed
                is_first = False
            elif seq is None or event["daemon"] != after.daemon or seq > after.seq:
                yield event


def _replayed(session: Session, prefixes: list[str], after: Place) -> Iterator[dict[str, Any]]:
    """Yield the events after a place, the first of them with how many are gone; where there is none, say that."""
    with session.connect() as connection:
        lost = 0
        while True:
            asked = {"after": after.seq, "daemon": after.daemon, "topics": prefixes}
            page = connection.call("events.replay", asked)
            lost += page["lost"]
            for event in page["events"]:
                yield {**event, "lost": lost} if lost else event
                lost = 0
            if page["next"] is None:
                break
            after = Place(page["daemon"], page["next"])
    if lost:
        session.out.remark(f"dejavuctl: {lost} events are no longer kept")


@dataclass(frozen=True, slots=True)
class Place:
    """The event up to which everything is known; `daemon` is the life of the daemon that numbered it, where that is known."""

    daemon: str | None
    seq: int


def event_place(text: str) -> Place:
    """Return the place that ``[DAEMON:]SEQ`` names; for argparse."""
    daemon, _, seq = text.rpartition(":")
    if not (seq.isascii() and seq.isdecimal() and len(seq) < _MAX_DIGITS):
        msg = f"{text} is no event's number, nor its daemon's id, a colon and its number"
        raise ArgumentTypeError(msg)
    return Place(daemon or None, int(seq))


def is_level_topic(topic: str) -> bool:
    """Tell whether events of such topics are levels, which come to whoever asks for them by name."""
    return topic.startswith(_LEVELS)


def is_level(event: Mapping[str, Any]) -> bool:
    """Tell whether an event is a level; a subscriber to everything gets those that others asked for."""
    return is_level_topic(str(event.get("topic")))


def _decoded(endpoint: str, frames: list[bytes]) -> dict[str, Any]:
    try:
        event = decode(frames[-1])
    except InvalidRequest as error:
        raise ForeignProtocol(endpoint=endpoint, reason=error.message) from None
    if not isinstance(event, dict):
        raise ForeignProtocol(endpoint=endpoint, reason="an event that is not an object")
    return event


def _line(event: Mapping[str, Any]) -> str:
    """Return an event as a person reads it."""
    time, topic, data = str(event.get("time")), str(event.get("topic")), event.get("data") or {}
    lost = f"  ({event['lost']} lost before this)" if event.get("lost") else ""
    return f"{printable(time[11:19])}  {printable(topic):18}  {_what(data)}".rstrip() + lost


def _what(data: Mapping[str, Any]) -> str:
    matches = data.get("matches")
    if isinstance(matches, list) and matches:
        best = matches[0]
        return (
            f"{track_name(best['track'])}, at {clock(best['track_start_s'])}, confidence {percent(best['confidence'])}"
        )
    track = data.get("track")
    if isinstance(track, dict):
        where = f"{printable(data['listener'])}  " if "listener" in data else ""
        return f"{where}{track['id']}: {track_name(track)}"
    if "state" in data and "source" in data:
        return listener_line(data)
    return printable("  ".join(f"{key} {value}" for key, value in data.items() if value is not None))
