"""The commands of listening: what is asked of the daemon, and what a person and a program read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from client_daemon import STATUS, FakeDaemon, track
from test_client_events import Publisher

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from client_runs import Ran


def play(**changes: object) -> dict[str, Any]:
    """Return a play as the daemon shows it."""
    return {
        "listener": "kitchen",
        "play": 3,
        "track": track(7),
        "started_at": "2026-01-02T03:04:05+00:00",
        "start_s": 10.0,
        "end_s": 73.0,
        "track_start_s": 1.0,
        "track_end_s": 64.0,
        "confidence": 0.99999,
        "coverage": 0.97,
        "gaps": [],
        "twins": [],
        "exact": True,
        **changes,
    }


def listener(**changes: object) -> dict[str, Any]:
    """Return a listener as the daemon shows it."""
    return {
        "listener": "kitchen",
        "source": "mic:USB",
        "state": "listening",
        "reason": None,
        "next_try_at": None,
        "format": "USB Audio, mono at 48000 Hz",
        "level_db": -23.4,
        "heard_s": 100.0,
        "n_overruns": 0,
        "n_retries": 0,
        "remembered": True,
        "plays": [play()],
        **changes,
    }


@pytest.fixture
def publisher(socket_dir: Path, daemon: FakeDaemon) -> Iterator[Publisher]:
    """Give a publisher whose endpoint `daemon` tells in its status."""
    publishing = Publisher(f"ipc://{socket_dir}/e")
    daemon.table["status"] = lambda _: {**STATUS, "endpoints": {"events": publishing.endpoint}}
    yield publishing
    publishing.context.destroy(linger=0)


def test_listeners_are_listed_with_what_plays(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """A line has the name, the state, the source, the level, why it is not listening, and what plays where."""
    away = listener(listener="radio", state="retrying", reason="nobody answers", plays=[], level_db=None)
    views = [
        listener(),
        away,
        listener(listener="card", drift_ppm=-43.2, lag_s=2.9),
        listener(drift_ppm=0.1, lag_s=0.2),
    ]
    daemon.table["listen.list"] = lambda _: {"listeners": views}
    lines = ctl("listen", "ls").out.splitlines()
    assert lines.pop(0).split() == ["listener", "state", "source", "what", "it", "hears"]
    assert lines[0].split()[:3] == ["kitchen", "listening", "mic:USB"]
    assert lines[0].endswith("plays Song 7 by Somebody, 1:04 of 3:39, USB Audio, mono at 48000 Hz, -23 dB")
    assert lines[1].split()[:2] == ["radio", "retrying"]
    assert "nobody answers" in lines[1]
    assert "clock -43 ppm, 3 s late" in lines[2]
    assert "clock +0 ppm" in lines[3]
    assert "late" not in lines[3]
    assert ctl("listen", "ls", "--json").records == views


def test_a_listener_that_is_tried_again_says_why_and_when(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """The reason does not say the source again, beside which it stands, and is followed by how long it is to the next try."""
    soon = (datetime.now(UTC) + timedelta(seconds=50)).isoformat()
    url = "http://x/y"
    away = listener(source=url, state="retrying", plays=[], format=None, level_db=None, n_overruns=1)
    views = [
        {**away, "reason": f"{url} cannot be heard: 404 Not Found", "next_try_at": soon},
        {**away, "reason": f"{url}: nothing has come for 10 s", "next_try_at": datetime.now(UTC).isoformat()},
    ]
    daemon.table["listen.list"] = lambda _: {"listeners": views}
    _, first, second = ctl("listen", "ls").out.splitlines()
    said = f"kitchen retrying {url} cannot be heard: 404 Not Found, next try in [1-5][0-9] s, 1 overrun"
    assert re.fullmatch(said, " ".join(first.split()))
    assert second.endswith(f"{url}  nothing has come for 10 s, next try now, 1 overrun")


def test_who_adds_a_listener_is_told_how_its_source_is(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """A person reads what became of the source, as soon as it was opened or refused; a program gets the answer at once."""
    starting = listener(state="starting", plays=[])
    looks = iter([starting, listener(state="retrying", reason="nobody answers", plays=[], format=None, level_db=None)])
    daemon.table["listen.add"] = lambda _: starting
    daemon.table["listen.list"] = lambda _: {"listeners": [listener(listener="other"), next(looks)]}
    assert ctl("listen", "add", "kitchen", "mic:USB", "--json").records == [starting]
    assert ctl("listen", "add", "kitchen", "mic:USB").out == "kitchen  retrying, mic:USB, nobody answers\n"


def test_a_listener_is_added_paused_resumed_and_removed(
    daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command asks for what it says; a file of here is sent by its whole path, all else as it was typed."""
    for command in ("add", "remove", "pause", "resume"):
        daemon.table[f"listen.{command}"] = lambda _: listener()
    (tmp_path / "a.wav").touch()
    monkeypatch.chdir(tmp_path)
    for source, sent in [
        ("mic", "mic"),
        ("mic:USB Audio", "mic:USB Audio"),
        ("http://x/y", "http://x/y"),
        ("a.wav", f"{tmp_path}/a.wav"),
        ("realtime:a.wav", f"realtime:{tmp_path}/a.wav"),
    ]:
        assert ctl("listen", "add", "kitchen", source, "--once").status == 0
        assert daemon.asked[-1].params == {"name": "kitchen", "source": sent, "once": True}
    for word, method in [("pause", "pause"), ("resume", "resume"), ("rm", "remove")]:
        assert ctl("listen", word, "kitchen").status == 0
        assert (daemon.asked[-1].request.method, daemon.asked[-1].params) == (f"listen.{method}", {"name": "kitchen"})


