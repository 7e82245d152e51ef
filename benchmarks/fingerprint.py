"""What fingerprinting costs: ``python benchmarks/fingerprint.py FOLDER``.

On one core, in CPU time, file by file in turn, so that the ratios hold on a machine that is busy with other things:

- plain: the plainest decoding there is, PyAV's frames to mono through a soxr stream, to the engine's rate;
- decode: the same by `dejavud.audio.decode`, as the engine does it;
- fingerprint: decode, constellation, hashes and tags, as a worker of the daemon does it;
- store: the writing of that to an index on the disk, all of DuckDB's threads together.

Then the whole road, ``dejavuctl fingerprint FOLDER`` through a daemon on all cores, and the memory for hours of audio in one file.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the daemon's workers; read when numpy is imported

import argparse
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import soxr
from own_daemon import own_daemon, peak_bytes
from recordings import recordings_in

from dejavud.audio.decode import open_audio
from dejavud.fingerprint.params import Params
from dejavud.index.duckdb.index import open_duckdb
from dejavud.services.jobs import fingerprint_file, keep_freed_memory
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dejavud.index.base import Index
    from dejavud.services.jobs import FingerprintedFile

PARAMS = Params()
MAX_RATIO = 1.4
MIN_TIMES_REAL = 700.0
LONG_RATE_HZ = 22_050
WAYS = ("plain", "decode", "fingerprint", "store")


def decode_plainly(path: Path) -> int:
    """Return how many samples the recording has when FFmpeg, numpy and soxr are put together as their manuals do."""
    n_samples = 0
    with av.open(str(path), metadata_errors="replace") as container:
        stream: Any = None
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray()
            if samples.dtype.kind == "i":
                samples = samples.astype(np.float32) / np.iinfo(samples.dtype).max
            mono = (
                samples.reshape(-1, frame.layout.nb_channels).mean(1) if not frame.format.is_planar else samples.mean(0)
            )
            stream = stream or soxr.ResampleStream(frame.sample_rate, PARAMS.rate_hz, 1, dtype="float32", quality="HQ")
            n_samples += len(stream.resample_chunk(mono.astype(np.float32)))
        return n_samples + len(stream.resample_chunk(np.empty(0, np.float32), last=True))


def decode(path: Path) -> int:
    """Return how many samples the engine's decoder makes of the recording, read in blocks as the engine reads it."""
    with open_audio(path, name=path.name, rate_hz=PARAMS.rate_hz) as reader:
        for _ in reader:
            pass
        return reader.n_samples


def fingerprint(path: Path) -> FingerprintedFile:
    """Return what a worker hands to the daemon."""
    return fingerprint_file(path, path.name, PARAMS, None)


def store(index: Index, path: Path, found: FingerprintedFile, n_before: int) -> None:
    """Write one track to the index, in a commit of its own."""
    entry = NewTrack(
        title=path.stem,
        artist=None,
        album=None,
        path=str(path),
        file_sha1=f"{n_before:040x}",
        duration_s=found.duration_s,
        constellation=found.constellation,
        hashes=found.hashes,
    )
    index.add([entry])


@dataclass(frozen=True, slots=True)
class Cost:
    """What the recordings cost together.  cpu_s : by way; of the repeats of each file the cheapest counts."""

    audio_s: float
    cpu_s: dict[str, float]


def cpu_s(action: Callable[..., Any], *args: object) -> float:
    """Return the CPU time of this process, all threads, user and system, that `action` takes."""
    started_s = time.process_time()
    action(*args)
    return time.process_time() - started_s


def measure(recordings: Sequence[Path], n_repeats: int, index: Index) -> Cost:
    """Return what each way costs for all recordings."""
    audio_s, totals, n_stored = 0.0, dict.fromkeys(WAYS, 0.0), 0
    for recording in recordings:
        found = fingerprint(recording)
        audio_s += found.duration_s
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(n_repeats):
            times["plain"].append(cpu_s(decode_plainly, recording))
            times["decode"].append(cpu_s(decode, recording))
            times["fingerprint"].append(cpu_s(fingerprint, recording))
            times["store"].append(cpu_s(store, index, recording, found, n_stored))
            n_stored += 1
        for way in WAYS:
            totals[way] += min(times[way])
    return Cost(audio_s, totals)


