"""Any audio file in blocks, however long it is: as mono float32 at one rate, or as its own channels in 16 bits at its own rate."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dejavud.audio.container import (
    AudioInfo,
    MissingDecoder,
    open_decoder,
    open_pipe_decoder,
)
from dejavud.audio.fallback import FfmpegDecoder, chip_music_demuxer
from dejavud.audio.pcm import Chunk, Resampler, mono, sixteen_bit
from dejavud.audio.remote import open_remote_decoder
from dejavud.audio.source import open_regular
from dejavud.errors import UnsupportedAudio

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from dejavud.audio.address import Way
    from dejavud.audio.pcm import Mix

    Samples = NDArray[np.float32]

__all__ = [
    "AudioInfo",
    "AudioReader",
    "ChannelReader",
    "decode_audio",
    "open_audio",
    "open_channels",
    "open_pipe_audio",
    "open_remote_audio",
]

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


class ChannelReader:
    """Decoded audio, iterated once: int16 [n_channels, n] blocks at the file's own rate, in order, none empty.

    rate_hz : of the file.
    n_samples : of each channel, given out so far; all of them after the iteration.
    """

    def __init__(self, chunks: Iterator[Chunk], rate_hz: int, limit_s: float | None, name: str) -> None:
        self.rate_hz = rate_hz
        self.n_samples = 0
        self._chunks = chunks
        self._limit_samples = None if limit_s is None else max(round(limit_s * rate_hz), 0)
        self._name = name

    def __iter__(self) -> Iterator[NDArray[np.int16]]:
        n_channels = None
        for chunk in self._chunks:
            n_channels = n_channels or len(chunk.samples)
            if chunk.rate_hz != self.rate_hz or len(chunk.samples) != n_channels:
                reason = (
                    f"it changes from {n_channels} channels at {self.rate_hz} Hz to {len(chunk.samples)} at {chunk.rate_hz} Hz "
                    "in the middle, which the classic profiles do not take: convert it to one rate first"
                )
                raise UnsupportedAudio(source=self._name, reason=reason)
            left = None if self._limit_samples is None else self._limit_samples - self.n_samples
            block = chunk.samples[:, :left]
            if block.shape[1]:
                self.n_samples += block.shape[1]
                yield block
            if self.n_samples == self._limit_samples:
                return


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
        source, chunks = _started(stack, file, path, name, mono, raw_fallback=raw_fallback)
        yield AudioReader(source, _bounded(chunks, max_duration_s, name), rate_hz, limit_s)


@contextmanager
def open_remote_audio(
    way: Way, *, name: str, rate_hz: int, limit_s: float | None = None, is_live: bool = False
) -> Iterator[AudioReader]:
    """Open the audio that an address sends for the length of the context: a recording, or a station that never ends.

    The caller has decided that this address may be asked (`dejavud.audio.address`).  Parameters as of `open_audio`; raises
    `UnreachableUrl` and `UnsupportedAudio`.  A connection that is lost ends the audio.  With `is_live` blocks are short, and come as
    soon as they are there.
    """
    with open_remote_decoder(way, name, is_live=is_live) as decoder:
        source, chunks = _prime(decoder, name)
        yield AudioReader(source, chunks, rate_hz, limit_s)


@contextmanager
def open_pipe_audio(file: io.RawIOBase, *, name: str, rate_hz: int) -> Iterator[AudioReader]:
    """Open the audio that comes through the pipe `file`, in short blocks, until its writer leaves; raises `UnsupportedAudio`."""
    with open_pipe_decoder(file, name) as decoder:
        source, chunks = _prime(decoder, name)
        yield AudioReader(source, chunks, rate_hz, None)


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


@contextmanager
def open_channels(
    path: Path | str,
    *,
    name: str,
    limit_s: float | None = None,
    raw_fallback: bool = False,
    max_duration_s: float = MAX_DURATION_S,
) -> Iterator[ChannelReader]:
    """Open the audio file at `path` as it is, neither mixed nor resampled; parameters and errors as of `open_audio`.

    Raises `UnsupportedAudio` also where rate or channels change in the middle, which is known only while iterating.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open_regular(path, name))
        source, chunks = _started(stack, file, path, name, sixteen_bit, raw_fallback=raw_fallback)
        yield ChannelReader(_bounded(chunks, max_duration_s, name), source.info.rate_hz, limit_s, name)


def _started(
    stack: ExitStack, file: io.FileIO, path: Path | str, name: str, mix: Mix, *, raw_fallback: bool
) -> tuple[_Source, Iterator[Chunk]]:
    """Return what decodes `file` and its chunks; as 16-bit PCM what nothing decodes, where `raw_fallback` allows it."""
    try:
        return _start(stack, file, path, name, mix)
    except UnsupportedAudio:
        if not raw_fallback:
            raise
        return _prime(_RawPcm(file, mix), name)


def _start(stack: ExitStack, file: io.FileIO, path: Path | str, name: str, mix: Mix) -> tuple[_Source, Iterator[Chunk]]:
    """Return the decoder for `file` and its chunks: our own, or the machine's ffmpeg for what only that may know."""
    attempt = ExitStack()
    try:
        with attempt:
            primed = _prime(attempt.enter_context(open_decoder(file, name, mix)), name)
            stack.push(attempt.pop_all())
            return primed
    except MissingDecoder as error:
        return _prime(FfmpegDecoder(path, name, demuxer=None, why=error.details["reason"], mix=mix), name)
    except UnsupportedAudio as error:
        demuxer = chip_music_demuxer(name)
        if demuxer is None:
            raise
        return _prime(FfmpegDecoder(path, name, demuxer=demuxer, why=error.details["reason"], mix=mix), name)


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
        duration_s += chunk.samples.shape[-1] / chunk.rate_hz
        if duration_s > max_duration_s:
            reason = (
                f"it is longer than {max_duration_s / 3600:g} hours; split it, or set a limit to what is read of it"
            )
            raise UnsupportedAudio(source=name, reason=reason)


class _RawPcm:
    """Bytes taken for 16-bit little-endian mono PCM at 8 kHz; an odd last byte is dropped."""

    def __init__(self, file: io.FileIO, mix: Mix) -> None:
        self._mix = mix
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
                yield Chunk(self._mix([np.frombuffer(data, "<i2", n_samples)]), _RAW_RATE_HZ)
