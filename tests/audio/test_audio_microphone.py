"""The microphone, on a sound card made of software."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import trio
from synthetic import synthesize, write_wav

from dejavud.audio.microphone import Microphone, list_devices, open_microphone
from dejavud.audio.portaudio import Device, Recording
from dejavud.errors import MicrophoneUnavailable
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.microphones import Microphones

if TYPE_CHECKING:
    from fixtures_sound import SoundCard
    from numpy.typing import NDArray

RATE_HZ = 8000
ROOT = Path(__file__).parents[2]


def hear(microphone: Microphone, duration_s: float) -> NDArray[np.float32]:
    """Return what the microphone hears from the first sound on."""
    heard = np.empty(0, np.float32)
    for block in microphone:
        heard = np.concatenate([heard, block])
        if not len(heard) or np.abs(heard).max() < 0.01:
            heard = heard[-RATE_HZ:]
        elif len(heard) - int(np.argmax(np.abs(heard) >= 0.01)) >= duration_s * RATE_HZ:
            break
    return heard


def test_the_microphone_hears_what_is_played(sound_card: SoundCard, tmp_path: Path) -> None:
    """Music played into the card comes back as mono at the engine's rate, sample for sample but for the level."""
    music = synthesize(11, 6, 44100)
    path = write_wav(tmp_path / "music.wav", music)
    with open_microphone(RATE_HZ) as microphone, sound_card.playing(path):
        heard = hear(microphone, 4)
    original = synthesize(11, 6, RATE_HZ)[RATE_HZ : 3 * RATE_HZ]
    spectrum = np.fft.rfft(heard, 1 << 17) * np.conj(np.fft.rfft(original, 1 << 17))
    at = int(np.argmax(np.fft.irfft(spectrum)))
    found = heard[at : at + len(original)]
    assert len(found) == len(original)
    # Not 1: the drums of the synthesizer are other noise at another rate.
    assert np.corrcoef(found, original)[0, 1] > 0.8
    assert microphone.n_overruns == 0
    assert microphone.device.is_default


async def test_the_service_records_from_a_real_device(sound_card: SoundCard) -> None:
    """What answers `recognize_microphone` gets exactly the length it asks for from a device, and closes it."""
    assert sound_card.environment
    told: list[float] = []

    async def progress(*, done_s: float, total_s: float) -> None:
        told.append(done_s / total_s)

    microphones = Microphones(InlineWorkers(), RATE_HZ, list_devices=list_devices)
    with trio.fail_after(20):
        for _ in range(2):
            samples = await microphones.take(1.2, "tape", progress)
            assert len(samples) == 9600
    assert told == pytest.approx([1 / 1.2] * 2)
    assert await microphones.unavailable() == ""


def test_a_device_is_found_by_number_name_or_part_of_it(sound_card: SoundCard) -> None:
    """Index, whole name and any part of it in any case choose the same device; None the default."""
    assert sound_card.environment
    devices = list_devices()
    tape = next(device for device in devices if device.name == "tape")
    assert sum(device.is_default for device in devices) == 1
    assert all(device.n_channels in {1, 2} and device.rate_hz >= 8000 for device in devices)
    for wanted in (tape.index, str(tape.index), "tape", "TAP"):
        with open_microphone(RATE_HZ, device=wanted) as microphone:
            assert microphone.device.name == "tape"


def test_a_device_that_is_not_there_is_named_with_those_that_are(sound_card: SoundCard) -> None:
    """The error for a wrong name lists the right ones."""
    assert sound_card.environment
    with (
        pytest.raises(MicrophoneUnavailable, match=r"no input device is called 'gramophone'.*'tape'"),
        open_microphone(RATE_HZ, device="gramophone"),
    ):
        pass


def test_a_machine_without_devices_says_so(no_sound_card: None) -> None:
    """Where nothing can record, the error says that and what to look at; the list is empty."""
    assert no_sound_card is None
    assert list_devices() == ()
    with pytest.raises(MicrophoneUnavailable, match=r"no audio input.*arecord -L"), open_microphone(RATE_HZ):
        pass


def test_a_machine_without_alsa_configuration_says_so(tmp_path: Path) -> None:
    """Where ALSA knows no device at all, PortAudio would abort the process: an error comes first."""
    pytest.importorskip("pyaudio", reason="PyAudio is an extra", exc_type=ImportError)
    code = (
        "from dejavud.audio.portaudio import list_devices\n"
        "from dejavud.errors import MicrophoneUnavailable\n"
        "try: list_devices()\n"
        "except MicrophoneUnavailable as error: print(error)\n"
    )
    environment = {**os.environ, "ALSA_CONFIG_PATH": str(tmp_path / "missing")}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert result.returncode == 0
    assert b"ALSA is not configured" in result.stdout


