from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from client_daemon import STATUS, Asked, FakeDaemon, recognition

from dejavuctl import connection as connection_module
from dejavuctl.__main__ import main
from dejavuctl.failures import NoDaemon
from dejavuctl.session import find_endpoint
from dejavud.errors import Unauthorized
from dejavud.wire.codes import EXIT_NO_DAEMON, EXIT_USAGE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from client_runs import Ran


def test_status_says_how_the_daemon_is(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """About ten lines for a person, with units; the same figures as one object for a program."""
    ran = ctl("status")
    assert ran.out.splitlines() == [
        f"dejavud     0.1.0, up 2 h 3 min, at {daemon.endpoint}",
        "library     402 tracks, 22 h 4 min of audio, 3,903,221 hashes",
        "microphone  not available: PyAudio is not installed",
        "index       duckdb:///var/lib/dejavud/index.duckdb, 17.2 MB, landmark-2 (3f2a9c01)",
        "queries     12 matched, 3 unmatched, 0 failed",
        "load        0 of 2 workers busy, 0 waiting, 1 more for what is heard",
        "reached at  http://127.0.0.1:4141",
    ]
    assert (ran.status, ran.err) == (0, "")
    assert ctl("status", "--json").records == [STATUS]


def test_status_stays_short_however_much_there_is(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Of many listeners it shows those where something plays, then those that fail, and says how many more there are; and the last trouble."""
    listener = {"source": "mic", "format": None, "reason": None, "level_db": -30.0, "plays": []}
    play = {"track": {"title": "Nocturne", "artist": None, "duration_s": 219.0}, "track_end_s": 72.0}
    views = [{**listener, "listener": f"room{n}", "state": "listening"} for n in range(22)]
    views += [{**listener, "listener": "deaf", "state": "retrying", "reason": "it is gone"}]
    views += [{**listener, "listener": "hall", "state": "listening", "plays": [play]}]
    last = {"at": "2026-10-25T11:00:00Z", "level": "warning", "event": "listener_state", "reason": "it is gone"}
    daemon.table["status"] = lambda _: {
        **STATUS,
        "listeners": views,
        "troubles": {"n_errors": 0, "n_warnings": 4, "last": last},
    }
    lines = ctl("status").out.splitlines()
    assert lines[2] == "listens to  hall  listening, mic, plays Nocturne, 1:12 of 3:39, -30 dB"
    assert "deaf  retrying" in lines[3]
    assert lines[6] == "listens to  20 more: dejavuctl listen ls"
    assert "last error  listener_state: it is gone (2026-10-25T11:00:00Z; 0 errors, 4 warnings in all)" in lines
    assert len(lines) == 12


def test_another_version_is_said(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """A daemon of another version is named, and what to do; a command it lacks is explained the same way."""
    daemon.table["status"] = lambda _: {"version": "9.9.9"}
    assert "the daemon is version 9.9.9, this client 0.1.0: restart the daemon" in ctl("status").err
    ran = ctl("tracks", "ls")
    assert ran.status == 4
    assert "there is no command 'tracks.list'" in ran.err
    assert "daemon and client seem to be of different versions" in ran.err


def test_no_daemon_is_exit_3_and_says_how_to_start_it(socket_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a socket, and with a socket that nobody listens on any more, the answer is at once and the same."""
    missing = f"ipc://{socket_dir}/missing"
    stale = f"ipc://{socket_dir}/stale"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(socket_dir / "stale"))
    for endpoint in (missing, stale):
        assert main(["--control", endpoint, "status"]) == 3
        said = capsys.readouterr()
        assert said.out == ""
        assert endpoint in said.err
        assert "start it with `dejavud`" in said.err
        assert main(["--control", endpoint, "--json", "status"]) == 3
        assert '"code":"no_daemon"' in capsys.readouterr().out


def test_an_endpoint_that_is_none_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelled --control is explained, not tried."""
    assert main(["--control", "carrier-pigeon://coop", "status"]) == 2
    assert "an endpoint is ipc://PATH or tcp://HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["talks", "hangs up"])
def test_another_program_is_not_waited_for(
    socket_dir: Path, capsys: pytest.CaptureFixture[str], greeting: bytes
) -> None:
    """What listens there but is no dejavud is recognized as such, without a hang."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_dir / "other"))
        listener.listen()

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(10)
                client.sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["--control", f"ipc://{socket_dir}/other", "status"]) == 3
        thread.join()
    assert "did not greet as a dejavud does" in capsys.readouterr().err


