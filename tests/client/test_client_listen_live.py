"""The live view's parts: what it draws in any size, and what it does when events come too fast, are lost, or are told twice."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from client_daemon import STATUS, FakeDaemon, track
from hypothesis import given
from hypothesis import strategies as st
from terminals import in_terminal
from test_client_events import Publisher
from test_client_listen import listener, play

from dejavuctl.live.picture import ASCII, GLYPHS, Frame, picture
from dejavuctl.live.scene import KEPT_PLAYS, Scene
from dejavud.errors import IndexUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC)
DAEMON = "d0"


def event(topic: str, **data: object) -> dict[str, Any]:
    """Return an event as the daemon publishes it."""
    return {"version": 1, "daemon": DAEMON, "topic": topic, "time": NOW.isoformat(), "data": data}


def meter(**changes: object) -> dict[str, Any]:
    """Return what a listener's second was like."""
    known = {"listener": "kitchen", "level_db": -20.0, "state": "listening", "heard_s": 100.0, "plays": [3]}
    return event("meter.listener", **{**known, "candidates": [], **changes})


def drawn(scene: Scene, columns: int = 100, lines: int = 24, **options: Any) -> str:  # noqa: ANN401 - whatever a frame takes
    """Return the picture of a scene as plain text."""
    frame = Frame(scene, columns, lines, NOW, "dejavud 0.1.0", **options)
    return "\n".join(line.plain for line in picture(frame))


def kitchen(**changes: object) -> Scene:
    """Return a scene of one listener."""
    scene = Scene()
    scene.show_listeners([listener(plays=[], **changes)], DAEMON)
    return scene


texts = st.text(st.characters(codec="utf-8"), max_size=80)


@given(
    columns=st.integers(1, 160),
    lines=st.integers(1, 60),
    names=st.lists(texts, max_size=30, unique=True),
    words=texts,
    confidence=st.floats(0, 1),
    level_db=st.none() | st.floats(-120, 6),
    options=st.fixed_dictionaries(
        {"glyphs": st.sampled_from([GLYPHS, ASCII]), "trouble": texts, "is_held": st.booleans()}
    ),
)
def test_a_picture_fits_any_terminal(
    *,
    columns: int,
    lines: int,
    names: list[str],
    words: str,
    confidence: float,
    level_db: float | None,
    options: dict[str, Any],
) -> None:
    """Whatever listeners and tracks are called, no line is wider than the terminal, there are no more than it has, and none moves its cursor."""
    scene = Scene()
    sounding = play(track=track(title=words, artist=words), confidence=confidence)
    scene.show_listeners([listener(listener=name, reason=words, source=words, plays=[]) for name in names], DAEMON)
    for n, name in enumerate(names):
        scene.take(event("match.started", **{**sounding, "listener": name, "play": n}), 0.0)
        candidates = [{"track": track(title=words), "confidence": confidence}] * 5
        plays = [] if n % 2 else [n]
        told = meter(listener=name, level_db=level_db, candidates=candidates, plays=plays)
        scene.take(told, 1.0)
        scene.take(told, 2.0)
    scene.note = words
    frame = Frame(scene, columns, lines, NOW, words, **options)
    made = picture(frame)
    assert len(made) <= lines
    for line in made:
        assert line.cell_len <= columns
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line.plain)


def test_without_a_daemon_nothing_is_said_of_listeners() -> None:
    """That it listens to nothing is said of a daemon that is there, and not of one that went away and stopped its listeners before."""
    scene = kitchen()
    scene.take(event("listener.stopped", listener="kitchen", source="mic"), 0.0)
    assert "the daemon listens to nothing yet" in drawn(scene)
    away = drawn(scene, trouble="no daemon, trying again in 2 s")
    assert "no daemon" in away
    assert "listens" not in away


def test_candidates_are_seen_as_certainty_grows() -> None:
    """A bar a candidate, longer the surer it is, until one plays; then that is all there is to see."""
    scene, lengths = kitchen(), []
    for confidence in (0.2, 0.6, 0.95):
        scene.take(meter(plays=[], candidates=[{"track": track(8), "confidence": confidence}]), 0.0)
        [line] = [line for line in drawn(scene).splitlines() if "? Song 8" in line]
        assert f"{confidence * 100:g} %" in line
        lengths.append(line.count("█"))
    assert lengths == sorted(set(lengths))
    scene.take(event("match.started", **play(track=track(8))), 0.0)
    scene.take(meter(candidates=[{"track": track(9), "confidence": 0.3}]), 1.0)
    text = drawn(scene)
    assert "♪ Song 8" in text
    assert "Song 9" not in text


