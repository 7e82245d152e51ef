"""A microphone as an iterator of mono blocks, for a process of its own that does nothing but listen."""

from __future__ import annotations

import queue
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np

from dejavud.audio.pcm import Chunk, Resampler, mono
from dejavud.audio.portaudio import Device, Recording, list_devices, start_recording
from dejavud.errors import MicrophoneUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

__all__ = ["Device", "Microphone", "list_devices", "open_microphone"]


class Microphone:
    """What a microphone hears, iterated once: float32 [n] mono blocks at the rate asked for, without end.

    device : that was opened.
    n_overruns : how often audio was lost: by the sound system, or here because nobody took it in time (the oldest goes).

    The iteration raises `MicrophoneUnavailable` when the device stops or nothing comes for `stall_s`.
    """

    def __init__(self, rate_hz: int, stall_s: float, n_queued_blocks: int = 200) -> None:
        self.n_overruns = 0
        self._stall_s = stall_s
        self._queue: queue.Queue[bytes] = queue.Queue(n_queued_blocks)
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
        while True:
            try:
                self._queue.put_nowait(data)
            except queue.Full:
                with suppress(queue.Empty):  # whoever reads has just taken it
                    self._queue.get_nowait()
                    self.n_overruns += 1
            else:
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
            msg = "Microphone is made by open_microphone"
            raise RuntimeError(msg)
        return self._recording


@contextmanager
def open_microphone(
    rate_hz: int, *, device: str | int | None = None, block_s: float = 0.1, stall_s: float = 5.0
) -> Iterator[Microphone]:
    """Record during the context.

    Parameters
    ----------
    rate_hz
        The rate of the blocks; the device records at its own.
    device
        Index, name, or a part of the name in any case; None for the system's default.
    block_s
        How often the sound card hands over; some 200 blocks wait for a slow reader.
    stall_s
        Silence is blocks of zeros; no block for this long means that the device is gone.

    Raises
    ------
    MicrophoneUnavailable
        PyAudio, PortAudio or the device is missing, or it does not open.
    """
    microphone = Microphone(rate_hz, stall_s)
    recording = start_recording(device, block_s, microphone.take)
    microphone.attach(recording)
    try:
        yield microphone
    finally:
        recording.close()
