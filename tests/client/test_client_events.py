from __future__ import annotations

import json
import signal
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


def replayed(*pages: dict[str, Any]) -> tuple[list[dict[str, Any]], Callable[[Any], dict[str, Any]]]:
    """Return what ``events.replay`` was asked, and what answers it page by page."""
    asked: list[dict[str, Any]] = []
    left = list(pages)

    def answer(request: Any) -> dict[str, Any]:  # noqa: ANN401 - the fake daemon's own
        asked.append(request.params)
        return left.pop(0)

    return asked, answer


def page(*seqs: int, lost: int = 0, following: int | None = None) -> dict[str, Any]:
    """Return one page of the events of a daemon ``d``."""
    events = [{"daemon": "d", "topic": "track.added", "seq": seq, "time": "", "data": {}} for seq in seqs]
    return {"daemon": "d", "seq": 9, "lost": lost, "events": events, "next": following}


def test_what_was_missed_comes_first_and_nothing_twice(
    publisher: Publisher, daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]]
) -> None:
    """Pages are joined, what came between them and the first live event is fetched, and what comes again is left out."""
    asked, daemon.table["events.replay"] = replayed(page(3, 4, lost=2, following=4), page(6), page(7, 8))
    process = start_ctl("events", "--json", "--topic", "track.", "--after", "d:0", "-n", "6")
    assert publisher.wait_for_subscription() == b"track."
    assert process.stdout is not None
    first = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert [(event["seq"], event.get("lost")) for event in first] == [(3, 2), (4, None), (6, None)]
    for seq in (8, 7, 8, 9):
        event = {"daemon": "d", "topic": "track.added", "seq": seq, "time": "", "data": {}}
        publisher.socket.send_multipart([b"track.added", json.dumps(event).encode()])
    assert [json.loads(process.stdout.readline())["seq"] for _ in range(3)] == [7, 8, 9]
    assert process.wait() == 0
    assert [(one["daemon"], one["after"], one["topics"]) for one in asked] == [
        ("d", 0, ["track."]),
        ("d", 4, ["track."]),
        ("d", 6, ["track."]),
    ]


def test_what_is_gone_is_said_where_no_event_can_say_it(
    publisher: Publisher, daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]]
) -> None:
    """Without an event to tell it with, the loss is a remark."""
    _, daemon.table["events.replay"] = replayed(page(lost=12), page())
    process = start_ctl("events", "--after", "3", "-n", "1")
    publisher.wait_for_subscription()
    assert process.stderr is not None
    assert process.stderr.readline() == "dejavuctl: 12 events are no longer kept\n"
    publisher.publish("daemon.stopping", 16)
    process.kill()
    process.communicate()


def test_levels_are_for_those_who_ask(publisher: Publisher, start_ctl: Callable[..., subprocess.Popen[str]]) -> None:
    """What the publisher sends to everybody because another asked is left out."""
    process = start_ctl("events", "--json", "-n", "1")
    publisher.wait_for_subscription()
    publisher.publish("meter.listener", 1, level_db=-20.0)
    publisher.publish("track.added", 2)
    out, _ = process.communicate()
    assert json.loads(out)["topic"] == "track.added"


@pytest.mark.parametrize("place", ["x", "-1", "d:", "d:x", "9" * 30])
def test_a_place_that_is_none_is_a_wrong_command_line(
    ctl: Callable[..., Ran], capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """The number is a number, perhaps after a daemon's id."""
    with pytest.raises(SystemExit) as ended:
        ctl("events", f"--after={place}")
    assert ended.value.code == 2
    assert "is no event's number" in capsys.readouterr().err


def test_ctrl_c_is_how_it_ends(publisher: Publisher, start_ctl: Callable[..., subprocess.Popen[str]]) -> None:
    """What is watched until nobody wants to watch it any more ends without a word, with 130."""
    process = start_ctl("events", "--json")
    publisher.wait_for_subscription()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 130
