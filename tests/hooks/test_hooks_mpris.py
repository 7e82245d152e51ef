"""MPRIS on a real session bus of its own, read by playerctl and dbus-send."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
import trio
from hook_parts import listener, n_descriptors, play, ready, running, until

from dejavud.hooks import mpris, supervisor
from dejavud.hooks.mpris import BUS_NAME, PLAYER, PROPERTIES, MprisHook
from dejavud.hooks.settings import HookSettings
from dejavud.services.events import EventHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


PATH = "/org/mpris/MediaPlayer2"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the first pauses be short."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(supervisor, "MAX_PAUSE_S", 0.1)
    monkeypatch.setattr(mpris, "SAMPLE_S", 0.5)


class Bus:
    """A session bus that nobody else is on."""

    def __init__(self, folder: Path) -> None:
        self.address = f"unix:path={folder}/bus"
        self.environment = os.environ | {"DBUS_SESSION_BUS_ADDRESS": self.address}

    async def run(self, *command: str) -> str:
        """Return what a program on the bus prints, on both its outputs."""
        done = await trio.run_process(
            command, env=self.environment, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
        return done.stdout.decode().strip()

    async def call(self, interface: str, member: str, *arguments: str, path: str = PATH) -> str:
        """Return what our player answers to a call, on one line."""
        command = ("dbus-send", f"--bus={self.address}", "--print-reply=literal", f"--dest={BUS_NAME}", path)
        return " ".join((await self.run(*command, f"{interface}.{member}", *arguments)).split())


@asynccontextmanager
async def bus_in(folder: Path) -> AsyncIterator[Bus]:
    """Give a bus that takes connections."""
    bus = Bus(folder)
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={bus.address}"]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(trio.run_process, command)
        await until((folder / "bus").exists)
        yield bus
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()
        nursery.cancel_scope.cancel()


@pytest.fixture
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bus]:
    """Give a session bus; its path has to be short."""
    async with bus_in(tmp_path_factory.mktemp("b")) as made:
        yield made


def hook_on(bus: Bus, hub: EventHub, *views: dict[str, object]) -> MprisHook:
    """Return a hook for the bus."""
    return MprisHook(hub, lambda: views, HookSettings(mpris=True, mpris_bus=bus.address))


FORMAT = "{{status}}|{{artist}}|{{title}}|{{album}}|{{mpris:length}}"


async def test_playerctl_shows_what_plays(bus: Bus) -> None:
    """It lists the player, and has title, artist, album, length and status of the play that began last."""
    hub = EventHub()
    hook = hook_on(bus, hub, listener())
    async with running(hub, hook):
        await ready(hook)
        assert await bus.run("playerctl", "-l") == "dejavud"
        assert await bus.run("playerctl", "status") == "Stopped"
        hub.publish("match.started", play(1, "Blue"))
        hub.publish("match.started", play(2, "Grün", listener="radio", album=None))
        await until(lambda: hook.figures.n_delivered)
        assert await bus.run("playerctl", "metadata", "--format", FORMAT) == "Playing|Ann|Grün||200000000"
        hub.publish("match.ended", play(2, "Grün", listener="radio"))
        await until(lambda: hook.figures.n_delivered == 2)
        assert await bus.run("playerctl", "metadata", "--format", FORMAT) == "Playing|Ann|Blue|Sky|200000000"
        assert 12 <= float(await bus.run("playerctl", "position")) < 20
        hub.publish("match.ended", play(1))
        await until(lambda: hook.figures.n_delivered == 3)
        assert await bus.run("playerctl", "status") == "Stopped"
    assert "No players" in await bus.run("playerctl", "-l")


async def test_a_follower_is_told_of_changes(bus: Bus) -> None:
    """`playerctl --follow` prints each change when it happens: PropertiesChanged reaches it."""
    hub = EventHub()
    hook = hook_on(bus, hub)
    async with running(hub, hook), trio.open_nursery() as nursery:
        await ready(hook)
        told: list[str] = []

        async def follow(*, task_status: trio.TaskStatus[None]) -> None:
            command = ["stdbuf", "-oL", "playerctl", "--follow", "metadata", "--format", "now {{title}}"]
            async with trio.open_nursery() as inner:
                run = partial(trio.run_process, env=bus.environment, stdout=subprocess.PIPE, check=False)
                process = await inner.start(run, command)
                told.append((await process.stdout.receive_some()).decode().strip())
                task_status.started()
                async for data in process.stdout:
                    told.extend(data.decode().splitlines())

        hub.publish("match.started", play(1, "first"))
        await nursery.start(follow)
        hub.publish("match.ended", play(1))
        hub.publish("match.started", play(2, "second"))
        await until(lambda: "now second" in told)
        nursery.cancel_scope.cancel()
    assert told[0] == "now first"


async def test_it_can_be_read_by_anybody_and_changed_by_nobody(bus: Bus) -> None:
    """Introspection tells all; what would control it has no effect or is refused, and what is not there is an error, not silence."""
    hub = EventHub()
    hook = hook_on(bus, hub)
    async with running(hub, hook):
        await ready(hook)
        described = ET.fromstring(await bus.call("org.freedesktop.DBus.Introspectable", "Introspect"))  # noqa: S314 - our own
        control = await bus.call(PROPERTIES, "Get", f"string:{PLAYER}", "string:CanControl")
        told = await bus.call(PROPERTIES, "GetAll", "string:org.mpris.MediaPlayer2")
        without_effect = [
            await bus.call(PLAYER, "PlayPause"),
            await bus.call(PLAYER, "Seek", "int64:5"),
            await bus.call("org.freedesktop.DBus.Peer", "Ping", path="/"),
        ]
        refused = [
            await bus.call(PROPERTIES, "Set", f"string:{PLAYER}", "string:Volume", "variant:double:0.5"),
            await bus.call(PROPERTIES, "Get", f"string:{PLAYER}", "string:Colour"),
            await bus.call(PROPERTIES, "Get", "string:org.example", "string:X"),
            await bus.call(PROPERTIES, "Get", "string:few"),
            await bus.call(PROPERTIES, "Get", "array:string:a,b", "int32:1"),
            await bus.call(PROPERTIES, "Get", f"string:{PLAYER}", "array:string:a"),
            await bus.call(PLAYER, "Explode"),
            await bus.call("org.mpris.MediaPlayer2", "Raise", path="/elsewhere"),
        ]
        assert hook.figures.state == "ready"
    names = {element.get("name") for element in described.iter()}
    assert {"PlaybackStatus", "Metadata", "Identity", "PropertiesChanged", "PlayPause"} <= names
    assert control == "variant boolean false"
    assert "Identity variant dejavud" in told
    assert without_effect == [""] * 3
    assert [text.partition(":")[0].removeprefix("Error org.freedesktop.DBus.Error.") for text in refused] == [
        "PropertyReadOnly",
        "UnknownProperty",
        "UnknownInterface",
        "UnknownMethod",
        "UnknownInterface",
        "UnknownProperty",
        "UnknownMethod",
        "UnknownObject",
    ]


async def test_a_second_daemon_has_a_name_of_its_own(bus: Bus) -> None:
    """Where the name is taken, the player is an instance, as the specification has it."""
    hub = EventHub()
    first, second = hook_on(bus, hub), hook_on(bus, hub)
    async with running(hub, first):
        await ready(first)
        async with running(hub, second):
            await ready(second)
            assert second.target == f"{BUS_NAME}.instance{os.getpid()}"
            assert len((await bus.run("playerctl", "-l")).splitlines()) == 2


async def test_a_bus_that_goes_away_is_waited_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without a bus the hook says so and tries again; it is a player as soon as there is one, and again after that one ended."""
    hub = EventHub()
    folder = tmp_path_factory.mktemp("b")
    hook = hook_on(Bus(folder), hub, listener(plays=[play(1, "Blue")]))
    async with running(hub, hook):
        await until(lambda: hook.figures.state == "retrying")
        assert "there is no session bus at" in str(hook.figures.last_error)
        for _ in range(2):
            async with bus_in(folder) as bus:
                await ready(hook)
                assert await bus.run("playerctl", "metadata", "title") == "Blue"
            await until(lambda: hook.figures.state == "retrying")
            (folder / "bus").unlink(missing_ok=True)


