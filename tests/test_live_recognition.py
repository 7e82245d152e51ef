"""Sound that is recognized while it comes, by a real daemon over its real sockets: raw, encoded, and from clients that behave badly."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import real_client as client
import trio
from daemon_process import Place, running_daemon
from stations import encoded
from synthetic import synthesize, write_wav
from trio_websocket import open_websocket_url

from dejavuctl.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon_process import RunningDaemon
    from trio_websocket import WebSocketConnection

    from dejavud.wire.messages import RequestId

RATE_HZ = 48_000
CLIENT = Path(__file__).parents[1] / "clients" / "ws_client.py"


@pytest.fixture(scope="module")
def sound() -> np.ndarray[Any, Any]:
    """Give the recording that the daemon knows."""
    return synthesize(1, 30.0, RATE_HZ)


@asynccontextmanager
async def knowing(sound: np.ndarray[Any, Any], folder: Path) -> AsyncIterator[RunningDaemon]:
    """Give a daemon that knows it."""
    path = write_wav(folder / "the piece.wav", sound, RATE_HZ)
    async with running_daemon(Place(folder)) as daemon:
        await daemon.ask("fingerprint", path=str(path))
        yield daemon


async def begin(socket: WebSocketConnection, number: int, **params: object) -> None:
    """Ask for the recognition of a stream."""
    request = {"id": number, "method": "recognize", "params": params, "audio": "stream"}
    await socket.send_message(json.dumps(request))


async def reply(socket: WebSocketConnection, told: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the next reply, and the progress before it in `told`."""
    while True:
        message: dict[str, Any] = json.loads(await socket.get_message())
        if message.get("method") != "progress":
            return message
        told.append(message["params"])


async def keep_sending(socket: WebSocketConnection, data: bytes, piece_bytes: int) -> None:
    """Send sound until cancelled or over: no end."""
    for first in range(0, len(data), piece_bytes):
        with trio.CancelScope(shield=True):
            await socket.send_message(data[first : first + piece_bytes])
        await trio.sleep(0.01)


async def test_a_live_daemon_recognizes_while_sound_comes(sound: np.ndarray[Any, Any], tmp_path: Path) -> None:
    """Over WebSocket raw and encoded, over the control socket by a feed: an answer before the end, with progress; who leaves leaves nothing behind."""
    raw = bytes(4 * RATE_HZ) + (np.clip(sound[5 * RATE_HZ :], -1, 1) * 32767).astype("<i2").tobytes()
    webm = encoded(sound[5 * RATE_HZ :], RATE_HZ, "webm")
    async with knowing(sound, tmp_path) as daemon:
        url = (await daemon.ask("status"))["endpoints"]["websocket"]
        url = url if isinstance(url, str) else url[0]
        async with open_websocket_url(url, subprotocols=["dejavud.v1"]) as socket:
            for number, (data, before_s, params) in enumerate([(raw, 2.0, {"pcm": "s16le:48000:1"}), (webm, 0.0, {})]):
                told: list[dict[str, Any]] = []
                async with trio.open_nursery() as nursery:
                    await begin(socket, number, source="hall", **params)
                    nursery.start_soon(keep_sending, socket, data, len(data) // 100)
                    answer = await reply(socket, told)
                    nursery.cancel_scope.cancel()
                await socket.send_message(b"")
                [match] = answer["result"]["matches"]
                assert match["track"]["title"] == "the piece"
                assert match["track_start_s"] - match["query_start_s"] == pytest.approx(5.0 - before_s, abs=0.1)
                assert answer["result"]["query"]["source"] == "hall"
                assert answer["result"]["query"]["duration_s"] < 15
                assert all(one.keys() == {"id", "heard_s", "level_db", "candidates"} for one in told)
                assert told or not before_s
            await begin(socket, 9, pcm="s16le:48000:1")
            await socket.send_message(webm)
            assert (await reply(socket, []))["error"]["data"]["code"] == "unsupported_audio"
            await socket.send_message(b"")
            await begin(socket, 10, pcm="mp3:1")
            assert (await reply(socket, []))["error"]["data"]["code"] == "invalid_request"
            await socket.send_message(b"")
            await begin(socket, 11)
            await socket.send_message(webm[:20_000])  # and leaves in the middle of it
        answer = await trio.to_thread.run_sync(partial(by_feed, daemon.place.control, raw))
        assert answer["matches"][0]["track"]["title"] == "the piece"
        uploads = trio.Path(tmp_path / "data" / "uploads")
        with trio.fail_after(10):
            while list(await uploads.iterdir()):  # noqa: ASYNC110 - another process's files
                await trio.sleep(0.01)
        status = await daemon.ask("status")
        assert status["workers"]["n_died"] == 0


def by_feed(control: str, raw: bytes) -> dict[str, Any]:
    """Return what a stream is that is appended piece by piece while the command is in work."""
    with Connection(control) as connection:
        feed = connection.call("feed.open", {})["feed"]
        query, replies = connection.send("recognize", {"feed": feed, "pcm": "s16le:48000:1"}), {}

        def result_of(number: RequestId) -> dict[str, Any]:
            while number not in replies:
                replies.update({one.id: one for one in connection.receive(10) if one.progress is None})
            return connection.result_of(replies[number])

        for first in range(0, len(raw), 96_000):
            piece = raw[first : first + 96_000]
            if not result_of(connection.send("feed.append", {"feed": feed}, piece))["wanted"]:
                break
        assert first < len(raw) - 96_000
        assert result_of(connection.send("feed.close", {"feed": feed}))["wanted"] is False
        return result_of(query)


async def test_the_client_recognizes_what_comes_through_a_pipe(sound: np.ndarray[Any, Any], tmp_path: Path) -> None:
    """`ws_client.py --stream` answers while its pipe is still open, says meanwhile what it knows, and ends; raw or encoded."""
    raw = bytes(4 * RATE_HZ) + (np.clip(sound[5 * RATE_HZ :], -1, 1) * 32767).astype("<i2").tobytes()
    async with knowing(sound, tmp_path) as daemon:
        url = (await daemon.ask("status"))["endpoints"]["websocket"][0]
        for data, words in ((raw, ["--pcm", "s16le:48000:1"]), (encoded(sound, RATE_HZ, "mp3"), [])):
            command = [sys.executable, str(CLIENT), "--stream", "--url", url, *words, "-"]
            process = await trio.lowlevel.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_without_end, process.stdin, data)
                with trio.fail_after(30):
                    said = json.loads(b"".join([piece async for piece in process.stdout]))
                    told = b"".join([piece async for piece in process.stderr]).decode()
                    assert await process.wait() == 0
                nursery.cancel_scope.cancel()
            assert said["matches"][0]["track"]["title"] == "the piece"
            assert said["query"]["source"] == "-"
            assert not words or re.match(r"heard 1\.\d s at -120 dB\n", told)


