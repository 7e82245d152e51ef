"""``dejavuctl doctor`` finds each of a list of made-up troubles, and says what mends it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio
from client_daemon import STATUS, FakeDaemon
from daemon_process import Place, running_daemon
from real_client import ROOT, RealClient

import dejavud.doctor.tones
from dejavuctl import examination
from dejavuctl.examination import running
from dejavuctl.output import Output
from dejavuctl.session import Session
from dejavud.doctor import sound
from dejavud.doctor.sound import codecs
from dejavud.doctor.tones import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from client_runs import Ran


def doctor(
    folder: Path, *words: str, environment: dict[str, str] | None = None
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status of a run where no daemon is, and its findings by what was checked."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("DEJAVUD_", "DATABASE_URL", "XDG_"))}
    own |= {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": f"{ROOT}:{ROOT / 'clients'}"}
    command = [sys.executable, "-m", "dejavuctl", "--control", f"ipc://{folder}/c", "doctor", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=own | (environment or {}))
    return done.returncode, {one["check"]: one for one in map(json.loads, done.stdout.splitlines())}


def test_with_no_daemon_the_machine_is_looked_at_anyhow(socket_dir: Path) -> None:
    """That is when people call it: the daemon fails, with the command that starts it; everything else is examined."""
    status, found = doctor(socket_dir)
    assert (status, found["daemon"]["state"]) == (4, "fail")
    assert "dejavud" in found["daemon"]["mend"]
    for check in ("configuration", "data folder", "disk", "database", "versions", "libraries", "codecs", "clock"):
        assert found[check]["state"] in {"ok", "warn"}, found[check]
    assert "microphone" in found
    assert not (socket_dir / ".local").exists(), "it makes nothing"


def test_a_conf_that_is_wrong_is_named_with_its_mistake(socket_dir: Path) -> None:
    """The wrong key, what was probably meant, and how to look again."""
    conf = socket_dir / "my.toml"
    conf.write_text("[limits]\nquery_seconds = 3\n")
    status, found = doctor(socket_dir, "--config", str(conf))
    assert status == 4
    assert found["configuration"]["state"] == "fail"
    assert "query_s" in found["configuration"]["said"]
    assert f"dejavud --check-config --config {conf}" in found["configuration"]["mend"]
    assert found["codecs"]["state"] == "ok"


def test_without_portaudio_the_microphone_says_what_to_install(socket_dir: Path) -> None:
    """A PyAudio that finds no PortAudio is no crash but a line with the package's name."""
    broken = socket_dir / "broken"
    broken.mkdir()
    (broken / "pyaudio.py").write_text("raise ImportError('libportaudio.so.2: cannot open shared object file')\n")
    _, found = doctor(socket_dir, environment={"PYTHONPATH": f"{broken}:{ROOT}:{ROOT / 'clients'}"})
    assert found["microphone"]["state"] == "warn"
    assert found["microphone"]["mend"] == "apt install libportaudio2"


def test_a_library_that_ends_the_process_is_a_finding(socket_dir: Path) -> None:
    """What crashes is named, with what was found before it; the doctor lives on."""
    broken = socket_dir / "broken"
    broken.mkdir()
    (broken / "pyaudio.py").write_text("import os\nos.abort()\n")
    status, found = doctor(socket_dir, environment={"PYTHONPATH": f"{broken}:{ROOT}:{ROOT / 'clients'}"})
    assert status == 4
    assert (found["microphone"]["state"], found["codecs"]["state"]) == ("fail", "ok")
    assert "signal 6" in found["microphone"]["said"]


def test_a_disk_without_room_is_found(socket_dir: Path) -> None:
    """Of a file system that is nearly full, the free bytes and what to do."""
    full = socket_dir / "full"
    full.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(full)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    try:
        status, found = doctor(socket_dir, environment={"DEJAVUD_DATA_DIR": str(full)})
    finally:
        subprocess.run(["umount", str(full)], check=True)
    assert (status, found["disk"]["state"]) == (4, "fail")
    assert "nothing can be added" in found["disk"]["said"]
    assert f"df -h {full}" in found["disk"]["mend"]


def test_a_database_of_others_is_found(socket_dir: Path) -> None:
    """A file that is no index of ours fails, and is left as it is."""
    path = socket_dir / "data" / "dejavud.duckdb"
    path.parent.mkdir(mode=0o777)
    path.parent.chmod(0o777)
    path.write_bytes(b"no database" * 1000)
    status, found = doctor(socket_dir, environment={"DEJAVUD_DATA_DIR": str(path.parent)})
    assert (status, found["database"]["state"], found["data folder"]["state"]) == (4, "fail", "warn")
    assert found["data folder"]["mend"] == f"chmod go-w {path.parent}"
    assert path.read_bytes() == b"no database" * 1000


