from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import structlog

from dejavud.config import Config
from dejavud.config.credentials import CREDENTIALS
from dejavud.systemd import SOCKET_NAMES, notify

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


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Return what systemd-analyze says."""
    command = ["systemd-analyze", "--no-pager", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("scope", ["system", "user"])
def test_the_units_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str) -> None:
    """Systemd itself finds nothing to object to in them, nor in the sockets that start the service."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    service = UNITS / ("dejavud.service" if scope == "system" else "dejavud.user.service")
    text = service.read_text(encoding="utf-8").replace("/usr/bin/dejavud\n", "/usr/bin/env\n")
    (tmp_path / "dejavud.service").write_text(text, encoding="utf-8")
    for unit in UNITS.glob("*.socket"):
        shutil.copy(unit, tmp_path)
    found = sorted(tmp_path.glob("dejavud*.*"))
    assert len(found) == 3
    done = analyze(f"--{scope}", "verify", "--man=no", *found)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_service_is_shut_in(tmp_path: Path) -> None:
    """Systemd's own measure of what a service could do to the machine is at most 1.5 of 10."""
    shutil.copy(UNITS / "dejavud.service", tmp_path)
    done = analyze("security", "--offline=true", "--threshold=15", tmp_path / "dejavud.service")
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level for dejavud.service: 1.5" in done.stdout


def test_the_sockets_are_called_as_the_daemon_takes_them() -> None:
    """There is a socket unit for each name that is taken, on the address that conf has without it, for the service."""
    defaults = {"http": Config().http.listen, "websocket": Config().websocket.listen}
    assert set(defaults) == set(SOCKET_NAMES)
    for name, listen in defaults.items():
        lines = (UNITS / f"dejavud-{name}.socket").read_text(encoding="utf-8").splitlines()
        wanted = {f"FileDescriptorName={name}", "Service=dejavud.service", *(f"ListenStream={one}" for one in listen)}
        assert wanted <= set(lines)


def test_the_service_is_given_every_credential() -> None:
    """The unit loads each credential that is a setting, from a file of a name of our own, and docs tell of all."""
    lines = (UNITS / "dejavud.service").read_text(encoding="utf-8").splitlines()
    assert {f"LoadCredential={name}:dejavud.{name}" for name in CREDENTIALS} == {
        line for line in lines if line.startswith("LoadCredential=")
    }
    docs = (UNITS.parent / "docs" / "systemd.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in docs for name in CREDENTIALS)


def test_the_units_give_the_daemon_time_to_end() -> None:
    """Systemd waits longer than the grace period, signals the daemon alone, and does not restart what cannot work."""
    wanted = {"Type=notify", "KillMode=mixed", "TimeoutStopSec=30", "RestartPreventExitStatus=2 4", "WatchdogSec=60"}
    for unit in UNITS.glob("*.service"):
        assert wanted <= set(unit.read_text(encoding="utf-8").splitlines())
