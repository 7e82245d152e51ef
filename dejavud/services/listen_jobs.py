"""What a worker process does for a listener: sound in, second by second what is known of it out.

Imports inside functions as in `dejavud.services.jobs`: the daemon names these functions and never calls them itself.
"""

from __future__ import annotations

import io
import math
import os
import select
import socket
import stat
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.errors import DejavudError, UnreadableFile

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from dejavud.audio.address import Way
    from dejavud.audio.pcm_format import PcmFormat
    from dejavud.fingerprint.params import Params
    from dejavud.fingerprint.streaming import StreamExtractor, StreamPart
    from dejavud.values import Array, QueryFingerprint

    Sounds = Generator["Opened | Waiting | Sound | Ended"]

TICK_FRAMES = 32
"""A second: what a listener works in."""
PART_FRAMES = 160
"""Five seconds, the tracker's hop."""
SILENT_TICKS = 2
"""Of silence, after which nothing is made of it any more: a pause in music is part of the music."""
LOOK_TICKS, LONG_LOOK_TICKS = 2, 6
"""Seconds of a look.  Of clean music two seconds of which three quarters are a track's are enough in 100 of 100 cases, under noise at 5 dB in
85, and as good as everything that a query can be asked with, for a quarter of its cost."""
_SHOWN_LEVEL_DB = -120.0


