"""How fast a running daemon answers: ``python benchmarks/query.py FOLDER``.

Starts a daemon of its own, has it fingerprint the folder's recordings but every fourth, and sends it 5 s clips (mono 16-bit wav) one
after another: clean ones by path over the control socket, as uploads over HTTP, and each by a ``dejavuctl`` of its own; then harder and
harder ones by path, for the CPU that each kind costs.
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

from effort import CLEAN, KINDS, efforts, show_efforts, write_clips
from own_daemon import own_daemon
from recordings import recordings_in

from dejavuctl.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from own_daemon import OwnDaemon

    Ask = Callable[[Path], dict[str, Any]]

REQUIRED_MS = 60.0
UNKNOWN_EVERY = 4
"""Of so many recordings one is left out of the library."""
N_WARM_UP = 4
"""Clips asked about before anything is measured: the first queries load code and read the constellations."""
STAGES = ("decode_ms", "fingerprint_ms", "lookup_ms", "match_ms", "total_ms")


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
    parser.add_argument(
        "folder", type=Path, help="recordings: the library, what is left out of it, and what the clips are cut from"
    )
    parser.add_argument("--length", type=float, default=5.0, help="of a clip, in seconds (5)")
    parser.add_argument("--clips", type=int, default=20, help="how many of a kind, from each recording in turn (20)")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is sent (3)")
    options = parser.parse_args()
    recordings = recordings_in(options.folder)
    unknown = recordings[UNKNOWN_EVERY - 1 :: UNKNOWN_EVERY]
    known = [path for path in recordings if path not in unknown]
    with tempfile.TemporaryDirectory(prefix="clips") as name, own_daemon() as daemon:
        clips = {
            kind: write_clips(kind, known if kind.known else unknown, Path(name), options.clips, options.length)
            for kind in KINDS
        }
        if not all(clips.values()):
            parser.error(f"{options.folder} holds too few recordings that are long enough for {options.length:g} s")
        summary = daemon.fingerprint([str(path) for path in known])[-1]["summary"]
        print(f"library: {summary['n_added']} tracks, {summary['audio_s'] / 3600:.1f} h; clips of {options.length:g} s")
        with Connection(daemon.control) as connection:

            def by_path(clip: Path) -> dict[str, Any]:
                answer: dict[str, Any] = connection.call("recognize", {"path": str(clip)})
                return answer

            control = measured(daemon, by_path, clips[CLEAN], options.repeats)
            show("control socket, by path", control)
            show("HTTP, by upload", measured(daemon, by_http(daemon), clips[CLEAN], options.repeats))
            show("dejavuctl recognize file, a process each", measured(daemon, by_program(daemon), clips[CLEAN], 1))
            show_efforts(efforts(daemon, by_path, clips, options.repeats))
        median_ms = statistics.median(timings["total_ms"] for timings in control.timings)
        verdict = "met" if median_ms <= REQUIRED_MS else "not met"
        print(f"required: {REQUIRED_MS:.0f} ms in the median by path; measured {median_ms:.1f}: {verdict}")
        print(
            f"load of the machine, all of its programs, over the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )


if __name__ == "__main__":
    main()
