from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from synthetic import synthesize

from dejavud.audio.decode import open_audio

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 48_000


def _ac3(path: Path) -> bytes:
    """Return four seconds of music as a bare AC-3 stream."""
    samples = np.stack([synthesize(1, 4.0, RATE_HZ)] * 2)
    with av.open(str(path), "w", format="ac3") as out:
        stream = out.add_stream("ac3", rate=RATE_HZ, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = RATE_HZ
        fifo = av.AudioFifo()
        fifo.write(frame)
        for part in fifo.read_many(1536):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path.read_bytes()


def test_compressed_audio_that_a_wav_says_is_pcm_is_decoded_as_what_it_is(tmp_path: Path) -> None:
    """AC-3 under the header of a wav is music, not the noise that its bytes are as samples."""
    wav = tmp_path / "output.wav"
    with wave.open(str(wav), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(_ac3(tmp_path / "output"))
    with open_audio(wav, name="output.wav", rate_hz=8000) as reader:
        heard = np.concatenate(list(reader))
    assert reader.info.codec == "ac3"
    assert len(heard) / 8000 == pytest.approx(4.0, abs=0.1)
