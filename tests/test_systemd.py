from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import structlog

from dejavud.systemd import notify

UNITS = Path(__file__).parents[1] / "systemd"


@pytest.mark.parametrize("address", ["path", "abstract"])
def test_the_service_manager_is_told(tmp_path: Path, address: str) -> None:
    """A notification arrives as one datagram, at a socket file or in the abstract namespace."""
    name = str(tmp_path / "notify") if address == "path" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1))
        manager.settimeout(5)
        notify(name, "READY=1", "STATUS=well")
        assert manager.recv(100) == b"READY=1\nSTATUS=well"


def test_without_a_service_manager_nothing_is_said(tmp_path: Path) -> None:
    """Nobody to tell is no failure, and a socket that is gone is a line in the log."""
    with structlog.testing.capture_logs() as logs:
        notify(None, "READY=1")
        notify("", "READY=1")
        assert logs == []
        notify(str(tmp_path / "gone"), "READY=1")
    assert [log["event"] for log in logs] == ["notify_failed"]


@pytest.mark.parametrize("unit", ["dejavud.service", "dejavud.user.service"])
def test_the_units_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
    """Systemd itself finds nothing to object to in them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    text = (UNITS / unit).read_text(encoding="utf-8").replace("/usr/bin/dejavud\n", "/usr/bin/env\n")
    (tmp_path / "dejavud.service").write_text(text, encoding="utf-8")
    scope = ["--user"] if "user" in unit else []
    done = subprocess.run(
        ["systemd-analyze", *scope, "verify", "--man=no", str(tmp_path / "dejavud.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_units_give_the_daemon_time_to_end() -> None:
    """Systemd waits longer than the grace period, signals the daemon alone, and does not restart what cannot work."""
    for unit in UNITS.glob("*.service"):
        lines = unit.read_text(encoding="utf-8").splitlines()
        assert {"Type=notify", "KillMode=mixed", "TimeoutStopSec=30", "RestartPreventExitStatus=2 4"} <= set(lines)
