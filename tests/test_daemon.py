from __future__ import annotations

import json
import os
import signal
import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import trio
import zmq
from daemon_process import Place, RunningDaemon, ask, is_running, run_to_the_end, running_daemon, until_gone
from synthetic import synthesize, write_wav

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures_sound import SoundCard
    from numpy.typing import NDArray

RATE_HZ = 8000


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("d"))


def music(place: Place, seed: int = 1, duration_s: float = 12.0) -> Path:
    """Write a piece of music."""
    return write_wav(place.folder / f"piece{seed}.wav", synthesize(seed, duration_s, RATE_HZ), RATE_HZ)


def long_music(place: Place, duration_s: float) -> Path:
    """Write audio that takes a worker a while; it repeats, which nobody minds here."""
    minute: NDArray[Any] = synthesize(5, 60.0, RATE_HZ)
    return write_wav(place.folder / "long.wav", np.tile(minute, round(duration_s / 60)), RATE_HZ)


async def until_busy(daemon: RunningDaemon) -> None:
    """Return when a worker works on something."""
    with trio.fail_after(20):
        while not (await daemon.ask("status"))["workers"]["n_busy"]:  # noqa: ASYNC110 - it is in another process
            await trio.sleep(0.01)


async def test_it_recognizes_what_it_was_taught(place: Place) -> None:
    """From file to index to answer, over the control socket and over HTTP, with the same match; it stops with status 0."""
    path = music(place)
    clip = write_wav(place.folder / "clip.wav", synthesize(1, 12.0, RATE_HZ)[4 * RATE_HZ : 9 * RATE_HZ], RATE_HZ)
    async with running_daemon(place) as daemon:
        track = (await daemon.ask("fingerprint", path=str(path)))["track"]
        local = await daemon.ask("recognize", path=str(clip))
        assert local["matches"][0]["track"]["id"] == track["id"]
        assert local["matches"][0]["track_start_s"] == pytest.approx(4.0, abs=0.05)
        [url] = (await daemon.ask("status"))["endpoints"]["http"]
        answer = await trio.to_thread.run_sync(
            partial(httpx.post, f"{url}/v1/recognize", content=clip.read_bytes(), timeout=30, trust_env=False)
        )
        assert answer.status_code == 200
        assert answer.json()["matches"] == local["matches"]
        daemon.process.terminate()
        assert await daemon.ended() == 0


