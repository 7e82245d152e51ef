"""What listening costs, in real time: ``python benchmarks/listening.py RECORDINGS --unknown UNKNOWN --distractors 10000``.

RECORDINGS and UNKNOWN are folders of music, or files that name a recording a line; the library is RECORDINGS, and as many distractors as one likes.
A real daemon hears pipes that are written to at the pace of their sound: silence, a track of the library, music that it does not hold, and then
eight at once.  How soon and how rightly a listener says what plays is measured by ``broadcast.py``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import threading
import time
import wave
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from quality import library
from recordings import recordings_of

from dejavuctl.connection import Connection
from dejavud.audio.decode import decode_audio
from dejavud.errors import DejavudError
from dejavud.fingerprint.params import Params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from own_daemon import OwnDaemon

    Samples = NDArray[np.float32]

RATE_HZ = Params().rate_hz
LOUDNESS = 0.1
SETTLE_S = 12.0
QUIET_S = 5.0
WRITE_S = 0.2


def long_ones(paths: Sequence[Path], seconds: float, n_wanted: int) -> list[Samples]:
    """Return recordings that last so long, or the longest ones said again until they do."""
    found: list[Samples] = []
    for path in paths:
        try:
            samples = decode_audio(path, name=path.name, rate_hz=RATE_HZ, limit_s=seconds)
        except DejavudError:
            continue
        if len(samples) >= min(seconds, 60) * RATE_HZ:
            samples = samples * (LOUDNESS / np.sqrt(np.mean(samples**2)))
            found.append(np.resize(samples, round(seconds * RATE_HZ)).astype(np.float32))
        if len(found) == n_wanted:
            return found
    sys.exit(f"{n_wanted} recordings of a minute and more are needed, there are {len(found)}")


def cost(daemon: OwnDaemon, sounds: Sequence[Samples], seconds: float) -> dict[str, Any]:
    """Return what the daemon and its workers take while they hear each of `sounds` through a pipe, after a while to settle.

    The share is of one core; what was lost and how late the slowest listener is at the end say whether they keep up.
    """
    with tempfile.TemporaryDirectory(prefix="hear") as name, ExitStack() as writing, Connection(daemon.control) as asks:
        for number, samples in enumerate(sounds):
            pipe = Path(name, str(number))
            os.mkfifo(pipe)
            asks.call("listen.add", {"name": f"bench {number}", "source": str(pipe), "once": True})
            writer = threading.Thread(target=write, args=(pipe, samples, SETTLE_S + seconds + 2))
            writer.start()
            writing.callback(writer.join)
        time.sleep(SETTLE_S)
        cpu_s, began, heard_s = daemon.cpu_s(), time.perf_counter(), _heard_s(asks)
        time.sleep(seconds)
        elapsed_s = time.perf_counter() - began
        share = (daemon.cpu_s() - cpu_s) / elapsed_s
        behind_s = max(elapsed_s - (end - first) for first, end in zip(heard_s, _heard_s(asks), strict=True))
        n_overruns = sum(one["n_overruns"] for one in asks.call("listen.list", {})["listeners"])
        writing.close()
        for number in range(len(sounds)):
            asks.call("listen.remove", {"name": f"bench {number}"})
    return {
        "n_listeners": len(sounds),
        "share_of_a_core": round(share, 4),
        "n_overruns": n_overruns,
        "behind_s": round(behind_s, 1),
    }


def settle(daemon: OwnDaemon) -> None:
    """Wait until the daemon has brought its index in order, as it does in the background after so much was added."""
    busy = True
    while busy:
        cpu_s = daemon.cpu_s()
        time.sleep(QUIET_S)
        busy = daemon.cpu_s() - cpu_s > 0.02 * QUIET_S


def _heard_s(asks: Connection) -> list[float]:
    return [one["heard_s"] for one in asks.call("listen.list", {})["listeners"]]


def write(pipe: Path, samples: Samples, seconds: float) -> None:
    """Write `samples` into the pipe at their own pace, for so long."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    data, piece = file.getvalue(), round(WRITE_S * RATE_HZ) * 2
    with pipe.open("wb", buffering=0) as to:
        began = time.perf_counter()
        for number, first in enumerate(range(0, min(len(data), round(seconds * 2 * RATE_HZ)), piece), 1):
            to.write(data[first : first + piece])
            time.sleep(max(0.0, began + number * WRITE_S - time.perf_counter()))


def main() -> None:
    """Print the figures as JSON lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", type=Path, help="the library: a folder, or a file that names a recording a line")
    parser.add_argument("--unknown", type=Path, required=True, help="music that the library does not hold")
    parser.add_argument("--distractors", type=int, default=0, help="so many tracks more in the library (0)")
    parser.add_argument("--seconds", type=float, default=40.0, help="that each cost is measured for (40)")
    parser.add_argument("--data-dir", type=Path, help="keep the library here, for the next run (a temporary folder)")
    options = parser.parse_args()
    refs = recordings_of(options.recordings)
    lasts_s = options.seconds + SETTLE_S + 4
    known, unknown = long_ones(refs, lasts_s, 4), long_ones(recordings_of(options.unknown), lasts_s, 4)
    folder = tempfile.TemporaryDirectory() if options.data_dir is None else nullcontext(options.data_dir)
    with folder as data_dir, library([str(ref) for ref in refs], options.distractors, Path(data_dir)) as (daemon, _):
        settle(daemon)
        for what, sounds in (
            ("silence", [np.zeros(round(lasts_s * RATE_HZ), np.float32)]),
            ("a known track", known[:1]),
            ("unknown music", unknown[:1]),
            ("four known tracks and four unknown ones", [*known, *unknown]),
        ):
            figures = {"hears": what, "n_tracks": daemon.status()["n_tracks"], **cost(daemon, sounds, options.seconds)}
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
