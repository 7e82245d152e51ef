"""The sound devices of this machine through PyAudio: found, described, opened.  Everything here blocks for a while."""

from __future__ import annotations

import ctypes
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from dejavud.audio.jack_locks import clear_dead_locks
from dejavud.errors import DeviceNotFound, MicrophoneUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOCK = threading.Lock()
"""PortAudio is one for the whole process and not to be entered by two threads; hence one lock for the process."""
_LOCK_S = 10.0

_RATES_HZ = (48_000, 44_100, 32_000, 16_000)
"""Tried in turn on a device that does not open at its own default rate."""
_MAX_CHANNELS = 2
"""A PulseAudio device claims 32; the first two are where a microphone is."""

_NO_PYAUDIO = (
    "PyAudio is not installed; type: apt install gcc python3-dev portaudio19-dev && pip install pyaudio "
    "(in the environment that dejavud runs in)"
)
_NO_PORTAUDIO = "the PortAudio library is missing ({error}); type: apt install libportaudio2"
_NO_ALSA_LIBRARY = "the ALSA library is missing ({error}); type: apt install libasound2-plugins (which brings it, and PulseAudio's part in it)"
_NO_DEVICE = (
    "this machine has no audio input; plug in a microphone, or see with 'arecord -L' whether the daemon's user may use "
    "the one there is (group audio, or the PulseAudio or PipeWire session of the user who is logged in)"
)
_NO_ALSA = (
    "ALSA is not configured on this machine; type: apt install libasound2-data, or see what ALSA_CONFIG_PATH names"
)


@dataclass(frozen=True, slots=True)
class Device:
    """A device that sound can be recorded from.

    index, name : PortAudio's; either chooses the device.
    n_channels : how many it is recorded with.
    rate_hz : its own rate.
    """

    index: int
    name: str
    n_channels: int
    rate_hz: int
    is_default: bool


class Callback(Protocol):
    """Takes what was recorded, on PortAudio's thread; must not block."""

    def __call__(self, data: bytes, *, overrun: bool) -> bool:
        """Take interleaved float32, and whether audio was lost before it; return whether to go on."""
        ...


@dataclass(frozen=True, slots=True)
class Recording:
    """A stream that records until it is closed."""

    device: Device
    rate_hz: int
    is_active: Callable[[], bool]
    close: Callable[[], None]


def list_devices() -> tuple[Device, ...]:
    """Return the devices that can record, in PortAudio's order; empty where there are none.

    Raises
    ------
    MicrophoneUnavailable
        PyAudio or PortAudio is missing.
    """
    with _locked(), _portaudio() as audio:
        return _devices(audio)


def start_recording(device: str | int | None, block_s: float, callback: Callback) -> Recording:
    """Open a device, at its own rate or, failing that, a usual one, and record in blocks of `block_s` seconds.

    device : its index, its name or a part of the name in any case, None for the default.

    Raises
    ------
    MicrophoneUnavailable
        PyAudio, PortAudio or the device is missing, or it does not open.
    """
    with _locked():
        audio = _initialize()
        try:
            chosen = _choose(_devices(audio), device)
            return _open(audio, chosen, block_s, callback)
        except BaseException:
            audio.terminate()
            raise


@contextmanager
def _locked() -> Iterator[None]:
    if not _LOCK.acquire(timeout=_LOCK_S):
        raise MicrophoneUnavailable(reason=f"PortAudio has not answered for {_LOCK_S:g} s; restart the daemon")
    try:
        yield
    finally:
        _LOCK.release()


@contextmanager
def _portaudio() -> Iterator[Any]:
    audio = _initialize()
    try:
        yield audio
    finally:
        audio.terminate()


def _pyaudio() -> Any:  # noqa: ANN401  # PyAudio has no types
    """Import PyAudio, which not every machine can build, only when a microphone is asked for."""
    try:
        return import_module("pyaudio")
    except ModuleNotFoundError as error:
        raise MicrophoneUnavailable(reason=_NO_PYAUDIO) from error
    except (
        ImportError
    ) as error:  # its extension does not find libportaudio.so, or that, where it came with us, libasound.so
        reason = _NO_ALSA_LIBRARY if "libasound" in str(error) else _NO_PORTAUDIO
        raise MicrophoneUnavailable(reason=reason.format(error=error)) from error


