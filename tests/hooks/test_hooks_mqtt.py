"""MQTT against a real mosquitto, which is restarted in the middle."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hook_parts import in_thread, listener, n_descriptors, play, ready, running, until

from dejavud.hooks import mqtt_connection, supervisor
from dejavud.hooks.mqtt import MqttHook
from dejavud.hooks.now_playing import identifier
from dejavud.hooks.settings import HookSettings
from dejavud.services.events import EventHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MOSQUITTO = next((path for path in ("/usr/sbin/mosquitto", "/usr/bin/mosquitto") if Path(path).exists()), "mosquitto")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the first pauses be short."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(supervisor, "MAX_PAUSE_S", 0.2)


class Broker:
    """A mosquitto that can be restarted, on a port of its own."""

    def __init__(self, folder: Path, *conf: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.options = ("-h", "127.0.0.1", "-p", str(self.port))
        self._folder = folder
        self._conf = folder / "mosquitto.conf"
        user = ("user root",) if os.geteuid() == 0 else ()
        self._conf.write_text(
            "\n".join((f"listener {self.port} 127.0.0.1", *user, *(conf or ("allow_anonymous true",))))
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Return when it takes connections."""
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it lives longer than what starts it
                [MOSQUITTO, "-c", self._conf], stdout=log, stderr=log
            )

        def takes_connections() -> bool:
            with socket.socket() as trying:
                return trying.connect_ex(("127.0.0.1", self.port)) == 0

        await until(takes_connections)

    def stop(self) -> None:
        """End it; what it kept is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait()

    def pause(self) -> None:
        """Have it do nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def kept(self) -> dict[str, Any]:
        """Return what it keeps, by topic, as another client is told: JSON where it is some."""
        await self.publish("zz", "the end")
        found = {}
        async with self.told("dejavud/#", "homeassistant/#", "other/#", "zz") as lines:
            async for line in lines:
                name, _, payload = line.partition(" ")
                if name == "zz":
                    break
                found[name] = json.loads(payload) if payload.startswith("{") else payload
        return found

    @asynccontextmanager
    async def told(self, *topics: str) -> AsyncIterator[trio.MemoryReceiveChannel[str]]:
        """Give the messages that another client is sent: topic, space, payload."""
        send, receive = trio.open_memory_channel[str](1000)
        wanted = [word for topic in topics for word in ("-t", topic)]
        command = ["mosquitto_sub", *self.options, *wanted, "-F", "%t %p"]

        async def read(stream: trio.abc.ReceiveStream) -> None:
            begun = b""
            async for data in stream:
                *lines, begun = (begun + data).split(b"\n")
                for line in lines:
                    await send.send(line.decode())

        async with trio.open_nursery() as nursery:
            process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, check=False))
            nursery.start_soon(read, process.stdout)
            yield receive
            nursery.cancel_scope.cancel()

    async def publish(self, topic: str, payload: str) -> None:
        """Have it keep something that is not ours."""
        await trio.run_process(["mosquitto_pub", *self.options, "-r", "-t", topic, "-m", payload])


@contextmanager
def broker(folder: Path, *conf: str) -> Iterator[Broker]:
    """Give a broker that has not started."""
    made = Broker(folder, *conf)
    try:
        yield made
    finally:
        made.stop()


def hook_of(hub: EventHub, port: int, *views: dict[str, Any], settle_s: float = 60.0, **settings: Any) -> MqttHook:  # noqa: ANN401 - of HookSettings
    """Return a hook for the broker on this machine."""
    chosen = {"mqtt_url": f"mqtt://127.0.0.1:{port}", **settings}
    return MqttHook(hub, lambda: views, HookSettings(**chosen), in_thread, settle_s=settle_s)


async def settled(hook: MqttHook) -> None:
    """Wait until the broker has everything."""
    await ready(hook)
    await until(lambda: hook.figures.n_delivered and not hook.n_waiting)