def show_cost(cost: Cost) -> None:
    """Print a line a way, and the two ratios that are required."""
    decode_s, fingerprint_s = cost.cpu_s["decode"], cost.cpu_s["fingerprint"]
    print(f"one core, {cost.audio_s / 3600:.2f} h of audio")
    print(f"  {'':12}{'CPU s':>8}{'x real time':>13}{'ms a second of audio':>23}{'x decode':>10}")
    for way in WAYS:
        spent_s = cost.cpu_s[way]
        speed, each_ms = cost.audio_s / spent_s, 1000 * spent_s / cost.audio_s
        print(f"  {way:12}{spent_s:8.2f}{speed:13.0f}{each_ms:23.3f}{spent_s / decode_s:10.2f}")
    ratio, speed = fingerprint_s / decode_s, cost.audio_s / fingerprint_s
    beyond_ms = 1000 * (fingerprint_s - decode_s) / cost.audio_s
    whole = (fingerprint_s + cost.cpu_s["store"]) / decode_s
    print(f"  beyond decoding: {beyond_ms:.3f} ms of CPU a second of audio; with the index write {whole:.2f} x decode")
    print(f"  required at most {MAX_RATIO} x decode: {ratio:.2f}, {met(holds=ratio <= MAX_RATIO)}")
    print(f"  required at least {MIN_TIMES_REAL:.0f} x real time: {speed:.0f}, {met(holds=speed >= MIN_TIMES_REAL)}")


def met(*, holds: bool) -> str:
    """Return the verdict's words."""
    return "met" if holds else "not met"


def show_road(folder: Path) -> None:
    """Print what ``dejavuctl fingerprint FOLDER`` costs through a daemon with an empty library."""
    with own_daemon() as daemon:
        before_s = daemon.cpu_s()
        summary = daemon.fingerprint([str(folder)])[-1]["summary"]
        daemon_s = daemon.cpu_s() - before_s
        peak_mb = daemon.peak_bytes() / 1e6
    audio_s, elapsed_s = summary["audio_s"], summary["elapsed_s"]
    n_cores = daemon_s / elapsed_s
    print(f"dejavuctl fingerprint, {summary['n_added']} files through a daemon on {os.cpu_count()} cores")
    print(
        f"  {audio_s / elapsed_s:.0f} x real time in {elapsed_s:.1f} s of wall time, during which it had {n_cores:.2f} cores"
    )
    print(f"  {audio_s / daemon_s:.0f} x real time a core: {daemon_s:.1f} s of CPU, daemon and workers")
    print(f"  at most {peak_mb:.0f} MB resident in any one of its processes")


def write_long(path: Path, recordings: Sequence[Path], duration_s: float) -> None:
    """Write a mono wav of `duration_s`: the recordings one after another, over and over."""
    left = round(duration_s * LONG_RATE_HZ)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(LONG_RATE_HZ)
        while left > 0:
            for recording in recordings:
                with open_audio(
                    recording, name=recording.name, rate_hz=LONG_RATE_HZ, limit_s=left / LONG_RATE_HZ
                ) as reader:
                    for block in reader:
                        out.writeframesraw(np.round(np.clip(block, -1, 1) * 32767).astype("<i2").tobytes())
                    left -= reader.n_samples
                if left <= 0:
                    break


def show_memory(recordings: Sequence[Path], hours: float) -> None:
    """Print how much memory fingerprinting takes for one file of two minutes and for one of `hours`, each in a new process."""
    print("memory, one file of a wav in a process of its own")
    with tempfile.TemporaryDirectory() as folder:
        for duration_s in (120.0, 3600 * hours):
            path = Path(folder, "long.wav")
            write_long(path, recordings, duration_s)
            command = [sys.executable, __file__, str(path), "--peak"]
            figures = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            size_mb = path.stat().st_size / 1e6
            print(f"  {duration_s / 60:6.0f} min, {size_mb:5.0f} MB on the disk: {figures}", end="")


def show_peak(path: Path) -> None:
    """Print the most memory that this process has had resident before and after fingerprinting `path`."""
    before_bytes = peak_bytes(os.getpid())
    found = fingerprint(path)
    peak_mb, before_mb = peak_bytes(os.getpid()) / 1e6, before_bytes / 1e6
    print(f"{peak_mb:.0f} MB resident at most, {before_mb:.0f} before it began; {len(found.constellation)} peaks")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="recordings")
    parser.add_argument("--files", type=int, default=16, help="at most so many of them on one core, evenly chosen (16)")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is done; the cheapest counts (3)")
    parser.add_argument("--hours", type=float, default=3.0, help="length of the long file (3); 0 leaves it out")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()  # as the daemon's workers do
    if options.peak:
        show_peak(options.folder)
        return
    recordings = recordings_in(options.folder)
    if not recordings:
        parser.error(f"{options.folder} holds no recordings")
    chosen = recordings[:: max(1, len(recordings) // options.files)][: options.files]
    with tempfile.TemporaryDirectory() as folder, open_duckdb(Path(folder, "index.duckdb"), PARAMS) as index:
        show_cost(measure(chosen, options.repeats, index))
    show_road(options.folder)
    if options.hours:
        show_memory(chosen, options.hours)
    print(
        f"load of the machine, all of its programs, over the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
