"""The machine's microphones: whether there is one, and one take from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import trio

from dejavud.errors import MicrophoneUnavailable
from dejavud.services import listen_jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Sequence
    from contextlib import AbstractAsyncContextManager

    from dejavud.fingerprint.params import Params
    from dejavud.services.commands import Progress
    from dejavud.services.listen_jobs import Sound
    from dejavud.services.workers import Workers
    from dejavud.values import Array

    Record = Callable[[str | int | None, int], Generator[Array]]

_LOOK_AGAIN_S = 60.0
"""How long an answer to whether there is a microphone is good for: asking the sound system takes a tenth of a second."""


class Microphones:
    """Listens when asked, and not otherwise.

    rate_hz : of what `take` gives.
    record : `dejavud.services.listen_jobs.record` or its like, for a worker.
    list_devices : returns the devices that can record; blocks, and raises `MicrophoneUnavailable`.
    """

    def __init__(
        self,
        workers: Workers,
        rate_hz: int,
        *,
        list_devices: Callable[[], Sequence[Any]],
        record: Record = listen_jobs.record,
    ) -> None:
        self._workers = workers
        self._rate_hz = rate_hz
        self._record = record
        self._list_devices = list_devices
        self._reason = ""
        self._looked_at_s = float("-inf")

    async def unavailable(self) -> str:
        """Return why there is no microphone, empty when there is one; as it was a minute ago at most."""
        if trio.current_time() > self._looked_at_s + _LOOK_AGAIN_S:
            self._looked_at_s = trio.current_time()
            try:
                devices = await self._workers.thread(self._list_devices, abandon=True)
                self._reason = "" if devices else "no device of this machine can record"
            except MicrophoneUnavailable as error:
                self._reason = str(error.details["reason"])
        return self._reason

    def look_again(self) -> None:
        """Have the next question asked of the sound system: something has changed."""
        self._looked_at_s = float("-inf")

    async def devices(self) -> Sequence[Any]:
        """Return the devices that can record, as `list_devices` does now; raises `MicrophoneUnavailable`."""
        return await self._workers.thread(self._list_devices, abandon=True)

    async def take(self, duration_s: float, device: str | int | None, progress: Progress) -> Array:
        """Return `duration_s` of what is heard from now on: float32 [n], mono, at the engine's rate.

        Tells the progress once a second.  Raises `MicrophoneUnavailable`.
        """
        wanted = round(duration_s * self._rate_hz)
        blocks: list[Array] = []
        n_samples = n_told_s = 0
        async with self._workers.stream(self._record, device, self._rate_hz, what="microphone") as heard:
            async for block in heard:
                blocks.append(block)
                n_samples += len(block)
                if n_samples >= wanted:
                    break
                if n_samples >= (n_told_s + 1) * self._rate_hz:
                    n_told_s = n_samples // self._rate_hz
                    await progress(done_s=float(n_told_s), total_s=duration_s)
        return np.concatenate(blocks)[:wanted]

    def following(
        self, device: str | int | None, params: Params, silence_db: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Array | Sound]]:
        """Give what is heard from now on, and second by second what is made of it; raises `MicrophoneUnavailable`."""
        return self._workers.stream(listen_jobs.follow, self._record, device, params, silence_db, what="microphone")