async def test_what_plays_is_kept_by_the_broker(tmp_path: Path) -> None:
    """Whoever subscribes later is told what plays and how the listener is, and when the play has ended, that nothing does."""
    hub = EventHub()
    with broker(tmp_path) as mosquitto:
        await mosquitto.start()
        hook = hook_of(hub, mosquitto.port, listener("kitchen", "silent"))
        async with running(hub, hook):
            await settled(hook)
            hub.publish("match.started", play(title="Blue"))
            hub.publish("listener.state", listener("kitchen"))
            await until(lambda: hook.figures.n_delivered == 7 and not hook.n_waiting)
            kept = await mosquitto.kept()
            hub.publish("match.ended", play())
            await until(lambda: hook.figures.n_delivered == 8 and not hook.n_waiting)
            after = await mosquitto.kept()
    assert kept["dejavud/availability"] == "online"
    assert kept["dejavud/kitchen/state"] == {
        "listener": "kitchen",
        "state": "listening",
        "reason": None,
        "source": "mic",
    }
    now = kept["dejavud/kitchen/now_playing"]
    assert (now["text"], now["artist"], now["title"], now["playing"]) == ("Ann - Blue", "Ann", "Blue", True)
    assert after["dejavud/kitchen/now_playing"] == {"listener": "kitchen", "playing": False, "text": ""}


async def test_home_assistant_finds_a_device_a_listener(tmp_path: Path) -> None:
    """Its discovery topics hold a sensor and a binary sensor of one device, which point at the topics that are kept."""
    hub = EventHub()
    with broker(tmp_path) as mosquitto:
        await mosquitto.start()
        hook = hook_of(hub, mosquitto.port, listener("Kitchen/radio"))
        async with running(hub, hook):
            await settled(hook)
            kept = await mosquitto.kept()
    slug = identifier("Kitchen/radio")
    sensor = kept[f"homeassistant/sensor/dejavud_{slug}_now_playing/config"]
    binary = kept[f"homeassistant/binary_sensor/dejavud_{slug}_listening/config"]
    assert sensor["state_topic"] in kept
    assert sensor["json_attributes_topic"] == f"dejavud/{slug}/now_playing"
    assert binary["state_topic"] == f"dejavud/{slug}/state"
    assert sensor["device"]["identifiers"] == binary["device"]["identifiers"]
    assert sensor["availability_topic"] == binary["availability_topic"] == "dejavud/availability"
    assert sensor["unique_id"] != binary["unique_id"]


async def test_a_listener_that_is_removed_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its states and its device are taken back; those of the others stay."""
    hub = EventHub()
    with broker(tmp_path) as mosquitto:
        await mosquitto.start()
        hook = hook_of(hub, mosquitto.port, listener("kitchen"), listener("radio"))
        async with running(hub, hook):
            await settled(hook)
            hub.publish("listener.stopped", {"listener": "radio", "source": "mic"})
            await until(lambda: hook.figures.n_delivered == 13 and not hook.n_waiting)
            kept = await mosquitto.kept()
    assert sum("kitchen" in topic for topic in kept) == 4
    assert not [topic for topic in kept if "radio" in topic]


async def test_what_an_earlier_life_left_behind_is_taken_back(tmp_path: Path) -> None:
    """A listener that was removed while the daemon was off is forgotten once it is known which there are; other people's topics stay."""
    hub = EventHub()
    with broker(tmp_path) as mosquitto:
        await mosquitto.start()
        before = hook_of(hub, mosquitto.port, listener("old"))
        async with running(hub, before):
            await settled(before)
        await mosquitto.publish("other/old/state", "theirs")
        assert "dejavud/old/state" in await mosquitto.kept()
        hook = hook_of(hub, mosquitto.port, listener("new"), settle_s=0.0)
        async with running(hub, hook):
            await until(lambda: hook.figures.n_delivered == 9 and not hook.n_waiting)
            kept = await mosquitto.kept()
    assert not [topic for topic in kept if "old" in topic and not topic.startswith("other")]
    assert sum("new" in topic for topic in kept) == 4
    assert kept["other/old/state"] == "theirs"


