"""What runs in a worker process: audio in, fingerprints out.

The daemon names these functions and never calls them itself (unit tests do), so what is heavy is imported inside them:
the daemon does not wait for decoders that only its workers use.  Nothing here knows trio: a worker starts without it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from dejavud.errors import DejavudError, InternalError, NoFingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from dejavud.fingerprint.params import Params
    from dejavud.values import Array, ClassicQuery, Constellation, Hashes, QueryFingerprint, Tags

DAEMON_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""What tells the daemon, and it alone, to stop or to read its configuration again."""

HEARD_S = 60.0
_EXIT_ORPHANED = 3
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 32 << 20
"""The most that mallopt takes for a threshold of mmap; a spectrogram's arrays are half a megabyte each."""


@dataclass(frozen=True, slots=True)
class FingerprintedFile:
    """A track's file as the index wants it.

    duration_s : of what was fingerprinted, so at most the limit that was asked for.
    """

    tags: Tags
    duration_s: float
    constellation: Constellation
    hashes: Hashes


@dataclass(frozen=True, slots=True)
class Heard:
    """How much of a file has been fingerprinted, of how much where it says so."""

    done_s: float
    total_s: float | None


@dataclass(frozen=True, slots=True)
class FingerprintedQuery:
    """A query as the index is asked with it, and what making it took.

    samples : what `query_fully` makes more of, where this is only a first look.
    """

    fingerprint: QueryFingerprint | ClassicQuery
    decode_ms: float
    fingerprint_ms: float
    samples: Array | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A job's error on its way back to the daemon, which raises it there.

    trace : the worker's traceback where the error is a bug, empty where it is an answer.
    """

    error: DejavudError
    trace: str = ""


def contained(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:  # noqa: ANN401 - whatever the job returns
    """Return what `function` returns, or how it failed as `Failed`.

    Errors cross the process border as values: a decoder's own exception, chained behind ours, may be one that cannot be pickled,
    or one that makes the daemon import the decoder.
    """
    try:
        return function(*args)
    except DejavudError as error:
        return Failed(type(error)(**error.details))
    except Exception as error:  # noqa: BLE001 - the border of one job: a bug in it is reported whole, not lost
        reason = f"{type(error).__name__}: {error}"
        return Failed(InternalError(reason=reason), trace="".join(traceback.format_exception(error)))


def prepare_worker() -> None:
    """Make this process a worker: deaf to the signals meant for the daemon, gone with it, and warm.

    Ctrl-C and ``timeout`` signal the whole process group; the daemon alone decides when its workers stop, by closing their pipes.
    An idle worker sees the pipe close.  One that is busy (perhaps for ever, in a damaged file) is ended by a thread that
    waits for the parent's end; PR_SET_PDEATHSIG will not do, it fires when the *thread* that started the worker ends.
    """
    for number in DAEMON_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DAEMON_SIGNALS)  # blocked they would stay for programs started here
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    # There is a worker a core already.  With the second thread of its own that BLAS takes on two cores, much of it spent
    # waiting in a loop, a track cost 1.6 times the CPU and a query 1.4 times; read once, when numpy is imported.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    keep_freed_memory()
    import dejavud.audio.decode  # noqa: PLC0415 - the point of warming: the first job does not wait for these
    import dejavud.audio.tags  # noqa: PLC0415
    import dejavud.fingerprint.extractor  # noqa: F401, PLC0415


def keep_freed_memory() -> None:
    """Have this process keep the memory of arrays that are gone for the next ones.

    The C library gives large blocks back to the system at once, and gets every new one page by page: 30 % of the time that
    fingerprinting took.  On a system whose library has no such setting nothing changes.
    """
    with suppress(AttributeError):
        set_malloc = ctypes.CDLL(None).mallopt
        set_malloc(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        set_malloc(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(_EXIT_ORPHANED)


def no_job() -> None:
    """Do nothing: what a worker is started with."""


def fingerprint_file(path: Path, name: str, params: Params, limit_s: float | None) -> FingerprintedFile:
    """Return the tags and the fingerprint of the file at `path`, which its owner calls `name`; as `fingerprint_parts`."""
    *_, fingerprinted = fingerprint_parts(path, name, params, limit_s)
    return cast("FingerprintedFile", fingerprinted)


def fingerprint_parts(
    path: Path, name: str, params: Params, limit_s: float | None
) -> Generator[Heard | FingerprintedFile]:
    """Yield how much of the file at `path` has been heard, about a minute at a time, and at last its tags and fingerprint.

    Reads in blocks: memory does not grow with the audio, only with its peaks.  Raises `UnreadableFile`,
    `UnsupportedAudio`, and `NoFingerprint` for audio without a single landmark.
    """
    from dejavud.audio.decode import open_audio  # noqa: PLC0415 - see the module's first words
    from dejavud.audio.tags import read_tags  # noqa: PLC0415
    from dejavud.fingerprint.extractor import TrackExtractor, track_hashes  # noqa: PLC0415

    extractor, told_s = TrackExtractor(params), 0.0
    with open_audio(path, name=name, rate_hz=params.rate_hz, limit_s=limit_s) as reader:
        total_s = reader.info.duration_s
        for block in reader:
            extractor.feed(block)
            duration_s = params.samples_to_seconds(reader.n_samples)
            if duration_s >= told_s + HEARD_S:
                told_s = duration_s
                yield Heard(duration_s, total_s if limit_s is None or total_s is None else min(total_s, limit_s))
        duration_s = params.samples_to_seconds(reader.n_samples)
    constellation = extractor.finish()
    hashes = track_hashes(constellation, params)
    if not len(hashes):
        reason = f"its {duration_s:.1f} s of audio hold nothing to recognize it by: too short, or silent"
        raise NoFingerprint(source=name, reason=reason)
    yield FingerprintedFile(read_tags(path, name), duration_s, constellation, hashes)


def query_file(path: Path, name: str, params: Params, limit_s: float, raw_fallback: bool) -> FingerprintedQuery:  # noqa: FBT001 - jobs cross the process border by position
    """Return a first look at the first `limit_s` of the file at `path`; empty for silence.

    With `raw_fallback`, bytes that nothing decodes are taken as 16-bit little-endian mono at 8 kHz.  Raises
    `UnreadableFile` and `UnsupportedAudio`.
    """
    from dejavud.audio.decode import decode_audio  # noqa: PLC0415 - see the module's first words

    started = perf_counter()
    samples = decode_audio(path, name=name, rate_hz=params.rate_hz, limit_s=limit_s, raw_fallback=raw_fallback)
    return _looked_at(samples, params, decode_ms=(perf_counter() - started) * 1000)


def query_samples(samples: Array, params: Params) -> FingerprintedQuery:
    """Return a first look at `samples`: float32 [n], mono, at the engine's rate."""
    return _looked_at(samples, params, decode_ms=0.0)


def query_pcm(channel: Array, rate_hz: int, params: Params) -> FingerprintedQuery:
    """Return a first look at one channel of PCM at any rate: [n] of a type that `dejavud.audio.pcm.mono` takes."""
    from dejavud.audio.pcm import resampled  # noqa: PLC0415 - see the module's first words

    return _looked_at(resampled(channel, rate_hz, params.rate_hz), params, decode_ms=0.0)


def query_fully(samples: Array, params: Params) -> FingerprintedQuery:
    """Return the query that `samples` are, with everything that can be asked; they are those of a first look."""
    from dejavud.fingerprint.extractor import fingerprint_query  # noqa: PLC0415 - see the module's first words

    started = perf_counter()
    fingerprint = fingerprint_query(samples, params)
    return FingerprintedQuery(fingerprint, 0.0, (perf_counter() - started) * 1000)


def _looked_at(samples: Array, params: Params, *, decode_ms: float) -> FingerprintedQuery:
    from dejavud.fingerprint.extractor import fingerprint_quickly  # noqa: PLC0415 - see the module's first words

    started = perf_counter()
    fingerprint = fingerprint_quickly(samples, params)
    return FingerprintedQuery(fingerprint, decode_ms, (perf_counter() - started) * 1000, samples)
