"""A microphone as an iterator of mono blocks, for a process of its own that does nothing but listen."""

from __future__ import annotations

import queue
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from dejavud.audio.pcm import Chunk, Resampler, mono
from dejavud.audio.portaudio import start_recording
from dejavud.errors import MicrophoneUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dejavud.audio.portaudio import Device, Recording

    Samples = NDArray[np.float32]

_QUEUED_BLOCKS = 200


class RecordedAudio:
    """What a microphone hears, iterated once: float32 [n] mono blocks at the rate asked for, without end.

    device : that was opened.
    n_overruns : how often audio was lost: by the sound system, or here because nobody took it in time (the newest goes).

    The iteration raises `MicrophoneUnavailable` when the device stops or nothing comes for `stall_s`.
    """

    def __init__(self, rate_hz: int, stall_s: float) -> None:
        self.n_overruns = 0
        self._stall_s = stall_s
        self._queue: queue.Queue[bytes] = queue.Queue(_QUEUED_BLOCKS)
        self._resampler = Resampler(rate_hz)
        self._recording: Recording | None = None

    @property
    def device(self) -> Device:
        """The device that is recorded from."""
        return self._started().device

    def attach(self, recording: Recording) -> None:
        """Name the stream whose callback `take` is."""
        self._recording = recording

    def take(self, data: bytes, *, overrun: bool) -> bool:
        """Queue what was recorded; runs on PortAudio's thread and waits for nothing."""
        self.n_overruns += overrun
        try:
            self._queue.put_nowait(data)
        except queue.Full:
            self.n_overruns += 1
        return True

    def __iter__(self) -> Iterator[Samples]:
        recording = self._started()
        n_channels = recording.device.n_channels
        while True:
            try:
                data = self._queue.get(timeout=self._stall_s)
            except queue.Empty:
                state = "delivers nothing" if recording.is_active() else "has stopped"
                reason = f"{recording.device.name!r} {state} (for {self._stall_s:g} s); was it unplugged?"
                raise MicrophoneUnavailable(reason=reason) from None
            interleaved = np.frombuffer(data, np.float32)
            channels = [interleaved[channel::n_channels] for channel in range(n_channels)]
            block = self._resampler.feed(Chunk(mono(channels), recording.rate_hz))
            if len(block):
                yield block

    def _started(self) -> Recording:
        if self._recording is None:
            msg = "RecordedAudio is made by open_recording"
            raise RuntimeError(msg)
        return self._recording


@contextmanager
def open_recording(
    rate_hz: int, *, device: str | None = None, block_s: float = 0.1, stall_s: float = 5.0
) -> Iterator[RecordedAudio]:
    """Record during the context; parameters and errors as of `dejavud.audio.microphone.open_microphone`."""
    audio = RecordedAudio(rate_hz, stall_s)
    recording = start_recording(device, block_s, audio.take)
    audio.attach(recording)
    try:
        yield audio
    finally:
        recording.close()