async def test_dejavuctl_recognizes_live(sound: np.ndarray[Any, Any], tmp_path: Path) -> None:
    """`recognize live` answers while its pipe is open, hears unknown sound to its end, and Ctrl-C takes it back."""
    raw = (np.clip(sound[11 * RATE_HZ // 2 :], -1, 1) * 32767).astype("<i2").tobytes()
    async with knowing(sound, tmp_path) as daemon:
        words = client.command(daemon.place, "recognize", "live", "--pcm", "s16le:48000:1")
        options: dict[str, Any] = {"env": client.environment(daemon.place), "stdin": subprocess.PIPE}
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = await trio.lowlevel.open_process(words, **options)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_without_end, process.stdin, raw)
            with trio.fail_after(30):
                said = b"".join([piece async for piece in process.stdout]).decode()  # type: ignore[union-attr]
                assert await process.wait() == 0
            nursery.cancel_scope.cancel()
        assert said.startswith("the piece, at 0:05 of 0:30, confidence 100 %")

        run: Any = partial(trio.run_process, env=options["env"], capture_stdout=True, capture_stderr=True, check=False)
        done = await run(words, stdin=bytes(6 * RATE_HZ))
        assert (done.returncode, done.stdout[:8]) == (1, b"no match")
        done = await run([*words[:-2], "--json"], stdin=b"rubbish" * 999)
        assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (4, "unsupported_audio")

        process = await trio.lowlevel.open_process(words, **options)
        assert process.stdin is not None
        await process.stdin.send_all(bytes(RATE_HZ))
        with trio.fail_after(20):
            while not list(await trio.Path(tmp_path / "data" / "uploads").iterdir()):  # noqa: ASYNC110 - another process's files
                await trio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            assert (
                b"".join([piece async for piece in process.stderr])
                == b"interrupted: nothing was recognized until then\n"
            )
            assert await process.wait() == 130


async def send_without_end(pipe: trio.abc.SendStream, data: bytes) -> None:
    """Send sound as fast as it is taken, and leave the pipe open; whoever reads it may leave."""
    with suppress(trio.BrokenResourceError):
        for first in range(0, len(data), 19_200):
            await pipe.send_all(data[first : first + 19_200])
        await trio.sleep_forever()
