"""What a scan costs and how well it does: ``python benchmarks/scan.py FOLDER [--unknown FOLDER]``.

Makes a show of real recordings (whole tracks, parts, cross-fades of 6 s, voices or other music over the beginning, jingles of some seconds
in the middle, silence, unknown music) from a fixed seed, writes it as a stereo mp3 at 44.1 kHz, and in one process measures the CPU time of
decoding it to 8 kHz mono against that of everything that a scan does after that; then a daemon of its own scans the file, and the timeline is
compared with what was played.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from own_daemon import own_daemon
from recordings import recordings_in

from dejavud.audio.decode import decode_audio, open_audio
from dejavud.errors import DejavudError
from dejavud.fingerprint.extractor import TrackExtractor, track_hashes
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.streaming import StreamExtractor
from dejavud.index.open import open_index
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.matching.tracker import Tracker, TrackerRules
from dejavud.services.constellations import ConstellationCache
from dejavud.services.jobs import keep_freed_memory
from dejavud.services.scan_jobs import MAX_PART_FRAMES
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

PARAMS = Params()
RATE_HZ = 44_100
LEVEL = 0.1
FADE_S, VOICE_S, JINGLE_S = 6.0, 10.0, 5.0
KINDS = ("whole", "part", "part", "cross-fade", "unknown", "voice over", "jingle", "silence")
REQUIRED_RATIO = 1.0
"""A scan costs at most twice the decoding: what comes after it at most as much again."""
TOLERANCE_S = 1.0


@dataclass(slots=True)
class Played:
    """What was really played: seconds of the show, and of the track at the start."""

    path: str
    start_s: float
    end_s: float
    track_start_s: float
    kind: str


@dataclass(slots=True)
class Show:
    """A show under construction.  samples : float32 [n] at 44.1 kHz, longer than what is filled so far."""

    samples: Samples
    at: int = 0
    played: list[Played] = field(default_factory=list)

    def add(self, piece: Samples, *, path: str = "", start: int = 0, kind: str = "", overlap: int = 0) -> None:
        """Append a piece, over the last `overlap` samples; with a path it is one of the library's, from its sample `start`."""
        first = self.at - overlap
        self.samples[first : first + len(piece)] += piece
        self.at = first + len(piece)
        if path:
            self.played.append(Played(path, first / RATE_HZ, self.at / RATE_HZ, start / RATE_HZ, kind))


def samples_of(path: str) -> Samples:
    """Return a recording's first minutes, all at one loudness."""
    samples = decode_audio(path, name=path, rate_hz=RATE_HZ, limit_s=420)
    return samples * np.float32(LEVEL / max(1e-4, float(np.sqrt(np.mean(samples**2)))))


def make_show(known: Sequence[str], unknown: Sequence[str], duration_s: float, seed: int) -> Show:
    """Return a show, the same one for the same arguments."""
    rng = np.random.default_rng(seed)
    show = Show(np.zeros(round((duration_s + 480) * RATE_HZ), np.float32))

    def other(length_s: float) -> Samples:
        samples = samples_of(unknown[rng.integers(len(unknown))])
        length = min(len(samples), round(length_s * RATE_HZ))
        start = int(rng.integers(len(samples) - length + 1))
        return samples[start : start + length]

    while show.at < duration_s * RATE_HZ:
        kind = str(rng.choice(KINDS))
        if kind == "silence":
            show.at += round(rng.uniform(1, 8) * RATE_HZ)
        elif kind == "unknown":
            show.add(other(rng.uniform(15, 90)))
        else:
            _play(show, known[rng.integers(len(known))], kind, rng, other)
    show.samples = np.clip(show.samples[: show.at], -1, 1)
    return show


