"""``dejavuctl events``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.arguments import positive_count
from dejavuctl.failures import ForeignProtocol, NotPublished
from dejavuctl.output import clock, percent, printable, track_name
from dejavud.errors import InvalidRequest
from dejavud.wire.codec import decode
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping

    from dejavuctl.session import Session

DESCRIPTION = "Prints events as they happen, until Ctrl-C or until the daemon ends."
EXAMPLES = """\
examples:
  dejavuctl events                         all of them
  dejavuctl events match. track.added      only topics that begin so
  dejavuctl events match. --json | while read -r event; do …; done

topics: match.recognized, match.started, match.updated, match.ended, listener.started, listener.state, listener.overrun,
listener.stopped, track.added, track.removed, daemon.ready, daemon.stopping"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("prefixes", metavar="TOPIC", nargs="*", help="what the topic begins with (default: any)")
    parser.add_argument("--events", metavar="ENDPOINT", help="the publisher's endpoint (default: what the daemon says)")
    parser.add_argument("-n", "--count", metavar="N", type=positive_count, help="end after N events")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Print events; ends with `NoDaemon` when the publisher goes away."""
    endpoint = options.events or ask_endpoint(session)
    for n_events, event in enumerate(subscribe(endpoint, options.prefixes), start=1):
        session.out.show(event, _line(event))
        if n_events == options.count:
            break
    return EXIT_MATCHED


def ask_endpoint(session: Session) -> str:
    """Return where the daemon publishes; raises `NotPublished`."""
    with session.connect() as connection:
        endpoint = connection.call("status", {}).get("endpoints", {}).get("events")
    if not isinstance(endpoint, str):
        raise NotPublished
    return endpoint


def subscribe(endpoint: str, prefixes: list[str]) -> Iterator[dict[str, Any]]:
    """Yield events whose topic begins with one of `prefixes` (any, where there are none); raises `NoDaemon` at their end."""
    from dejavuctl.subscription import Subscription  # noqa: PLC0415 - zmq is slow to import, --help needs none

    with Subscription(endpoint, prefixes) as subscription:
        for frames in subscription:
            try:
                event = decode(frames[-1])
            except InvalidRequest as error:
                raise ForeignProtocol(endpoint=endpoint, reason=error.message) from None
            if not isinstance(event, dict):
                raise ForeignProtocol(endpoint=endpoint, reason="an event that is not an object")
            yield event


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
        return f"{track['id']}: {track_name(track)}"
    return printable("  ".join(f"{key} {value}" for key, value in data.items()))
