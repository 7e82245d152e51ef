"""The interpreter, the libraries and the clock."""

from __future__ import annotations

import platform
import resource
import shutil
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dejavud import __version__
from dejavud.wire.findings import FAIL, OK, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.config import Config

_OLDEST = (3, 11)
_NEEDED = ("av", "duckdb", "numpy", "scipy", "soxr", "sqlalchemy", "trio", "zmq")
_DISTRIBUTIONS = {"zmq": "pyzmq", "sqlalchemy": "SQLAlchemy"}
_FIRST_MOMENT = 1_735_689_600.0
"""The beginning of 2025: this was written later."""
_FEW_DESCRIPTORS = 1024


def machine(config: Config | None) -> Iterator[Finding]:
    """Yield how the versions, the libraries, the limits and the clock are."""
    said = f"dejavud {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    if sys.version_info < _OLDEST:
        yield Finding("versions", FAIL, said, "install Python 3.11 or later, and dejavud in an environment of it")
    else:
        yield Finding("versions", OK, said)
    yield _needed()
    yield from _optional(config)
    yield _clock()
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if descriptors != resource.RLIM_INFINITY and descriptors <= _FEW_DESCRIPTORS:
        said = f"no more than {descriptors} open files are allowed: few subscribers and listeners"
        yield Finding("open files", WARN, said, "ulimit -Hn 65536, or LimitNOFILE=65536 in the unit")


def _needed() -> Finding:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        return Finding("libraries", FAIL, f"missing: {', '.join(missing)}", "pip install --force-reinstall dejavud")
    return Finding("libraries", OK, ", ".join(f"{name} {_version(name)}" for name in _NEEDED))


def _version(name: str) -> str:
    try:
        return version(_DISTRIBUTIONS.get(name, name))
    except PackageNotFoundError:  # the single file carries libraries without their papers
        return "(bundled)"


def _optional(config: Config | None) -> Iterator[Finding]:
    """Yield for each library that is not there and wanted, and for all others together, how it is."""
    hooks = config.hooks if config is not None else None
    wanted = {
        "pyaudio": ("mic", "microphones", config is not None and config.listen.microphone == "auto"),
        "httpx": ("webhooks", "webhooks", bool(hooks and hooks.webhooks)),
        "paho": ("mqtt", "MQTT", bool(hooks and hooks.mqtt_url)),
        "jeepney": ("mpris", "MPRIS", bool(hooks and hooks.mpris)),
        "matplotlib": ("plots", "pictures", False),
    }
    there: list[str] = []
    away: list[str] = []
    for name, (extra, what, is_wanted) in wanted.items():
        (there if find_spec(name) is not None else away).append(what)
        if is_wanted and name != "pyaudio" and find_spec(name) is None:  # the microphone says so for itself
            yield Finding(what, FAIL, f"the conf has it and {name} is not installed", f"pip install 'dejavud[{extra}]'")
    ffmpeg = "ffmpeg is there" if shutil.which("ffmpeg") else "no ffmpeg, which is needed for rare codecs only"
    said = [f"libraries for {_listed(there)} are there"] * bool(there)
    said += [f"those for {_listed(away)} are not" if there else f"no library for {', '.join(away)} is there"] * bool(
        away
    )
    yield Finding("optional", OK, "; ".join([*said, ffmpeg]))


def _listed(names: list[str]) -> str:
    """Return names as one says them."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _clock() -> Finding:
    now = time.time()
    if now < _FIRST_MOMENT:
        said = (
            f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(now))}: the history would be kept under wrong days"
        )
        return Finding("clock", FAIL, said, "sudo timedatectl set-ntp true")
    synchronized = _is_synchronized()
    shown = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now))
    if synchronized is False:
        return Finding("clock", WARN, f"{shown}; nothing keeps it right", "sudo timedatectl set-ntp true")
    return Finding("clock", OK, f"{shown}, {time.tzname[0]}")


def _is_synchronized() -> bool | None:
    """Return whether a time service keeps the clock right; None where this system does not say, as in a container."""
    from pathlib import Path  # noqa: PLC0415

    folder = Path("/run/systemd/timesync")
    return (folder / "synchronized").exists() if folder.is_dir() else None
