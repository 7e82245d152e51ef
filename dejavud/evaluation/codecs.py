"""There and back through a codec, in memory, by the FFmpeg that comes with PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np

from dejavud.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from av.audio.codeccontext import AudioCodecContext
    from numpy.typing import NDArray

    Samples = NDArray[Any]

SPEECH_HZ = 8_000
_SPEECH_DELAY = 40
"""Samples, 5 ms: how much later the speech codec's sound comes out; mp3's own delay is taken off by the decoder."""
_MU = 255.0


def through_mp3(samples: Samples, rate_hz: int, bit_rate: int) -> Samples:
    """Return `samples` as an mp3 of `bit_rate` bits a second has them, in their place and at their length.

    Raises `InvalidRequest` where this machine's PyAV cannot encode mp3.
    """
    if not has_encoder("libmp3lame"):
        raise InvalidRequest(
            reason="mp3_64k cannot be made here: this PyAV has no mp3 encoder; leave it out of --conditions"
        )
    encoder = _opened("libmp3lame", "fltp", rate_hz, bit_rate)
    decoded = _decoded(encoder, "mp3float", samples.astype(np.float32))
    return _at_length(decoded.astype(np.float64), len(samples))


def through_speech_codec(samples: Samples) -> Samples:
    """Return `samples`, mono at `SPEECH_HZ`, as a mobile phone's codec has them; as a landline's where PyAV lacks the former."""
    if not has_encoder("libopencore_amrnb"):
        return through_companding(samples)
    encoder = _opened("libopencore_amrnb", "s16", SPEECH_HZ, 12_200)
    pcm = np.round(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
    decoded = _decoded(encoder, "amrnb", pcm)
    scale = 32768.0 if decoded.dtype == np.int16 else 1.0
    return _at_length(decoded[_SPEECH_DELAY:] / scale, len(samples))


def through_companding(samples: Samples) -> Samples:
    """Return `samples` in the 8 bits of G.711's mu-law, as a landline carries them."""
    clipped = np.clip(samples, -1.0, 1.0)
    companded = np.sign(clipped) * np.log1p(_MU * np.abs(clipped)) / np.log1p(_MU)
    levels = np.round(companded * 127) / 127
    return np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(_MU)) / _MU


def speech_codec_name() -> str:
    """Return which codec stands for the telephone on this machine."""
    return (
        "AMR-NB at 12.2 kbit/s (GSM EFR)" if has_encoder("libopencore_amrnb") else "G.711, as PyAV here has no AMR-NB"
    )


def has_encoder(name: str) -> bool:
    """Tell whether this machine's PyAV can encode with `name`."""
    return name in av.codec.codecs_available and av.codec.Codec(name, "w").is_encoder


def _opened(name: str, sample_format: str, rate_hz: int, bit_rate: int) -> AudioCodecContext:
    encoder = _context(name, "w")
    encoder.sample_rate, encoder.bit_rate, encoder.time_base = rate_hz, bit_rate, Fraction(1, rate_hz)
    encoder.layout, encoder.format = "mono", sample_format
    encoder.open()
    return encoder


def _context(name: str, mode: Literal["r", "w"]) -> AudioCodecContext:
    return cast("AudioCodecContext", av.CodecContext.create(name, mode))


def _decoded(encoder: AudioCodecContext, decoder_name: str, samples: Samples) -> Samples:
    """Return what comes back: [n], in the decoder's own sample format."""
    decoder = _context(decoder_name, "r")
    decoder.sample_rate, decoder.layout = encoder.sample_rate, "mono"
    packets = [packet for frame in _frames(encoder, samples) for packet in encoder.encode(frame)]
    packets += encoder.encode(None)
    return np.concatenate([frame.to_ndarray()[0] for packet in (*packets, None) for frame in decoder.decode(packet)])


def _frames(encoder: AudioCodecContext, samples: Samples) -> Iterator[av.AudioFrame]:
    for first in range(0, len(samples), encoder.frame_size):
        block = np.ascontiguousarray(samples[np.newaxis, first : first + encoder.frame_size])
        frame = av.AudioFrame.from_ndarray(block, format=encoder.format.name, layout="mono")
        frame.sample_rate, frame.pts = encoder.sample_rate, first
        yield frame


def _at_length(samples: Samples, n_samples: int) -> Samples:
    """Return `samples`, cut or filled up with silence to `n_samples`."""
    return np.pad(samples[:n_samples], (0, max(0, n_samples - len(samples))))
