"""A microphone as a stream of mono blocks at the engine's rate."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import numpy as np
import trio

from dejavud.audio.pcm import Chunk, Resampler, mono
from dejavud.audio.portaudio import Device, Recording, list_devices, start_recording
from dejavud.errors import MicrophoneUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

__all__ = ["Device", "Microphone", "list_devices", "open_microphone"]

_CLOSE_S = 3.0


class Microphone:
    """What a microphone hears, iterated once: float32 [n] mono blocks at `rate_hz`, none empty, without end.

    device : the device that was opened.
    n_overruns : how often the sound system lost audio before it came here.
    n_dropped_blocks : recorded blocks given up because nobody took them in time; the oldest go first.

    The iteration raises `MicrophoneUnavailable` when the device stops or no block comes for `stall_s`.
    """

    def __init__(self, rate_hz: int, n_queued_blocks: int, stall_s: float) -> None:
        self.rate_hz = rate_hz
        self.n_overruns = 0
        self.n_dropped_blocks = 0
        self._stall_s = stall_s
        self._queue: deque[bytes] = deque(maxlen=n_queued_blocks)
        self._token = trio.lowlevel.current_trio_token()
        self._arrived = trio.Event()
        self._recording: Recording | None = None
        self._resampler = Resampler(rate_hz)

    @property
    def device(self) -> Device:
        """The device that is recorded from."""
        return self._started().device

    def attach(self, recording: Recording) -> None:
        """Name the stream whose callback `take` is."""
        self._recording = recording

    def take(self, data: bytes, *, overrun: bool) -> bool:
        """Queue what was recorded; runs on PortAudio's thread, waits for nothing, touches trio only by its token."""
        self.n_overruns += overrun
        self.n_dropped_blocks += len(self._queue) == self._queue.maxlen
        self._queue.append(data)
        try:
            self._token.run_sync_soon(self._wake, idempotent=True)
        except trio.RunFinishedError:
            return False
        return True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Samples:
        """Return what was recorded since the last block; a checkpoint, and safe to cancel: nothing is lost."""
        recording = self._started()
        n_channels = recording.device.n_channels
        while True:
            await self._wait_for_blocks(recording)
            data = b"".join(self._queue.popleft() for _ in range(len(self._queue)))
            interleaved = np.frombuffer(data, np.float32)
            channels = [interleaved[channel::n_channels] for channel in range(n_channels)]
            block = self._resampler.feed(Chunk(mono(channels), recording.rate_hz))
            if len(block):
                return block

    async def aclose(self) -> None:
        """Do nothing, as a generator's `aclose` may: the context of `open_microphone` closes the device."""

    async def _wait_for_blocks(self, recording: Recording) -> None:
        """Return when the queue holds something."""
        await trio.lowlevel.checkpoint()
        while not self._queue:
            self._arrived = trio.Event()
            with trio.move_on_after(self._stall_s) as patience:
                await self._arrived.wait()
            if patience.cancelled_caught and not self._queue:
                state = "delivers nothing" if recording.is_active() else "has stopped"
                reason = f"{recording.device.name!r} {state} (for {self._stall_s:g} s); was it unplugged?"
                raise MicrophoneUnavailable(reason=reason)

    def _wake(self) -> None:
        self._arrived.set()

    def _started(self) -> Recording:
        if self._recording is None:
            msg = "a Microphone is made by open_microphone"
            raise RuntimeError(msg)
        return self._recording


@asynccontextmanager
async def open_microphone(
    rate_hz: int,
    *,
    device: str | int | None = None,
    block_s: float = 0.05,
    queue_s: float = 10.0,
    stall_s: float = 3.0,
) -> AsyncIterator[Microphone]:
    """Record during the context.

    Parameters
    ----------
    rate_hz
        The rate of the blocks; the device records at its own.
    device
        Index, name, or a part of the name in any case; None for the system's default.
    block_s
        How often the sound card hands over.
    queue_s
        How much waits at most for a slow reader; beyond it the oldest is dropped and counted.
    stall_s
        Silence is blocks of zeros; no block for this long means that the device is gone.

    Entering blocks no other task and, because PortAudio cannot be interrupted, is not cancelled before the device has
    opened or refused.  Leaving gives a dead device three seconds to close and then leaves it behind.

    Raises
    ------
    MicrophoneUnavailable
        PyAudio, PortAudio or the device is missing, or it does not open.
    """
    microphone = Microphone(rate_hz, max(round(queue_s / block_s), 1), stall_s)
    recording = await trio.to_thread.run_sync(start_recording, device, block_s, microphone.take)
    microphone.attach(recording)
    try:
        yield microphone
    finally:
        with trio.move_on_after(_CLOSE_S, shield=True):
            await trio.to_thread.run_sync(recording.close, abandon_on_cancel=True)
