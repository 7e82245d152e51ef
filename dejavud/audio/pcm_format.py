"""Raw PCM as one names it, ``s16le:48000:2``; and what is no raw PCM by how it begins.

Light: the daemon imports it, and no numpy with it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dejavud.errors import UnsupportedAudio

DTYPES = {
    "u8": "u1",
    "s8": "i1",
    "s16le": "<i2",
    "s16be": ">i2",
    "s24le": "",
    "s24be": "",
    "s32le": "<i4",
    "s32be": ">i4",
    "f32le": "<f4",
    "f32be": ">f4",
    "f64le": "<f8",
    "f64be": ">f8",
}
"""FFmpeg's names, and numpy's type of the same; it has none of three bytes."""
MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHANNELS = 4_000, 384_000, 8

_AU_CODES = {"s8": 2, "s16be": 3, "s24be": 4, "s32be": 5, "f32be": 6, "f64be": 7}
_ENDLESS = 0xFFFFFFFF
"""The length that both formats give to what is still being written."""

_HEADS = (
    (b"RIFF", "a wav file"),
    (b"RF64", "a wav file"),
    (b"OggS", "an Ogg stream"),
    (b"fLaC", "a FLAC stream"),
    (b"ID3", "an mp3 stream"),
    (b"FORM", "an AIFF file"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM stream"),
    (b"caff", "a CAF file"),
    (b".snd", "an AU file"),
)


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """What raw samples are: interleaved, of a type of `DTYPES`.  Raises `ValueError`, with what would be right."""

    encoding: str = "s16le"
    rate_hz: int = 48_000
    n_channels: int = 2

    def __post_init__(self) -> None:
        if self.encoding not in DTYPES:
            msg = f"{self.encoding!r} is no format of samples; there are {', '.join(DTYPES)}"
            raise ValueError(msg)
        if not MIN_RATE_HZ <= self.rate_hz <= MAX_RATE_HZ:
            msg = f"a rate is {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, not {self.rate_hz}"
            raise ValueError(msg)
        if not 1 <= self.n_channels <= MAX_CHANNELS:
            msg = f"there are 1 to {MAX_CHANNELS} channels, not {self.n_channels}"
            raise ValueError(msg)

    @classmethod
    def parse(cls, text: str) -> PcmFormat:
        """Return the format that ``[ENCODING[:RATE[:CHANNELS]]]`` names; what is left out is s16le, 48000 and 2."""
        encoding, rate, channels, *more = [*text.split(":"), "", "", ""]
        if any(more):
            msg = f"{text[:80]!r} has too many parts; it is ENCODING:RATE:CHANNELS, such as s16le:48000:2"
            raise ValueError(msg)
        for number in (rate, channels):
            if number and not (number.isascii() and number.isdigit() and len(number) < 10):  # noqa: PLR2004 - more is no rate
                msg = f"{number[:20]!r} is no whole number; it is ENCODING:RATE:CHANNELS, such as s16le:48000:2"
                raise ValueError(msg)
        default = cls()
        return cls(encoding or default.encoding, int(rate or default.rate_hz), int(channels or default.n_channels))

    @property
    def sample_bytes(self) -> int:
        """Return how long one sample of one channel is."""
        return int(self.encoding.strip("usflbe")) // 8

    @property
    def frame_bytes(self) -> int:
        """Return how long one sample of all channels is."""
        return self.sample_bytes * self.n_channels

    @property
    def bytes_per_s(self) -> int:
        """Return how much a second is."""
        return self.frame_bytes * self.rate_hz

    @property
    def shown(self) -> str:
        """Return it for people."""
        channels = "mono" if self.n_channels == 1 else f"{self.n_channels} channels"
        return f"raw {self.encoding}, {channels} at {self.rate_hz} Hz"

    @property
    def header(self) -> bytes:
        """Return what makes a file of samples that follow it, however many: an AU file's where a wav file knows no such samples."""
        n_bits = 8 * self.sample_bytes
        if self.encoding in _AU_CODES:
            return struct.pack(">4s5I", b".snd", 24, _ENDLESS, _AU_CODES[self.encoding], self.rate_hz, self.n_channels)
        kind = 3 if self.encoding.startswith("f") else 1
        form = struct.pack("<HHIIHH", kind, self.n_channels, self.rate_hz, self.bytes_per_s, self.frame_bytes, n_bits)
        head = struct.pack("<4sI4s4sI", b"RIFF", _ENDLESS, b"WAVE", b"fmt ", len(form))
        return head + form + struct.pack("<4sI", b"data", _ENDLESS)

    def check_raw(self, head: bytes, source: str) -> None:
        """Raise `UnsupportedAudio` where sound that begins with `head` is plainly no raw sound."""
        if (kind := container_of(head)) is not None:
            reason = f"this is {kind}, and raw samples ({self.encoding}) are wanted: decode it first, as by `ffmpeg -i … -f {self.encoding} -`"
            raise UnsupportedAudio(source=source, reason=reason)


def container_of(head: bytes) -> str | None:
    """Return what bytes that begin with `head` are, where that is no raw PCM."""
    if head[4:8] == b"ftyp":
        return "an MP4 file"
    return next((kind for mark, kind in _HEADS if head.startswith(mark)), None)
