"""The now-playing file, and what all hooks that show a state share."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hook_parts import in_thread, listener, play, ready, running, until

from dejavud.hooks import supervisor, text_file
from dejavud.hooks.now_playing import NowPlaying, Playing
from dejavud.hooks.settings import HookSettings
from dejavud.hooks.text_file import NowPlayingFile, write_whole
from dejavud.services.events import EventHub

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the first pauses be short."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(text_file, "SAMPLE_S", 0.3)


def hook_for(hub: EventHub, path: Path, *views: dict[str, Any], **settings: str) -> NowPlayingFile:
    """Return a hook that writes `path`."""
    chosen = HookSettings(now_playing_file=str(path), **settings)  # type: ignore[arg-type] # texts, all of them
    return NowPlayingFile(hub, lambda: views, chosen, in_thread)


async def test_the_file_holds_what_plays_and_is_empty_otherwise(tmp_path: Path) -> None:
    """From the first moment it says what plays, changes with it, and is empty when nothing does and when the daemon ends."""
    path, hub = tmp_path / "now.txt", EventHub()
    hook = hook_for(hub, path, listener(plays=[play(1, "Blue")]))
    async with running(hub, hook):
        await ready(hook)
        assert path.read_text() == "Ann - Blue\n"
        hub.publish("match.started", play(2, "Grün", artist=None))
        await until(lambda: path.read_text() == "Grün\n")
        hub.publish("match.ended", play(2))
        await until(lambda: path.read_text() == "Ann - Blue\n")
        hub.publish("match.ended", play(1))
        await until(lambda: path.read_text() == "")
        hub.publish("match.started", play(3, "Red"))
        await until(lambda: path.read_text() == "Ann - Red\n")
    assert path.read_text() == ""
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208 - nothing blocks here for long


async def test_each_listener_can_have_a_file(tmp_path: Path) -> None:
    """{listener} in the path makes a file of each, which no name leads out of the folder; one that is removed leaves an empty one."""
    hub = EventHub()
    hook = hook_for(hub, tmp_path / "{listener}.txt", listener("kitchen"), listener("../../etc/x"))
    async with running(hub, hook):
        await ready(hook)
        hub.publish("match.started", play(1, "Blue"))
        await until((tmp_path / "kitchen.txt").read_text)
        assert (tmp_path / "kitchen.txt").read_text() == "Ann - Blue\n"
        assert len(os.listdir(tmp_path)) == 2  # noqa: PTH208
        hub.publish("listener.stopped", {"listener": "kitchen"})
        await until(lambda: not (tmp_path / "kitchen.txt").read_text())


async def test_a_folder_that_is_not_there_is_said_and_waited_for(tmp_path: Path) -> None:
    """The reason is in the figures; once the folder is there the file is too."""
    hub, path = EventHub(), tmp_path / "later" / "now.txt"
    hook = hook_for(hub, path, listener(plays=[play(1, "Blue")]))
    async with running(hub, hook):
        await until(lambda: hook.figures.state == "retrying")
        assert hook.figures.last_error == f"{path} cannot be written: No such file or directory"
        path.parent.mkdir()
        await ready(hook)
        assert path.read_text() == "Ann - Blue\n"


async def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    """Read all the time while it is written, the file is there, and whole."""
    path, texts = tmp_path / "now.txt", {"a" * 20_000, "b" * 30_000}
    write_whole(path, "a" * 20_000)
    done, seen = threading.Event(), set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, read)
        for _ in range(100):
            for text in texts:
                await trio.to_thread.run_sync(write_whole, path, text)
        done.set()
    assert seen <= texts
    assert seen


async def test_a_sample_is_in_the_file_for_a_moment(tmp_path: Path) -> None:
    """`hooks.test` shows the sample and then what really plays."""
    path, hub = tmp_path / "now.txt", EventHub()
    hook = hook_for(hub, path, listener(plays=[play(1, "Blue")]))
    async with running(hub, hook) as hooks, trio.open_nursery() as nursery:
        await ready(hook)
        test = {name: (kind, handler) for name, kind, handler in hooks.rows()}["hooks.test"]
        nursery.start_soon(test[1], test[0](), None)
        await until(lambda: path.read_text() == "Nobody - A sample of dejavud's\n")
        await until(lambda: path.read_text() == "Ann - Blue\n")


@pytest.mark.parametrize(
    ("template", "track", "text"),
    [
        ("{artist} - {title}", {}, "Ann - Blue"),
        ("{artist} - {title}", {"artist": None}, "Blue"),
        ("{title} ({album})", {}, "Blue (Sky)"),
        ("♪ {title} · {artist}", {"artist": ""}, "♪ Blue"),
        ("{artist} - {title}", {"title": None, "artist": None}, "blue"),
        ("{artist} - {title} ({album})", {"album": None}, "Ann - Blue"),
        ("{artist} - {title} [{album}]", {"album": "()", "artist": None}, "Blue [()]"),
        ("{title} · {album} · {listener}", {"album": None}, "Blue · kitchen"),
        ("♪ {artist} - {title} by {album}", {"artist": None, "title": "{album}"}, "♪ {album} by Sky"),
        ("{title}", {"title": "two\nlines\x00"}, "two lines\x00"),
        ("{{{listener}}}", {}, "{kitchen}"),
    ],
)
def test_a_line_leaves_out_what_is_not_known(template: str, track: dict[str, Any], text: str) -> None:
    """A field that is empty takes the dash beside it along, or the brackets around it; a track without a title is called by its file; a line is one line."""
    data = play(1, **{"title": "Blue", **track})
    made = Playing("kitchen", 1, data["track"], "", 0.0, 1.0)
    assert made.text(template) == text


async def test_lost_events_are_made_up_for_by_looking(tmp_path: Path) -> None:
    """A hook that was too slow for the ring asks how things are, and shows that."""
    hub = EventHub(keep=3)
    views = [listener(plays=[play(1, "old")])]
    writing, go_on = trio.Event(), trio.Event()

    async def slow(function: Any, *args: object, abandon: bool = False) -> Any:  # noqa: ANN401 - as Thread
        writing.set()
        await go_on.wait()
        return await in_thread(function, *args, abandon=abandon)

    path = tmp_path / "now.txt"
    hook = NowPlayingFile(hub, lambda: views, HookSettings(now_playing_file=str(path)), slow)
    async with running(hub, hook):
        await writing.wait()
        for number in range(2, 12):
            hub.publish("match.started", play(number))
            hub.publish("match.ended", play(number))
        views[0] = listener(plays=[play(20, "new")])
        go_on.set()
        await until(lambda: path.exists() and path.read_text() == "Ann - new\n")
    assert hook.figures.n_lost == 17


def test_what_stops_with_the_daemon_is_not_gone() -> None:
    """A listener that ends because the daemon does is kept, with nothing playing; one that is removed is not."""
    hub, now = EventHub(), NowPlaying(lambda: [listener("a", plays=[play()]), listener("b")])
    for topic, data in (
        ("listener.stopped", {"listener": "b"}),
        ("daemon.stopping", {}),
        ("listener.stopped", {"listener": "a"}),
        ("match.ended", play(listener="b")),
    ):
        event = hub.publish(topic, data)
        assert event is not None
        now.take(event)
    assert list(now.listeners) == ["a"]
    assert now.listeners["a"].view["state"] == "stopped"
    assert now.latest is None
