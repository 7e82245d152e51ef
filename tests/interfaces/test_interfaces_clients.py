"""The example clients, run as a person runs them, against the real sockets."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from interfaces_table import MUSIC, Stage

from dejavud.interfaces.publisher import PublisherSettings, serve_publisher
from dejavud.interfaces.websocket import WebSocketSettings, serve_websocket
from dejavud.services.access import Access
from dejavud.services.events import EventHub

if TYPE_CHECKING:
    import subprocess

    from dejavud.services.uploads import UploadStore

CLIENTS = Path(__file__).parents[2] / "clients"


async def run(program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Return what a client wrote and how it ended."""
    command = [sys.executable, str(CLIENTS / program), *arguments]
    return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)


async def test_ws_client_prints_the_name(stage: Stage, uploads: UploadStore, tmp_path: Path) -> None:
    """The old client's exchange, from a file to a name on the terminal."""
    clip = tmp_path / "clip.mp3"
    clip.write_bytes(MUSIC)
    serve = partial(serve_websocket, stage.table(), uploads, stage.hub, settings=WebSocketSettings(port=0))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            url = await nursery.start(serve)
            done = await run("ws_client.py", str(clip), "--url", url)
            nursery.cancel_scope.cancel()
    assert (done.returncode, done.stdout, done.stderr) == (0, b"the song\n", b"")


async def test_ws_client_says_what_is_wrong(stage: Stage, uploads: UploadStore, tmp_path: Path) -> None:
    """No token, no file and no daemon each end in one line and a failure."""
    clip = tmp_path / "clip.mp3"
    clip.write_bytes(MUSIC)
    serve = partial(
        serve_websocket, stage.table(), uploads, stage.hub, settings=WebSocketSettings(port=0, access=Access("t"))
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            url = await nursery.start(serve)
            refused = await run("ws_client.py", str(clip), "--url", url)
            opened = await run("ws_client.py", str(clip), "--url", url, "--token", "t")
            missing = await run("ws_client.py", str(tmp_path / "none"), "--url", url, "--token", "t")
            nursery.cancel_scope.cancel()
        nobody = await run("ws_client.py", str(clip), "--url", url)
    assert opened.stdout == b"the song\n"
    assert b"status 401" in refused.stderr
    assert b"No such file" in missing.stderr
    for failed in (refused, missing, nobody):
        assert failed.returncode == 1
        assert failed.stderr.startswith(b"ws_client: ")
        assert failed.stderr.count(b"\n") == 1


async def test_events_client_prints_events(socket_folder: Path) -> None:
    """One line of JSON an event, of the topics asked for, and no more than were asked for."""
    hub = EventHub()
    settings = PublisherSettings(endpoint=f"ipc://{socket_folder}/events.sock")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            endpoint = await nursery.start(partial(serve_publisher, hub, settings=settings))

            async def publish_until_cancelled() -> None:
                while True:
                    hub.publish("track.added", {})
                    hub.publish("match.recognized", {"title": "Två"})
                    await trio.sleep(0.02)  # the client subscribes when it subscribes; nobody can tell when

            nursery.start_soon(publish_until_cancelled)
            done = await run("events_client.py", "--endpoint", endpoint, "--count", "2", "match.")
            nursery.cancel_scope.cancel()
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["topic"] for line in lines] == ["match.recognized"] * 2
    assert "Två" in lines[0]


async def test_events_client_refuses_an_endpoint_that_is_none() -> None:
    """A wrong endpoint is one line and a failure."""
    with trio.fail_after(30):
        done = await run("events_client.py", "--endpoint", "nowhere", "--count", "1")
    assert done.returncode == 1
    assert done.stderr.startswith(b"events_client: nowhere: ")