def _play(show: Show, path: str, kind: str, rng: np.random.Generator, other: Any) -> None:  # noqa: ANN401 - a function of the caller's
    whole = samples_of(path)
    length = len(whole) if kind == "whole" else min(len(whole), round(rng.uniform(12, 150) * RATE_HZ))
    start = int(rng.integers(len(whole) - length + 1))
    piece, overlap = whole[start : start + length].copy(), 0
    fade = round(FADE_S * RATE_HZ)
    before = show.played[-1] if show.played else None
    if kind == "voice over":
        voice = other(VOICE_S)[:length]
        piece[: len(voice)] = 0.5 * piece[: len(voice)] + voice
    elif kind == "jingle" and length > 6 * fade:
        jingle = other(JINGLE_S)
        piece[length // 2 : length // 2 + len(jingle)] = jingle
    elif kind == "cross-fade" and length > 3 * fade and before and _ends_here(before, show):
        ramp, overlap = np.linspace(0, 1, fade, dtype=np.float32), fade
        piece[:fade] *= ramp
        show.samples[show.at - fade : show.at] *= ramp[::-1]
        before.kind += ", faded out"
    show.add(piece, path=path, start=start, kind=kind if overlap or kind != "cross-fade" else "part", overlap=overlap)


def _ends_here(before: Played, show: Show) -> bool:
    return round(before.end_s * RATE_HZ) == show.at and before.end_s - before.start_s > 3 * FADE_S


def write_mp3(path: Path, samples: Samples) -> None:
    """Write `samples` as a stereo mp3."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libmp3lame", rate=RATE_HZ, layout="stereo")
        stream.bit_rate = 160_000
        size = (stream.codec_context.frame_size or 1152) * 256
        fifo = av.AudioFifo()
        for start in range(0, len(samples), size):
            block = np.stack([samples[start : start + size]] * 2)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate = RATE_HZ
            fifo.write(frame)
            for part in fifo.read_many(stream.codec_context.frame_size or 1152):
                out.mux(stream.encode(part))
        out.mux(stream.encode(None))


def recordings(folder: Path) -> Iterator[str]:
    """Yield the recordings below `folder` that can be decoded and are half a minute long."""
    for path in recordings_in(folder):
        try:
            with open_audio(path, name=path.name, rate_hz=8000, limit_s=30) as reader:
                for _ in reader:
                    pass
        except DejavudError:
            continue
        if reader.n_samples == 30 * 8000:
            yield str(path)


def measure(show: Path, known: Sequence[str], folder: Path) -> dict[str, float]:
    """Return the CPU time of each stage, in milliseconds a second of the show, in one process and one thread but for DuckDB's."""
    keep_freed_memory()
    blocks, times = [], dict.fromkeys(("decode", "fingerprint", "look-up", "match"), 0.0)
    with open_index(f"duckdb:///{folder}/index.duckdb", PARAMS) as index:
        index.add([_entry(number, path) for number, path in enumerate(known)])
        constellations = ConstellationCache(index)
        constellations.read(range(1, len(known) + 1))
        matcher = Matcher(PARAMS, MatchRules(max_matches=4, enough_s=2.0, n_refined=6))
        tracker, extractor = Tracker(PARAMS, TrackerRules(), matcher.match), StreamExtractor(PARAMS, MAX_PART_FRAMES)
        n_frames = index.statistics().duration_s * PARAMS.frames_per_s
        with _timed(times, "decode"), open_audio(show, name=show.name, rate_hz=PARAMS.rate_hz) as reader:
            blocks = list(reader)
        for block in (*blocks, None):
            with _timed(times, "fingerprint"):
                parts = list(extractor.finish() if block is None else extractor.feed(block))
            for part in parts:
                with _timed(times, "look-up"):
                    hits = index.lookup(part.hashes)
                with _timed(times, "match"):
                    tracker.feed(part, hits, constellations.read, n_frames)
        with _timed(times, "match"):
            tracker.finish(constellations.read, n_frames)
    duration_s = reader.n_samples / PARAMS.rate_hz
    return {stage: 1000 * spent_s / duration_s for stage, spent_s in times.items()}


class _timed:  # noqa: N801 - used like a function
    """Add the CPU time of a block to a stage."""

    def __init__(self, times: dict[str, float], stage: str) -> None:
        self._times, self._stage = times, stage

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_exc_info: object) -> None:
        self._times[self._stage] += time.process_time() - self._began


def _entry(number: int, path: str) -> NewTrack:
    extractor = TrackExtractor(PARAMS)
    with open_audio(path, name=path, rate_hz=PARAMS.rate_hz) as reader:
        for block in reader:
            extractor.feed(block)
    constellation, duration_s = extractor.finish(), reader.n_samples / PARAMS.rate_hz
    return NewTrack(
        path, None, None, path, f"{number:040x}", duration_s, constellation, track_hashes(constellation, PARAMS)
    )


