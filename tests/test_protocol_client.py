"""docs/protocol.md is enough: a client that was made from it, and has nothing of dejavud's, uses all that the page tells of ZeroMQ."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import trio
from daemon_process import Place, RunningDaemon, running_daemon
from interfaces import protocol_client
from interfaces.protocol_client import Control, Events, Refused, Silent
from synthetic import synthesize, write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = Path(__file__).parents[1] / "clients"
RATE_HZ = 16000
BY_KEYS = {"DEJAVUD_CONTROL_LISTEN": "127.0.0.1:0", "DEJAVUD_EVENTS_LISTEN": "127.0.0.1:0"}


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("d"))


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a piece of twelve seconds."""
    return write_wav(tmp_path_factory.mktemp("music") / "piece.wav", synthesize(7, 12.0))


def ctl(place: Place, *words: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Return how dejavuctl ends: on the daemon's machine, or with a key."""
    where = ("--control", place.control) if key is None else ("--key", str(key))
    command = [sys.executable, "-m", "dejavuctl", *where, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=place.environment, timeout=60)


def made_key(place: Place, name: str, *scopes: str) -> Path:
    """Return the file of a new client's key, as the shell's ``>`` makes it."""
    file = place.folder / f"{name}.key"
    options = [word for scope in scopes for word in ("--scope", scope)]
    made = ctl(place, "keys", "add", name, *options)
    assert made.returncode == 0, made
    file.write_text(made.stdout)
    file.chmod(0o600)
    return file


def test_the_client_has_nothing_of_dejavuds() -> None:
    """It imports the standard library and pyzmq, so that what it can do is what the page tells."""
    tree = ast.parse(Path(protocol_client.__file__).read_text(encoding="utf-8"))
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= {*sys.stdlib_module_names, "zmq"}


def pcm_of(music: Path, seconds: float) -> list[bytes]:
    """Return the beginning of a piece as raw samples, a tenth of a second each."""
    samples = synthesize(7, seconds, RATE_HZ)
    data = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    step = RATE_HZ // 5
    assert music.exists()
    return [data[first : first + step] for first in range(0, len(data), step)]


def use_commands(control: Control, music: Path) -> None:
    """Recognize and add by every way that audio takes."""
    data = music.read_bytes()
    assert control.call("status")["n_tracks"] == 0
    assert control.call("fingerprint", upload=control.upload("piece.wav", data), title="Piece")["added"]
    short = (music.parent / "short.wav").read_bytes()
    assert control.call("recognize", short, source="short.wav")["matches"][0]["track"]["title"] == "Piece"
    both = [control.send("recognize", {"source": f"{n}"}, short) for n in (1, 2)]
    assert [control.wait(request_id)["query"]["source"] for request_id in reversed(both)] == ["2", "1"]
    live = control.recognize_live(f"s16le:{RATE_HZ}:1", pcm_of(music, 12.0))
    assert live["matches"][0]["track"]["title"] == "Piece"


def use_errors(control: Control) -> None:
    """Meet errors by their code and number, and go on."""
    for code, number, ask in (
        ("track_not_found", -32020, lambda: control.call("tracks.get", id=99)),
        ("invalid_request", -32602, lambda: control.call("tracks.get")),
        ("unknown_command", -32601, lambda: control.call("dance")),
        ("unsupported_audio", -32011, lambda: control.call("recognize", b"no music")),
        ("listener_not_found", -32017, lambda: control.call("feed.open", listener="nobody")),
    ):
        with pytest.raises(Refused) as refused:
            ask()
        assert (refused.value.code, refused.value.number) == (code, number)
    upload = control.call("upload.open", name="a", size_bytes=10)["upload"]
    assert control.call("upload.append", b"12345", upload=upload) == {"received_bytes": 5}
    assert control.call("upload.discard", upload=upload) == {"discarded": True}
    assert not control.cancel(4711)


def use_progress_and_cancel(control: Control, folder: Path) -> None:
    """Follow a long command, and take it back."""
    noise = np.random.default_rng(1).normal(0, 0.1, RATE_HZ * 400).astype(np.float32)
    long = write_wav(folder / "long.wav", noise, RATE_HZ)
    asked = control.send("scan", {"upload": control.upload("long.wav", long.read_bytes())})
    assert control.wait_for_progress(asked)["total_s"] == pytest.approx(400)
    assert control.cancel(asked)
    with pytest.raises(Refused) as refused:
        control.wait(asked)
    assert refused.value.code == "cancelled"


def use_events(control: Control, events: Events, music: Path) -> None:
    """Hear of all that happens: what was told before, what a listener hears, and, where too much was missed, how much."""
    control.call("listen.add", name="room", source=f"pcm:s16le:{RATE_HZ}:1", once=True)
    told = iter(events)
    heard = control.feed("room", pcm_of(music, 12.0))
    assert heard == pytest.approx(12.0, abs=0.5)
    control.call("listen.remove", name="room")
    seen = list(itertools.takewhile(lambda event: event["topic"] != "listener.stopped", told))
    topics = [event["topic"] for event in seen]
    assert topics.index("track.added") < topics.index("match.started") < topics.index("match.ended")
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert not events.lost
    for n in range(30):
        control.call("listen.add", name=f"{n}", source="pcm", once=True)
        control.call("listen.remove", name=f"{n}")
    missed = itertools.takewhile(lambda event: event["data"]["listener"] != "29", events.replayed())
    n_missed = sum(1 for _ in missed)
    assert events.lost > 0
    assert n_missed < 60  # which is what this daemon keeps


def use_all(control_at: str, events_at: str, key: dict[str, str] | None, music: Path, place: Place) -> Iterator[str]:
    """Use everything, and yield what was used."""
    with Control(control_at, key) as control:
        use_commands(control, music)
        yield "commands"
        use_errors(control)
        yield "errors"
        events = Events(control, events_at, [], key=key)
        try:
            use_events(control, events, music)
        finally:
            events.close()
        yield "events"
        use_progress_and_cancel(control, place.folder)
        yield "progress"


async def endpoints(daemon: RunningDaemon) -> dict[str, Any]:
    """Return where the daemon is."""
    found: dict[str, Any] = (await daemon.ask("status"))["endpoints"]
    return found


@pytest.mark.parametrize("by", ["ipc", "keys"])
async def test_a_client_made_from_the_page_uses_all_of_it(place: Place, music: Path, by: str) -> None:
    """Requests, audio in one message and in many, sound while it comes, progress, cancellation, errors, feeds, events, replay: over ipc, and by keys over TCP."""
    write_wav(music.parent / "short.wav", synthesize(7, 12.0)[: 44100 * 5])
    async with running_daemon(place, environment={**BY_KEYS, "DEJAVUD_EVENTS_KEEP": "60"}) as daemon:
        found = await endpoints(daemon)
        control_at, events_at, key = found["control"], found["events"], None
        if by == "keys":
            file = await trio.to_thread.run_sync(made_key, place, "other-language", "recognize", "write")
            key = protocol_client.read_key(str(file))
            control_at, events_at = key["control"], key["events"]
            assert (control_at, events_at) == (found["control_tcp"][0], found["events_tcp"][0])
        used = await trio.to_thread.run_sync(lambda: list(use_all(control_at, events_at, key, music, place)))
    assert used == ["commands", "errors", "events", "progress"]


async def test_one_command_lets_a_machine_in_and_one_keeps_it_out(place: Place, music: Path) -> None:
    """`keys add` prints all that a client needs, who may do what it was given and no more, until `keys rm`."""
    async with running_daemon(place, environment=BY_KEYS) as daemon:

        async def run(*words: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
            return await trio.to_thread.run_sync(lambda: ctl(place, *words, key=key))

        reader = await trio.to_thread.run_sync(made_key, place, "reader")
        writer = await trio.to_thread.run_sync(made_key, place, "writer", "write")
        assert (await run("status", key=reader)).returncode == 0
        refused = await run("fingerprint", str(music), key=reader)
        assert (refused.returncode, "needs the scope" in refused.stdout + refused.stderr) == (4, True)
        assert (await run("fingerprint", str(music), key=writer)).returncode == 0
        assert "piece" in (await run("recognize", str(music), key=reader)).stdout
        told = await run("events", "--after", "0", "-n", "1", key=reader)
        assert "daemon.ready" in told.stdout
        await watched(daemon, reader)
        listed = (await run("keys", "ls")).stdout
        assert "reader" in listed
        assert "recognize, read" in listed
        assert (await run("keys", "ls", key=writer)).returncode == 4
        assert (await run("keys", "rm", "reader")).returncode == 0
        out = await run("status", key=reader)
        assert (out.returncode, "does not let" in out.stderr) == (3, True)
        assert (await run("status", key=writer)).returncode == 0
        secret = protocol_client.read_key(str(writer))["secret_key"]
        assert secret not in daemon.log
        assert secret not in await trio.Path(place.folder / "data" / "keys.json").read_text()


def at(file: Path) -> dict[str, Any]:
    """Return where a key leads, and the key."""
    key = protocol_client.read_key(str(file))
    return {"endpoint": key["control"], "key": key}


async def watched(daemon: RunningDaemon, key: Path) -> None:
    """Have the example client print an event by a key."""
    words = (str(CLIENTS / "events_client.py"), "--key", str(key), "--count", "1", "listener.")
    client = await trio.lowlevel.open_process(
        [sys.executable, *words], stdout=subprocess.PIPE, env=daemon.place.environment
    )
    with trio.fail_after(20):
        while client.poll() is None:
            await daemon.ask("listen.add", name="hello", source="pcm", once=True)
            await daemon.ask("listen.remove", name="hello")
    assert client.returncode == 0
    assert client.stdout is not None
    await client.stdout.aclose()


async def test_files_and_addresses_are_named_as_far_as_conf_and_scopes_allow(place: Place, music: Path) -> None:
    """By key and over HTTP: files below the folders, for who may write; public addresses, for who may ask; nothing else."""
    environment = {**BY_KEYS, "DEJAVUD_SECURITY_PATHS": str(music.parent)}
    async with running_daemon(place, environment=environment) as daemon:
        reader = await trio.to_thread.run_sync(made_key, place, "reader")
        writer = await trio.to_thread.run_sync(made_key, place, "writer", "write")

        def name_files() -> None:
            with Control(**at(writer)) as control:
                with pytest.raises(Refused) as foreign:
                    control.call("fingerprint", path="/etc/passwd")
                assert foreign.value.code == "forbidden"
                added = control.call("fingerprint", path=f"{music.parent}/../{music.parent.name}/piece.wav")
                assert added["track"]["title"] == "piece"
                with pytest.raises(Refused) as inside:
                    control.call("scan", url="http://127.0.0.1:1/")
                assert inside.value.code == "forbidden"  # recognize is not among this key's scopes
            with Control(**at(reader)) as control:
                for command, code in (
                    ({"url": "http://127.0.0.1:1/"}, "unsupported_url"),
                    ({"path": str(music)}, "forbidden"),
                ):
                    with pytest.raises(Refused) as refusal:
                        control.call("scan", **command)
                    assert refusal.value.code == code

        await trio.to_thread.run_sync(name_files)
        async with httpx.AsyncClient(base_url=(await endpoints(daemon))["http"][0], trust_env=False, timeout=30) as web:
            named = await web.post("/v1/tracks", json={"path": str(music)})
            assert (named.status_code, named.json()["added"]) == (200, False)
            for command, code in (
                ({"path": "/etc/passwd"}, "forbidden"),
                ({"url": "http://127.0.0.1:1/"}, "unsupported_url"),
            ):
                answer = await web.post("/v1/scan", json=command)
                assert answer.json()["error"]["code"] == code
            assert (await web.post("/v1/tracks", json={"title": "x"})).json()["error"]["code"] == "invalid_request"
            inside = {"name": "inside", "source": "http://localhost:1/live"}
            assert (await web.post("/v1/listeners", json=inside)).json()["error"]["code"] == "unsupported_url"


async def test_a_client_makes_its_keys_itself(place: Place) -> None:
    """`keys new` there and `keys add` here: the secret one travels nowhere; without the second the daemon is silent."""
    async with running_daemon(place, environment=BY_KEYS) as daemon:

        async def run(*words: str) -> subprocess.CompletedProcess[str]:
            return await trio.to_thread.run_sync(lambda: ctl(place, *words))

        server_key = (await run("keys", "show")).stdout.split("\n")[0]
        control = (await endpoints(daemon))["control_tcp"][0]
        file = place.folder / "own.key"
        made = await run("keys", "new", str(file), "--server", server_key, "--control", control)
        assert made.returncode == 0, made
        assert file.stat().st_mode & 0o777 == 0o600
        public = made.stdout.rpartition("NAME ")[2].strip().strip("'")

        def ask(answer_s: float) -> dict[str, Any]:
            with Control(**at(file)) as client:
                return client.wait(client.send("status"), answer_s)

        with pytest.raises(Silent):
            await trio.to_thread.run_sync(ask, 0.5)
        assert (await run("keys", "add", "own", public)).returncode == 0
        assert (await trio.to_thread.run_sync(ask, 10.0))["n_tracks"] == 0
        again = await run("keys", "new", str(file), "--server", server_key, "--control", control)
        assert again.returncode == 2  # it would be overwritten


async def test_a_reload_opens_networks_and_folders_and_closes_them(place: Place, music: Path) -> None:
    """What clients may have fetched and name goes by conf at once."""
    conf = place.folder / "conf.toml"
    conf.write_text("")
    async with running_daemon(place, "--config", str(conf)) as daemon:
        url = (await endpoints(daemon))["http"][0]
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as web:

            async def codes() -> list[str]:
                named = await web.post("/v1/recognize", json={"path": str(music)})
                fetched = await web.post("/v1/scan", json={"url": "http://127.0.0.1:1/"})
                return [answer.json().get("error", {"code": "ok"})["code"] for answer in (named, fetched)]

            assert await codes() == ["forbidden", "unsupported_url"]
            conf.write_text(f'[security]\nurl_networks = ["127.0.0.0/8"]\npaths = ["{music.parent}"]\n')
            await daemon.ask("reload")
            assert await codes() == ["ok", "unreachable_url"]
            conf.write_text("")
            await daemon.ask("reload")
            assert await codes() == ["forbidden", "unsupported_url"]
