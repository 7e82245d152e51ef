"""Listeners over workers in the same thread: what they ask, what they tell, and how they are looked after."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
from service_parts import PARAMS, RATE_HZ, WatchedIndex, published
from synthetic import synthesize, write_wav

from dejavud.errors import InvalidRequest, ListenerExists, ListenerNotFound, UnsupportedUrl
from dejavud.fingerprint.classic_params import GENERATIONS
from dejavud.fingerprint.extractor import TrackExtractor, track_hashes
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.matching.tracker import TrackerRules
from dejavud.services import listen_jobs
from dejavud.services.constellations import ConstellationCache
from dejavud.services.events import Event, EventHub
from dejavud.services.hearing import Hearing, Library
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.listen_sources import parse_source
from dejavud.services.listeners import Listeners, ListenSettings
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dejavud.fingerprint.params import HashParams
    from dejavud.services.heard_plays import Change

TRACK_S = 40.0
RULES = TrackerRules(max_gap_s=5.0, min_play_s=3.0)


@pytest.fixture(scope="module")
def index() -> WatchedIndex:
    """Give a library of three pieces."""
    index = WatchedIndex()
    for seed in (1, 2, 3):
        extractor = TrackExtractor(PARAMS)
        extractor.feed(piece(seed))
        constellation = extractor.finish()
        hashes = track_hashes(constellation, PARAMS)
        entry = NewTrack(f"piece {seed}", None, None, None, f"{seed:040x}", TRACK_S, constellation, hashes)
        index.add([entry])
    return index


def piece(seed: int, duration_s: float = TRACK_S) -> NDArray[Any]:
    """Return a piece of music; those of 1 to 3 are known."""
    return synthesize(seed, duration_s, RATE_HZ)


def silence(duration_s: float) -> NDArray[Any]:
    """Return nothing, for so long."""
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


def cut(samples: NDArray[Any], start_s: float, end_s: float) -> NDArray[Any]:
    """Return a stretch."""
    return samples[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]


def library(index: WatchedIndex) -> Library:
    """Return what a listener asks."""
    consider = Matcher(PARAMS, MatchRules(max_matches=4, enough_s=2.0, n_refined=6)).consider
    return Library(index, ConstellationCache(index), consider, 10.0)


def told(index: WatchedIndex, *pieces: NDArray[Any]) -> list[tuple[float, Change]]:
    """Return what a listener says of `pieces`, one after another, with the second in which it says so."""
    hearing = Hearing(PARAMS, RULES, library(index))
    samples = np.concatenate(pieces)
    blocks = (samples[first : first + 800] for first in range(0, len(samples), 800))
    changes = [
        (PARAMS.frames_to_seconds(sound.end_frame), change)
        for sound in listen_jobs.heard(blocks, PARAMS, -66.0)
        for change in hearing.hear(sound, 0)
    ]
    return [*changes, *((len(samples) / RATE_HZ, change) for change in hearing.finish())]


def spans(changes: Sequence[tuple[float, Change]]) -> list[tuple[int, float, float]]:
    """Return the plays that ended: track, start and end in seconds."""
    seconds = PARAMS.frames_to_seconds
    return [
        (change.play.track_id, seconds(change.play.first_frame), seconds(change.play.seen_frame))
        for _, change in changes
        if change.kind == "ended"
    ]


def test_each_play_starts_within_three_seconds_and_ends_once(index: WatchedIndex) -> None:
    """Two tracks between unknown music and silence are two plays: started soon, ended where they ended, one pair each."""
    changes = told(index, piece(90, 12.3), cut(piece(1), 5, 30), silence(8), cut(piece(2), 0, 25), piece(91, 25))
    started = [(at, change.play.track_id) for at, change in changes if change.kind == "started"]
    assert [track for _, track in started] == [1, 2]
    assert started[0][0] - 12.3 <= 3.0
    assert started[1][0] - 45.3 <= 3.0
    assert [track for track, _, _ in spans(changes)] == [1, 2]
    for (_, start, end), (true_start, true_end) in zip(spans(changes), [(12.3, 37.3), (45.3, 70.3)], strict=True):
        assert start == pytest.approx(true_start, abs=1.0)
        assert end == pytest.approx(true_end, abs=1.0)


def test_a_short_pause_is_a_gap_and_a_long_one_ends_the_play(index: WatchedIndex) -> None:
    """Of a track held for 3 s there is one play with a gap; of one held for 12 s, with breaks of 5 s allowed, there are two."""
    [(_, start, end)] = spans(told(index, cut(piece(1), 0, 15), silence(3), cut(piece(1), 15, 35), silence(20)))
    assert start == pytest.approx(0, abs=1.0)
    assert end == pytest.approx(38, abs=1.0)
    long = spans(told(index, cut(piece(1), 0, 15), silence(12), cut(piece(1), 15, 35), silence(20)))
    assert [track for track, _, _ in long] == [1, 1]


@pytest.mark.parametrize("silent_s", [0.0, 1.0, 2.0])
def test_a_play_ends_when_its_track_does(index: WatchedIndex, silent_s: float) -> None:
    """A track that was heard to its end cannot go on: that is told within five seconds, once, without waiting for a pause."""
    changes = told(index, silence(silent_s), piece(3), piece(92, 20))
    [(at, play)] = [(at, change.play) for at, change in changes if change.kind == "ended"]
    assert at - silent_s - TRACK_S <= 5.0
    assert PARAMS.frames_to_seconds(play.seen_frame) - silent_s == pytest.approx(TRACK_S, abs=1.0)


def test_a_held_track_begins_where_it_began(index: WatchedIndex) -> None:
    """A play with a gap says where in the track it began, not where that would lie after the gap; that gap makes no second play."""
    changes = told(index, cut(piece(1), 6, 20), silence(4), cut(piece(1), 20, 35), silence(20))
    [play] = [change.play for _, change in changes if change.kind == "ended"]
    assert PARAMS.frames_to_seconds(play.track_first_frame) == pytest.approx(6.0, abs=0.3)


def test_the_same_track_twice_in_a_row_is_two_plays(index: WatchedIndex) -> None:
    """A track that begins again is played again."""
    assert [track for track, _, _ in spans(told(index, piece(3), piece(3), silence(20)))] == [3, 3]


def test_two_tracks_at_once_are_two_plays(index: WatchedIndex) -> None:
    """Music over music: both are told."""
    both = piece(1) + piece(2)
    assert sorted({track for track, _, _ in spans(told(index, both.astype(np.float32), silence(20)))}) == [1, 2]


def test_silence_asks_nothing_and_a_settled_track_hardly_anything(index: WatchedIndex) -> None:
    """In silence the index is never asked for anything; while a known track plays, once in five seconds and while it is being found."""
    empty = WatchedIndex()
    assert told(empty, silence(60)) == []
    assert empty.n_lookups <= 60 / 5 + 1
    assert not any(sound.parts or sound.looks for sound in listen_jobs.heard([silence(30)], PARAMS, -66.0))
    before = index.n_lookups
    told(index, piece(1))
    assert index.n_lookups - before <= TRACK_S / 5 + 6


def test_unknown_music_is_nothing(index: WatchedIndex) -> None:
    """Of music that the library does not hold nothing is told."""
    assert told(index, piece(92, 30), silence(3), piece(93, 30)) == []


# -- the service ------------------------------------------------------------------------------------------------------


class Bench:
    """Listeners, and what they published."""

    def __init__(self, listeners: Listeners, events: list[Event]) -> None:
        self.listeners = listeners
        self.events = events

    def topics(self, name: str) -> list[str]:
        """Return the topics about one listener."""
        return [event.topic for event in self.events if event.data["listener"] == name]

    async def until(self, name: str, state: str) -> dict[str, Any]:
        """Wait until a listener is in `state`; return it."""
        with trio.fail_after(60):
            while (view := self.listeners.view_of(name))["state"] != state:  # noqa: ASYNC110 - on a clock that jumps
                await trio.sleep(0.1)
        return view


@asynccontextmanager
async def listening(
    index: WatchedIndex,
    kept_in: Path | None = None,
    configured: Sequence[tuple[str, str]] = (),
    params: HashParams = PARAMS,
) -> AsyncIterator[Bench]:
    """Give running listeners."""
    hub = EventHub()
    events = published(hub)
    listeners = Listeners(
        InlineWorkers(), hub, params, library=library(index), settings=ListenSettings(RULES), kept_in=kept_in
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(listeners.serve, configured)
        yield Bench(listeners, events)
        nursery.cancel_scope.cancel()


async def test_a_file_is_listened_to_the_end(
    index: WatchedIndex, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A file gives its plays as events and the state 'ended'; what follows is in order."""
    assert autojump_clock
    path = write_wav(tmp_path / "a.wav", np.concatenate([silence(2), cut(piece(2), 0, 20)]), RATE_HZ)
    async with listening(index) as bench:
        await bench.listeners.add("tape", str(path))
        await bench.until("tape", "ended")
        [started] = [event.data for event in bench.events if event.topic == "match.started"]
        [ended] = [event.data for event in bench.events if event.topic == "match.ended"]
        assert started["play"] == ended["play"]
        assert started["track"]["title"] == ended["track"]["title"] == "piece 2"
        moments = {datetime.fromisoformat(one["started_at"]).timestamp() - one["start_s"] for one in (started, ended)}
        assert max(moments) - min(moments) < 0.01, "however fast the file is heard"
        assert ended["start_s"] == pytest.approx(2, abs=0.5)
        assert ended["end_s"] == pytest.approx(22, abs=1.0)
        assert ended["track_start_s"] == pytest.approx(ended["start_s"] - 2, abs=0.3)
        assert ended["exact"]
        assert ended["outcome"] == "source_ended"
        states = [event.data["state"] for event in bench.events if event.topic == "listener.state"]
        assert states[-1] == "ended"
    assert bench.topics("tape")[0] == "listener.started"
    assert bench.topics("tape")[-1] == "listener.stopped"


