"""The JavaScript client that the page is made with, in Node against a real daemon."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from playwright._impl._driver import compute_driver_executable
from synthetic import synthesize
from web_parts import RATE_HZ, WebDaemon, piece

if TYPE_CHECKING:
    import pytest

CLIENT = Path(__file__).parents[2] / "clients" / "dejavud.js"
TOKEN = "a-token-of-ours"  # noqa: S105 - of this test


def node(*arguments: object) -> list[str]:
    """Return a command for the Node that playwright brings."""
    return [str(compute_driver_executable()[0]), str(Path(__file__).with_name("client.mjs")), *map(str, arguments)]


def test_the_client_does_all_that_it_offers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tracks, recognition of a file and of sound while it is sent, listeners, history, events from where they were left, and every kind of refusal."""
    folder = tmp_path_factory.mktemp("j")
    daemon = WebDaemon(folder, {"DEJAVUD_SECURITY_TOKEN": TOKEN})
    recording, pcm = piece(folder / "piece.wav", 41, 12.0), folder / "raw"
    pcm.write_bytes((synthesize(41, 12.0, RATE_HZ)[2 * RATE_HZ :] * 32767).astype("<i2").tobytes())
    with daemon.running():
        done = subprocess.run(
            node(CLIENT, daemon.url, recording, pcm), capture_output=True, text=True, timeout=60, check=False
        )
    assert done.stderr == ""
    assert done.stdout == "done\n"


def test_events_go_on_when_the_daemon_comes_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The client says that the daemon is away, finds it again by itself, and goes on with the events of its new life."""
    daemon = WebDaemon(tmp_path_factory.mktemp("j"), {"DEJAVUD_SECURITY_TOKEN": TOKEN})
    with subprocess.Popen(node(CLIENT, daemon.url, "-", "-", "follow"), stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "away\n"
        for name in ("first", "last"):
            with daemon.running():
                assert following.stdout.readline() == "connected\n"
                daemon.ask("listen.add", TOKEN, name=name, source="pcm:s16le:8000:1", once=True)
                assert following.stdout.readline() == f"listener.started {name}\n"
            if name == "first":
                assert following.stdout.readline() == "away\n"
        assert following.wait(10) == 0
