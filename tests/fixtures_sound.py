"""A sound card made of software: what is played into it comes out of its microphone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_READY_S = 20

_ALSA = """
pcm.default {{ type pulse server "{server}" }}
ctl.default {{ type pulse server "{server}" }}
pcm.tape {{ type pulse server "{server}" hint {{ show on description "Tape" }} }}
"""
_NO_DEVICES = "pcm.gone { type hw card 31 }\n"


class SoundCard:
    """A running PulseAudio server whose only sink is heard by the default ALSA device.

    environment : what a process needs to use this card and no other.
    """

    def __init__(self, folder: Path, server: subprocess.Popen[bytes], environment: dict[str, str]) -> None:
        self.environment = environment
        self._folder = folder
        self._server = server

    @contextmanager
    def playing(self, path: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Play the wav file at `path` into the card during the context."""
        command = ["paplay", "--device=tape_deck", str(path)]
        with subprocess.Popen(command, env={**os.environ, **self.environment}) as player:
            try:
                yield player
            finally:
                player.kill()

    def unplug(self) -> None:
        """Take the card away under whoever uses it."""
        self._server.kill()
        self._server.wait()

    @contextmanager
    def plugged_in_again(self) -> Iterator[None]:
        """Have the card again that was unplugged, during the context."""
        (self._folder / "ready").unlink(missing_ok=True)
        (self._folder / "pulse").unlink(missing_ok=True)
        with _running_server(self._folder, self.environment):
            yield


@pytest.fixture
def sound_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    """Give a sound card to this test and the processes it starts; skip where PulseAudio is not installed."""
    missing = [program for program in ("pulseaudio", "paplay") if shutil.which(program) is None]
    if missing:
        pytest.skip(
            f"{' and '.join(missing)} not installed (apt install pulseaudio pulseaudio-utils libasound2-plugins)"
        )
    pytest.importorskip("pyaudio", reason="PyAudio is an extra", exc_type=ImportError)
    with tempfile.TemporaryDirectory(prefix="card") as name:  # socket paths are short, tmp_path is not
        folder = Path(name)
        environment = _environment(folder)
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        with _running_server(folder, environment) as server:
            yield SoundCard(folder, server, environment)


@pytest.fixture
def no_sound_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make this test run on a machine without any sound device."""
    pytest.importorskip("pyaudio", reason="PyAudio is an extra", exc_type=ImportError)
    (tmp_path / "asound.conf").write_text(_NO_DEVICES)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))


def _environment(folder: Path) -> dict[str, str]:
    """Write what ALSA is to know and return what ALSA, PulseAudio and its tools look for."""
    server = f"unix:{folder / 'pulse'}"
    (folder / "asound.conf").write_text(_ALSA.format(server=server))
    return {
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PULSE_RUNTIME_PATH": str(folder),
        "PULSE_SERVER": server,
        "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
    }


@contextmanager
def _running_server(folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run PulseAudio during the context, entered when it has said that it is ready."""
    (folder / "script.pa").write_text(
        f"load-module module-native-protocol-unix auth-anonymous=1 socket={folder / 'pulse'}\n"
        "load-module module-null-sink sink_name=tape_deck rate=44100 channels=2\n"
        "set-default-sink tape_deck\nset-default-source tape_deck.monitor\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(folder / "ready"))
        ready.settimeout(_READY_S)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [
                    "pulseaudio",
                    "-n",
                    "--daemonize=no",
                    "--use-pid-file=no",
                    "--exit-idle-time=-1",
                    "-F",
                    folder / "script.pa",
                ],
                env={**os.environ, **environment, "NOTIFY_SOCKET": str(folder / "ready")},
                stdout=log,
                stderr=log,
            )
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
            yield server
        except TimeoutError:
            pytest.fail(f"pulseaudio did not get ready: {(folder / 'log').read_text()}")
        finally:
            server.terminate()
            server.wait()
