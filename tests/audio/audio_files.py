"""Audio files of every kind, made on the spot from synthetic music."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np
import soundfile
import soxr

from dejavud.audio.decode import AudioReader, open_audio

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

RATE_HZ = 8000


def encode(
    path: Path,
    samples: NDArray[Any],
    rate_hz: int,
    codec: str,
    *,
    sample_format: str | None = None,
    container: str | None = None,
    bit_rate: int | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Encode `samples`, float [n] or [n, n_channels] in [-1, 1], to the file at `path` and return its path."""
    if codec == "vorbis":  # FFmpeg's own encoder of it is an experiment; libsndfile's is the real one
        soundfile.write(path, samples, rate_hz, format="OGG", subtype="VORBIS")
        return path
    channels = (samples if samples.ndim == 2 else samples[:, np.newaxis]).astype(np.float64)
    layout = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}[channels.shape[1]]
    with av.open(str(path), "w", format=container) as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(codec, rate=rate_hz, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        if sample_format:
            stream.codec_context.format = av.AudioFormat(sample_format)
        step = stream.codec_context.frame_size or 4096
        for start in range(0, len(channels), step):
            frame = _frame(channels[start : start + step], layout, stream.codec_context.format.name)
            frame.sample_rate, frame.pts = rate_hz, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _frame(channels: NDArray[Any], layout: str, sample_format: str) -> av.AudioFrame:
    kind = sample_format.removesuffix("p")
    dtype = np.dtype({"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}[kind])
    if dtype.kind == "u":
        pcm = np.round(channels * 127 + 128)
    elif dtype.kind == "i":
        pcm = np.round(channels * (2.0 ** (8 * dtype.itemsize - 1) - 1))
    else:
        pcm = channels
    rows = np.ascontiguousarray(pcm.T if kind != sample_format else pcm.reshape(1, -1), dtype)
    frame = av.AudioFrame(sample_format, layout, len(channels))
    for plane, row in zip(frame.planes, rows, strict=False):
        plane.update(row.tobytes())
    return frame


def expected(samples: NDArray[Any], rate_hz: int) -> Samples:
    """Return what decoding should give: the channels' mean, resampled in one piece."""
    mean = samples.reshape(len(samples), -1).mean(axis=1).astype(np.float32)
    return soxr.resample(mean, rate_hz, RATE_HZ) if rate_hz != RATE_HZ else mean


def decode(path: Path, **options: Any) -> tuple[Samples, AudioReader]:  # noqa: ANN401 - those of open_audio
    """Return all that the file at `path` gives, and the reader it came from."""
    with open_audio(path, **{"name": path.name, "rate_hz": RATE_HZ, **options}) as reader:
        blocks = list(reader)
    assert all(block.dtype == np.float32 and block.ndim == 1 and len(block) for block in blocks)
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32), reader


def likeness(heard: Samples, original: Samples) -> float:
    """Return the greatest normalized correlation of the two over all shifts within 0.2 s: 1 for the same sound."""
    n = min(len(heard), len(original)) - 1600
    core = original[800 : 800 + n]
    lags = np.correlate(heard[: n + 1600], core, "valid") if n < 20000 else _fft_lags(heard[: n + 1600], core)
    at = int(np.argmax(lags))
    return float(lags[at] / (np.linalg.norm(core) * np.linalg.norm(heard[at : at + n]) + 1e-12))


def _fft_lags(heard: Samples, core: Samples) -> NDArray[Any]:
    size = 1 << int(np.ceil(np.log2(len(heard) + len(core))))
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(core, size))
    return np.fft.irfft(spectrum)[: len(heard) - len(core) + 1]
