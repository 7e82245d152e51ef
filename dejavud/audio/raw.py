"""Raw PCM, as it comes in pieces of any length, as mono blocks at the engine's rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.audio.pcm import Chunk, Resampler, mono
from dejavud.audio.pcm_format import DTYPES
from dejavud.errors import UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from dejavud.audio.pcm_format import PcmFormat

_READ_BYTES = 1 << 16
_LOUDEST = 100.0
"""Floats are nominally within 1; where a quarter is beyond 40 dB above that, they are no floats: of noise, half."""


def raw_blocks(
    read: Callable[[int], bytes], pcm: PcmFormat, *, name: str, rate_hz: int
) -> Iterator[NDArray[np.float32]]:
    """Yield what `read` gives until it gives nothing, float32 [n] mono blocks at `rate_hz`, none empty.

    read : returns up to so many bytes as soon as there are any, none at the end.  A frame that is cut short by the end is dropped.

    Raises `UnsupportedAudio` where samples that should be floats are none.
    """
    resampler, rest = Resampler(rate_hz), b""
    while data := read(_READ_BYTES):
        data = rest + data
        whole = len(data) - len(data) % pcm.frame_bytes
        rest = data[whole:]
        if not whole:
            continue
        block = resampler.feed(Chunk(mono(_channels(data[:whole], pcm, name)), pcm.rate_hz))
        if len(block):
            yield block
    if len(block := resampler.finish()):
        yield block


def _channels(data: bytes, pcm: PcmFormat, name: str) -> list[NDArray[Any]]:
    """Return the channels of `data`, whole frames, each [n]."""
    if pcm.sample_bytes == 3:  # noqa: PLR2004 - of which numpy has no type
        packed = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(packed), 4), np.uint8)
        wide[:, 1:] = packed if pcm.encoding == "s24le" else packed[:, ::-1]
        samples: NDArray[Any] = wide.view("<i4")[:, 0]
    else:
        samples = np.frombuffer(data, DTYPES[pcm.encoding])
    if samples.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            n_sound = np.count_nonzero(np.abs(samples) < _LOUDEST)
        if 4 * n_sound < 3 * len(samples):
            reason = f"what comes are no samples of {pcm.encoding}; is it another format, or sound that is encoded?"
            raise UnsupportedAudio(source=name, reason=reason)
    return [samples[channel :: pcm.n_channels] for channel in range(pcm.n_channels)]
