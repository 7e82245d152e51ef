"""A real daemon on a machine that has a microphone, which hears the file that an environment variable names."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud import __main__ as program
from dejavud import assembling
from dejavud.audio.portaudio import Device
from dejavud.errors import DeviceNotFound
from dejavud.services import access

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

HEARD = "HEARD_FILE"
DEVICE = Device(0, "the test's", 1, 48000, is_default=True)


def list_devices() -> tuple[Device, ...]:
    """Return the one device there is."""
    return (DEVICE,)


def record(device: str | int | None, rate_hz: int) -> Iterator[NDArray]:
    """Yield what the device hears until it is unplugged: the file, ten times as fast as it sounds."""
    from dejavud.audio.decode import decode_audio  # noqa: PLC0415 - of a worker only

    if device not in {None, DEVICE.index, DEVICE.name}:
        raise DeviceNotFound(reason=f"no input device is called {device!r}")
    samples = decode_audio(Path(os.environ[HEARD]), name="heard", rate_hz=rate_hz)
    step = rate_hz // 10
    for first in range(0, len(samples), step):
        time.sleep(0.01)
        yield samples[first : first + step]


def main() -> None:
    """Run the daemon with that microphone in the place of PortAudio's."""
    assembling.list_devices = list_devices  # type: ignore[assignment]
    assembling.Microphones = partial(assembling.Microphones, record=record)  # type: ignore[misc,assignment]
    access.WRONG_AT_ONCE = 1_000_000  # whoever tries out everything tries many tokens
    sys.exit(program.main())


if __name__ == "__main__":
    import heard_daemon

    heard_daemon.main()  # not this module's own, as its functions are called by name in workers
