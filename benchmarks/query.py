"""How fast a running daemon answers: ``python benchmarks/query.py FOLDER``.

Starts a daemon of its own, has it fingerprint the folder, cuts 5 s clips (mono 16-bit wav) from the middle of its recordings,
and sends them one after another: by path over the control socket, as uploads over HTTP, and each by a ``dejavuctl`` of its own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from own_daemon import own_daemon

from dejavuctl.connection import Connection
from dejavuctl.files import AUDIO_EXTENSIONS
from dejavud.audio.clip import cut_clip, write_wav
from dejavud.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from own_daemon import OwnDaemon

    Ask = Callable[[Path], dict[str, Any]]

REQUIRED_MS = 60.0
N_WARM_UP = 4
"""Clips asked about before anything is measured: the first queries load code and read the constellations."""
STAGES = ("decode_ms", "fingerprint_ms", "lookup_ms", "match_ms", "total_ms")
CLIP_RATE_HZ = 44_100


@dataclass(slots=True)
class Figures:
    """What a way of asking took, in milliseconds a query.

    wall : from the question to the answer, at the client.
    timings : what the daemon says of each stage.
    cpu : mean CPU time of the daemon and its workers, user and system.
    """

    wall: list[float] = field(default_factory=list)
    timings: list[dict[str, float]] = field(default_factory=list)
    cpu: float = 0.0
    n_matched: int = 0


def cut_clips(folder: Path, into: Path, n_clips: int, length_s: float) -> list[Path]:
    """Write up to `n_clips` clips, one from each of as many recordings, and return their paths."""
    suffixes = tuple(f".{extension}" for extension in AUDIO_EXTENSIONS)
    recordings = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(suffixes))
    clips: list[Path] = []
    for recording in recordings:
        try:
            clip = cut_clip(recording, 30.0, length_s, rate_hz=CLIP_RATE_HZ)
        except InvalidRequest:  # shorter than that
            continue
        clips.append(into / f"{len(clips)}.wav")
        write_wav(clips[-1], clip.samples, clip.rate_hz)
        if len(clips) == n_clips:
            break
    return clips


def measured(daemon: OwnDaemon, ask: Ask, clips: Sequence[Path], n_repeats: int) -> Figures:
    """Return what `ask` takes for `clips`, one after another."""
    for clip in clips[:N_WARM_UP]:
        ask(clip)
    figures = Figures()
    cpu_s = daemon.cpu_s()
    for clip in list(clips) * n_repeats:
        started_s = time.perf_counter()
        answer = ask(clip)
        figures.wall.append(1000 * (time.perf_counter() - started_s))
        figures.timings.append(answer["timings"])
        figures.n_matched += bool(answer["matches"])
    figures.cpu = 1000 * (daemon.cpu_s() - cpu_s) / len(figures.wall)
    return figures


def by_http(daemon: OwnDaemon) -> Ask:
    """Return what sends a clip's bytes to ``/v1/recognize`` over one kept connection."""
    connection = http.client.HTTPConnection(urlsplit(daemon.http).netloc)

    def ask(clip: Path) -> dict[str, Any]:
        connection.request("POST", f"/v1/recognize?name={clip.name}", clip.read_bytes(), {"Content-Type": "audio/wav"})
        answer: dict[str, Any] = json.load(connection.getresponse())
        return answer

    return ask


def by_program(daemon: OwnDaemon) -> Ask:
    """Return what starts a ``dejavuctl recognize file`` for a clip."""
    program = [sys.executable, "-m", "dejavuctl", "--control", daemon.control, "recognize", "file", "--json"]

    def ask(clip: Path) -> dict[str, Any]:
        done = subprocess.run([*program, str(clip)], capture_output=True, check=False)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return ask


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of `values` do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def show(name: str, figures: Figures) -> None:
    """Print one way of asking: a line for the client's clock, one for the daemon's, then the stages."""
    n_asked = len(figures.wall)
    print(f"{name} ({figures.n_matched} of {n_asked} recognized)")
    print(
        f"  client, wall  median {statistics.median(figures.wall):6.1f} ms   95 % {percentile(figures.wall, 0.95):6.1f} ms"
    )
    for stage in STAGES:
        times = [timings[stage] for timings in figures.timings]
        print(f"  {stage:13} median {statistics.median(times):6.1f} ms   95 % {percentile(times, 0.95):6.1f} ms")
    print(f"  daemon, CPU   mean   {figures.cpu:6.1f} ms a query")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="recordings: the library, and what the clips are cut from")
    parser.add_argument("--length", type=float, default=5.0, help="of a clip, in seconds (5)")
    parser.add_argument("--clips", type=int, default=20, help="how many, each from another recording (20)")
    parser.add_argument("--repeats", type=int, default=3, help="how often all are sent (3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clips") as name, own_daemon() as daemon:
        clips = cut_clips(options.folder, Path(name), options.clips, options.length)
        if not clips:
            parser.error(f"{options.folder} holds no recording of which {options.length:g} s can be cut at 0:30")
        summary = daemon.fingerprint([str(options.folder)])[-1]["summary"]
        print(f"library: {summary['n_added']} tracks, {summary['audio_s'] / 3600:.1f} h; clips of {options.length:g} s")
        with Connection(daemon.control) as connection:
            control = measured(
                daemon, lambda clip: connection.call("recognize", {"path": str(clip)}), clips, options.repeats
            )
        show("control socket, by path", control)
        show("HTTP, by upload", measured(daemon, by_http(daemon), clips, options.repeats))
        show("dejavuctl recognize file, a process each", measured(daemon, by_program(daemon), clips, 1))
        median_ms = statistics.median(timings["total_ms"] for timings in control.timings)
        verdict = "met" if median_ms <= REQUIRED_MS else "not met"
        print(f"required: {REQUIRED_MS:.0f} ms in the median by path; measured {median_ms:.1f}: {verdict}")
        print(
            f"load of the machine, all of its programs, over the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )


if __name__ == "__main__":
    main()
