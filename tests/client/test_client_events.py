from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from client_daemon import STATUS, FakeDaemon, recognition, track

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from client_runs import Ran


class Publisher:
    """A publisher that knows when it has a subscriber (XPUB tells)."""

    def __init__(self, endpoint: str) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.bind(endpoint)
        self.endpoint = endpoint

    def wait_for_subscription(self) -> bytes:
        """Return the prefix that somebody subscribed to."""
        return self.socket.recv()[1:]

    def publish(self, topic: str, seq: int, **data: object) -> dict[str, Any]:
        """Send an event and return it."""
        event = {"topic": topic, "seq": seq, "time": "2026-01-02T03:04:05.6+00:00", "data": data}
        self.socket.send_multipart([topic.encode(), json.dumps(event).encode()])
        return event


@pytest.fixture
def publisher(socket_dir: Path, daemon: FakeDaemon) -> Iterator[Publisher]:
    """Give a publisher whose endpoint `daemon` tells in its status."""
    publishing = Publisher(f"ipc://{socket_dir}/e")
    daemon.table["status"] = lambda _: {**STATUS, "endpoints": {"events": publishing.endpoint}}
    yield publishing
    publishing.context.destroy(linger=0)


def test_events_are_printed_for_programs(publisher: Publisher, start_ctl: Callable[..., subprocess.Popen[str]]) -> None:
    """Subscribed by prefix at the endpoint that the daemon tells, each event is one JSON line at once."""
    process = start_ctl("events", "--json", "track.", "-n", "2")
    assert publisher.wait_for_subscription() == b"track."
    publisher.publish("match.recognized", 1)
    assert process.stdout is not None
    for seq in (2, 3):
        event = publisher.publish("track.added", seq, track=track())
        assert json.loads(process.stdout.readline()) == event
    assert process.wait() == 0


def test_events_are_printed_for_people(publisher: Publisher, start_ctl: Callable[..., subprocess.Popen[str]]) -> None:
    """A line has the time, the topic and what happened."""
    process = start_ctl("events", "--events", publisher.endpoint, "--count", "3")
    publisher.wait_for_subscription()
    publisher.publish("track.added", 1, track=track())
    publisher.publish("match.recognized", 2, **recognition("a.wav", 7))
    publisher.publish("daemon.stopping", 3)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.splitlines() == [
        "03:04:05  track.added         7: Song 7 by Somebody",
        "03:04:05  match.recognized    Song 7 by Somebody, at 1:03, confidence 99.99 %",
        "03:04:05  daemon.stopping",
    ]


def test_a_publisher_that_goes_away_is_exit_3(
    publisher: Publisher, start_ctl: Callable[..., subprocess.Popen[str]]
) -> None:
    """The last events are printed, then the end of the daemon is said."""
    process = start_ctl("events")
    publisher.wait_for_subscription()
    publisher.publish("daemon.stopping", 1)
    assert process.stdout is not None
    assert "daemon.stopping" in process.stdout.readline()
    publisher.socket.close(linger=0)
    _, err = process.communicate()
    assert process.returncode == 3
    assert "the daemon's publisher went away" in err


def test_a_daemon_that_does_not_publish_is_said(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Without an endpoint in the status, the flag that gives one is named."""
    daemon.table["status"] = lambda _: {**STATUS, "endpoints": {}}
    ran = ctl("events")
    assert ran.status == 4
    assert "--events ENDPOINT" in ran.err
