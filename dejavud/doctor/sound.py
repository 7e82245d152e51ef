"""Whether audio can be decoded and recorded here."""

from __future__ import annotations

import math
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dejavud.audio.decode import open_audio
from dejavud.audio.portaudio import list_devices, start_recording
from dejavud.doctor.tones import TONE_HZ, TONE_S, samples
from dejavud.errors import DejavudError, MicrophoneUnavailable
from dejavud.wire.findings import FAIL, OK, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RATE_HZ = 8000
_MUST_DECODE = frozenset({"wav", "flac", "mp3", "ogg"})
_OFF_HZ, _OFF_S = 15.0, 0.2
"""How far a decoded tone may be off: a lossy codec fills up its first and last frames."""
LISTEN_S = 0.5
_SILENT_DB = -90.0
"""Of full scale: below it a microphone is switched off or muted; the quietest room is louder."""
_REINSTALL = "pip install --force-reinstall av soxr"


def codecs() -> Iterator[Finding]:
    """Yield for all formats together whether their decoders give back a tone, and for each that does not, why."""
    files, broken = {"wav": _wav(), **samples()}, []
    with tempfile.TemporaryDirectory(prefix="dejavud-doctor-") as folder:
        for extension, data in files.items():
            path = Path(folder, f"tone.{extension}")
            path.write_bytes(data)
            why = _heard_wrong(path)
            if why:
                broken.append(extension)
                state = FAIL if extension in _MUST_DECODE else WARN
                yield Finding(f"decode {extension}", state, why, _REINSTALL)
    good = ", ".join(extension for extension in files if extension not in broken)
    if good:
        yield Finding("codecs", OK, f"{good} are decoded")


def _heard_wrong(path: Path) -> str:
    """Return what is wrong with the tone that a file gives; empty where nothing is."""
    try:
        with open_audio(path, name=path.name, rate_hz=RATE_HZ) as reader:
            tone = np.concatenate([np.empty(0, np.float32), *reader])
    except DejavudError as error:
        return error.message
    return _no_tone(tone)


def _no_tone(tone: NDArray[np.float32]) -> str:
    duration_s = len(tone) / RATE_HZ
    if abs(duration_s - TONE_S) > _OFF_S:
        return f"a tone of {TONE_S:g} s is decoded as one of {duration_s:.2f} s"
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone)), 1 << 14))
    heard_hz = float(np.argmax(spectrum)) * RATE_HZ / (1 << 14)
    return (
        "" if abs(heard_hz - TONE_HZ) <= _OFF_HZ else f"a tone of {TONE_HZ:g} Hz is decoded as one of {heard_hz:.0f} Hz"
    )


def _wav() -> bytes:
    tone = (10_000 * np.sin(2 * np.pi * TONE_HZ * np.arange(round(TONE_S * RATE_HZ)) / RATE_HZ)).astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + len(tone), b"WAVE") + form + struct.pack("<4sI", b"data", len(tone)) + tone
    )


def microphone(*, wanted: bool) -> Iterator[Finding]:
    """Yield whether a microphone is there and gives sound; where none is `wanted`, to have none is no trouble."""
    bad = WARN if wanted else OK
    try:
        devices = list_devices()
        if not devices:
            start_recording(None, LISTEN_S, _take_nothing)  # says why not
    except MicrophoneUnavailable as error:
        said, _, mend = str(error.details["reason"]).partition("; type: ")
        mend = mend or "arecord -L; groups | grep audio; dejavuctl devices"
        yield Finding("microphone", bad, said, mend if wanted else "")
        return
    chosen = next((device for device in devices if device.is_default), devices[0])
    others = f", and {len(devices) - 1} more" if len(devices) > 1 else ""
    try:
        level_db = _level_db()
    except MicrophoneUnavailable as error:
        yield Finding("microphone", bad, str(error.details["reason"]), "fuser -v /dev/snd/*; end what holds it")
        return
    if level_db is None or level_db < _SILENT_DB:
        said = f"{chosen.name!r}{others}: it gives nothing but silence"
        yield Finding(
            "microphone",
            WARN,
            said,
            "alsamixer (F4; unmute and raise Capture), or: pactl set-source-mute @DEFAULT_SOURCE@ 0",
        )
        return
    yield Finding("microphone", OK, f"{chosen.name!r}{others}; its level is {level_db:.0f} dB of full scale")


def _take_nothing(data: bytes, *, overrun: bool) -> bool:  # noqa: ARG001 - a callback's form
    return False


def _level_db() -> float | None:
    """Return the level of half a second of the default microphone; None where nothing comes."""
    blocks: list[bytes] = []

    def take(data: bytes, *, overrun: bool) -> bool:  # noqa: ARG001
        blocks.append(data)
        return len(blocks) * LISTEN_S / 5 < LISTEN_S

    recording = start_recording(None, LISTEN_S / 5, take)
    try:
        patience_s = time.monotonic() + 4 * LISTEN_S
        while recording.is_active() and time.monotonic() < patience_s:
            time.sleep(LISTEN_S / 10)
    finally:
        recording.close()
    if not blocks:
        return None
    heard = np.frombuffer(b"".join(blocks), np.float32)
    power = float(np.mean(np.square(heard, dtype=np.float64)))
    return 10 * math.log10(power) if power > 0 else -math.inf