async def test_a_broker_that_was_restarted_is_told_everything_again(tmp_path: Path) -> None:
    """It kept nothing; once it is back it has how things are then, without one event more."""
    hub = EventHub()
    with broker(tmp_path) as mosquitto:
        await mosquitto.start()
        hook = hook_of(hub, mosquitto.port, listener("kitchen", plays=[play(title="Blue")]))
        async with running(hub, hook) as hooks:
            await settled(hook)
            mosquitto.stop()
            await until(lambda: hook.figures.state == "retrying")
            [view] = hooks.view()
            hub.publish("match.ended", play(title="Blue"))
            await mosquitto.start()
            n_before = hook.figures.n_delivered
            await ready(hook)
            await until(lambda: hook.figures.n_delivered - n_before == 5 and not hook.n_waiting)
            kept = await mosquitto.kept()
    assert "the connection to the broker ended" in view["last_error"] or "refused" in view["last_error"].lower()
    assert kept["dejavud/availability"] == "online"
    assert kept["dejavud/kitchen/now_playing"]["title"] == "Blue"


async def test_a_broker_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes everything and answers nothing is noticed by its silence, and keeps nobody from stopping."""
    monkeypatch.setattr(mqtt_connection, "KEEPALIVE_S", 1)
    hub = EventHub()
    with broker(tmp_path) as mosquitto:
        await mosquitto.start()
        hook = hook_of(hub, mosquitto.port, listener("kitchen"))
        async with running(hub, hook):
            await settled(hook)
            mosquitto.pause()
            hub.publish("match.started", play())
            await until(lambda: hook.figures.state == "retrying")
            mosquitto.go_on()
            await settled(hook)
            mosquitto.pause()
            stopped_at = trio.current_time()
        assert trio.current_time() - stopped_at < 3
        mosquitto.go_on()
    assert "ended" in str(hook.figures.last_error)


async def test_a_broker_that_hangs_up_at_once_leaks_nothing() -> None:
    """Something else that listens there and closes each connection is tried again and again, with the same descriptors."""
    hub = EventHub()
    n_connections = 0
    async with trio.open_nursery() as nursery:

        async def hang_up(stream: trio.SocketStream) -> None:
            nonlocal n_connections
            n_connections += 1
            await stream.receive_some()
            await stream.aclose()

        [listening] = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        hook = hook_of(hub, listening.socket.getsockname()[1], listener("kitchen"))
        async with running(hub, hook):
            await until(lambda: n_connections == 2)
            before = n_descriptors()
            await until(lambda: n_connections == 12)
            await until(lambda: n_descriptors() <= before)
        nursery.cancel_scope.cancel()
    assert hook.figures.state == "retrying"


async def test_the_broker_tells_of_a_daemon_that_is_gone(tmp_path: Path) -> None:
    """One that stops in order says offline and that nothing plays, and keeps its devices; one that is cut off, the broker says it for."""
    hub = EventHub()
    with broker(tmp_path) as mosquitto:
        await mosquitto.start()
        views = listener("kitchen", plays=[play()])
        hook = hook_of(hub, mosquitto.port, views)
        async with running(hub, hook):
            await settled(hook)
            hub.publish("daemon.stopping", {})
            hub.publish("listener.stopped", {"listener": "kitchen", "source": "mic"})
        stopped = await mosquitto.kept()
        again = hook_of(hub, mosquitto.port, views)
        async with running(hub, again):
            await settled(again)
            async with mosquitto.told("dejavud/availability") as lines:
                said = [await lines.receive()]
                assert again._connection is not None
                again._connection._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr] # it is open
                said += [await lines.receive(), await lines.receive()]
    assert stopped["dejavud/availability"] == "offline"
    assert stopped["dejavud/kitchen/now_playing"]["playing"] is False
    assert "homeassistant/sensor/dejavud_kitchen_now_playing/config" in stopped
    assert said == [f"dejavud/availability {word}" for word in ("online", "offline", "online")]


async def test_a_wrong_password_is_said_and_not_shown(tmp_path: Path) -> None:
    """The broker's refusal is in `status`, the password is not; with the right one it works."""
    passwords = tmp_path / "passwords"
    await trio.run_process(["mosquitto_passwd", "-b", "-c", str(passwords), "me", "right-one"])
    passwords.chmod(0o644)
    hub = EventHub()
    with broker(tmp_path, "allow_anonymous false", f"password_file {passwords}") as mosquitto:
        await mosquitto.start()
        wrong = hook_of(hub, mosquitto.port, listener(), mqtt_user="me", mqtt_password="hunter2")  # noqa: S106 - the test's own
        async with running(hub, wrong) as hooks:
            await until(lambda: wrong.figures.state == "retrying")
            view = hooks.view()
        right = hook_of(hub, mosquitto.port, listener(), mqtt_user="me", mqtt_password="right-one")  # noqa: S106
        async with running(hub, right):
            await settled(right)
    assert "ot authori" in view[0]["last_error"]
    assert "hunter2" not in str((view, wrong._settings))


