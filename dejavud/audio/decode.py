"""Any audio file as mono float32 at one rate, in blocks, however long it is."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dejavud.audio.container import AudioInfo, MissingDecoder, open_decoder
from dejavud.audio.fallback import FfmpegDecoder, chip_music_demuxer
from dejavud.audio.pcm import Chunk, Resampler, mono
from dejavud.audio.source import open_regular
from dejavud.errors import UnsupportedAudio

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

__all__ = ["AudioInfo", "AudioReader", "decode_audio", "open_audio"]

MAX_DURATION_S = 48 * 3600.0
"""A day of radio and as much again; a small file can claim, and decode to, centuries of silence."""
MAX_HELD_S = 6 * 3600.0
"""What `decode_audio` holds in memory at most: 690 MB at 8 kHz."""

_RAW_RATE_HZ = 8_000
_RAW_READ_BYTES = 1 << 18


class _Source(Protocol):
    """Where chunks come from; `info` is complete and `chunks` has been proven to have one before it is used."""

    info: AudioInfo
    n_damaged_packets: int

    def chunks(self) -> Iterator[Chunk]: ...


class AudioReader:
    """Decoded audio, iterated once: float32 [n] blocks of mono at the rate asked for, in order, none empty.

    info : what the file says of itself.
    rate_hz : of the blocks.
    n_samples : given out so far; all of them after the iteration.
    """

    def __init__(self, source: _Source, chunks: Iterator[Chunk], rate_hz: int | None, limit_s: float | None) -> None:
        self.info = source.info
        self.rate_hz = rate_hz or source.info.rate_hz
        self.n_samples = 0
        self._source = source
        self._limit_samples = None if limit_s is None else max(round(limit_s * self.rate_hz), 0)
        self._blocks = self._read(chunks, Resampler(self.rate_hz))

    @property
    def n_damaged_packets(self) -> int:
        """How many packets could not be decoded so far and were skipped."""
        return self._source.n_damaged_packets

    def __iter__(self) -> Iterator[Samples]:
        return self._blocks

    def _read(self, chunks: Iterator[Chunk], resampler: Resampler) -> Iterator[Samples]:
        for chunk in chunks:
            yield from self._count(resampler.feed(chunk))
            if self.n_samples == self._limit_samples:
                return
        yield from self._count(resampler.finish())

    def _count(self, block: Samples) -> Iterator[Samples]:
        if self._limit_samples is not None:
            block = block[: self._limit_samples - self.n_samples]
        if len(block):
            self.n_samples += len(block)
            yield block


@contextmanager
def open_audio(
    path: Path | str,
    *,
    name: str,
    rate_hz: int | None,
    limit_s: float | None = None,
    raw_fallback: bool = False,
    max_duration_s: float = MAX_DURATION_S,
) -> Iterator[AudioReader]:
    """Open the audio file at `path` for the length of the context.

    Parameters
    ----------
    path
        A regular file; the audio of a video is taken, and of several audio streams the best.
    name
        What errors call it; its extension helps to tell formats that have no mark of their own.
    rate_hz
        The rate to resample to; None keeps the file's own (of its first frame).
    limit_s
        Stop after so much audio; the rest is not decoded.
    raw_fallback
        Read bytes that are no audio file as 16-bit little-endian mono PCM at 8 kHz instead of refusing them.
    max_duration_s
        Refuse what turns out longer, unless `limit_s` stops before.

    Raises
    ------
    UnreadableFile
        There is no such file, it may not be read, it is not a regular file, or its device fails.
    UnsupportedAudio
        There is no audio in it, or none that can be decoded; most causes are known on entering, damage that goes
        to the last packet and an exceeded `max_duration_s` only while iterating.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open_regular(path, name))
        try:
            source, chunks = _start(stack, file, path, name)
        except UnsupportedAudio:
            if not raw_fallback:
                raise
            source, chunks = _prime(_RawPcm(file), name)
        reader = AudioReader(source, _bounded(chunks, max_duration_s, name), rate_hz, limit_s)
        yield reader


def decode_audio(
    path: Path | str,
    *,
    name: str,
    rate_hz: int,
    limit_s: float | None = None,
    raw_fallback: bool = False,
    max_duration_s: float = MAX_HELD_S,
) -> Samples:
    """Return all of a short recording, float32 [n] mono at `rate_hz`; parameters and errors as of `open_audio`."""
    with open_audio(
        path,
        name=name,
        rate_hz=rate_hz,
        limit_s=limit_s,
        raw_fallback=raw_fallback,
        max_duration_s=max_duration_s,
    ) as reader:
        blocks = list(reader)
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def _start(stack: ExitStack, file: io.FileIO, path: Path | str, name: str) -> tuple[_Source, Iterator[Chunk]]:
    """Return the decoder for `file` and its chunks: our own, or the machine's ffmpeg for what only that may know."""
    attempt = ExitStack()
    try:
        with attempt:
            primed = _prime(attempt.enter_context(open_decoder(file, name)), name)
            stack.push(attempt.pop_all())
            return primed
    except MissingDecoder as error:
        return _prime(FfmpegDecoder(path, name, demuxer=None, why=error.details["reason"]), name)
    except UnsupportedAudio as error:
        demuxer = chip_music_demuxer(name)
        if demuxer is None:
            raise
        return _prime(FfmpegDecoder(path, name, demuxer=demuxer, why=error.details["reason"]), name)


def _prime(source: _Source, name: str) -> tuple[_Source, Iterator[Chunk]]:
    """Decode the first chunk, so that what cannot be decoded is known before anything is promised."""
    chunks = source.chunks()
    first = next(chunks, None)
    if first is None:
        raise UnsupportedAudio(source=name, reason="there is not one sample of audio in it")
    return source, chain([first], chunks)


def _bounded(chunks: Iterator[Chunk], max_duration_s: float, name: str) -> Iterator[Chunk]:
    """Yield `chunks`, and raise when one more is asked for after `max_duration_s`: a limit may stop before that."""
    duration_s = 0.0
    for chunk in chunks:
        yield chunk
        duration_s += len(chunk.samples) / chunk.rate_hz
        if duration_s > max_duration_s:
            reason = (
                f"it is longer than {max_duration_s / 3600:g} hours; split it, or set a limit to what is read of it"
            )
            raise UnsupportedAudio(source=name, reason=reason)


class _RawPcm:
    """Bytes taken for 16-bit little-endian mono PCM at 8 kHz; an odd last byte is dropped."""

    def __init__(self, file: io.FileIO) -> None:
        self.info = AudioInfo("raw", "pcm_s16le", _RAW_RATE_HZ, 1, None)
        self.n_damaged_packets = 0
        self._file = file

    def chunks(self) -> Iterator[Chunk]:
        self._file.seek(0)
        rest = b""
        while data := self._file.read(_RAW_READ_BYTES):
            data = rest + data
            n_samples = len(data) // 2
            rest = data[2 * n_samples :]
            if n_samples:
                yield Chunk(mono([np.frombuffer(data, "<i2", n_samples)]), _RAW_RATE_HZ)
