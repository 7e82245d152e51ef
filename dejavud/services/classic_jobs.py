"""What runs in a worker process where the profile is dejavu's own: as `dejavud.services.jobs`, by the same rules.

A file is taken as dejavu took it: every channel by itself, in 16 bits, at the rate that the file has.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from dejavud.errors import NoFingerprint
from dejavud.services.jobs import FingerprintedFile, FingerprintedQuery

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.fingerprint.classic_params import ClassicParams
    from dejavud.values import Array

MICROPHONE_HZ = 44100
"""What dejavu recorded at, whatever rate its constants name."""


def fingerprint_file(path: Path, name: str, params: ClassicParams, limit_s: float | None) -> FingerprintedFile:
    """Return the tags and the fingerprint of the file at `path`; its constellation is empty, as that of a migrated track.

    Raises `UnreadableFile`, `UnsupportedAudio`, and `NoFingerprint` for audio without a single pair of peaks.
    """
    import numpy as np  # noqa: PLC0415 - see the first words of `jobs`

    from dejavud.audio.decode import open_channels  # noqa: PLC0415
    from dejavud.audio.tags import read_tags  # noqa: PLC0415
    from dejavud.fingerprint.classic_extractor import ClassicExtractor  # noqa: PLC0415
    from dejavud.values import Constellation  # noqa: PLC0415

    with open_channels(path, name=name, limit_s=limit_s) as reader:
        extractor = ClassicExtractor(params, reader.rate_hz)
        for block in reader:
            extractor.feed(block)
    hashes = extractor.track()
    if not len(hashes):
        reason = f"its {extractor.duration_s:.1f} s of audio hold nothing to recognize it by: too short, or silent"
        raise NoFingerprint(source=name, reason=reason)
    nothing = np.empty(0)
    constellation = Constellation(nothing, nothing, extractor.n_frames, nothing)
    return FingerprintedFile(read_tags(path, name), extractor.duration_s, constellation, hashes)


def query_file(path: Path, name: str, params: ClassicParams, limit_s: float, raw_fallback: bool) -> FingerprintedQuery:  # noqa: FBT001 - jobs cross the process border by position
    """Return the query that the first `limit_s` of the file at `path` are; raises as `jobs.query_file` does."""
    from dejavud.audio.decode import open_channels  # noqa: PLC0415 - see the first words of `jobs`
    from dejavud.fingerprint.classic_extractor import ClassicExtractor  # noqa: PLC0415

    started = perf_counter()
    with open_channels(path, name=name, limit_s=limit_s, raw_fallback=raw_fallback) as reader:
        blocks = list(reader)
        decoded = perf_counter()
        extractor = ClassicExtractor(params, reader.rate_hz)
    for block in blocks:
        extractor.feed(block)
    query = extractor.query()
    return FingerprintedQuery(query, (decoded - started) * 1000, (perf_counter() - decoded) * 1000)


def query_samples(samples: Array, params: ClassicParams) -> FingerprintedQuery:
    """Return the query that `samples` are: float32 [n], mono, at `MICROPHONE_HZ`."""
    return query_pcm(samples, MICROPHONE_HZ, params)


def query_pcm(channel: Array, rate_hz: int, params: ClassicParams) -> FingerprintedQuery:
    """Return the query that one channel of PCM is, at the rate that it has: [n] of a type that `dejavud.audio.pcm.mono` takes."""
    from dejavud.audio.pcm import sixteen_bit  # noqa: PLC0415 - see the first words of `jobs`
    from dejavud.fingerprint.classic_extractor import ClassicExtractor  # noqa: PLC0415

    started = perf_counter()
    extractor = ClassicExtractor(params, rate_hz)
    extractor.feed(sixteen_bit([channel]))
    return FingerprintedQuery(extractor.query(), 0.0, (perf_counter() - started) * 1000)
