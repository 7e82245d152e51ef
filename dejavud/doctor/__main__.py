"""``python -m dejavud.doctor SETTINGS``: examine the machine, and say what is found, a JSON object a line.

Before each part comes a line that names it, so that who reads knows which one ended this process or took too long.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from dejavud.wire.findings import FAIL, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dejavud.config import Config


def main(settings: str) -> int:
    """Examine the machine; return 0 whatever was found."""
    asked = json.loads(settings)
    from dejavud.doctor.storage import configuration, storage  # noqa: PLC0415 - a library that is away has to become a finding

    found: list[Config | None] = []

    def conf() -> Iterable[Finding]:
        finding, config = configuration(asked["config"], os.environ)
        found.append(config)
        yield finding

    _part("configuration", conf)
    config = found[0] if found else None
    if config is not None:
        _part("database", lambda: storage(config, asked["running_url"]))
        _part("certificate", lambda: _certificate(config))
    _part("versions", lambda: _machine(config))
    _part("codecs", _codecs)
    if not asked["hears"]:  # the daemon holds the microphone, and says how it is
        _part("microphone", lambda: _microphone(config))
    return 0


def _part(name: str, examine: Callable[[], Iterable[Finding]]) -> None:
    """Say what one part finds; what it trips over is a finding."""
    _say({"begun": name})
    try:
        for finding in examine():
            _say(finding.to_json())
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        mend = "pip install --force-reinstall dejavud"
        _say(Finding(name, FAIL, f"{type(error).__name__}: {error}", mend).to_json())


def _certificate(config: Config) -> Iterable[Finding]:
    from dejavud.doctor.certificate import certificate  # noqa: PLC0415

    return certificate(config)


def _machine(config: Config | None) -> Iterable[Finding]:
    from dejavud.doctor.machine import machine  # noqa: PLC0415

    return machine(config)


def _codecs() -> Iterable[Finding]:
    from dejavud.doctor.sound import codecs  # noqa: PLC0415 - PyAV may be what is broken

    return codecs()


def _microphone(config: Config | None) -> Iterable[Finding]:
    from dejavud.doctor.sound import microphone  # noqa: PLC0415

    wanted = config is None or config.listen.microphone == "auto" or "mic" in " ".join(config.listen.sources)
    return microphone(wanted=wanted)


def _say(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