async def test_sigterm_lets_what_is_in_flight_finish(place: Place) -> None:
    """A file that is being fingerprinted is committed and answered, then the daemon exits 0; the next one has it."""
    path = long_music(place, 1200)
    answers: list[dict[str, Any]] = []
    async with running_daemon(place) as daemon:

        async def fingerprint() -> None:
            answers.append(await daemon.ask("fingerprint", path=str(path)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fingerprint)
            await until_busy(daemon)
            daemon.process.terminate()
            assert await daemon.ended() == 0
        assert answers[0]["added"]
        assert "STOPPING=1" in daemon.notified
        assert [json.loads(line)["event"] for line in daemon.log.splitlines()][-3:] == [
            "daemon_stopping",
            "command_answered",
            "daemon_stopped",
        ]
    async with running_daemon(place) as daemon:
        assert (await daemon.ask("tracks.list"))["tracks"] == [answers[0]["track"]]


async def test_the_grace_period_ends(place: Place) -> None:
    """What would take longer than conf allows is cut off; the daemon still ends in order."""
    conf = place.folder / "short.toml"
    conf.write_text("[shutdown]\ngrace_s = 0\n")
    path = long_music(place, 7200)
    async with running_daemon(place, "--config", str(conf)) as daemon, trio.open_nursery() as nursery:
        workers = daemon.workers()

        async def fingerprint() -> None:
            with pytest.raises(Exception, match=r"shut|lost|daemon"):
                await daemon.ask("fingerprint", path=str(path))

        nursery.start_soon(fingerprint)
        await until_busy(daemon)
        daemon.process.terminate()
        assert await daemon.ended(within_s=10) == 0
        await until_gone(workers)


async def test_a_second_signal_ends_it_at_once(place: Place) -> None:
    """Who presses Ctrl-C twice does not wait for the grace period, and no worker stays behind."""
    path = long_music(place, 7200)
    async with running_daemon(place) as daemon, trio.open_nursery() as nursery:
        workers = daemon.workers()

        async def fingerprint() -> None:
            with pytest.raises(Exception, match=r"shut|lost|daemon"):
                await daemon.ask("fingerprint", path=str(path))

        nursery.start_soon(fingerprint)
        await until_busy(daemon)
        daemon.process.send_signal(signal.SIGINT)
        with trio.fail_after(5):
            while "daemon_stopping" not in daemon.log:  # noqa: ASYNC110 - it is in another process
                await trio.sleep(0.01)
        daemon.process.send_signal(signal.SIGINT)
        assert await daemon.ended(within_s=2) == 128 + signal.SIGINT
        await until_gone(workers)


async def test_ctrl_c_in_the_terminal_stops_it_in_order(place: Place) -> None:
    """SIGINT to the whole process group, workers included, leaves a clean log and status 0."""
    async with running_daemon(place) as daemon:
        os.killpg(daemon.process.pid, signal.SIGINT)
        assert await daemon.ended() == 0
        assert "Traceback" not in daemon.log
        assert "worker" not in daemon.log


async def test_the_command_shutdown_stops_it_after_its_answer(place: Place) -> None:
    """The client that asked for it is answered before the socket closes."""
    async with running_daemon(place) as daemon:
        assert await daemon.ask("shutdown") == {"stopping": True}
        assert await daemon.ended() == 0


async def test_killed_it_leaves_nothing_behind(place: Place) -> None:
    """After kill -9 its workers end, its sockets and its uploads are no obstacle, and its tracks are there."""
    path = music(place)
    async with running_daemon(place) as daemon:
        track = (await daemon.ask("fingerprint", path=str(path)))["track"]
        workers = daemon.workers()
        assert workers
        daemon.process.kill()
        assert await daemon.ended() == -signal.SIGKILL
        await until_gone(workers)
    left_behind = place.folder / "data" / "uploads" / "upload-x"
    left_behind.write_bytes(b"half an upload")
    async with running_daemon(place) as daemon:
        assert (await daemon.ask("tracks.list"))["tracks"] == [track]
        assert not left_behind.exists()


async def test_it_outlives_its_workers(place: Place) -> None:
    """With every worker killed between two queries, the second one is answered as well."""
    path = music(place)
    async with running_daemon(place) as daemon:
        await daemon.ask("fingerprint", path=str(path))
        workers = daemon.workers()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        await until_gone(workers)
        assert (await daemon.ask("recognize", path=str(path)))["matches"]
        assert all(map(is_running, daemon.workers()))


@pytest.mark.parametrize("option", ["--http", "--ws"])
async def test_a_port_in_use_is_said_plainly(place: Place, option: str) -> None:
    """Exit status 4 and a sentence with the address and the way out, no traceback, no worker left."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = await run_to_the_end(place, option, address)
    assert done.returncode == 4
    assert "address_in_use" in done.stderr
    assert address in done.stderr
    assert option in done.stderr
    assert "Traceback" not in done.stderr


async def test_two_daemons_do_not_share_a_data_folder(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The second one is refused with the first one's process id, and the first one goes on."""
    other = Place(tmp_path_factory.mktemp("o"))
    async with running_daemon(place) as daemon:
        done = await run_to_the_end(other, "--data-dir", f"{place.folder}/data")
        assert done.returncode == 4
        assert "index_locked" in done.stderr
        assert str(daemon.process.pid) in done.stderr
        assert "Traceback" not in done.stderr
        assert (await daemon.ask("status"))["n_tracks"] == 0


async def test_two_daemons_do_not_share_a_socket(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The second one does not take the first one's control socket away."""
    other = Place(tmp_path_factory.mktemp("o"))
    async with running_daemon(place) as daemon:
        done = await run_to_the_end(other, "--control", place.control)
        assert done.returncode == 4
        assert "address_in_use" in done.stderr
        assert (await daemon.ask("status"))["n_tracks"] == 0


async def test_a_wrong_configuration_ends_it_with_2(place: Place) -> None:
    """Before anything is opened, on one line."""
    done = await run_to_the_end(place, "--http", "0.0.0.0:4141")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "security.token" in done.stderr
    assert not (place.folder / "data").exists()


async def test_a_folder_that_others_may_write_in_holds_no_sockets(place: Place) -> None:
    """A runtime folder that somebody else could have prepared is refused, with what to do about it."""
    shared = place.folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (place.folder / "link").symlink_to(shared)
    for folder, reason in (("shared", "chmod 700"), ("link", "it is a link")):
        endpoint = f"ipc://{place.folder}/{folder}/control.sock"
        conf = place.folder / "conf.toml"
        conf.write_text(f"[data]\nruntime_dir = '{place.folder}/{folder}'\n")
        done = await run_to_the_end(place, "--config", str(conf), "--control", endpoint)
        assert done.returncode == 2
        assert reason in done.stderr


_CRASHING = """
import sys
from dejavud.services.ingest import Ingest

async def serve(self, *, task_status):
    task_status.started()
    raise RuntimeError("the writer is broken")

Ingest.serve = serve
from dejavud.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


async def test_a_service_that_crashes_ends_the_daemon(place: Place) -> None:
    """A bug in a service is not survived half: status 1, the traceback in the log, for the service manager to restart it."""
    script = place.folder / "crashing.py"
    script.write_text("if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in _CRASHING.splitlines()))
    done = await run_to_the_end(place, program=(str(script),))
    assert done.returncode == 1
    assert "daemon_crashed" in done.stderr
    assert "the writer is broken" in done.stderr


async def test_check_config_and_print_config_start_nothing(place: Place) -> None:
    """Both say what they are asked and leave no trace."""
    done = await run_to_the_end(place, "--print-config")
    assert done.returncode == 0
    assert f'endpoint = "{place.control}"  # --control' in done.stdout
    assert (await run_to_the_end(place, "--check-config")).returncode == 0
    assert not (place.folder / "data").exists()


async def test_help_is_quick_because_it_loads_little(place: Place) -> None:
    """--help imports neither the event loop nor numpy nor the database, and teaches by example."""
    probe = "import sys; from dejavud.__main__ import main\ntry: main(['--help'])\nfinally: print(sorted(sys.modules))"
    done = await run_to_the_end(place, program=("-c", probe))
    assert "dejavuctl fingerprint ~/Music" in done.stdout
    loaded = done.stdout.splitlines()[-1]
    assert "'dejavud.config'" in loaded
    assert not any(f"'{heavy}'" in loaded for heavy in ("trio", "numpy", "duckdb", "av", "structlog", "zmq"))


async def test_events_leave_in_order_to_the_very_end(place: Place) -> None:
    """A subscriber hears that the daemon stops, then of the track that was still in flight, and loses nothing."""
    path = long_music(place, 1200)
    async with running_daemon(place) as daemon:
        [events] = [(await daemon.ask("status"))["endpoints"]["events"]]
        with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
            subscriber.subscribe("")
            monitor = subscriber.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            subscriber.connect(events)
            await trio.to_thread.run_sync(monitor.recv_multipart)
            subscriber.disable_monitor()
            monitor.close()
            await daemon.ask("fingerprint", path=str(music(place)))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(daemon.ask, "fingerprint", path=str(path)))
                await until_busy(daemon)
                daemon.process.terminate()
                assert await daemon.ended() == 0
            heard: list[dict[str, Any]] = []
            while sum(event["topic"] == "track.added" for event in heard) < 2:  # what takes long is told as a job, too
                heard.append(json.loads(subscriber.recv_multipart()[1]))
    told = [event["topic"] for event in heard if not event["topic"].startswith("job.")]
    assert told == ["track.added", "daemon.stopping", "track.added"]
    assert [event["seq"] - heard[0]["seq"] for event in heard] == list(range(len(heard)))


async def test_with_a_token_every_door_asks_for_it(place: Place) -> None:
    """Listening to the whole network, HTTP and the control socket refuse who does not know the token."""
    conf = place.folder / "conf.toml"
    conf.write_text("[security]\ntoken = 'correct-horse'\n[http]\nlisten = ['0.0.0.0:0']\n[websocket]\nlisten = []\n")
    place = replace(place, options=place.options | {"--http": None, "--ws": None})
    async with running_daemon(place, "--config", str(conf)) as daemon:
        with pytest.raises(Exception, match="token"):
            await daemon.ask("status")
        status = await trio.to_thread.run_sync(ask, place.control, "status", {}, "correct-horse")
        assert status["endpoints"]["websocket"] == []
        url = status["endpoints"]["http"][0].replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - it is replaced
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            assert (await client.get(f"{url}/v1/status")).status_code == 401
            token = {"Authorization": "Bearer correct-horse"}
            assert (await client.get(f"{url}/v1/status", headers=token)).json()["version"] == status["version"]
        assert "correct-horse" not in daemon.log


async def test_it_recognizes_what_its_microphone_hears(place: Place, sound_card: SoundCard) -> None:
    """What a real sound server plays into the default input is recognized, where it is, as soon as it is certain."""
    path = music(place, duration_s=20.0)
    async with running_daemon(place) as daemon:
        track = (await daemon.ask("fingerprint", path=str(path)))["track"]
        assert (await daemon.ask("status"))["microphone"] == {"available": True, "reason": None}
        with sound_card.playing(path):
            heard = await daemon.ask("recognize_microphone", duration_s=20.0)
    assert set(heard["query"]) == {"source", "duration_s", "n_hashes"}
    assert heard["query"]["source"] == "microphone"
    assert heard["query"]["duration_s"] <= 10.0
    assert heard["matches"][0]["track"]["id"] == track["id"]