def test_a_broken_decoder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each format is tried for itself: one whose sound is another than it should be is named, and the others are well."""
    files = samples()
    assert set(files) == {"flac", "mp3", "ogg", "opus", "m4a"}
    assert [finding.said for finding in codecs()] == ["wav, flac, mp3, ogg, opus, m4a are decoded"]
    encoded = {name: base64.b64encode(data).decode() for name, data in files.items()}
    monkeypatch.setattr(dejavud.doctor.tones, "_ENCODED", {**encoded, "mp3": encoded["mp3"][:80]})
    monkeypatch.setattr(sound, "_wav", lambda: files["flac"][:200])
    broken = {finding.check: finding.state for finding in codecs()}
    assert broken == {"decode wav": "fail", "decode mp3": "fail", "codecs": "ok"}


def test_in_the_single_file_the_daemons_half_examines(socket_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the client is without the daemon's libraries it calls its own file by the daemon's name, which examines as usual."""
    file = socket_dir / "dejavuctl"
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -m dejavud "$@"\n')
    file.chmod(0o755)
    monkeypatch.setattr(examination, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "argv", [str(file)])
    own = {"PATH": os.environ["PATH"], "HOME": str(socket_dir), "PYTHONPATH": f"{ROOT}:{ROOT / 'clients'}"}
    session = Session(f"ipc://{socket_dir}/c", own, None, Output(as_json=True, answers=sys.stdout, remarks=sys.stderr))
    found = {finding.check: finding.state for finding in examination.machine(None, session, None)}
    assert (found["configuration"], found["codecs"]) == ("ok", "ok")


def test_a_daemon_of_another_version_is_found(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Both versions are said, and the command that restarts the daemon; nothing else fails for it."""
    daemon.table["status"] = lambda _: {**STATUS, "version": "9.9.9"}
    ran = ctl("doctor", "--json")
    found = {one["check"]: one for one in ran.records}
    assert found["daemon"]["state"] == "warn"
    assert "9.9.9" in found["daemon"]["said"]
    assert "restart" in found["daemon"]["mend"] or "shutdown" in found["daemon"]["mend"]


def test_what_a_daemon_says_of_its_parts_is_judged() -> None:
    """A database that is away, a source and a hook that fail, plays that wait, dead workers and a held up loop: each has its line."""
    listener = {
        "listener": "hall",
        "source": "mic",
        "state": "retrying",
        "reason": "it is gone",
        "level_db": None,
        "plays": [],
    }
    url = "http://radio.example/x"
    radio = {**listener, "listener": "radio", "source": url, "reason": f"{url} cannot be heard: 404 Not Found"}
    status = {
        "index": {"url": "postgresql://db/x", "reachable": False, "answers_from": "database"},
        "listeners": [
            listener,
            radio,
            {**radio, "listener": "again", "state": "starting"},
            {**listener, "listener": "mute", "state": "silent", "level_db": -120.0},
        ],
        "hooks": [{"hook": "wall", "target": "https://wall", "state": "retrying", "last_error": "refused"}],
        "history": {"n_waiting": 3, "reason": "no database"},
        "workers": {"n_alive": 0},
        "loop": {"longest_turn_s": 2.5},
        "troubles": {"n_errors": 1, "n_warnings": 2, "last": {"at": "now", "event": "it_failed", "reason": "why"}},
    }
    found = {one.check: one for one in running(status)}
    states = {check: finding.state for check, finding in found.items()}
    assert states == {
        "database": "fail",
        "listener hall": "warn",
        "listener radio": "warn",
        "listener again": "warn",
        "listener mute": "warn",
        "hook wall": "warn",
        "history": "warn",
        "workers": "fail",
        "load": "warn",
        "log": "warn",
    }
    assert all(finding.mend for finding in found.values())
    assert found["listener radio"].said == f"{url}: cannot be heard: 404 Not Found"
    assert ["microphones" in found[f"listener {name}"].mend for name in ("hall", "radio")] == [True, False]


async def test_of_a_daemon_that_runs_its_sockets_are_judged(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All is well until others may use its socket; then the command that closes it is said, and is right."""
    place = Place(tmp_path_factory.mktemp("d"))
    async with running_daemon(place) as daemon:
        client = RealClient(daemon)
        well = await client.ctl("doctor")
        assert well.status == 0, well.out
        assert "fail" not in well.out
        socket = trio.Path(place.control.removeprefix("ipc://"))
        await socket.chmod(0o666)
        found = {one["check"]: one for one in (await client.ctl("doctor", "--json")).records}
        assert found["control socket"]["state"] == "warn"
        await trio.run_process(found["control socket"]["mend"].split())
        assert (await socket.stat()).st_mode & 0o777 == 0o600
