"""A real daemon and sources that are sent, come late, or are far away."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import trio
from daemon_process import Place, RunningDaemon, running_daemon
from stations import RtspStation
from synthetic import synthesize, write_wav

if TYPE_CHECKING:
    from fixtures_sound import SoundCard

RATE_HZ = 16000


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("d"))


async def teach(daemon: RunningDaemon, seed: int) -> None:
    """Add a piece of twenty seconds to the library."""
    path = write_wav(daemon.place.folder / f"piece{seed}.wav", synthesize(seed, 20, RATE_HZ), RATE_HZ)
    await daemon.ask("fingerprint", path=str(path), title=f"piece {seed}")


async def until_plays(daemon: RunningDaemon, listener: str, title: str) -> None:
    """Wait until a listener says that a track plays."""
    with trio.fail_after(30):
        while True:
            for view in (await daemon.ask("listen.list"))["listeners"]:
                if view["listener"] == listener and title in [play["track"]["title"] for play in view["plays"]]:
                    return
            await trio.sleep(0.05)


async def send(place: Place, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Return how ``dejavuctl listen send`` ended."""
    command = [sys.executable, "-m", "dejavuctl", "--control", place.control, "listen", "send", *arguments]
    return await trio.to_thread.run_sync(
        partial(subprocess.run, command, input=data, capture_output=True, check=False, timeout=60)
    )


async def test_raw_sound_is_sent_from_a_shell_and_a_camera_is_heard(place: Place) -> None:
    """`listen send` sends a pipe's or a file's samples; what is none, and whom nobody listens to, is said; a camera is one more source."""
    samples = (np.clip(synthesize(1, 20, RATE_HZ), -1, 1) * 32767).astype("<i2").tobytes()
    (place.folder / "raw").write_bytes(samples)
    async with running_daemon(place) as daemon:
        for seed in (1, 2):
            await teach(daemon, seed)
        await daemon.ask("listen.add", name="kitchen", source=f"pcm:s16le:{RATE_HZ}:1")
        done = await send(place, "kitchen", data=samples)
        assert (done.returncode, done.stdout) == (0, b"0:20 of sound sent to kitchen\n")
        await until_plays(daemon, "kitchen", "piece 1")
        done = await send(place, "--json", "kitchen", str(place.folder / "raw"))
        assert done.stdout == b'{"listener":"kitchen","heard_s":20.0}\n'
        done = await send(place, "kitchen", str(place.folder / "piece1.wav"))
        assert done.returncode == 4
        assert b"this is a wav file" in done.stderr
        assert b"there is no listener 'cellar'" in (await send(place, "cellar", data=samples)).stderr
        assert b"No such file" in (await send(place, "kitchen", str(place.folder / "missing"))).stderr
        with RtspStation(synthesize(2, 20, RATE_HZ), RATE_HZ, is_held=True).on_air() as camera:
            view = await daemon.ask("listen.add", name="door", source=camera.url.replace("://", "://me:secret@"))
            await until_plays(daemon, "door", "piece 2")
            assert "secret" not in str((view, await daemon.ask("status"), daemon.log))
        process = (await daemon.ask("status"))["process"]
        assert all(process[name] > 0 for name in ("n_tasks", "n_threads", "n_descriptors", "memory_bytes"))


async def test_a_microphone_that_is_plugged_in_later_is_listened_to(sound_card: SoundCard, place: Place) -> None:
    """A daemon that started without one says so, and listens as soon as there is one; one that is back is tried at once."""
    sound_card.unplug()
    environment = {"DEJAVUD_LISTEN_MICROPHONE": "auto"}
    async with running_daemon(place, environment=environment) as daemon:
        with trio.fail_after(40):
            while "microphone_not_listened_to" not in daemon.log:  # noqa: ASYNC110 - in another process
                await trio.sleep(0.05)
            with sound_card.plugged_in_again():
                while not (views := (await daemon.ask("listen.list"))["listeners"]) or views[0]["state"] != "silent":  # noqa: ASYNC110
                    await trio.sleep(0.1)
        assert views[0]["listener"] == "microphone"
        assert "microphone_listened_to" in daemon.log
