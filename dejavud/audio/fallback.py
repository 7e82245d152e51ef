"""What our own FFmpeg libraries lack, through the ffmpeg program of this machine, where there is one."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.audio.container import AudioInfo
from dejavud.audio.pcm import Chunk, mono
from dejavud.audio.source import suffix_of
from dejavud.errors import UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.audio.pcm import Mix

_WINDOW_S = 120
"""pydub holds what it decodes several times over (wav, copy, segment): 2 minutes of 32-bit stereo are 46 MB each."""
_MAX_DURATION_S = 3600
"""A tune that loops without end is cut here."""

_CHIP_MUSIC = {
    "libopenmpt": {"mod", "xm", "s3m", "it", "mptm", "stm", "mtm", "669", "med", "okt", "ult", "umx", "mo3", "far"},
    "libgme": {"nsf", "nsfe", "spc", "gbs", "vgm", "vgz", "gym", "hes", "kss", "ay", "sap"},
}
_READ_BY_PYDUB = {"wav", "raw", "pcm"}
"""Names at which pydub does not ask ffmpeg but believes the header, or none."""
_DTYPES = {1: "i1", 2: "<i2", 4: "<i4"}


def chip_music_demuxer(name: str) -> str | None:
    """Return the demuxer of ffmpeg for the tracker or console music that `name` ends like, None for other names."""
    suffix = suffix_of(name)
    return next((demuxer for demuxer, suffixes in _CHIP_MUSIC.items() if suffix in suffixes), None)


class FfmpegDecoder:
    """Audio decoded by pydub with the machine's ffmpeg, in windows, so that memory stays bounded.

    demuxer : the only one that ffmpeg may use, so that a list of other files, whatever it is called, opens none; None
        where our own FFmpeg has already recognized the container and lacks but the codec.
    why : what our own FFmpeg said, for the error when there is no other.
    mix : as of `dejavud.audio.container.open_decoder`.

    Raises
    ------
    UnsupportedAudio
        This machine has no ffmpeg, or it fails as well.
    """

    def __init__(self, path: Path | str, name: str, *, demuxer: str | None, why: object, mix: Mix = mono) -> None:
        if suffix_of(name) in _READ_BY_PYDUB or suffix_of(str(path)) in _READ_BY_PYDUB:
            raise UnsupportedAudio(source=name, reason=str(why))
        if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
            reason = f"{why}; an ffmpeg on this machine might know it: install one (apt install ffmpeg) and try again"
            raise UnsupportedAudio(source=name, reason=reason)
        self.info = AudioInfo(demuxer or "unknown", "unknown", 0, 0, None)
        self.n_damaged_packets = 0
        self._path = str(Path(path).absolute())
        self._name = name
        self._demuxer = demuxer
        self._why = why
        self._mix = mix

    def chunks(self) -> Iterator[Chunk]:
        """Yield the audio in order, a window at a time, an hour at most."""
        for start_s in range(0, _MAX_DURATION_S, _WINDOW_S):
            segment = self._decode(start_s)
            if segment.sample_width not in _DTYPES:
                reason = f"{self._why}; ffmpeg decodes it to samples of {segment.sample_width} bytes"
                raise UnsupportedAudio(source=self._name, reason=reason)
            if start_s == 0:
                self.info = AudioInfo(self.info.container, "unknown", segment.frame_rate, segment.channels, None)
            # pydub gives Vorbis and its like 32 bits a sample, not the 16 that many a reader takes for granted.
            interleaved = np.frombuffer(segment.raw_data, _DTYPES[segment.sample_width])
            if len(interleaved):
                channels = [interleaved[channel :: segment.channels] for channel in range(segment.channels)]
                yield Chunk(self._mix(channels), segment.frame_rate)
            if len(interleaved) // segment.channels < (_WINDOW_S - 1) * segment.frame_rate:
                return

    def _decode(self, start_s: int) -> Any:  # noqa: ANN401  # pydub has no types
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydub's old-fashioned string escapes warn on newer Pythons
            import pydub  # noqa: PLC0415  # 50 ms that only this rare road pays
            from pydub.exceptions import CouldntDecodeError  # noqa: PLC0415
        # With a codec named pydub does not ask ffprobe, which could not be held to one demuxer.
        codec = "pcm_f32le" if self._demuxer else None
        try:
            return pydub.AudioSegment.from_file(
                self._path, format=self._demuxer, codec=codec, start_second=start_s, duration=_WINDOW_S
            )
        except (CouldntDecodeError, LookupError, ValueError, OSError) as error:
            reason = f"{self._why}; the ffmpeg of this machine cannot decode it either"
            raise UnsupportedAudio(source=self._name, reason=reason) from error
