"""A daemon with a small library, and a real Chromium whose microphone plays a file."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon_process import START_S, Place, ask, log_file
from synthetic import synthesize, write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE_HZ = 22050
TITLES = {1: "Harbour Lights", 2: "Paper Lanterns", 3: "Slow Orbit"}
ARTIST = "The Quiet Engine"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def chromium() -> str:
    """Return the browser; fail where there is none: what the page is, only a browser can tell."""
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else CHROMIUMS)), None)
    if found is None:
        reason = "there is no Chromium: apt-get install chromium; on Ubuntu, whose package is a snap that does not run everywhere, install Google Chrome's .deb, or name a browser in CHROMIUM"
        pytest.fail(reason)
    return found


def flags(microphone: Path) -> list[str]:
    """Return Chromium's options; its microphone plays a wav file.  It has no sandbox, which it cannot make as root nor in most containers."""
    return [*_FLAGS, "--no-sandbox", f"--use-file-for-fake-audio-capture={microphone}"]


def free_port() -> int:
    """Return a port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class WebDaemon:
    """A daemon that is restarted on the same ports."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    websocket_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def place(self) -> Place:
        """Where its sockets and files are."""
        ports = {"--http": f"127.0.0.1:{self.port}", "--ws": f"127.0.0.1:{self.websocket_port}"}
        return Place(self.folder, ports)

    def ask(self, method: str, token: str | None = None, **params: object) -> dict[str, Any]:
        """Call a command over the control socket."""
        return ask(self.place.control, method, params, token)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it during the block."""
        place = self.place
        notified = Path(place.environment["NOTIFY_SOCKET"])
        notified.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(notified))
            notify.settimeout(1.0)
            with log_file(place).open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "dejavud", *place.arguments, "--log-format", "json"],
                    env={**place.environment, **self.environment},
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            try:
                self._wait(notify, process)
                yield
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _wait(self, notify: socket.socket, process: subprocess.Popen[bytes]) -> None:
        """Return when it has said that it is ready."""
        given_up = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < given_up:
            with suppress(TimeoutError):
                if b"READY=1" in notify.recv(1000):
                    return
        pytest.fail(f"the daemon does not start: {log_file(self.place).read_text()}")

    def teach(self, folder: Path, token: str | None = None) -> None:
        """Put `TITLES` into its library; their files stay in `folder`."""
        for seed, title in TITLES.items():
            path = piece(folder / f"{seed}.wav", seed)
            self.ask("fingerprint", token, path=str(path), title=title, artist=ARTIST)


def piece(path: Path, seed: int, duration_s: float = 30.0, start_s: float = 0.0) -> Path:
    """Write a piece of music from `start_s` on; another seed is another one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, synthesize(seed, start_s + duration_s, RATE_HZ)[round(start_s * RATE_HZ) :], RATE_HZ)
    return path