@pytest.mark.filterwarnings(
    "ignore:.*socket:pytest.PytestUnraisableExceptionWarning"
)  # jeepney leaves one to the collector
async def test_what_is_no_bus_is_tried_again_and_leaks_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A socket that hangs up, or talks nonsense, is a failure in words, each time with the same descriptors."""
    folder = tmp_path_factory.mktemp("b")
    hub, n_connections = EventHub(), 0
    async with trio.open_nursery() as nursery:

        async def talk_nonsense(stream: trio.SocketStream) -> None:
            nonlocal n_connections
            n_connections += 1
            if n_connections % 2:
                await stream.receive_some()
                await stream.send_all(b"nonsense\r\n")
            await stream.aclose()

        listening = trio.socket.socket(trio.socket.AF_UNIX)
        await listening.bind(f"{folder}/bus")
        listening.listen()
        nursery.start_soon(trio.serve_listeners, talk_nonsense, [trio.SocketListener(listening)])
        hook = hook_on(Bus(folder), hub)
        async with running(hub, hook):
            await until(lambda: n_connections == 2)
            before = n_descriptors()
            await until(lambda: n_connections == 8)
            await until(lambda: n_descriptors() <= before)
        nursery.cancel_scope.cancel()
    assert hook.figures.state == "retrying"
    assert "there is no session bus" in str(hook.figures.last_error)


async def test_a_sample_is_shown_for_a_moment(bus: Bus) -> None:
    """`hooks.test` shows the sample to whoever looks, and then what really plays."""
    hub = EventHub()
    hook = hook_on(bus, hub, listener(plays=[play(1, "Blue")]))
    async with running(hub, hook) as hooks:
        await ready(hook)
        test = {name: (kind, handler) for name, kind, handler in hooks.rows()}["hooks.test"]
        outcomes: list[dict[str, object]] = []

        async def try_it() -> None:
            outcomes.extend((await test[1](test[0](), None))["tests"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_it)
            await until(lambda: hook.figures.n_delivered == 2)
            shown = await bus.run("playerctl", "metadata", "title")
        assert await bus.run("playerctl", "metadata", "title") == "Blue"
    assert outcomes[0]["ok"]
    assert shown == "A sample of dejavud's"


def test_the_programs_that_read_the_bus_are_here() -> None:
    """What these tests take for granted is what ./run-tests installs."""
    assert all(map(shutil.which, ("dbus-daemon", "playerctl", "dbus-send")))