async def test_a_source_that_is_not_there_is_tried_again_ever_less_often(
    index: WatchedIndex, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A missing file is told with its reason and tried after about 1, 2, 4 s …; once it is there it is heard."""
    assert autojump_clock
    path = tmp_path / "late.wav"
    async with listening(index) as bench:
        await bench.listeners.add("late", str(path))
        view = await bench.until("late", "retrying")
        assert "no such file" in view["reason"]
        assert view["next_try_at"]
        began = trio.current_time()
        while bench.listeners.view_of("late")["n_retries"] < 5:  # noqa: ASYNC110 - on a clock that jumps
            await trio.sleep(0.1)
        assert 0.8 * 15 <= trio.current_time() - began <= 1.2 * 15 + 1
        write_wav(path, cut(piece(1), 0, 12), RATE_HZ)
        await bench.until("late", "ended")
    assert "match.ended" in bench.topics("late")
    tries = [
        data for event in bench.events if (data := event.data)["listener"] == "late" and data.get("state") == "starting"
    ]
    assert len(tries) >= 6
    assert all("no such file" in data["reason"] for data in tries[2:]), "while it is tried, why it has to be"


async def test_listeners_are_remembered_but_those_for_once(
    index: WatchedIndex, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """What was added is there again after a start, paused where it was, all but what was added for once and what conf has."""
    assert autojump_clock
    kept = tmp_path / "listeners.json"
    missing = str(tmp_path / "missing.wav")
    async with listening(index, kept, [("conf", missing)]) as bench:
        for name in ("a", "b", "c"):
            await bench.listeners.add(name, missing, remembered=name != "b")
        await bench.listeners.pause("c", paused=True)
        await bench.until("c", "paused")
    assert [one["name"] for one in json.loads(kept.read_text())] == ["a", "c"]
    assert kept.stat().st_mode & 0o077 == 0
    async with listening(index, kept) as bench:
        assert [view["listener"] for view in bench.listeners.view()] == ["a", "c"]
        await bench.until("c", "paused")
        await bench.listeners.pause("c", paused=False)
        await bench.until("c", "retrying")
        await bench.listeners.remove("a")
        await trio.testing.wait_all_tasks_blocked()
        assert bench.topics("a")[-1] == "listener.stopped"
        with pytest.raises(ListenerNotFound, match="'a'; there are: c"):
            bench.listeners.view_of("a")
    kept.write_text("{")
    async with listening(index, kept) as bench:
        assert bench.listeners.view() == []


async def test_who_pauses_and_resumes_is_answered_when_it_is_done(index: WatchedIndex) -> None:
    """The listener that is returned is paused, or no longer, whether its source is waited for, failed or has ended."""
    async with listening(index) as bench:
        for source, was in (("pcm", "waiting"), ("/missing", "retrying")):
            await bench.listeners.add(was, source)
            await bench.until(was, was)
            for paused in (True, False, True):
                assert (await bench.listeners.pause(was, paused=paused)).paused is paused
                assert (bench.listeners.view_of(was)["state"] == "paused") is paused
        await bench.listeners.add("new", "/missing", paused=True)
        await bench.until("new", "paused")
        await bench.listeners.pause("new", paused=False)
        await bench.until("new", "retrying")
        states = [event.data["state"] for event in bench.events if event.data["listener"] == "new"]
    assert states[1:4] == ["paused", "starting", "retrying"], "events tell every state that a list does"


async def test_what_cannot_be_listened_to_is_refused(index: WatchedIndex) -> None:
    """A name twice, a name that is none, a source that is none and a classic library are refused with what to do."""
    async with listening(index) as bench:
        await bench.listeners.add("a", "/missing")
        for name, source, reason in [
            ("a", "mic", "already"),
            ("", "mic", "no name"),
            ("x" * 65, "mic", "no name"),
            (" b", "mic", "no space at either end"),
            ("b", "gramophone", "is no source"),
            ("b", "mic:", "is no source"),
        ]:
            with pytest.raises((InvalidRequest, ListenerExists), match=reason):
                await bench.listeners.add(name, source)
        with pytest.raises(UnsupportedUrl):
            await bench.listeners.add("b", "ftp://example.org/x")
    async with listening(index, params=next(iter(GENERATIONS.values()))) as bench:
        with pytest.raises(InvalidRequest, match="landmark-2"):
            await bench.listeners.add("a", "mic")


def test_a_password_is_not_shown() -> None:
    """A source is shown without what its address has before the @."""
    assert parse_source("http://user:secret@example.org/x").shown == "http://example.org/x"


async def test_an_address_that_a_client_named_stays_one_that_is_looked_at(index: WatchedIndex, tmp_path: Path) -> None:
    """A listener that was added from another machine leads to no private network, after a restart neither; one of this machine's own may."""
    kept = tmp_path / "listeners.json"
    for _ in range(2):
        async with listening(index, kept) as bench:
            if not bench.listeners.view():
                await bench.listeners.add("theirs", "http://127.0.0.1:1/", is_trusted=False)
                await bench.listeners.add("ours", "http://127.0.0.1:1/")
            for name, why in (("theirs", "not public"), ("ours", "refused")):
                assert why in (await bench.until(name, "retrying"))["reason"]
