"""The two commands speak clearly when something is in the way, and do nothing twice."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dejavuctl.files import AUDIO_EXTENSIONS

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("quickstart", "run-tests", "tests/music", "tests/chroot/prove", ".ci/run", "packaging/setup.bash")


def bash(code: str, cwd: Path, *, path: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `code` with setup.bash sourced and its cache in `cwd`; programs in the folder `path` come before the machine's."""
    environment = os.environ | {"ROOT": str(ROOT), "XDG_CACHE_HOME": str(cwd / "cache"), "TMPDIR": str(cwd)} | variables
    if path is not None:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; source '{ROOT}/packaging/setup.bash'; {code}"],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


def program(folder: Path, name: str, code: str) -> Path:
    """Put a small program in `folder`, which stands for one that behaves so on another machine, and return the folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{code}\n")
    (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_name_no_host(script: str) -> None:
    """Where packages come from is the machine's own configuration of apt and pip."""
    assert re.findall(r"https?://(?!127\.0\.0\.1)[^\s\"']+", (ROOT / script).read_text()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--help"], 0, "usage: ./quickstart [FOLDER]"),
        (["--fast"], 2, "usage: ./quickstart [FOLDER]"),
        (["one", "two"], 2, "usage: ./quickstart [FOLDER]"),
        (["/nowhere"], 1, "There is no folder /nowhere."),
        (["EMPTY"], 1, "There is no music in"),
    ],
)
def test_quickstart_refuses_before_it_installs_anything(
    tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    """A wrong argument costs a person a second, not an installation."""
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "EMPTY" / "notes.txt").write_text("no music")
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [ROOT / "quickstart", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == status
    assert words in done.stdout + done.stderr
    assert not (tmp_path / "cache").exists()


def test_a_folder_with_music_anywhere_below_it_is_taken(tmp_path: Path) -> None:
    """Upper-case suffixes and blanks in names are music too."""
    (tmp_path / "a b" / "c").mkdir(parents=True)
    (tmp_path / "a b" / "c" / "Some Song.MP3").write_bytes(b"x")
    assert bash(f"source '{ROOT}/quickstart'; check_folder '{tmp_path}'", tmp_path).returncode == 0


def test_quickstart_looks_for_what_the_client_takes(tmp_path: Path) -> None:
    """The two lists are one: a folder that passes the look has something that dejavuctl fingerprints."""
    done = bash(f"source '{ROOT}/quickstart'; echo $AUDIO_EXTENSIONS", tmp_path)
    assert tuple(done.stdout.split()) == AUDIO_EXTENSIONS


LOCKED = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4242 (unattended-upgr)"
OFFLINE = "Err:1 somewhere\n  Temporary failure resolving 'somewhere'\nE: Unable to fetch some archives"


@pytest.mark.parametrize(
    ("apt_says", "words"),
    [
        (LOCKED, ["apt is locked, held by process 4242 (unattended-upgr)", "Wait for that program"]),
        (OFFLINE, ["This machine cannot reach its package servers", "Check the network"]),
        ("E: Unable to locate package frobnicate", ["apt could not install frobnicate", "E: Unable to locate package"]),
    ],
)
def test_what_apt_cannot_do_is_said_in_plain_words(tmp_path: Path, apt_says: str, words: list[str]) -> None:
    """A lock, no network and an unknown package are told apart, with what to do."""
    folder = program(tmp_path / "bin", "apt-get", f"cat <<'END'\n{apt_says}\nEND\nexit 100")
    program(folder, "sudo", '"$@"')
    done = bash("MISSING=(frobnicate); install_packages", tmp_path, path=folder, APT_WAIT="0")
    assert done.returncode == 1
    assert [word for word in words if word not in done.stderr] == []


def test_apt_is_waited_for_while_another_program_holds_it(tmp_path: Path) -> None:
    """A fresh machine that updates itself at first boot is no reason to give up."""
    code = f"[ -e '{tmp_path}/seen' ] && exit 0; touch '{tmp_path}/seen'; echo '{LOCKED}'; exit 100"
    folder = program(tmp_path / "bin", "apt-get", code)
    program(folder, "sudo", '"$@"')
    done = bash("MISSING=(frobnicate); install_packages", tmp_path, path=folder)
    assert done.returncode == 0, done.stderr
    assert "waiting for it to finish" in done.stdout


def test_nothing_missing_asks_apt_nothing(tmp_path: Path) -> None:
    """On a machine that is set up, apt is not started, so neither its locks nor the network matter."""
    folder = program(tmp_path / "bin", "apt-get", "exit 100")
    done = bash("need bash has bash; install_packages; echo ready", tmp_path, path=folder)
    assert (done.returncode, done.stdout) == (0, "ready\n")


def test_a_step_is_done_once_for_a_state_of_the_project(tmp_path: Path) -> None:
    """What succeeded is not done again; what failed is; another place of the environment starts anew."""
    code = """
    VENV=$PWD/venv EDITABLE=(-e); mkdir venv other
    once .stamp false || echo failed
    once .stamp echo first; once .stamp echo second
    VENV=$PWD/other; cp venv/.stamp other; once .stamp echo third
    """
    done = bash(code, tmp_path)
    assert done.stdout.split() == ["failed", "first", "third"], done.stderr


def test_an_installed_copy_is_renewed_when_a_source_changes(tmp_path: Path) -> None:
    """From a checkout that cannot be written to, the environment holds a copy, which must follow the sources."""
    for name in ("dejavud", "clients"):
        (tmp_path / name).mkdir()
    (tmp_path / "pyproject.toml").touch()
    source = tmp_path / "dejavud" / "__init__.py"
    source.write_text("one = 1")
    code = f"ROOT='{tmp_path}'; EDITABLE=(); project_digest; echo 'two = 2' >>'{source}'; project_digest"
    first, second = bash(code, tmp_path).stdout.splitlines()
    assert first != second


def test_an_old_python_is_passed_over_for_a_newer_one(tmp_path: Path) -> None:
    """`python3` may be 3.9 while `python3.12` is there as well."""
    folder = program(tmp_path / "bin", "python3", "exit 1")
    program(folder, "python3.14", "exit 127")
    program(folder, "python3.13", "exit 0")
    assert bash("find_python; echo $PYTHON", tmp_path, path=folder).stdout == "python3.13\n"


def test_output_that_no_person_sees_has_no_colours(tmp_path: Path) -> None:
    """Logs stay readable."""
    done = bash("step here; warn there; fail everywhere", tmp_path, TERM="xterm-256color")
    assert "\x1b" not in done.stdout + done.stderr
    assert "everywhere" in done.stderr


def test_free_music_is_fetched_whole_or_not_at_all(tmp_path: Path) -> None:
    """A download that breaks leaves no folder that would pass for music later, and the next package is tried."""
    code = 'echo "E: Failed to fetch"; exit 100'
    folder = program(tmp_path / "bin", "apt-get", code)
    program(folder, "sudo", '"$@"')
    done = bash("fetch_music", tmp_path, path=folder)
    assert done.returncode == 1
    assert "singularity-music" in done.stdout
    assert "asterisk-moh-opsound-wav" in done.stdout
    assert "give a folder of your own music" in done.stderr
    assert [
        path.name for path in (tmp_path / "cache/dejavud/music").iterdir() if not path.name.endswith(".partial")
    ] == []


def test_free_music_that_was_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    """The second run needs neither apt nor the network, also where only the second choice could be had."""
    (tmp_path / "cache/dejavud/music/asterisk-moh-opsound-wav").mkdir(parents=True)
    folder = program(tmp_path / "bin", "apt-get", "exit 100")
    done = bash("fetch_music; echo $MUSIC", tmp_path, path=folder)
    assert done.stdout.strip().endswith("music/asterisk-moh-opsound-wav"), done.stderr


def test_a_daemon_that_cannot_start_is_explained_by_its_own_reason(tmp_path: Path) -> None:
    """A taken port is named, with a way out; nothing waits for the deadline."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    for name in ("dejavud", "dejavuctl"):
        (tmp_path / "venv" / "bin" / name).symlink_to(Path(sys.executable).with_name(name))
    with socket.create_server(("127.0.0.1", 0)) as other:
        code = f"source '{ROOT}/quickstart'; VENV='{tmp_path}/venv'; start_daemon"
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        done = bash(
            code,
            tmp_path,
            XDG_STATE_HOME=str(tmp_path / "state"),
            XDG_RUNTIME_DIR=str(tmp_path / "run"),
            DEJAVUD_CONTROL=f"ipc://{tmp_path}/control.sock",
            DEJAVUD_DATA_DIR=str(tmp_path / "data"),
            DEJAVUD_HTTP_LISTEN=taken,
            DEJAVUD_WEBSOCKET_LISTEN="127.0.0.1:0",
        )
    assert done.returncode == 1
    assert "The daemon could not start: " in done.stderr
    assert taken in done.stderr
    assert "start it elsewhere" in done.stderr


def test_a_daemon_that_runs_and_refuses_is_not_started_again(tmp_path: Path) -> None:
    """A daemon that asks for a token is there; a second one would only fight it for the ports."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    program(tmp_path / "venv" / "bin", "dejavuctl", "echo 'this daemon asks for a token' >&2; exit 4")
    program(tmp_path / "venv" / "bin", "dejavud", f"touch '{tmp_path}/started'")
    code = f"source '{ROOT}/quickstart'; VENV='{tmp_path}/venv'; start_daemon"
    done = bash(code, tmp_path, XDG_STATE_HOME=str(tmp_path / "state"))
    assert done.returncode == 1
    assert "this daemon asks for a token" in done.stderr
    assert not (tmp_path / "started").exists()
