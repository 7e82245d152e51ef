"""MPRIS on a real session bus of its own, read by playerctl and busctl."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from hook_parts import listener, play, ready, running, until

from dejavud.hooks import mpris, supervisor
from dejavud.hooks.mpris import BUS_NAME, MprisHook
from dejavud.hooks.settings import HookSettings
from dejavud.services.events import EventHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the first pauses be short."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.05)
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

    async def busctl(self, *words: str) -> str:
        """Return what busctl says of our player."""
        return await self.run("busctl", f"--address={self.address}", *words)


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
    path = "/org/mpris/MediaPlayer2"
    async with running(hub, hook):
        await ready(hook)
        described = await bus.busctl("introspect", BUS_NAME, path)
        control = await bus.busctl("get-property", BUS_NAME, path, "org.mpris.MediaPlayer2.Player", "CanControl")
        paused = await bus.busctl("call", BUS_NAME, path, "org.mpris.MediaPlayer2.Player", "PlayPause")
        set_volume = await bus.busctl(
            "set-property", BUS_NAME, path, "org.mpris.MediaPlayer2.Player", "Volume", "d", "0.5"
        )
        missing = [
            await bus.busctl("get-property", BUS_NAME, path, "org.mpris.MediaPlayer2.Player", "Colour"),
            await bus.busctl("get-property", BUS_NAME, path, "org.example", "X"),
            await bus.busctl("call", BUS_NAME, path, "org.mpris.MediaPlayer2.Player", "Explode"),
            await bus.busctl("call", BUS_NAME, "/elsewhere", "org.mpris.MediaPlayer2", "Raise"),
            await bus.busctl("call", BUS_NAME, path, "org.freedesktop.DBus.Properties", "Get", "s", "too few"),
        ]
        ping = await bus.busctl("call", BUS_NAME, "/", "org.freedesktop.DBus.Peer", "Ping")
        assert hook.figures.state == "ready"
    assert ".PlaybackStatus" in described
    assert ".Identity" in described
    assert control == "b false"
    assert paused == ping == ""
    assert "nothing of it can be set" in set_volume
    assert [text.splitlines()[0] for text in missing] == [
        "Failed to get property Colour on interface org.mpris.MediaPlayer2.Player: there is no such property",
        "Failed to get property X on interface org.example: there are org.mpris.MediaPlayer2 and its Player",
        "Call failed: there is no org.mpris.MediaPlayer2.Player.Explode",
        "Call failed: there is only /org/mpris/MediaPlayer2",
        "Call failed: there is no org.freedesktop.DBus.Properties.Get of these arguments",
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
    assert all(map(shutil.which, ("dbus-daemon", "playerctl", "busctl")))