def test_a_socket_that_nobody_accepts_on_is_given_up(
    socket_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that is stopped (SIGSTOP) or hangs before the greeting costs a few seconds, not for ever."""
    monkeypatch.setattr(connection_module, "CONNECT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_dir / "mute"))
        listener.listen()
        assert main(["--control", f"ipc://{socket_dir}/mute", "status"]) == 3
    assert capsys.readouterr().err.startswith("dejavuctl: ")


def test_an_answer_in_another_language_is_said(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """An answer that is no JSON is called a foreign protocol."""
    daemon.table["status"] = lambda asked: daemon.send_raw(asked.peer, b"\xff\xfe")
    ran = ctl("status", "--json")
    assert (ran.status, ran.records[0]["error"]["code"]) == (4, "foreign_protocol")


def test_a_daemon_that_dies_is_noticed(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """A daemon that goes away in the middle ends the run with 3; what it had answered was printed."""
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"RIFF")

    def answer_and_die(asked: Asked) -> dict[str, Any] | None:
        if asked.params["path"].endswith("a.wav"):
            return recognition(asked.params["source"], 7)
        daemon.die()
        return None

    daemon.table["recognize"] = answer_and_die
    ran = ctl("recognize", "--jobs", "1", tmp_path / "a.wav", tmp_path / "b.wav")
    assert ran.status == 3
    assert ran.out.startswith(f"{tmp_path}/a.wav: Song 7")
    assert "the daemon went away before it had answered" in ran.err


def test_a_daemon_that_dies_while_fingerprinting_leaves_a_summary(
    daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path
) -> None:
    """What was added before the daemon went away is still summed up."""
    (tmp_path / "a.mp3").write_bytes(b"ID3")
    daemon.table["fingerprint"] = lambda _: daemon.die()
    ran = ctl("fingerprint", tmp_path)
    assert ran.status == 3
    assert ran.out.startswith("0 tracks added")


def test_a_silent_daemon_is_asked_and_given_up(
    daemon: FakeDaemon, ctl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A connected daemon that says nothing is asked for its status; when that is not answered either, the client ends."""
    monkeypatch.setattr(connection_module, "QUIET_S", 0.1)
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    daemon.table |= {"recognize": lambda _: None, "status": lambda _: None}
    ran = ctl("recognize", tmp_path / "a.wav")
    assert ran.status == 3
    assert "has said nothing for" in ran.err
    assert [each.request.method for each in daemon.asked] == ["recognize", "status"]


def test_a_slow_daemon_that_answers_the_probe_is_waited_for(
    daemon: FakeDaemon, ctl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Slow is not dead: while probes are answered, the client waits for the answer."""
    monkeypatch.setattr(connection_module, "QUIET_S", 0.1)
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    slow: list[Asked] = []

    def third_probe(_asked: Asked) -> dict[str, Any]:
        if len(daemon.asked) == 4:
            slow[0].reply(recognition("a.wav", 7))
        return dict(STATUS)

    daemon.table |= {"recognize": slow.append, "status": third_probe}
    assert ctl("recognize", tmp_path / "a.wav").status == 0


@pytest.mark.parametrize("how", ["flag", "file", "environment"])
def test_the_token_is_sent(
    daemon: FakeDaemon, ctl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    """The token comes from --token, from a file without its newline, or from the environment; without it: unauthorized."""

    def guarded(asked: Asked) -> dict[str, Any]:
        if asked.request.token != "s3cret":  # noqa: S105 - a test's
            raise Unauthorized
        return dict(STATUS)

    daemon.table["status"] = guarded
    assert ctl("status", "--json").records[0]["error"]["code"] == Unauthorized.code
    (tmp_path / "token").write_text("s3cret\n")
    words = {"flag": ("--token", "s3cret"), "file": ("--token-file", str(tmp_path / "token")), "environment": ()}[how]
    if how == "environment":
        monkeypatch.setenv("DEJAVUD_TOKEN", "s3cret")
    assert ctl("status", *words).status == 0


def test_a_token_file_that_is_not_there_is_a_usage_error(ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """The file is named, with the reason."""
    ran = ctl("status", "--token-file", tmp_path / "none")
    assert (ran.status, ran.err) == (2, f"dejavuctl: --token-file {tmp_path}/none: No such file or directory\n")


def test_the_endpoint_is_found(tmp_path: Path) -> None:
    """Given, else from the environment, else this user's socket where it is; a bare path is an ipc socket."""
    environment = {"XDG_RUNTIME_DIR": str(tmp_path), "DEJAVUD_CONTROL": "tcp://127.0.0.1:1"}
    assert find_endpoint("ipc:///x", environment) == "ipc:///x"
    assert find_endpoint("/x/y.sock", environment) == "ipc:///x/y.sock"
    assert find_endpoint(None, environment) == "tcp://127.0.0.1:1"
    del environment["DEJAVUD_CONTROL"]
    (tmp_path / "dejavud").mkdir()
    (tmp_path / "dejavud" / "control.sock").touch()
    assert find_endpoint(None, environment) == f"ipc://{tmp_path}/dejavud/control.sock"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to make a folder of another user")
def test_a_socket_in_somebody_elses_folder_is_not_trusted(tmp_path: Path) -> None:
    """In /tmp anybody can make the folder that is looked for: only root's and one's own count."""
    (tmp_path / "dejavud").mkdir()
    (tmp_path / "dejavud" / "control.sock").touch()
    os.chown(tmp_path / "dejavud", 4711, 4711)
    with pytest.raises(NoDaemon):
        find_endpoint(None, {"XDG_RUNTIME_DIR": str(tmp_path)})


def test_shutdown_waits_until_the_daemon_is_gone(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """The command ends when the daemon has closed its socket; one that stays is exit 4."""
    is_leaving: list[bool] = []

    def stop(asked: Asked) -> None:
        asked.reply({"stopping": True})
        if is_leaving:
            daemon.die(linger_ms=1000)

    daemon.table["shutdown"] = stop
    ran = ctl("shutdown", "--wait", "0.1")
    assert (ran.status, ran.out) == (4, "the daemon is still finishing its work after 0.1 s\n")
    is_leaving.append(True)
    ran = ctl("shutdown")
    assert (ran.status, ran.out) == (0, "the daemon has stopped\n")


def test_ctrl_c_while_the_microphone_listens_cancels(
    daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]]
) -> None:
    """A single long command is cancelled in the daemon too."""
    daemon.table["recognize_microphone"] = lambda _: process.send_signal(signal.SIGINT)
    process = start_ctl("recognize", "mic", "60")
    assert process.communicate() == ("", "interrupted: the microphone is closed, and nothing was recognized\n")
    assert process.returncode == 130
    assert daemon.cancelled.get(timeout=5) == 1


# -- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server_key = 'x'\npublic_key = 'y'\nsecret_key = 'z'\n", "server_key is no key"),
        ("server_key = 7\npublic_key = 'y'\nsecret_key = 'z'\n", "a key is missing"),
        ("public_key = 'y'\n", "a key is missing"),
        ("no toml", "it is none"),
        (None, "No such file"),
    ],
)
def test_what_is_no_key_file_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, says: str
) -> None:
    """What is wrong with a file of keys is named, with how to have one, before anybody is asked; nothing of it is shown."""
    file = tmp_path / "x.key"
    if text is not None:
        file.write_text(text)
    assert main(["--key", str(file), "status"]) == EXIT_USAGE
    told = capsys.readouterr().err
    assert says in told
    assert "'z'" not in told


def test_a_far_daemon_without_a_key_is_not_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """Over tcp there is no plain speech: dejavuctl says how to have a key."""
    assert main(["--control", "tcp://127.0.0.1:1", "status"]) == EXIT_USAGE
    assert "dejavuctl keys add NAME" in capsys.readouterr().err


def test_a_key_that_others_may_read_is_remarked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is used, and the person is told what to do."""
    file = tmp_path / "x.key"
    assert main(["keys", "new", str(file), "--server", "a" * 40, "--control", "tcp://127.0.0.1:9"]) == 0
    assert "chmod" not in capsys.readouterr().err
    file.chmod(0o644)
    assert main(["--key", str(file), "status"]) == EXIT_NO_DAEMON
    assert f"chmod 600 {file}" in capsys.readouterr().err
