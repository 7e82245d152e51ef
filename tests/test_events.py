"""Events of a real daemon: the same on every transport, told again, and who notices that it was started anew."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
import zmq
from daemon_process import Place, RunningDaemon, running_daemon
from interfaces.interfaces_http import Told, told
from synthetic import synthesize, write_wav
from trio_websocket import open_websocket_url

from dejavud.interfaces.zmq_trio import open_socket

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Awaitable, Callable

CLIENTS = Path(__file__).parents[1] / "clients"


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("d"))


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a piece of ten seconds."""
    return write_wav(tmp_path_factory.mktemp("music") / "piece.wav", synthesize(7, 10.0))


async def url_of(daemon: RunningDaemon, interface: str) -> str:
    """Return where one of its interfaces is."""
    urls: list[str] = (await daemon.ask("status"))["endpoints"][interface]
    return urls[0]


@asynccontextmanager
async def http_client(daemon: RunningDaemon) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of its HTTP interface."""
    async with httpx.AsyncClient(base_url=await url_of(daemon, "http"), trust_env=False, timeout=20) as client:
        yield client


@asynccontextmanager
async def over_zeromq(daemon: RunningDaemon) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any]]]]:
    """Give what returns the next event of a SUB socket, once that is known to the publisher."""

    def configure(raw: zmq.Socket[bytes]) -> None:
        raw.subscribe("")
        raw.connect(f"ipc://{daemon.place.folder}/e")

    async with open_socket(zmq.SUB, configure) as socket:

        async def following() -> dict[str, Any]:
            topic, body = await socket.receive()
            event: dict[str, Any] = json.loads(body)
            assert event["topic"] == topic.decode()
            return event

        greeted = False
        while not greeted:
            await daemon.ask("listen.add", name="hello", source="pcm", once=True)
            await daemon.ask("listen.remove", name="hello")
            with trio.move_on_after(0.05):
                while (await following())["topic"] != "listener.stopped":
                    pass
                greeted = True
        yield following


async def run(program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Return what a client wrote and how it ended."""
    command = [sys.executable, str(CLIENTS / program), *arguments]
    return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)


