"""What happens to music on its way to a microphone or through a codec, from fixed seeds; samples at 44.1 kHz."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from dejavud.audio.clip import write_wav

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Samples = NDArray[Any]

RATE_HZ = 44_100


def with_pink_noise(samples: Samples, snr_db: float, rng: np.random.Generator) -> Samples:
    """Return `samples` under noise of as much power in every octave, `snr_db` below them in all."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(samples))
    wanted = np.mean(samples**2) * 10 ** (-snr_db / 10)
    return samples + noise * np.sqrt(wanted / np.mean(noise**2))


def in_a_room(samples: Samples, rng: np.random.Generator) -> Samples:
    """Return `samples` as a small loudspeaker plays them into a room that takes half a second to fall silent.

    Direct sound and reverberation, which is noise that decays by 60 dB, arrive with equal energy.
    """
    played = sosfilt(butter(2, (300, 7000), "bandpass", fs=RATE_HZ, output="sos"), samples)
    n_decay = RATE_HZ // 2
    response = rng.standard_normal(n_decay) * 10 ** (-3 * np.arange(n_decay) / n_decay)
    response[: RATE_HZ // 300] = 0.0  # the first wall is a metre away
    response /= np.sqrt(np.sum(response**2))
    response[0] = 1.0
    return fftconvolve(played, response)[: len(samples)]


def save_wav(path: Path, samples: Samples) -> None:
    """Write `samples`, turned down where they are too loud for it, as a 16-bit wav file."""
    write_wav(path, samples * (0.9 / max(1.0, float(np.abs(samples).max()))), RATE_HZ)


def save_mp3(path: Path, samples: Samples, bit_rate: int = 64_000) -> None:
    """Write `samples` as an mp3 file, mono."""
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None, :], format="fltp", layout="mono")
    frame.sample_rate = RATE_HZ
    with av.open(str(path), "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=RATE_HZ, layout="mono")
        stream.bit_rate = bit_rate
        for part in _in_frames(frame, stream.codec_context.frame_size or 1152):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))


def _in_frames(frame: av.AudioFrame, n_samples: int) -> list[av.AudioFrame]:
    """Return `frame` in parts as long as the encoder takes them; the last may be shorter."""
    fifo = av.AudioFifo()
    fifo.write(frame)
    parts = fifo.read_many(n_samples)
    rest = fifo.read()
    return [*parts, rest] if rest else parts
