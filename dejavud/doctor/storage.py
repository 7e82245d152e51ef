"""The configuration, and where it says that things are kept."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.config import load, parse_arguments
from dejavud.config.loading import find_conf
from dejavud.errors import (
    DejavudError,
    IndexAway,
    IndexDamaged,
    IndexLocked,
    InvalidConfig,
    ParamsMismatch,
    SchemaTooNew,
)
from dejavud.fingerprint.profiles import params_of
from dejavud.index.looking import look_at
from dejavud.index.urls import is_server, path_of, without_password
from dejavud.wire.findings import FAIL, OK, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dejavud.config import Config

LOW_BYTES, SCARCE_BYTES = 50 << 20, 1 << 30
"""Of free space: below the first nothing can be stored, below the second soon nothing will be."""


def configuration(conf: str | None, environment: Mapping[str, str]) -> tuple[Finding, Config | None]:
    """Return whether the configuration is right, and what it is where it is."""
    place = Path(conf) if conf else find_conf(environment)
    option = f" --config {shlex.quote(conf)}" if conf else ""
    try:
        config = load(parse_arguments(["--config", conf] if conf else []), environment, Path.cwd()).config
    except InvalidConfig as error:
        mend = (
            f"$EDITOR {shlex.quote(str(place))}; then: dejavud --check-config{option}"
            if place
            else f"dejavud --check-config{option}"
        )
        return Finding("configuration", FAIL, error.message, mend), None
    return Finding("configuration", OK, f"{place} is right" if place else "none: the defaults are in force"), config


def storage(config: Config, running_url: str | None) -> Iterator[Finding]:
    """Yield how the data folder, its disk, and the database are.

    running_url : of the database of a daemon that runs, which lets nobody else in and says itself how that is; None where none runs.
    """
    folder = Path(config.data.dir)
    file = _file(config.data.url if running_url is None else running_url)
    if running_url is not None and file is not None:
        folder = file.parent  # it may have been started with options that the conf knows nothing of
    yield _folder(folder)
    yield _space(folder if file is None else file.parent)
    if running_url is None:
        yield _database(config)


def _file(url: str) -> Path | None:
    """Return the file of a database, None where it has none."""
    try:
        path = None if is_server(url) else path_of(url)
    except DejavudError:  # the database's own finding
        return None
    return None if path is None else Path(path)


def _folder(folder: Path) -> Finding:
    if not folder.exists():
        return Finding("data folder", OK, f"{folder} is not there yet; the daemon makes it")
    quoted, found = shlex.quote(str(folder)), folder.stat()
    if found.st_uid != os.getuid() and os.getuid() != 0:
        said = f"{folder} belongs to user {found.st_uid}, and you are {os.getuid()}"
        return Finding("data folder", WARN, said, f"sudo dejavuctl doctor, or: sudo chown -R $(id -u) {quoted}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding("data folder", FAIL, f"{folder} cannot be written to", f"chmod u+rwx {quoted}")
    if stat.S_IMODE(found.st_mode) & 0o022:
        return Finding("data folder", WARN, f"others may write to {folder}", f"chmod go-w {quoted}")
    return Finding("data folder", OK, str(folder))


def _space(folder: Path) -> Finding:
    """Return how much room the disk has, of the folder or what is there of those above it."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    said = (
        f"{free / 1e9:.1f} GB are free at {folder}"
        if free >= SCARCE_BYTES
        else f"{free / 1e6:.0f} MB are free at {folder}"
    )
    mend = f"df -h {shlex.quote(str(folder))}; make room, or: dejavuctl compact, or: dejavud --data-dir ELSEWHERE"
    if free < LOW_BYTES:
        return Finding("disk", FAIL, f"{said}: nothing can be added", mend)
    return (
        Finding("disk", WARN, f"{said}: some 10 MB go with each thousand tracks", mend)
        if free < SCARCE_BYTES
        else Finding("disk", OK, said)
    )


def _database(config: Config) -> Finding:
    shown = without_password(config.data.url)
    try:
        seen = look_at(config.data.url, params_of(config.engine))
    except DejavudError as error:
        return Finding("database", FAIL, error.message, _mend(error, config))
    if seen.n_tracks is None:
        return Finding("database", OK, f"{shown} is new; the daemon makes its tables")
    return Finding("database", OK, f"{shown}, {seen.n_tracks} tracks, version {seen.version} of its tables")


def _mend(error: DejavudError, config: Config) -> str:
    """Return what mends what is wrong with a database."""
    if isinstance(error, IndexLocked):
        path = config.data.url.partition("://")[2].removeprefix("/")
        return f"fuser -v {shlex.quote(path)}; end that program, or give this daemon a --data-dir of its own"
    if isinstance(error, SchemaTooNew):
        return "pip install --upgrade dejavud: a newer one has written it"
    if isinstance(error, ParamsMismatch):
        return "put [engine] in the conf back to what it was, or: dejavud --data-dir ELSEWHERE"
    if isinstance(error, IndexDamaged):
        return "dejavud --data-dir NEW, and there: dejavuctl restore BACKUP"
    if isinstance(error, IndexAway):
        return "start the database server, and see that data.url names it: dejavud --print-config | grep url"
    return "dejavud --print-config | grep url; see that user, password, name and rights there are those of the database"