def printed(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    """Return the lines of JSON that a client printed."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def live(daemon: RunningDaemon, music: Path) -> None:
    """Have things happen of every kind that takes no long time."""
    track = (await daemon.ask("fingerprint", path=str(music)))["track"]
    await daemon.ask("tracks.edit", ids=[track["id"]], title="Två")
    await daemon.ask("recognize", path=str(music))
    await daemon.ask("listen.add", name="door", source="pcm", once=True)
    await daemon.ask("listen.pause", name="door")
    await daemon.ask("listen.remove", name="door")
    await daemon.ask("tracks.remove", ids=[track["id"]])


HAPPENED = {
    "track.added",
    "track.updated",
    "track.removed",
    "match.recognized",
    "listener.started",
    "listener.state",
    "listener.stopped",
}
"""At least: on a busy machine a command may take so long that it is told of as a job."""


async def test_the_same_events_on_every_transport(place: Place, music: Path) -> None:
    """PUB, server-sent events, WebSocket and the replay tell each event in the same words, in the same order."""
    with trio.fail_after(60):
        async with (
            running_daemon(place) as daemon,
            http_client(daemon) as client,
            over_zeromq(daemon) as next_published,
            open_websocket_url(await url_of(daemon, "websocket"), subprotocols=["dejavud.v1"]) as socket,
        ):
            seq = (await daemon.ask("events.replay", limit=1))["seq"]
            await socket.send_message(json.dumps({"id": 1, "method": "events.subscribe", "params": {"after": seq}}))
            assert json.loads(await socket.get_message())["result"]["subscription"] == 1
            async with told(client, after=seq) as stream:
                await live(daemon, music)
                replayed: list[dict[str, Any]] = []
                while not {event["topic"] for event in replayed} >= HAPPENED:
                    replayed = (await daemon.ask("events.replay", after=seq))["events"]
                published = [await next_published() for _ in replayed]
                streamed = [await stream.next() for _ in replayed]
                sent = [json.loads(await socket.get_message())["params"]["event"] for _ in replayed]
    assert published == streamed == sent == replayed
    assert [event["seq"] for event in replayed] == list(range(seq + 1, seq + 1 + len(replayed)))
    assert {(event["version"], event["daemon"]) for event in replayed} == {(1, replayed[0]["daemon"])}


async def test_a_restart_is_noticed(place: Place, music: Path) -> None:
    """Whoever asks with a place of the daemon before gets the new one's events from their beginning, on each transport."""
    with trio.fail_after(60):
        async with running_daemon(place) as daemon, http_client(daemon) as client, told(client, after=0) as stream:
            await daemon.ask("fingerprint", path=str(music))
            while (await stream.next())["topic"] != "track.added":
                pass
            last_id = stream.ids[-1]
            await daemon.ask("shutdown")
            while (await ended(stream)) is not None:
                pass
            assert stream.ids[-1] > last_id
            await daemon.ended()
        async with running_daemon(place) as daemon, http_client(daemon) as client:
            async with told(client, last_id) as stream:
                first = await stream.next()
            life, _, seq = last_id.partition(":")
            replayed = await daemon.ask("events.replay", after=int(seq), daemon=life)
            url, control = await url_of(daemon, "http"), place.control
            by_client = await run("events_client.py", "--url", url, "--after", last_id, "--count", "1")
            command = [sys.executable, "-m", "dejavuctl", "--control", control, "events", "--json"]
            by_ctl = await trio.run_process([*command, "--after", last_id, "-n", "1"], capture_stdout=True)
    assert (first["topic"], first["seq"]) == ("daemon.ready", 1)
    assert first["daemon"] != life
    assert first == replayed["events"][0] == printed(by_client)[0] == json.loads(by_ctl.stdout)


async def ended(stream: Told) -> dict[str, Any] | None:
    """Return the next event, None at the stream's end."""
    try:
        return await stream.next()
    except EOFError:
        return None


async def test_the_example_clients_follow_a_real_daemon(place: Place, music: Path) -> None:
    """Over ZeroMQ, HTTP and WebSocket each prints the events that it was asked for; the last one recognizes and sends sound, too."""
    with trio.fail_after(60):
        async with running_daemon(place) as daemon, trio.open_nursery() as nursery:
            http, websocket = await url_of(daemon, "http"), await url_of(daemon, "websocket")
            commands = (
                ("events_client.py", "--endpoint", f"ipc://{place.folder}/e", "track."),
                ("events_client.py", "--url", http, "track."),
                ("ws_client.py", "--url", websocket, "--subscribe", "track."),
            )
            said: dict[int, list[dict[str, Any]]] = {}

            async def follow(number: int, command: tuple[str, ...]) -> None:
                said[number] = printed(await run(*command, "--count", "1"))

            for number, command in enumerate(commands):
                nursery.start_soon(follow, number, command)
            await daemon.ask("fingerprint", path=str(music))
            while len(said) < len(commands):
                await daemon.ask("tracks.edit", ids=[1], title="Again")  # a client subscribes when it subscribes
                await trio.sleep(0.05)
            (answer,) = printed(await run("ws_client.py", str(music), "--json", "--url", websocket))
            await daemon.ask("listen.add", name="door", source="pcm:s16le:44100:1", once=True)
            sent = printed(await run("ws_client.py", "--send", "door", str(raw_of(music)), "--url", websocket))
            refused = await run("ws_client.py", "--send", "nobody", str(music), "--url", websocket)
    assert {event["topic"] for events in said.values() for event in events} <= {"track.added", "track.updated"}
    assert answer["matches"][0]["track"]["title"] == "Again"
    assert "match.started" in {event.get("topic") for event in sent}
    assert sent[-1]["heard_s"] == 10.0
    assert (refused.returncode, b"nobody" in refused.stderr) == (1, True)


def raw_of(wav: Path) -> Path:
    """Return a file that holds the samples of `wav` alone."""
    raw = wav.with_suffix(".raw")
    raw.write_bytes(wav.read_bytes()[44:])
    return raw


async def test_listeners_over_http(place: Place) -> None:
    """Listeners are added, shown, paused, resumed and removed; what cannot be is refused in the one envelope."""
    async with running_daemon(place) as daemon, http_client(daemon) as client:
        answer = await client.post("/v1/listeners", json={"name": "a/b c", "source": "pcm", "once": True})
        assert (answer.status_code, answer.json()["listener"]) == (201, "a/b c")
        assert [one["listener"] for one in (await client.get("/v1/listeners")).json()["listeners"]] == ["a/b c"]
        address = "/v1/listeners/a%2Fb%20c"
        assert (await client.get(address)).json()["source"].startswith("pcm")
        assert (await client.post(f"{address}/pause")).status_code == 200
        while (await client.get(address)).json()["state"] != "paused":  # noqa: ASYNC110 - asked as a client would
            await trio.sleep(0.01)
        assert (await client.post(f"{address}/resume")).status_code == 200
        while (await client.get(address)).json()["state"] == "paused":  # noqa: ASYNC110 - asked as a client would
            await trio.sleep(0.01)
        assert (await client.delete(address)).json()["removed"]["listener"] == "a/b c"
        for method, path in (("GET", address), ("DELETE", address), ("POST", f"{address}/pause")):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "listener_not_found")
        for body in (
            b"",
            b"[]",
            b'{"name": "x"}',
            b'{"name": 7, "source": "mic"}',
            b'{"name": "x", "source": "/etc/passwd"}',
        ):
            answer = await client.post("/v1/listeners", content=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
        assert (await client.put("/v1/listeners")).status_code == 405
        assert (await client.get("/v1/devices")).status_code in {200, 503}


async def test_levels_are_shown_to_who_asks(place: Place, music: Path) -> None:
    """While a listener hears, its level comes once a second, over HTTP and to a SUB that asks, and has no number."""
    with trio.fail_after(40):
        async with running_daemon(place) as daemon, http_client(daemon) as client:
            async with told(client, topics="meter.,match.started") as stream:
                await daemon.ask("listen.add", name="x", source=f"realtime:{music}", once=True)
                levels = [await stream.next() for _ in range(2)]
            endpoint = f"ipc://{place.folder}/e"
            published = printed(await run("events_client.py", "--endpoint", endpoint, "--count", "1", "meter.listener"))
    for level in (*levels, *published):
        assert (level["topic"], level["data"]["listener"], "seq" in level) == ("meter.listener", "x", False)
        assert -60 < level["data"]["level_db"] < 0
        assert level["data"].keys() == {"listener", "level_db", "state", "heard_s", "plays", "candidates"}


async def test_many_subscribers_hear_the_same(place: Place, music: Path) -> None:
    """Many subscribers at once cost the daemon a bounded amount of memory, and each is told each event."""
    n_clients = 200
    with trio.fail_after(60):
        async with running_daemon(place) as daemon, http_client(daemon) as client:
            before = resident_bytes(daemon.process.pid)
            heard: list[str] = []

            async def follow(*, task_status: trio.TaskStatus[None]) -> None:
                async with told(client, topics="track.") as stream:
                    task_status.started()
                    heard.append((await stream.next())["topic"])

            async with trio.open_nursery() as nursery:
                for _ in range(n_clients):
                    await nursery.start(follow)
                cost = resident_bytes(daemon.process.pid) - before
                await daemon.ask("fingerprint", path=str(music))
    assert heard == ["track.added"] * n_clients
    assert cost < n_clients * 300_000


def resident_bytes(pid: int) -> int:
    """Return the memory that a process has."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024
