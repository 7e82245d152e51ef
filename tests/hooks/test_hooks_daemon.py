"""A real daemon with every hook switched on that hears a recording: each says so in its own way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from daemon_process import Place, run_to_the_end, running_daemon
from hook_parts import until
from synthetic import synthesize, write_wav
from test_hooks_mpris import bus_in
from test_hooks_mqtt import Broker, broker
from webhook_receiver import is_genuine

from dejavud.hooks.settings import HookSettings
from dejavud.hooks.supervisor import make_hooks
from dejavud.hooks.webhook import signature
from dejavud.services.events import EventHub

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import pytest

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
ROOT = Path(__file__).parents[2]
RATE_HZ = 44100


class Receiver:
    """The program that the documentation shows."""

    def __init__(self, url: str, said: Path) -> None:
        self.url = url
        self._said = said

    @property
    def lines(self) -> list[str]:
        """Return what it has printed about events."""
        return [" ".join(line.split()) for line in self._said.read_text().splitlines()[1:]]


@contextmanager
def receiver(folder: Path) -> Iterator[Receiver]:
    """Run clients/webhook_receiver.py on a free port."""
    said = folder / "received"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, ROOT / "clients" / "webhook_receiver.py", "0"],
            stdout=out,
            env=os.environ | {"WEBHOOK_SECRET": SECRET},
        )
    try:
        while "receiving at" not in (first := said.read_text()) and process.poll() is None:
            pass
        yield Receiver(first.split()[2], said)
    finally:
        process.terminate()
        process.wait()


async def becomes(ask: Callable[[], Awaitable[str]], wanted: str) -> None:
    """Ask another program until it answers what is wanted."""
    with trio.fail_after(10):
        while await ask() != wanted:  # noqa: ASYNC110 - it tells no event of ours
            await trio.sleep(0.05)


async def kept_text(mosquitto: Broker) -> str:
    """Return the line that the broker keeps of what plays on the tape."""
    return str((await mosquitto.kept()).get("dejavud/tape/now_playing", {}).get("text"))


async def test_a_daemon_tells_by_all_hooks_what_it_hears(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A track in a file that it listens to is posted and signed, kept by the broker, written, and on the bus; stopped meanwhile, it tells the end and takes leave."""
    folder = tmp_path_factory.mktemp("d")
    (folder / "secret").write_text(SECRET)
    place = Place(folder, {"--config": f"{folder}/conf.toml"})
    music = write_wav(folder / "piece.wav", synthesize(1, 12, RATE_HZ), RATE_HZ)
    with receiver(folder) as receiving, broker(folder) as mosquitto:
        await mosquitto.start()
        async with bus_in(folder) as bus:
            (folder / "conf.toml").write_text(f"""[hooks]
webhooks = [{{ url = "{receiving.url}T0KEN", name = "diary", secret = "file:{folder}/secret" }}]
mqtt_url = "mqtt://127.0.0.1:{mosquitto.port}"
now_playing_file = "{folder}/now.txt"
mpris = true
""")
            async with running_daemon(place, environment={"DBUS_SESSION_BUS_ADDRESS": bus.address}) as daemon:
                await daemon.ask("fingerprint", path=str(music), title="Blue", artist="Ann")
                await daemon.ask("listen.add", name="tape", source=f"realtime:{music}")
                await until((folder / "now.txt").read_text, 20)
                assert (folder / "now.txt").read_text() == "Ann - Blue\n"
                await becomes(lambda: bus.run("playerctl", "metadata", "title"), "Blue")
                await becomes(lambda: kept_text(mosquitto), "Ann - Blue")
                await until(lambda: "match.started Blue" in receiving.lines)
                status = await daemon.ask("status")
                tests = (await daemon.ask("hooks.test", name="diary"))["tests"]
                daemon.process.send_signal(signal.SIGTERM)
                assert await daemon.ended() == 0
        kept = await mosquitto.kept()
    assert receiving.lines[0] == "match.started Blue"
    assert receiving.lines[-1] == "match.ended Blue"
    assert [(hook["hook"], hook["state"]) for hook in status["hooks"]] == [
        ("diary", "ready"),
        ("mqtt", "ready"),
        ("mpris", "ready"),
        ("now-playing", "ready"),
    ]
    assert tests[0]["ok"]
    assert kept["dejavud/availability"] == "offline"
    assert "homeassistant/sensor/dejavud_tape_now_playing/config" in kept
    assert (folder / "now.txt").read_text() == ""
    assert SECRET not in daemon.log + str(status)
    assert "T0KEN" not in daemon.log + str((status, tests))


def test_the_receiver_takes_only_what_is_genuine() -> None:
    """What was changed on its way, signed by another, or recorded and sent again later is refused."""
    now = int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": "v1a,x " + signature(SECRET, "msg_1", now, b"{}"),
    }
    old = headers | {
        "webhook-timestamp": str(now - 600),
        "webhook-signature": signature(SECRET, "msg_1", now - 600, b"{}"),
    }
    assert is_genuine(SECRET, headers, b"{}")
    assert not is_genuine(SECRET, headers, b"{ }")
    assert not is_genuine("whsec_" + "A" * 32, headers, b"{}")
    assert not is_genuine(SECRET, headers | {"webhook-id": "msg_2"}, b"{}")
    assert not is_genuine(SECRET, old, b"{}")
    assert not is_genuine(SECRET, {}, b"{}")


async def test_a_library_that_is_missing_keeps_the_daemon_from_starting(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Exit 2, with the name of what to install."""
    place = Place(tmp_path_factory.mktemp("d"))
    (place.folder / "paho").mkdir()
    (place.folder / "paho" / "__init__.py").write_text("raise ModuleNotFoundError('no paho here', name='paho')")
    code = f"import sys; sys.path.insert(0, {str(place.folder)!r}); from dejavud.__main__ import main; sys.exit(main())"
    (place.folder / ".env").write_text("DEJAVUD_HOOKS_MQTT_URL=mqtt://127.0.0.1\n")
    ended = await run_to_the_end(place, program=("-c", code))
    assert ended.returncode == 2, ended.stderr
    assert "pip install 'dejavud[mqtt]'" in ended.stderr


def test_the_commands_of_hooks_are_on_the_protocols_page() -> None:
    """Each is a row of its table of commands."""
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    for name, _, _ in make_hooks(HookSettings(), EventHub(), list, None).rows():  # type: ignore[arg-type] # no thread is needed
        assert f"| `{name}` |" in page


def test_every_setting_of_hooks_is_on_their_page() -> None:
    """docs/hooks.md tells of each key that conf has."""
    page = (ROOT / "docs" / "hooks.md").read_text("utf-8")
    assert not [name for name in HookSettings.__slots__ if name not in page]