def test_a_peak_is_held_and_let_go() -> None:
    """The highest level of the last seconds is marked beside what is there now; a louder one takes its place at once."""
    scene = kitchen()
    for now, level_db, peak in [
        (0.0, -30.0, -30),
        (1.0, -12.0, -12),
        (2.0, -40.0, -12),
        (4.0, -40.0, -12),
        (5.0, -40.0, -40),
    ]:
        scene.take(meter(level_db=level_db), now)
        assert f"{level_db:.0f} dB  peak {peak}" in drawn(scene)


def test_a_position_goes_on_with_what_was_heard() -> None:
    """Between two events of a play its place in the track is as much later as was heard since, and never beyond its end."""
    scene = kitchen()
    scene.take(event("match.started", **play(end_s=100.0, track_end_s=60.0)), 0.0)
    for heard_s, at in [(100.0, "1:00"), (109.5, "1:09"), (1000.0, "3:39")]:
        scene.take(meter(heard_s=heard_s), 0.0)
        assert f"{at} of 3:39" in drawn(scene)


def test_a_play_that_is_heard_no_more_is_gone_without_an_end() -> None:
    """Of a track that was removed no end is told: two seconds in a row that do not name its play are one; a late one alone is not."""
    scene = kitchen()
    scene.take(event("match.started", **play()), 0.0)
    scene.take(meter(plays=[]), 1.0)
    scene.take(meter(), 2.0)
    scene.take(meter(plays=[]), 3.0)
    assert "♪" in drawn(scene)
    scene.take(meter(plays=[]), 4.0)
    assert "♪" not in drawn(scene)


def test_the_history_is_bounded_and_newest_first() -> None:
    """The latest plays are kept, in order; one that is known to have ended does not go on because an older answer says so."""
    scene = kitchen()
    for n in range(KEPT_PLAYS + 50):
        started = datetime.fromtimestamp(NOW.timestamp() + (n * 37) % 1000, UTC).isoformat()
        scene.take(event("match.ended", **play(play=n, started_at=started), outcome="unheard"), 0.0)
    times = [row.started_at for row in scene.latest]
    assert len(times) == KEPT_PLAYS
    assert times == sorted(times, reverse=True)
    newest = scene.latest[0]
    old = {"id": newest.id, "listener": "kitchen", "track": track(7), "started_at": NOW.isoformat()}
    scene.show_history([{**old, "heard_s": 1.0, "confidence": 1.0, "outcome": "going"}])
    assert scene.latest[0] == newest


def test_many_listeners_leave_room_for_the_chosen_one() -> None:
    """More listeners than there are lines: the chosen one is always to be seen, wherever it is in the list."""
    scene = Scene()
    scene.show_listeners([listener(listener=f"room{n:02}", plays=[]) for n in range(24)], DAEMON)
    for n in range(24):
        assert f"▸ room{n:02}" in drawn(scene, 80, 12)
        scene.choose(1)