@dataclass(frozen=True, slots=True)
class Opened:
    """The source can be heard.  what : the device or format, for people."""

    what: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nobody writes to the pipe yet."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The last few seconds as a query.  first_frame : of it, on the source's clock."""

    first_frame: int
    query: QueryFingerprint


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """About a second.

    end_frame : after it, on the source's clock.
    level_db : root mean square, dB of full scale.
    looks : the last two seconds, and every third time the last six; none of silence.
    parts : what has become known for certain, in order; none of silence.
    is_silent : it has been silent for a while: of all that sounded before, the parts have been given.
    n_overruns : of the source, since it was opened.
    """

    end_frame: int
    level_db: float
    is_silent: bool
    looks: tuple[Look, ...]
    parts: tuple[StreamPart, ...]
    n_overruns: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The source has ended in order."""


def hear_microphone(device: str | None, params: Params, silence_db: float, stall_s: float) -> Sounds:
    """Yield what a microphone hears; raises `MicrophoneUnavailable`."""
    from dejavud.audio.microphone import open_microphone  # noqa: PLC0415 - see the module's first words

    with open_microphone(params.rate_hz, device=device, stall_s=stall_s) as audio:
        channels = "mono" if audio.device.n_channels == 1 else f"{audio.device.n_channels} channels"
        yield Opened(f"{audio.device.name}, {channels} at {audio.device.rate_hz} Hz")
        yield from heard(audio, params, silence_db, lambda: audio.n_overruns)


def glance(path: Path, name: str, params: Params, limit_s: float, silence_db: float) -> Sound:
    """Return the last second of what there is of a file that is still being written, with looks back from there; parameters as of `query_file`.

    Raises `UnreadableFile`, and `UnsupportedAudio` where too little is there yet, or what is there is no audio.
    """
    from dejavud.audio.decode import decode_audio  # noqa: PLC0415 - see the module's first words

    samples = decode_audio(path, name=name, rate_hz=params.rate_hz, limit_s=limit_s)
    tick, n_frames = TICK_FRAMES * params.hop_samples, len(samples) // params.hop_samples
    level_db, looks = _level_db(samples[-tick:]), []
    if level_db >= silence_db:
        looks.append(_looked(samples[-LOOK_TICKS * tick :], n_frames, params))
        if len(samples) > LOOK_TICKS * tick:
            looks.append(_looked(samples[-LONG_LOOK_TICKS * tick :], n_frames, params))
    return Sound(n_frames, level_db, is_silent=False, looks=tuple(looks), parts=())


def record(device: str | int | None, rate_hz: int) -> Generator[Array]:
    """Yield what a microphone hears, float32 [n] mono blocks at `rate_hz`, without end; raises `MicrophoneUnavailable`."""
    from dejavud.audio.microphone import open_microphone  # noqa: PLC0415 - see the module's first words

    with open_microphone(rate_hz, device=device) as audio:
        yield from audio


def follow(
    recorded: Callable[[str | int | None, int], Iterable[Array]],
    device: str | int | None,
    params: Params,
    silence_db: float,
) -> Generator[Array | Sound]:
    """Yield what `recorded`, such as `record`, gives of a device, and, second by second, what is made of it."""
    yield from _followed(recorded(device, params.rate_hz), params, silence_db)


def follow_url(way: Way, name: str, params: Params, silence_db: float) -> Generator[Array | Sound]:
    """Yield what an address sends, and, second by second, what is made of it; raises `UnreachableUrl` and `UnsupportedAudio`."""
    from dejavud.audio.decode import open_remote_audio  # noqa: PLC0415 - see the module's first words

    with open_remote_audio(way, name=name, rate_hz=params.rate_hz, is_live=True) as reader:
        yield from _followed(reader, params, silence_db)


def _followed(blocks: Iterable[Array], params: Params, silence_db: float) -> Generator[Array | Sound]:
    ear, ticks = _Ear(params, silence_db), _Ticks(TICK_FRAMES * params.hop_samples)
    for block in blocks:
        yield block
        for tick in ticks.feed(block):
            yield ear.hear(tick, 0)


def hear_url(way: Way, name: str, params: Params, silence_db: float) -> Sounds:
    """Yield what comes from an address, until its connection is lost; raises `UnreachableUrl` and `UnsupportedAudio`."""
    from dejavud.audio.decode import open_remote_audio  # noqa: PLC0415 - see the module's first words

    with open_remote_audio(way, name=name, rate_hz=params.rate_hz, is_live=True) as reader:
        yield Opened(_format(reader.info))
        yield from heard(reader, params, silence_db)
        yield Ended()


def hear_file(path: str, params: Params, silence_db: float, realtime: bool) -> Sounds:  # noqa: FBT001 - jobs cross the process border by position
    """Yield what a file holds, at the pace of its own clock with `realtime`, or what comes through a pipe.

    Raises `UnreadableFile` and `UnsupportedAudio`.
    """
    from dejavud.audio.decode import open_audio, open_pipe_audio  # noqa: PLC0415 - see the module's first words

    if _is_pipe(path):
        with _opened_pipe(path) as pipe:
            while not select.select([pipe], [], [], 1.0)[0]:
                yield Waiting()
            os.set_blocking(pipe.fileno(), True)
            with open_pipe_audio(pipe, name=path, rate_hz=params.rate_hz) as reader:
                yield Opened(_format(reader.info))
                yield from heard(reader, params, silence_db)
                yield Ended()
        return
    with open_audio(path, name=Path(path).name, rate_hz=params.rate_hz) as reader:
        yield Opened(_format(reader.info))
        blocks: Iterable[Array] = _paced(reader, params.rate_hz) if realtime else reader
        yield from heard(blocks, params, silence_db)
        yield Ended()


def hear_pcm(address: str, pcm: PcmFormat, name: str, params: Params, silence_db: float) -> Sounds:
    """Yield what comes as raw samples from the Unix socket at `address`, until it is closed; raises `UnsupportedAudio`."""
    from dejavud.audio.raw import raw_blocks  # noqa: PLC0415 - see the module's first words

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        yield Opened(pcm.shown)
        yield from heard(raw_blocks(connection.recv, pcm, name=name, rate_hz=params.rate_hz), params, silence_db)
        yield Ended()


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(Path(path).stat().st_mode)
    except OSError:
        return False  # opening it as a file says what is wrong


@contextmanager
def _opened_pipe(path: str) -> Iterator[io.FileIO]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # which does not wait for a writer
    except OSError as error:
        raise UnreadableFile(source=path, reason=f"cannot be opened ({error.strerror})") from error
    with io.FileIO(descriptor, "rb") as pipe:
        yield pipe


def _format(info: object) -> str:
    codec, rate_hz = getattr(info, "codec", "?"), getattr(info, "rate_hz", 0)
    return f"{codec}, {rate_hz} Hz"


def _paced(blocks: Iterable[Array], rate_hz: int) -> Iterator[Array]:
    """Yield the blocks as they would sound: a tenth of a second at a time, none before its time."""
    started, n_samples, piece = time.monotonic(), 0, rate_hz // 10
    for block in blocks:
        for first in range(0, len(block), piece):
            yield block[first : first + piece]
            n_samples += len(block[first : first + piece])
            time.sleep(max(0.0, started + n_samples / rate_hz - time.monotonic()))


def heard(
    blocks: Iterable[Array], params: Params, silence_db: float, n_overruns: Callable[[], int] = lambda: 0
) -> Generator[Sound]:
    """Yield the sound of `blocks` second by second; what a source has given before it fails is given whole."""
    ear, ticks = _Ear(params, silence_db), _Ticks(TICK_FRAMES * params.hop_samples)
    failure: DejavudError | None = None
    try:
        for block in blocks:
            for tick in ticks.feed(block):
                yield ear.hear(tick, n_overruns())
    except DejavudError as error:
        failure = error
    yield from ear.finish(n_overruns())
    if failure is not None:
        raise failure


class _Ticks:
    """Cuts blocks of any length into ticks; what is short of one at the end is dropped."""

    def __init__(self, n_samples: int) -> None:
        self._n_samples = n_samples
        self._pending: list[Array] = []
        self._n_pending = 0

    def feed(self, block: Array) -> list[Array]:
        """Return the ticks that `block` completes."""
        import numpy as np  # noqa: PLC0415 - see the module's first words

        self._pending.append(block)
        self._n_pending += len(block)
        if self._n_pending < self._n_samples:
            return []
        joined = np.concatenate(self._pending)
        whole = self._n_pending - self._n_pending % self._n_samples
        self._pending, self._n_pending = [joined[whole:]], self._n_pending - whole
        return np.split(joined[:whole], whole // self._n_samples)


class _Ear:
    """Makes fingerprints of what sounds and none of silence."""

    def __init__(self, params: Params, silence_db: float) -> None:
        self._params = params
        self._silence_db = silence_db
        self._frame = 0  # of the next tick
        self._n_silent = SILENT_TICKS  # so that nothing is made of a source that begins silent
        self._extractor: StreamExtractor | None = None
        self._first_frame = 0  # of the extractor
        self._recent: list[Array] = []

    def hear(self, samples: Array, n_overruns: int) -> Sound:
        """Return what `samples`, a tick, make known."""
        from dejavud.fingerprint.streaming import StreamExtractor  # noqa: PLC0415 - see the module's first words

        first, level_db = self._frame, _level_db(samples)
        self._frame += TICK_FRAMES
        self._n_silent = self._n_silent + 1 if level_db < self._silence_db else 0
        if self._n_silent >= SILENT_TICKS:
            return Sound(self._frame, level_db, is_silent=True, looks=(), parts=self._close(), n_overruns=n_overruns)
        if self._extractor is None:
            self._extractor = StreamExtractor(self._params, PART_FRAMES, is_live=True, segment_frames=TICK_FRAMES)
            self._first_frame = first
        parts = tuple(moved(part, self._first_frame) for part in self._extractor.feed(samples))
        self._recent = [*self._recent[1 - LONG_LOOK_TICKS :], samples]
        looks = [self._look(LOOK_TICKS)] if level_db >= self._silence_db else []
        if looks and len(self._recent) > LOOK_TICKS and self._frame // TICK_FRAMES % (LONG_LOOK_TICKS // 2) == 0:
            looks.append(self._look(LONG_LOOK_TICKS))
        return Sound(self._frame, level_db, is_silent=False, looks=tuple(looks), parts=parts, n_overruns=n_overruns)

    def finish(self, n_overruns: int) -> Iterator[Sound]:
        """Yield what is left."""
        if parts := self._close():
            yield Sound(self._frame, _SHOWN_LEVEL_DB, is_silent=True, looks=(), parts=parts, n_overruns=n_overruns)

    def _look(self, n_ticks: int) -> Look:
        import numpy as np  # noqa: PLC0415 - see the module's first words

        return _looked(np.concatenate(self._recent[-n_ticks:]), self._frame, self._params)

    def _close(self) -> tuple[StreamPart, ...]:
        """Return what the extractor still holds, and have none."""
        extractor, self._extractor = self._extractor, None
        self._recent = []
        return () if extractor is None else tuple(moved(part, self._first_frame) for part in extractor.finish())


def _looked(samples: Array, end_frame: int, params: Params) -> Look:
    """Return a look at `samples`, which end at a frame."""
    from dejavud.fingerprint.extractor import fingerprint_quickly  # noqa: PLC0415 - see the module's first words

    return Look(end_frame - len(samples) // params.hop_samples, fingerprint_quickly(samples, params))


def moved(part: StreamPart, n_frames: int) -> StreamPart:
    """Return `part` that many frames later."""
    from dejavud.fingerprint.streaming import StreamPart  # noqa: PLC0415 - see the module's first words
    from dejavud.values import Hashes  # noqa: PLC0415

    if not n_frames:
        return part
    return StreamPart(
        part.first_frame + n_frames, part.depths, Hashes(part.hashes.values, part.hashes.offsets + n_frames)
    )


def _level_db(samples: Array) -> float:
    import numpy as np  # noqa: PLC0415 - see the module's first words

    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(_SHOWN_LEVEL_DB, 10 * math.log10(power)) if power > 0 else _SHOWN_LEVEL_DB
