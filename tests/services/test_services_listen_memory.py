"""Listeners that are remembered: none is lost to what else happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio
from service_parts import PARAMS, RATE_HZ, WatchedIndex
from synthetic import synthesize, write_wav
from test_services_listeners import listening

from dejavud.errors import NotRemembered
from dejavud.fingerprint.classic_params import GENERATIONS

if TYPE_CHECKING:
    from pathlib import Path

GONE = "/nowhere/missing.wav"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return where listeners are remembered."""
    return tmp_path / "listeners.json"


def names(kept: Path) -> list[str]:
    """Return who is remembered."""
    return [one["name"] for one in json.loads(kept.read_text())]


async def test_listeners_of_conf_make_none_forgotten(kept: Path) -> None:
    """What was added is there again beside what conf has, after any number of starts; where both have a name, conf's counts until it has it no longer."""
    index = WatchedIndex()
    async with listening(index, kept) as bench:
        for name in ("a", "b"):
            await bench.listeners.add(name, GONE)
    for _ in range(2):
        async with listening(index, kept, [("conf", GONE), ("a", "pcm")]) as bench:
            sources = {view["listener"]: view["source"] for view in bench.listeners.view()}
            assert sources == {"conf": GONE, "a": "pcm", "b": GONE}
            await bench.listeners.pause("b", paused=True)
            assert sorted(names(kept)) == ["a", "b"]
    async with listening(index, kept) as bench:
        assert {view["source"] for view in bench.listeners.view()} == {GONE}
        await bench.listeners.remove("a")
    assert names(kept) == ["b"]


async def test_what_somebody_paused_stays_paused(kept: Path) -> None:
    """Of the daemon's own microphone and what conf has nothing is remembered but that: until it is resumed or removed, or its source in conf is another."""
    index = WatchedIndex()
    conf = [("radio", GONE), ("hall", "pcm")]
    async with listening(index, kept, conf) as bench:
        bench.listeners.add_microphone()
        for name in ("microphone", "radio", "hall"):
            await bench.listeners.pause(name, paused=True)
    async with listening(index, kept, [("radio", GONE), ("hall", "pcm:s16le:8000:1")]) as bench:
        assert (await bench.until("radio", "paused"))["remembered"] is False
        await bench.until("hall", "waiting")
        await bench.listeners.pause("radio", paused=False)
        bench.listeners.add_microphone()
        await bench.until("microphone", "paused")
    assert names(kept) == ["microphone"]
    async with listening(index, kept, conf) as bench:
        await bench.until("hall", "waiting")
        await bench.until("radio", "retrying")
        bench.listeners.add_microphone()
        await bench.until("microphone", "paused")
        await bench.listeners.remove("microphone")
    assert names(kept) == []


async def test_who_is_refused_at_a_start_is_remembered_all_the_same(kept: Path) -> None:
    """A start with a profile that cannot be listened for loses nobody, whatever is changed meanwhile; who is removed then stays away."""
    index = WatchedIndex()
    async with listening(index, kept) as bench:
        await bench.listeners.add("a", GONE)
    async with listening(index, kept, params=next(iter(GENERATIONS.values()))) as bench:
        assert bench.listeners.view() == []
    async with listening(index, kept) as bench:
        assert [view["listener"] for view in bench.listeners.view()] == ["a"]


@pytest.fixture
def broken(kept: Path) -> Path:
    """Return where somebody broke it by hand."""
    kept.write_text('[{"name": "radio", "source": "http://example.org/x"},]')
    return kept


async def test_a_file_that_says_nothing_is_put_aside(broken: Path) -> None:
    """What somebody broke by hand is there for him to mend, under another name, when the next listener is written down."""
    kept = broken
    async with listening(WatchedIndex(), kept) as bench:
        assert bench.listeners.view() == []
        await bench.listeners.add("a", GONE)
    assert names(kept) == ["a"]
    assert "radio" in kept.with_suffix(".unreadable").read_text()


async def test_who_cannot_be_written_down_is_not_added(kept: Path) -> None:
    """Where the file cannot be written `add` says so and leaves no listener behind; what is removed and paused is, and it is said that it will be back."""
    async with listening(WatchedIndex(), kept) as bench:
        await bench.listeners.add("a", GONE)
        await trio.Path(kept).unlink()
        await trio.Path(kept).mkdir()
        with pytest.raises(NotRemembered, match="after a restart"):
            await bench.listeners.add("b", GONE)
        await bench.listeners.add("once", GONE, remembered=False)
        with pytest.raises(NotRemembered):
            await bench.listeners.pause("a", paused=True)
        assert (await bench.until("a", "paused"))["listener"] == "a"
        with pytest.raises(NotRemembered):
            await bench.listeners.remove("a")
        assert [view["listener"] for view in bench.listeners.view()] == ["once"]


async def test_a_recording_is_heard_once(kept: Path, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A file that was heard to its end has still ended after a restart; whoever wants it heard again resumes it."""
    assert autojump_clock
    path = write_wav(tmp_path / "a.wav", synthesize(1, 3, RATE_HZ), RATE_HZ)
    async with listening(WatchedIndex(), kept) as bench:
        await bench.listeners.add("tape", str(path))
        await bench.until("tape", "ended")
    async with listening(WatchedIndex(), kept) as bench:
        assert (await bench.until("tape", "ended"))["heard_s"] == 0
        await bench.listeners.pause("tape", paused=False)
        with trio.fail_after(60):
            while not bench.listeners.view_of("tape")["heard_s"]:  # noqa: ASYNC110 - on a clock that jumps
                await trio.sleep(0.1)
        assert (await bench.until("tape", "ended"))["heard_s"] == pytest.approx(3, abs=PARAMS.frames_to_seconds(32))
