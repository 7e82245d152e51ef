"""What a worker process does for a scan: a recording in, parts of its fingerprint out.

Imports inside functions as in `dejavud.services.jobs`: the daemon names these functions and never calls them itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from dejavud.audio.address import Way
    from dejavud.audio.decode import AudioReader
    from dejavud.fingerprint.params import Params
    from dejavud.fingerprint.streaming import StreamPart

    Parts = Generator["Opened | StreamPart | Ended"]

MIN_PART_FRAMES, MAX_PART_FRAMES = 160, 4096
"""Up to two minutes: a look-up costs some ten milliseconds however little is asked."""
HITS_A_FRAME = 60e-6
"""Meetings that a frame of music has for each posting of the index."""
MAX_PART_HITS = 1 << 22
"""So many fit into 50 MB, and stay far below where an index begins to leave out what is asked too often."""
LIVE_PART_FRAMES = 256
"""About eight seconds, the length in which a spectrogram is made."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The recording can be heard.  total_s : how long it is; None where it does not say, as a station never does."""

    total_s: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The recording has ended, after `duration_s`; so many of its packets were damaged and are silent."""

    duration_s: float
    n_damaged_packets: int


def part_frames(n_postings: int) -> int:
    """Return how long the parts are best that an index of so many postings is asked with."""
    return round(max(MIN_PART_FRAMES, min(MAX_PART_FRAMES, MAX_PART_HITS / (HITS_A_FRAME * max(1, n_postings)))))


def scan_file(path: Path, name: str, params: Params, limit_s: float | None, n_frames: int) -> Parts:
    """Yield what the file at `path` is to be looked up by, in parts of `n_frames`; raises `UnreadableFile` and `UnsupportedAudio`."""
    from dejavud.audio.decode import open_audio  # noqa: PLC0415 - see the module's first words

    opened = open_audio(path, name=name, rate_hz=params.rate_hz, limit_s=limit_s)
    return _scan(opened, params, limit_s, n_frames, is_remote=False)


def scan_url(way: Way, name: str, params: Params, limit_s: float | None, n_frames: int) -> Parts:
    """Yield what comes from an address, as `scan_file`, for as long as it comes; raises `UnreachableUrl` and `UnsupportedAudio`."""
    from dejavud.audio.decode import open_remote_audio  # noqa: PLC0415 - see the module's first words

    opened = open_remote_audio(way, name=name, rate_hz=params.rate_hz, limit_s=limit_s)
    return _scan(opened, params, limit_s, n_frames, is_remote=True)


def _scan(
    opened: AbstractContextManager[AudioReader],
    params: Params,
    limit_s: float | None,
    n_frames: int,
    *,
    is_remote: bool,
) -> Parts:
    from dejavud.fingerprint.streaming import StreamExtractor  # noqa: PLC0415 - see the module's first words

    with opened as reader:
        total_s = reader.info.duration_s
        yield Opened(None if total_s is None else min(total_s, limit_s or math.inf))
        is_live = is_remote and total_s is None
        extractor = StreamExtractor(params, min(n_frames, LIVE_PART_FRAMES) if is_live else n_frames, is_live=is_live)
        for block in reader:
            yield from extractor.feed(block)
        yield from extractor.finish()
        yield Ended(params.samples_to_seconds(reader.n_samples), reader.n_damaged_packets)
