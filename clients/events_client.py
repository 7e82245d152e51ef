#!/usr/bin/env python3
"""Print what happens in dejavud, one JSON object a line, until Ctrl-C.

events_client.py                                        everything
events_client.py match. track.added                     topics that start so
events_client.py --count 1 match.                       wait for the next recognition
events_client.py --url http://radio.example:4141 match. over HTTP, which needs nothing but Python, and goes on by itself where it was cut off
events_client.py --key radio.key match.                from another machine, encrypted; `dejavuctl keys add`, there, makes the file
events_client.py --url http://127.0.0.1:4141 --after 0  first what happened before, as far as the daemon keeps it
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

SILENCE_S = 60.0
"""The daemon says something every 15 seconds: after a minute without a word it is gone."""


def over_http(url: str, topics: list[str], after: str | None, token: str | None) -> Iterator[dict[str, Any]]:
    """Yield events; a connection that breaks is made again, and what was missed meanwhile comes first."""
    place, pause_s = after, 1.0
    while True:
        try:
            for told_to, event in stream(url, topics, place, token):
                place, pause_s = told_to, 1.0
                if event is not None:
                    yield event
        except (OSError, http.client.HTTPException) as error:
            print(f"events_client: {url}: {error}; trying again in {pause_s:g} s", file=sys.stderr)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 30.0)


def stream(
    url: str, topics: list[str], place: str | None, token: str | None
) -> Iterator[tuple[str | None, dict[str, Any] | None]]:
    """Yield the place of each event and the event, None where only the place is told; ends with the connection."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=SILENCE_S)
    query = {"topics": ",".join(topics)} if topics else {}
    if place is not None:
        query["after"] = place
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("GET", f"/v1/events?{urlencode(query)}", headers=headers)
        response = connection.getresponse()
        if response.status == http.client.SERVICE_UNAVAILABLE:  # it is full, or stopping: later
            raise http.client.HTTPException(response.read().decode("utf-8", "replace"))
        if response.status != http.client.OK:
            sys.exit(
                f"events_client: refused with status {response.status}: {response.read().decode('utf-8', 'replace')}"
            )
        event = None
        while line := response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                place = value
            elif name == "data":
                event = json.loads(value)
            elif not name:  # an empty line ends what was told
                yield place, event
                event = None
    finally:
        connection.close()


def over_zeromq(endpoint: str, topics: list[str], key: dict[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield events from now on; from another machine by the keys that it gave us."""
    import zmq  # noqa: PLC0415 - not needed over HTTP

    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    if key is not None:
        socket.curve_serverkey = key["server_key"].encode()
        socket.curve_publickey, socket.curve_secretkey = key["public_key"].encode(), key["secret_key"].encode()
    for topic in topics or [""]:
        socket.subscribe(topic)
    try:
        socket.connect(endpoint)
        while True:
            name, body = socket.recv_multipart()
            if topics or not name.startswith(b"meter."):  # levels come to everybody while anybody asks for them
                yield json.loads(body)
    except zmq.ZMQError as error:
        sys.exit(f"events_client: {endpoint}: {error.strerror}")
    finally:
        context.destroy(linger=0)


def main() -> int:
    """Print events; return 0 after as many as were asked for, or at Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topic", nargs="*", help="how a topic starts; default: all")
    parser.add_argument("--endpoint", help="of the daemon's publisher; default: that of this user's daemon")
    parser.add_argument("--key", help="a file of keys, which says where the publisher is, too; default: DEJAVUD_KEY")
    parser.add_argument("--url", help="over HTTP instead, such as http://127.0.0.1:4141")
    parser.add_argument(
        "--after", help="first what came after this: a number, or the daemon's id, a colon and a number"
    )
    parser.add_argument("--token", default=os.environ.get("DEJAVUD_TOKEN"), help="default: the variable DEJAVUD_TOKEN")
    parser.add_argument("--count", type=int, default=0, help="end after so many events")
    arguments = parser.parse_args()
    if arguments.after is not None and arguments.url is None:
        parser.error("--after needs --url (over ZeroMQ, dejavuctl events --after asks the control socket too)")
    if arguments.url:
        events = over_http(arguments.url, arguments.topic, arguments.after, arguments.token)
    else:
        file = arguments.key or os.environ.get("DEJAVUD_KEY")
        key = tomllib.loads(Path(file).read_text(encoding="utf-8")) if file else None
        endpoint = arguments.endpoint or (key["events"] if key else default_endpoint())
        events = over_zeromq(endpoint, arguments.topic, key)
    try:
        for number, event in enumerate(events, start=1):
            print(json.dumps(event, ensure_ascii=False), flush=True)
            if number == arguments.count:
                break
    except KeyboardInterrupt:
        pass
    return 0


def default_endpoint() -> str:
    """Return where this user's daemon publishes."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return f"ipc://{base}/dejavud/events.sock" if base else f"ipc:///tmp/dejavud-{os.getuid()}/events.sock"


if __name__ == "__main__":
    sys.exit(main())