def _initialize() -> Any:  # noqa: ANN401
    pyaudio = _pyaudio()
    _silence_libraries()
    if not _alsa_is_configured():
        raise MicrophoneUnavailable(reason=_NO_ALSA)
    clear_dead_locks()
    try:
        return pyaudio.PyAudio()
    except OSError as error:
        raise MicrophoneUnavailable(reason=f"PortAudio does not start ({_explain(error)})") from error


def _devices(audio: Any) -> tuple[Device, ...]:  # noqa: ANN401
    try:
        default = audio.get_default_input_device_info()["index"]
    except OSError:  # there is none, or the system names none
        default = None
    infos = [audio.get_device_info_by_index(index) for index in range(audio.get_device_count())]
    return tuple(
        Device(
            index=int(info["index"]),
            name=str(info["name"]),
            n_channels=min(int(info["maxInputChannels"]), _MAX_CHANNELS),
            rate_hz=round(info["defaultSampleRate"]),
            is_default=info["index"] == default,
        )
        for info in infos
        if info["maxInputChannels"] > 0
    )


def _choose(devices: tuple[Device, ...], wanted: str | int | None) -> Device:
    if not devices:
        raise MicrophoneUnavailable(reason=_NO_DEVICE)
    if wanted is None:
        return next((device for device in devices if device.is_default), devices[0])
    text = str(wanted).casefold()
    for fits in (
        lambda device: str(device.index) == text,
        lambda device: device.name.casefold() == text,
        lambda device: text in device.name.casefold(),
    ):
        if found := next(filter(fits, devices), None):
            return found
    known = ", ".join(f"{device.index}: {device.name!r}" for device in devices)
    raise DeviceNotFound(reason=f"no input device is called {wanted!r} or has that number; there are {known}")


def _open(audio: Any, device: Device, block_s: float, callback: Callback) -> Recording:  # noqa: ANN401
    pyaudio = _pyaudio()

    def on_block(data: bytes, _n_frames: int, _time: object, status: int) -> tuple[None, int]:
        go_on = callback(data, overrun=bool(status & pyaudio.paInputOverflow))
        return None, pyaudio.paContinue if go_on else pyaudio.paAbort

    refusal: OSError | None = None
    for rate_hz in dict.fromkeys((device.rate_hz, *_RATES_HZ)):
        try:
            stream = audio.open(
                rate=rate_hz,
                channels=device.n_channels,
                format=pyaudio.paFloat32,
                input=True,
                input_device_index=device.index,
                frames_per_buffer=round(block_s * rate_hz),
                stream_callback=on_block,
            )
        except OSError as error:
            refusal = refusal or error
        else:
            return Recording(device, rate_hz, stream.is_active, partial(_close, audio, stream))
    reason = f"{device.name!r} does not open ({_explain(refusal)}); another program may hold it"
    raise MicrophoneUnavailable(reason=reason) from refusal


def _close(audio: Any, stream: Any) -> None:  # noqa: ANN401
    with _locked():
        try:
            stream.close()
        finally:
            audio.terminate()


def _explain(error: OSError | None) -> str:
    """Return PortAudio's words: PyAudio puts them where an OSError has its message, or its number, or alone."""
    return (
        next((str(part) for part in reversed(error.args) if isinstance(part, str)), "no reason given") if error else ""
    )


def _alsa_is_configured() -> bool:
    """Return whether ALSA knows the name of any device, working or not.

    Where it knows none, its configuration being away, PortAudio fails an assertion, which ends the whole process.
    """
    try:
        alsa = ctypes.CDLL("libasound.so.2")
    except OSError:  # another system, another sound library
        return True
    if alsa.snd_config_update() < 0:
        return False
    top, devices = ctypes.c_void_p.in_dll(alsa, "snd_config"), ctypes.c_void_p()
    return bool(alsa.snd_config_search(top, b"pcm", ctypes.byref(devices)) >= 0)


# -- quiet ----------------------------------------------------------------------------------------------------------


def _ignore(*_: object) -> None:
    """Drop a message of a C library."""


_ON_MESSAGE = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(_ignore)
_ON_ALSA_ERROR = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)(
    _ignore
)
"""Callable from C for as long as the process runs: the libraries keep the pointers."""


def _silence_libraries() -> None:
    """Keep ALSA and JACK, which PortAudio asks about devices that most machines lack, from writing to the terminal."""
    with suppress(OSError, AttributeError):  # not installed: nothing to silence
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_ON_ALSA_ERROR)
    with suppress(OSError, AttributeError):
        jack = ctypes.CDLL("libjack.so.0")
        jack.jack_set_error_function(_ON_MESSAGE)
        jack.jack_set_info_function(_ON_MESSAGE)