def test_devices_are_listed(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Number, name, channels, rate and which is the default; where there is none the exit status is 1."""
    device = {"index": 2, "name": "USB Audio", "n_channels": 1, "rate_hz": 48000, "is_default": True}
    daemon.table["devices"] = lambda _: {"devices": [device]}
    assert ctl("devices").out.split() == [
        *("device", "name", "channels", "rate"),
        *("2", "USB", "Audio", "1", "48000", "Hz", "default"),
    ]
    daemon.table["devices"] = lambda _: {"devices": []}
    assert ctl("devices").status == 1


def test_what_is_heard_is_shown_as_it_is_heard(
    daemon: FakeDaemon,
    publisher: Publisher,
    start_ctl: Callable[..., subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """First how the listener is, then a line in local time for each play that starts and ends; other listeners are left out where one is named."""
    daemon.table["listen.list"] = lambda _: {"listeners": [listener(plays=[])]}
    monkeypatch.setenv("TZ", "CET-1")
    process = start_ctl("listen", "--listener", "kitchen", "-n", "1")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("kitchen  listening")
    wanted = {b"match.started", b"match.updated", b"match.ended", b"listener."}
    assert {publisher.wait_for_subscription() for _ in wanted} == wanted
    publisher.publish("match.started", 1, **play(listener="radio"))
    publisher.publish("match.started", 2, **play(track_end_s=2.5))
    publisher.publish("match.ended", 3, **play())
    time, dash, lines = "04:04:05", "\N{EN DASH}", process.stdout.read().splitlines()
    assert lines == [
        f"{time}  kitchen  started  Song 7 {dash} Somebody, 99.99 %, at 0:02 of 3:39",
        f"{time}  kitchen  ended  Song 7 {dash} Somebody, 99.99 %, 1:03 from 04:04:05, 0:01 to 1:04 of 3:39, coverage 97 %",
    ]
    assert process.wait() == 0


def test_a_listener_that_is_not_there_is_waited_for_and_said(
    daemon: FakeDaemon, publisher: Publisher, start_ctl: Callable[..., subprocess.Popen[str]]
) -> None:
    """A name with a typing error is not waited for in silence: it is said, with the names there are."""
    daemon.table["listen.list"] = lambda _: {"listeners": [listener(), listener(listener="radio")]}
    process = start_ctl("listen", "--listener", "kitchn", "-n", "1")
    for _ in range(4):
        publisher.wait_for_subscription()
    publisher.publish("match.ended", 1, **play(listener="kitchn"))
    lines, said = process.communicate(timeout=30)
    assert said == "there is no listener 'kitchn' yet; there are: kitchen, radio\n"
    assert "kitchn  ended" in lines


def test_programs_get_the_events(
    daemon: FakeDaemon, publisher: Publisher, start_ctl: Callable[..., subprocess.Popen[str]]
) -> None:
    """With --json a line is the listener, and then each event as it was published."""
    daemon.table["listen.list"] = lambda _: {"listeners": [listener()]}
    process = start_ctl("listen", "--json", "-n", "1")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"topic": "listener.state", "data": listener()}
    for _ in range(4):
        publisher.wait_for_subscription()
    event = publisher.publish("match.ended", 1, **play())
    assert json.loads(process.stdout.readline()) == event
    assert process.wait() == 0
