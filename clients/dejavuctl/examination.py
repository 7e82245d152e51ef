"""What ``dejavuctl doctor`` looks at: the daemon from outside, and the machine in a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import Failed, NoAccess, NoDaemon
from dejavuctl.listeners import reason_text
from dejavuctl.output import count, long_time
from dejavud import __version__
from dejavud.errors import DejavudError
from dejavud.wire.endpoints import SYSTEM_RUNTIME_DIR, ipc_path
from dejavud.wire.findings import EXAMINE, FAIL, OK, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dejavuctl.session import Session

    Status = Mapping[str, Any]

MACHINE_S = 40.0
"""How long the examination of the machine may take; a sound system that does not answer takes ten seconds."""
_UNITS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))
_STALL_S = 1.0
_MUTED_DB = -90.0
"""Of full scale: the quietest room is louder."""
_SYSTEM_FOLDERS = {"STATE_DIRECTORY": "/var/lib/dejavud", "RUNTIME_DIRECTORY": str(SYSTEM_RUNTIME_DIR)}


def daemon_status(session: Session) -> tuple[list[Finding], Status | None]:
    """Return whether a daemon answers, and what it says of itself where one does."""
    try:
        with session.connect() as connection:
            status = connection.call("status", {})
    except NoAccess as error:
        return [Finding("daemon", FAIL, error.message, "sudo dejavuctl doctor, or run it as the daemon's user")], None
    except NoDaemon as error:
        return [Finding("daemon", FAIL, str(error.details.get("reason")), _start_command())], None
    except (Failed, DejavudError) as error:
        token = getattr(error, "code", "") == "unauthorized"
        mend = "dejavuctl --token-file FILE doctor" if token else "see that --control names a dejavud's socket"
        return [Finding("daemon", FAIL, str(error.message), mend)], None
    said = f"{status.get('version')}, up {long_time(status.get('uptime_s', 0))}, at {session.endpoint}"
    if status.get("version") != __version__:
        said = f"it is version {status.get('version')}, and this client {__version__}"
        return [Finding("daemon", WARN, said, _restart_command(session.endpoint))], status
    return [Finding("daemon", OK, said)], status


def _has_unit() -> bool:
    return any((folder / "dejavud.service").exists() for folder in _UNITS)


def _start_command() -> str:
    return "sudo systemctl enable --now dejavud; journalctl -u dejavud -n 20" if _has_unit() else "dejavud"


def _restart_command(endpoint: str) -> str:
    is_system = endpoint.startswith(f"ipc://{SYSTEM_RUNTIME_DIR}/")
    return "sudo systemctl restart dejavud" if is_system or _has_unit() else "dejavuctl shutdown; dejavud"


def sockets(session: Session, status: Status | None) -> Iterator[Finding]:
    """Yield how the socket files are: there, and for their user alone."""
    endpoints = _object(status, "endpoints")
    named = {"control socket": _endpoint(session), "events socket": endpoints.get("events")}
    for check, endpoint in named.items():
        path = ipc_path(endpoint) if isinstance(endpoint, str) else None
        if path is not None and path.exists():
            yield _socket(check, path, answers=status is not None)


def _endpoint(session: Session) -> str | None:
    try:
        return session.endpoint
    except NoDaemon:
        return None


def _socket(check: str, path: Path, *, answers: bool) -> Finding:
    quoted, found = shlex.quote(str(path)), path.stat()
    if not stat.S_ISSOCK(found.st_mode):
        return Finding(check, FAIL, f"{path} is no socket", f"rm {quoted}, and start the daemon again")
    if found.st_uid not in (0, os.getuid()) and os.getuid() != 0:
        return Finding(check, WARN, f"{path} belongs to user {found.st_uid}", "sudo dejavuctl doctor")
    if stat.S_IMODE(found.st_mode) & 0o077:
        return Finding(check, WARN, f"other users of this machine may use {path}", f"chmod 600 {quoted}")
    if not stat.S_IMODE(found.st_mode) & 0o200:
        return Finding(check, FAIL, f"its own user may not use {path}", f"chmod 600 {quoted}")
    if not answers:
        return Finding(
            check, WARN, f"{path} is there, and nobody answers: a daemon that was killed left it", _start_command()
        )
    return Finding(check, OK, str(path))


def running(status: Status) -> Iterator[Finding]:
    """Yield what a daemon that runs says of its parts."""
    yield _index(status)
    yield from _listeners(status)
    yield from _hooks(status)
    history = _object(status, "history")
    if history.get("reason"):
        said = f"{history.get('n_waiting')} plays wait: {history['reason']}"
        yield Finding("history", WARN, said, "the database is what to mend; nothing is lost meanwhile")
    workers, loop, troubles = (_object(status, key) for key in ("workers", "loop", "troubles"))
    if workers.get("n_alive") == 0:
        yield Finding(
            "workers",
            FAIL,
            "no worker process is alive",
            "journalctl -u dejavud | grep worker; then restart the daemon",
        )
    if loop.get("longest_turn_s", 0) > _STALL_S:
        said = f"the event loop was busy for {loop['longest_turn_s']:.1f} s at a stretch in the last minute"
        yield Finding("load", WARN, said, "see what else takes this machine's processors and memory: top")
    last = troubles.get("last")
    if isinstance(last, dict):
        n = count(int(troubles.get("n_errors", 0)), "error")
        reason = f": {last['reason']}" if last.get("reason") else ""
        said = f"{n}, {count(int(troubles.get('n_warnings', 0)), 'warning')}; the last at {last.get('at')}: {last.get('event')}{reason}"
        yield Finding(
            "log",
            WARN if troubles.get("n_errors") else OK,
            said,
            "journalctl -u dejavud -p warning" if troubles.get("n_errors") else "",
        )


def _index(status: Status) -> Finding:
    index = _object(status, "index")
    said = f"{index.get('url')}, {count(status.get('n_tracks', 0), 'track')}"
    if index.get("reachable") is False:
        who = (
            "the resident view answers meanwhile"
            if index.get("answers_from") == "view"
            else "nothing can be recognized"
        )
        return Finding(
            "database",
            FAIL,
            f"{index.get('url')} is away; {who}",
            "start the database server; the daemon goes on by itself",
        )
    return Finding(
        "database",
        OK,
        f"{said}, {'its resident view' if index.get('answers_from') == 'view' else 'the database itself'} answers",
    )


def _listeners(status: Status) -> Iterator[Finding]:
    """Yield how each listener is: failing, deaf, or well."""
    for listener in status.get("listeners") or ():
        name, state, level_db = listener.get("listener"), listener.get("state"), listener.get("level_db")
        is_microphone = str(listener.get("source")).partition(":")[0] == "mic"
        if state == "retrying" or (state == "starting" and listener.get("reason")):
            said = f"{listener['source']}: {reason_text(listener)}"
            devices = "; dejavuctl devices lists microphones" if is_microphone else ""
            yield Finding(f"listener {name}", WARN, said, f"it is tried again by itself{devices}")
        elif state == "silent":
            shown = "" if level_db is None else f" ({level_db:g} dB)"
            mend = "alsamixer (F4; unmute and raise Capture)" if is_microphone else ""
            yield Finding(
                f"listener {name}",
                WARN if mend and (level_db is None or level_db < _MUTED_DB) else OK,
                f"silent{shown}",
                mend,
            )
        else:
            yield Finding(f"listener {name}", OK, str(state))


def _hooks(status: Status) -> Iterator[Finding]:
    for hook in status.get("hooks") or ():
        well = hook.get("state") in {"ready", "starting"}
        said = f"{hook.get('target')}: {hook.get('state')}" + (
            f", {hook['last_error']}" if not well and hook.get("last_error") else ""
        )
        yield Finding(
            f"hook {hook.get('hook')}",
            OK if well else WARN,
            said,
            "" if well else f"dejavuctl hooks test {shlex.quote(str(hook.get('hook')))}",
        )


def machine(conf: str | None, session: Session, status: Status | None) -> Iterator[Finding]:
    """Yield what an examination of this machine finds, made by a process of its own, which a library may end."""
    hears = any(str(one.get("source", "")).startswith("mic") for one in (status or {}).get("listeners") or ())
    url = None if status is None else str(_object(status, "index").get("url"))
    settings = json.dumps({"config": conf, "running_url": url, "hears": hears})
    program, *words = _examiner()
    environment = {**(_SYSTEM_FOLDERS if _is_system(session) else {}), **session.environment}
    ended, begun = "", "start"
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            [*words, settings],
            executable=program,
            capture_output=True,
            env=environment,
            timeout=MACHINE_S,
            check=False,
        )
        out, error = done.stdout, done.stderr
        if done.returncode:
            how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
            ended = f"its examination ended with {how}"
    except subprocess.TimeoutExpired as timeout:
        out, error, ended = timeout.stdout or b"", b"", f"its examination took more than {MACHINE_S:g} s"
    for line in out.decode("utf-8", "replace").splitlines():
        said = json.loads(line)
        if "begun" in said:
            begun = said["begun"]
        else:
            yield Finding.of_json(said)
    if ended:
        words = error.decode("utf-8", "replace").strip().splitlines()
        yield Finding(
            begun, FAIL, f"{ended}{': ' + words[-1] if words else ''}", "pip install --force-reinstall dejavud"
        )


def _examiner() -> tuple[str, ...]:
    """Return the program that examines the machine, and its arguments but for the settings, from its own name on."""
    if (
        find_spec("numpy") is None
    ):  # the single file, whose client is without the daemon's libraries: by its other name it has them
        return which(sys.argv[0]) or sys.argv[0], "dejavud", EXAMINE
    # -P: a module of the folder that one happens to stand in is not imported for one of ours.
    return sys.executable, sys.executable, "-P", "-m", "dejavud.doctor"


def _is_system(session: Session) -> bool:
    return (_endpoint(session) or "").startswith(f"ipc://{SYSTEM_RUNTIME_DIR}/")


def _object(status: Status | None, key: str) -> Status:
    value = (status or {}).get(key)
    return value if isinstance(value, dict) else {}
