"""What FFmpeg's libraries decode, through PyAV: any container and codec, damaged or not, as chunks of samples."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.stream import Discard

from dejavud.audio.ogg import find_links
from dejavud.audio.pcm import MAX_RATE_HZ, MIN_RATE_HZ, Chunk, mono
from dejavud.audio.source import Window, suffix_of
from dejavud.errors import UnreadableFile, UnsupportedAudio

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Mapping

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

    from dejavud.audio.pcm import Mix

_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_GATHERED_SAMPLES = 1 << 16
"""Decoders hand out a few hundred to a few thousand samples a time; each trip through numpy costs as much as some
thousand samples, so so many are gathered first (C to C, in FFmpeg's own queue)."""
_GATHERED_LIVE_SAMPLES = 1 << 12
"""What is listened to while it is made is not to wait for so many: a tenth of a second."""
_READ_BYTES = 1 << 17
_HEAD_BYTES = 256
_MAX_CHANNELS = 8
_MAX_READ_ERRORS = 16
"""Failed reads in a row, after which the rest of a damaged file is given up."""
_MIN_GAP_S, _MIN_GAP_AFTER_DAMAGE_S, _MAX_GAP_S = 0.1, 0.01, 30.0
"""Which jumps of the time stamps are audio that was lost: less is rounding, more another clock.  Lost audio becomes
silence, so that what follows keeps its place."""

_PLAYLIST = re.compile(
    rb"\s*(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat|\[playlist\]|<asx|<smil|\[InternetShortcut\])", re.IGNORECASE
)
_RAW_FORMATS: dict[str, dict[str, str]] = {
    **{suffix: {} for suffix in ("gsm", "g722", "722", "sln", "g723_1", "g729", "sbc", "aptx", "aptxhd")},
    **{
        suffix: {"sample_rate": "8000"} for suffix in ("al", "ul")
    },  # where FFmpeg, if not told, takes them for 44.1 kHz
}
"""Formats without a mark of their own, which FFmpeg knows by the name alone, and what it is to assume of them.  All
others it is to know by what they are: believing a name, it decodes noise that is called an mp3."""
_WAV = re.compile(rb"(RIFF|RIFX|RF64)....WAVE", re.DOTALL)
_WAV_OPTIONS = {"max_probe_packets": "8"}
"""PCM in a wav may really be DTS or AC-3.  FFmpeg looks for that in the first five seconds, which took 10 to 16 ms of
the 18 that decoding 5 s did; these 64 kB take 2.5."""
WHAT_WORKS = "send music as wav, mp3, ogg, flac, m4a, opus or any other format that FFmpeg reads"


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What an audio file says of itself before all of it is decoded.

    container, codec : FFmpeg's names ("ogg", "vorbis").
    rate_hz, n_channels : of the first frame; they may change in the middle.
    duration_s : None where the file does not say.
    """

    container: str
    codec: str
    rate_hz: int
    n_channels: int
    duration_s: float | None


class MissingDecoder(UnsupportedAudio):
    """Audio whose codec our FFmpeg libraries lack; another FFmpeg may have it."""


@contextmanager
def open_decoder(file: io.FileIO, name: str, mix: Mix = mono) -> Iterator[Decoder | ChainDecoder]:
    """Open the audio in `file` for the length of the context; `name` is for errors, its extension a hint.

    mix : makes one array of a chunk's channels, all [n] and of one type.

    FFmpeg sees an open file and may open nothing more: a file that is a list of other files or addresses (HLS,
    concat, SDP and their like) leads nowhere.

    Raises
    ------
    UnsupportedAudio
        It is not audio, holds no audio, or none that can be decoded: its subclass `MissingDecoder` where the codec
        is known but our FFmpeg lacks it.
    UnreadableFile
        The device fails while it is read.
    """
    with _ffmpeg_errors(name):
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        _refuse_playlist(head, name)
        links = find_links(file)
    if links:
        yield ChainDecoder([Window(file, start, stop) for start, stop in links], name, mix)
        return
    suffix = suffix_of(name)
    whole = Window(file)
    if suffix in _RAW_FORMATS:
        whole.name = f"audio.{suffix}"  # what PyAV tells FFmpeg
    options = _WAV_OPTIONS if _WAV.match(head) else _RAW_FORMATS.get(suffix, {})
    with _open_stream(whole, name, options, mix) as decoder:
        yield decoder


@contextmanager
def open_pipe_decoder(file: io.RawIOBase, name: str) -> Iterator[Decoder]:
    """Open the audio that comes through a pipe, as `dejavud.audio.remote.open_remote_decoder`; raises `UnsupportedAudio`."""
    with _open_stream(file, name, is_live=True) as decoder:
        yield decoder


@contextmanager
def _open_stream(
    file: io.RawIOBase,
    name: str,
    options: Mapping[str, str] = MappingProxyType({}),
    mix: Mix = mono,
    *,
    is_live: bool = False,
) -> Iterator[Decoder]:
    with _ffmpeg_errors(name):
        container = av.open(
            file,
            mode="r",
            container_options={"protocol_whitelist": "none", **options},
            metadata_errors="replace",
            buffer_size=_READ_BYTES,
        )
    with decoding(container, name, mix, is_live=is_live) as decoder:
        yield decoder


@contextmanager
def decoding(container: InputContainer, name: str, mix: Mix, *, is_live: bool) -> Iterator[Decoder]:
    """Decode the best audio stream of an open container, which is closed with the block."""
    with container:
        stream = _choose_stream(container, name)
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        stream.codec_context.thread_count = 1  # the processes around us are the parallelism
        yield Decoder(container, stream, name, mix, is_live=is_live)


class Decoder:
    """An audio stream, iterated once by `chunks`; `info` is complete once the first chunk is there."""

    def __init__(self, container: InputContainer, stream: AudioStream, name: str, mix: Mix, *, is_live: bool) -> None:
        self.n_damaged_packets = 0
        self._mix = mix
        self._is_live = is_live
        self._n_gathered = _GATHERED_LIVE_SAMPLES if is_live else _GATHERED_SAMPLES
        self._container = container
        self._stream = stream
        self._name = name
        self._layout: tuple[str, int, int] | None = None
        self._tick_s = float(stream.time_base or 0)
        self._next_s: float | None = None
        self._n_damaged_before = 0
        self.info = AudioInfo(
            container=container.format.name,
            codec=stream.codec_context.name,
            rate_hz=stream.codec_context.sample_rate or 0,
            n_channels=stream.codec_context.channels,
            duration_s=_duration_s(container, stream),
        )

    def chunks(self) -> Iterator[Chunk]:
        """Yield the audio in order; a packet that cannot be decoded is counted, and silent for its length.

        Raises
        ------
        UnsupportedAudio
            Nothing could be decoded, or it decodes to something that is no music (a rate of 3 Hz, 40 channels).  What is live raises
            it where it can be decoded no further, so that it is opened again; of a file the rest is given up.
        UnreadableFile
            The device fails.
        """
        with _ffmpeg_errors(self._name):
            fifo = AudioFifo()
            for frame in self._frames():
                if not frame.samples:
                    continue
                layout, lost_s = _layout_of(frame), self._lost_before(frame)
                if layout != self._layout or lost_s:
                    yield from self._drain(fifo)
                    fifo = AudioFifo()
                    self._turn_to(layout)
                    if lost_s:
                        lost = [np.zeros(round(lost_s * frame.sample_rate), np.float32)] * frame.layout.nb_channels
                        yield Chunk(self._mix(lost), frame.sample_rate)
                frame.pts = None  # the queue insists on gapless times; ours are counted in samples
                fifo.write(frame)
                if fifo.samples >= self._n_gathered:
                    yield from self._drain(fifo)
            yield from self._drain(fifo)
        if self._layout is None:
            raise UnsupportedAudio(source=self._name, reason=self._why_nothing())

    def _frames(self) -> Iterator[AudioFrame]:
        was_timed = False
        for packet in self._packets():
            is_timed = packet.pts is not None
            # A demuxer that had to search for the next packet (raw FLAC) has lost count, and says nothing else of it.
            self.n_damaged_packets += was_timed and not is_timed and packet.size > 0
            was_timed = is_timed
            try:
                yield from packet.decode()
            except av.error.EOFError:
                return
            except av.FFmpegError:
                self.n_damaged_packets += 1

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        """Yield the stream's packets and then the empty one that flushes the decoder, over errors of the demuxer."""
        n_errors = 0
        while True:
            try:
                for packet in self._container.demux(self._stream):
                    n_errors = 0
                    yield packet
            except av.FFmpegError as error:
                self.n_damaged_packets += 1
                n_errors += 1
                if n_errors < _MAX_READ_ERRORS:
                    continue
                if isinstance(error, av.ExitError):
                    raise UnsupportedAudio(source=self._name, reason="nothing comes that can be decoded") from error
                if self._is_live and not isinstance(error, OSError):
                    reason = f"from here on it cannot be decoded (FFmpeg: {error.strerror}), as when its rate or channels change"
                    raise UnsupportedAudio(source=self._name, reason=reason) from error
                return  # the connection is lost, or the rest of a file is damaged
            except IndexError:  # PyAV's at the end of a file in which streams appeared that its head did not name
                return
            else:
                return

    def _lost_before(self, frame: AudioFrame) -> float:
        """Return how many seconds of audio are missing between the last frame and this one by their time stamps."""
        pts, rate_hz = frame.pts, frame.sample_rate
        if pts is None or not self._tick_s or not rate_hz:
            self._next_s = None
            return 0.0
        start_s = pts * self._tick_s
        gap_s = 0.0 if self._next_s is None else start_s - self._next_s
        self._next_s = start_s + frame.samples / rate_hz
        is_damaged = self.n_damaged_packets > self._n_damaged_before
        self._n_damaged_before = self.n_damaged_packets
        if not (_MIN_GAP_AFTER_DAMAGE_S if is_damaged else _MIN_GAP_S) < gap_s < _MAX_GAP_S:
            return 0.0
        if not is_damaged:
            self.n_damaged_packets += 1
            self._n_damaged_before += 1
        return gap_s

    def _turn_to(self, layout: tuple[str, int, int]) -> None:
        """Check and note what the next frames are like."""
        sample_format, n_channels, rate_hz = layout
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            reason = f"it claims a sample rate of {rate_hz} Hz; its header is probably damaged"
            raise UnsupportedAudio(source=self._name, reason=reason)
        if not 1 <= n_channels <= _MAX_CHANNELS:
            reason = f"it has {n_channels} channels; mix it down to at most {_MAX_CHANNELS} first"
            raise UnsupportedAudio(source=self._name, reason=reason)
        if sample_format.removesuffix("p") not in _DTYPES:
            raise UnsupportedAudio(source=self._name, reason=f"its samples are of the unknown format {sample_format}")
        if self._layout is None:
            self.info = AudioInfo(self.info.container, self.info.codec, rate_hz, n_channels, self.info.duration_s)
        self._layout = layout

    def _drain(self, fifo: AudioFifo) -> Iterator[Chunk]:
        frame = fifo.read()
        if frame is None or self._layout is None:
            return
        sample_format, n_channels, rate_hz = self._layout
        dtype = np.dtype(_DTYPES[sample_format.removesuffix("p")])
        if sample_format.endswith("p"):
            planes: list[Any] = [np.frombuffer(memoryview(p), dtype, frame.samples) for p in frame.planes[:n_channels]]
        else:
            packed = np.frombuffer(memoryview(frame.planes[0]), dtype, frame.samples * n_channels)
            planes = [packed[channel::n_channels] for channel in range(n_channels)]
        yield Chunk(self._mix(planes), rate_hz)

    def _why_nothing(self) -> str:
        if self.n_damaged_packets:
            return (
                f"none of its {self.info.codec} audio can be decoded ({self.n_damaged_packets} damaged packets); "
                "the file is damaged or not what its header says"
            )
        return f"its {self.info.codec} audio stream is empty: there is not one sample in it"


class ChainDecoder:
    """The links of a chained Ogg file as one recording; iterated once, as a `Decoder`."""

    def __init__(self, links: list[Window], name: str, mix: Mix) -> None:
        self.n_damaged_packets = 0
        self.info = AudioInfo("ogg", "unknown", 0, 0, None)
        self._mix = mix
        self._links = links
        self._name = name

    def chunks(self) -> Iterator[Chunk]:
        """Yield the audio of all links in order; one that cannot be decoded counts as a damaged packet."""
        n_chunks = 0
        for link in self._links:
            try:
                with _open_stream(link, self._name, mix=self._mix) as decoder:
                    for chunk in decoder.chunks():
                        self.info = self.info if n_chunks else decoder.info
                        n_chunks += 1
                        yield chunk
                self.n_damaged_packets += decoder.n_damaged_packets
            except UnsupportedAudio:
                self.n_damaged_packets += 1
        if not n_chunks:
            reason = f"none of the {len(self._links)} streams chained in it can be decoded"
            raise UnsupportedAudio(source=self._name, reason=reason)


@contextmanager
def _ffmpeg_errors(name: str) -> Iterator[None]:
    """Convert what FFmpeg and the file under it raise; DejavudErrors pass."""
    try:
        yield
    except av.FFmpegError as error:
        reason = f"this is not audio that can be decoded (FFmpeg: {error.strerror}); {WHAT_WORKS}"
        raise UnsupportedAudio(source=name, reason=reason) from error
    except OSError as error:
        raise UnreadableFile(source=name, reason=f"reading it failed ({error.strerror or error})") from error


def _refuse_playlist(head: bytes, name: str) -> None:
    if _PLAYLIST.match(head):
        reason = "this is a playlist, not audio; give the recordings that it names, one by one"
        raise UnsupportedAudio(source=name, reason=reason)


def _choose_stream(container: InputContainer, name: str) -> AudioStream:
    """Return the best audio stream that can be decoded; album art and video are not looked at."""
    streams = container.streams
    if not streams.audio:
        held = ", ".join(sorted({f"{s.type} ({s.name})" if getattr(s, "name", None) else s.type for s in streams}))
        reason = f"there is no audio in it, only {held or 'nothing known'}; {WHAT_WORKS}"
        raise UnsupportedAudio(source=name, reason=reason)
    best = streams.best("audio")
    ordered = sorted(streams.audio, key=lambda stream: stream is not best)
    for stream in ordered:
        if stream.codec_context is not None:
            return stream
    reason = f"the codec of its audio ({container.format.name}) is not among those built in"
    raise MissingDecoder(source=name, reason=reason)


def _duration_s(container: InputContainer, stream: AudioStream) -> float | None:
    if stream.duration and stream.time_base and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return container.duration / av.time_base
    return None


def _layout_of(frame: AudioFrame) -> tuple[str, int, int]:
    return frame.format.name, frame.layout.nb_channels, frame.sample_rate