def compare(played: Sequence[Played], plays: Sequence[Mapping[str, Any]]) -> None:
    """Print how the timeline differs from what was played."""
    left = list(plays)
    errors: dict[str, list[float]] = {"start": [], "end": [], "place in the track": []}
    n_missed, n_hard, n_exact = 0, 0, 0
    for truth in played:
        found = [play for play in left if play["track"]["path"] == truth.path and _overlap_s(truth, play) > 0]
        if not found:
            n_missed += 1
            print(f"  missed: {truth}")
            continue
        play = max(found, key=lambda play: _overlap_s(truth, play))
        left.remove(play)
        start, end = abs(play["start_s"] - truth.start_s), abs(play["end_s"] - truth.end_s)
        if "fade" not in truth.kind and "voice" not in truth.kind:
            n_hard += 1
            n_exact += max(start, end) <= TOLERANCE_S
        place = play["track_start_s"] - play["start_s"] - (truth.track_start_s - truth.start_s)
        for name, error in (("start", start), ("end", end), ("place in the track", abs(place))):
            errors[name].append(error)
    print(f"{len(played)} plays: {n_missed} missed, {len(left)} false")
    for play in left:
        print(f"  false: {play['track']['title']} {play['start_s']:.1f}-{play['end_s']:.1f} s, twins {play['twins']}")
    for name, values in errors.items():
        within = np.mean(np.array(values) <= TOLERANCE_S)
        print(
            f"  {name:18} median {np.median(values):5.2f} s   95 % {np.percentile(values, 95):5.2f} s   within 1 s {within:.1%}"
        )
    print(f"  plays with hard borders (no fade, no voice over them): both ends within 1 s: {n_exact} of {n_hard}")


def _overlap_s(truth: Played, play: Mapping[str, Any]) -> float:
    return min(truth.end_s, play["end_s"]) - max(truth.start_s, play["start_s"])


def scan(show: Path, known: Sequence[str]) -> list[dict[str, Any]]:
    """Return the plays that a daemon of its own finds, and print what it took."""
    with own_daemon() as daemon:
        daemon.fingerprint(known)
        spent_s, began = daemon.cpu_s(), time.perf_counter()
        command = [sys.executable, "-m", "dejavuctl", "--control", daemon.control, "scan", "--json", str(show)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        records = [json.loads(line) for line in done.stdout.splitlines()]
        duration_s = records[-1]["recording"]["duration_s"]
        wall_s, spent_s = time.perf_counter() - began, daemon.cpu_s() - spent_s
        print(
            f"through a daemon: {wall_s:.1f} s, {duration_s / wall_s:.0f} times real time; "
            f"CPU {1000 * spent_s / duration_s:.2f} ms a second, decoding included; peak {daemon.peak_bytes() / 1e6:.0f} MB"
        )
        return records[:-1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="recordings: the library, and what the show is made of")
    parser.add_argument(
        "--unknown", type=Path, help="recordings that the library does not hold (default: every sixth of FOLDER)"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the show (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the show (1)")
    options = parser.parse_args()
    known = list(recordings(options.folder))
    unknown = list(recordings(options.unknown)) if options.unknown else known[::6]
    known = [path for path in known if path not in unknown]
    if not known or not unknown:
        parser.error(f"{options.folder} holds too few recordings")
    with tempfile.TemporaryDirectory(prefix="scan") as name:
        folder = Path(name)
        show = make_show(known, unknown, options.minutes * 60, options.seed)
        path = folder / "show.mp3"
        write_mp3(path, show.samples)
        print(f"show: {show.at / RATE_HZ / 60:.1f} min, {len(show.played)} plays; library: {len(known)} tracks")
        times = measure(path, known, folder)
        print("CPU, ms a second of the show: " + ", ".join(f"{stage} {ms:.3f}" for stage, ms in times.items()))
        ratio = (sum(times.values()) - times["decode"]) / times["decode"]
        verdict = "met" if ratio <= REQUIRED_RATIO else "not met"
        print(f"after decoding: {ratio:.2f} of it; required: {REQUIRED_RATIO:g}: {verdict}")
        compare(show.played, scan(path, known))
    print(
        f"load of the machine, all of its programs, over the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