class Station(Publisher):
    """A daemon's publisher that numbers what it tells, and remembers it."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.told: list[dict[str, Any]] = []

    def make(self, topic: str, **data: object) -> dict[str, Any]:
        """Have an event that is kept, and not sent."""
        self.told.append({**event(topic, **data), "seq": len(self.told) + 1})
        return self.told[-1]

    def send(self, told: dict[str, Any]) -> None:
        """Send an event."""
        self.socket.send_multipart([told["topic"].encode(), json.dumps(told).encode()])

    def replay(self, after: int, lost: int = 0) -> dict[str, Any]:
        """Return the events after a number, as the daemon tells them again."""
        missed = self.told[after:]
        return {"daemon": DAEMON, "seq": len(self.told), "lost": lost, "events": missed, "next": None}


@pytest.fixture
def station(socket_dir: Path, daemon: FakeDaemon) -> Iterator[Station]:
    """Give a publisher that `daemon` names, beside what else the view asks for."""
    publishing = Station(f"ipc://{socket_dir}/e")
    daemon.table["status"] = lambda _: {**STATUS, "endpoints": {"events": publishing.endpoint}}
    daemon.table["listen.list"] = lambda _: {"listeners": [listener(plays=[])]}
    daemon.table["history.list"] = lambda _: {"plays": [], "next": None}
    daemon.table["events.replay"] = lambda asked: publishing.replay(asked.params.get("after", 10**9))
    yield publishing
    publishing.context.destroy(linger=0)


def test_lost_events_are_had_again_or_counted(
    daemon: FakeDaemon, station: Station, client_command: tuple[list[str], dict[str, str]]
) -> None:
    """A number that is left out has the view ask for what it missed; what the daemon no longer keeps is counted, and how all is is asked for."""
    command, environment = client_command
    with in_terminal(command, environment) as seen:
        seen.sees("▸ kitchen · listening")
        station.make("match.started", **play(track=track(1, title="Missed")))
        station.send(station.make("track.added", track=track(2)))
        seen.sees("♪ Missed")
        asked = [one for one in daemon.asked if one.request.method == "events.replay"][-1].params
        assert (asked["after"], asked["daemon"], asked["topics"]) == (0, DAEMON, ["match.", "listener."])

        daemon.table["events.replay"] = lambda asked: station.replay(asked.params["after"], lost=7)
        daemon.table["listen.list"] = lambda _: {"listeners": [listener(plays=[], listener="cellar")]}
        station.make("listener.state", **listener())
        station.send(station.make("track.added", track=track(2)))
        text = seen.sees("7 events lost", "▸ cellar")
        assert "kitchen · listening" not in text
        seen.press("q")
        assert seen.ended() == 0


def test_nothing_is_asked_but_at_first_and_pictures_are_few(
    daemon: FakeDaemon, station: Station, client_command: tuple[list[str], dict[str, str]]
) -> None:
    """However fast events come there are four pictures a second at most, of which only what changed is written, and no question to the daemon."""
    command, environment = client_command
    with in_terminal(command, environment) as seen:
        seen.sees("▸ kitchen · listening")
        seen.until(lambda _: "history.list" in [one.request.method for one in daemon.asked])
        n_asked, n_before, started = len(daemon.asked), len(seen.raw), time.monotonic()
        for n in range(200):
            station.send(meter(level_db=-10.0 - n % 40))
            time.sleep(0.01)
        station.send(meter(level_db=-55.0))
        seen.sees("-55 dB")
        took_s = time.monotonic() - started
        n_pictures = seen.raw[n_before:].count(b"\x1b[3;1H")
        assert 4 <= n_pictures <= took_s / 0.25 + 1
        assert b"kitchen" not in seen.raw[n_before:]
        assert len(daemon.asked) == n_asked
        seen.press("q")
        assert seen.ended() == 0


def test_a_history_that_cannot_be_read_is_said(
    daemon: FakeDaemon, station: Station, client_command: tuple[list[str], dict[str, str]]
) -> None:
    """The listeners are shown all the same; without history nothing is asked of it."""
    assert station.endpoint

    def refuse(_: object) -> None:
        raise IndexUnavailable(url="postgresql://x", reason="the server went away")

    daemon.table["history.list"] = refuse
    command, environment = client_command
    with in_terminal(command, environment) as seen:
        seen.sees("what was played before cannot be read now", "▸ kitchen")
    daemon.asked.clear()
    with in_terminal([*command, "--no-history"], environment) as seen:
        assert "played" not in seen.sees("▸ kitchen")
    assert "history.list" not in [one.request.method for one in daemon.asked]


def test_one_listener_alone_is_looked_at(
    daemon: FakeDaemon, station: Station, client_command: tuple[list[str], dict[str, str]]
) -> None:
    """With --listener others are neither shown nor asked about nor counted, and the one may come later; with -n the view ends with a play."""
    command, environment = client_command
    with in_terminal([*command, "--listener", "cellar", "-n", "1"], environment) as seen:
        seen.sees("there is no listener 'cellar'")
        station.send(station.make("match.ended", **play()))
        station.send(station.make("listener.started", **listener(listener="cellar", plays=[])))
        seen.sees("▸ cellar")
        assert "Song 7" not in seen.text
        [asked] = [one.params for one in daemon.asked if one.request.method == "history.list"]
        assert asked["listener"] == "cellar"
        station.send(station.make("match.ended", **play(listener="cellar")))
        assert seen.ended() == 0
