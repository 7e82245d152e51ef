"""What the client's tests share: a daemon that answers from a table, and runs of the client against it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from client_daemon import FakeDaemon
from client_runs import Ran

from dejavuctl.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """Give a folder whose path is short enough for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="dj") as folder:
        yield Path(folder)


@pytest.fixture
def daemon(socket_dir: Path) -> Iterator[FakeDaemon]:
    """Give a daemon on an ipc socket; a test fills its table before the client runs."""
    with FakeDaemon(f"ipc://{socket_dir}/c") as serving:
        yield serving


@pytest.fixture
def ctl(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Give a function that runs the client in this process against `daemon`."""

    def run(*words: str | Path) -> Ran:
        capsys.readouterr()
        status = main(["--control", daemon.endpoint, *map(str, words)])
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run


@pytest.fixture
def start_ctl(daemon: FakeDaemon) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Give a function that starts the client as a process against `daemon`; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str | Path, **options: int) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'clients'}", "DEJAVUD_CONTROL": daemon.endpoint}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        command = [sys.executable, "-m", "dejavuctl", *map(str, words)]
        process = subprocess.Popen(command, env=environment, text=True, **pipes)
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.fixture
def root_on_path(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the project's folder, and let processes import from it as the installed package would."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'clients'}")
    return ROOT


@pytest.fixture
def client_command(daemon: FakeDaemon) -> tuple[list[str], dict[str, str]]:
    """Give the command line of `dejavuctl listen` against `daemon`, and its environment."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'clients'}", "DEJAVUD_CONTROL": daemon.endpoint}
    return [sys.executable, "-m", "dejavuctl", "listen"], environment