async def test_a_broker_is_known_by_its_certificate(tmp_path: Path) -> None:
    """Over TLS it is trusted when its certificate is in mqtt_ca_file, and refused with the reason when it is not."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    await trio.run_process([*make.split(), "-keyout", str(key), "-out", str(certificate)], capture_stderr=True)
    hub = EventHub()
    with broker(tmp_path, "allow_anonymous true", f"certfile {certificate}", f"keyfile {key}") as mosquitto:
        await mosquitto.start()
        url = f"mqtts://127.0.0.1:{mosquitto.port}"
        stranger = hook_of(hub, mosquitto.port, listener(), mqtt_url=url)
        async with running(hub, stranger):
            await until(lambda: stranger.figures.state == "retrying")
            before = n_descriptors()
            stranger.figures.state = "starting"
            await until(lambda: stranger.figures.state == "retrying")  # the next time
            await until(lambda: n_descriptors() <= before)
        hook = hook_of(hub, mosquitto.port, listener(), mqtt_url=url, mqtt_ca_file=str(certificate))
        async with running(hub, hook):
            await settled(hook)
            for number in range(50):
                hub.publish("match.started", play(number, title=f"Piece {number} " + "x" * 5000))
                await trio.testing.wait_all_tasks_blocked()
            await until(lambda: not hook.n_waiting)
        assert "certificate" in str(stranger.figures.last_error).lower()
    assert hook.figures.n_delivered > 10
    assert hook.figures.last_error is None


async def test_a_sample_is_acknowledged_and_not_kept(tmp_path: Path) -> None:
    """`hooks.test` says that the broker has it and how fast, and without a connection why there is none."""
    hub = EventHub()
    with broker(tmp_path) as mosquitto:
        hook = hook_of(hub, mosquitto.port, listener())
        async with running(hub, hook) as hooks:
            test = {name: (kind, handler) for name, kind, handler in hooks.rows()}["hooks.test"]
            await until(lambda: hook.figures.state == "retrying")
            [failed] = (await test[1](test[0](), None))["tests"]
            await mosquitto.start()
            await settled(hook)
            [outcome] = (await test[1](test[0]("mqtt"), None))["tests"]
            kept = await mosquitto.kept()
    assert not failed["ok"]
    assert "refused" in failed["said"].lower()
    assert outcome["ok"]
    assert "dejavud/sample/now_playing, acknowledged after" in outcome["said"]
    assert "dejavud/sample/now_playing" not in kept


@pytest.mark.parametrize("pair", [("a/b", "a_b"), ("a b", "a_b"), ("ä", "ö"), ("a+", "a#")])
def test_no_two_listeners_have_the_same_topics(pair: tuple[str, str]) -> None:
    """Names that look alike once they are plain stay apart, and none holds what means something in a topic."""
    first, second = map(identifier, pair)
    assert first != second
    assert not set("/+# ") & set(first + second)