def test_a_device_that_disappears_is_an_error_not_silence(sound_card: SoundCard) -> None:
    """When the card goes away the iteration ends in MicrophoneUnavailable within the stall time."""

    def listen() -> None:
        with open_microphone(RATE_HZ, stall_s=0.5) as microphone:
            for _ in microphone:
                sound_card.unplug()

    with pytest.raises(MicrophoneUnavailable, match="unplugged"):
        listen()


async def test_opening_a_microphone_writes_nothing_to_the_terminal(sound_card: SoundCard) -> None:
    """ALSA's and JACK's complaints about devices that are not there stay out of the daemon's standard error."""
    assert sound_card.environment
    result = await trio.run_process(
        [sys.executable, "-c", "from dejavud.audio.portaudio import list_devices; print(len(list_devices()))"],
        cwd=ROOT,
        capture_stdout=True,
        capture_stderr=True,
    )
    assert result.stdout.strip() == b"2"
    assert result.stderr == b""


def test_a_slow_reader_loses_the_oldest_and_knows() -> None:
    """The hand-over is bounded: beyond it the oldest blocks are dropped, and counted with the sound system's own overruns."""
    microphone = _unplugged_microphone(n_queued_blocks=3)
    _record_numbers(microphone, 5)
    heard: list[NDArray[np.float32]] = []
    with pytest.raises(MicrophoneUnavailable, match="has stopped"):
        heard.extend(microphone)
    assert [float(x) for x in np.concatenate(heard)[::10]] == [2.0, 3.0, 4.0]
    assert microphone.n_overruns == 2 + 1


def test_blocks_handed_over_while_nobody_waits_are_not_lost() -> None:
    """Every block arrives, whenever the recording thread hands it over."""
    microphone = _unplugged_microphone(n_queued_blocks=1000)
    recording = threading.Thread(target=_record_numbers, args=(microphone, 500))
    recording.start()
    heard: list[NDArray[np.float32]] = []
    with pytest.raises(MicrophoneUnavailable):
        heard.extend(microphone)
    recording.join()
    assert [float(x) for x in np.concatenate(heard)[::10]] == [float(i) for i in range(500)]


def test_without_pyaudio_the_error_says_what_to_type() -> None:
    """Where PyAudio is not installed everything else imports, and the microphone names the commands that help."""
    code = (
        "import sys; sys.modules['pyaudio'] = None\n"
        "from dejavud.audio.microphone import list_devices\n"
        "from dejavud.errors import MicrophoneUnavailable\n"
        "try: list_devices()\n"
        "except MicrophoneUnavailable as error: print(error)\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "PyAudio is not installed" in printed
    assert "pip install pyaudio" in printed


@pytest.mark.parametrize(
    ("library", "package"), [("libportaudio.so.2", "libportaudio2"), ("libasound.so.2", "libasound2-plugins")]
)
def test_without_its_libraries_the_error_says_which_package_brings_the_missing_one(
    library: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where PyAudio is there but libportaudio is not, or, in the single file, libasound, the error names it."""
    (tmp_path / "pyaudio.py").write_text(
        f"raise ImportError('{library}: cannot open shared object file: No such file or directory')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyaudio", raising=False)
    with pytest.raises(MicrophoneUnavailable, match=rf"{library}: cannot open.*apt install {package}\b"):
        list_devices()


def _unplugged_microphone(n_queued_blocks: int) -> Microphone:
    """Return a microphone that a test feeds in PortAudio's place."""
    microphone = Microphone(RATE_HZ, 0.2, n_queued_blocks)
    device = Device(index=0, name="test", n_channels=2, rate_hz=RATE_HZ, is_default=True)
    microphone.attach(Recording(device, RATE_HZ, is_active=lambda: False, close=lambda: None))
    return microphone


def _record_numbers(microphone: Microphone, n_blocks: int) -> None:
    """Hand over stereo blocks whose mean is their number."""
    for i in range(n_blocks):
        stereo = np.tile(np.array([i - 1, i + 1], np.float32), 10)
        assert microphone.take(stereo.tobytes(), overrun=i == 0)
