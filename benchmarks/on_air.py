"""What sounds in real time: sound cards made of software, a radio station, and ears that hear what any listener could hear.

A sound card is a PulseAudio of the benchmark's own, whose null sinks are microphones to ALSA.  The station is a real Icecast server, to which ffmpeg
sends mp3 or Ogg Vorbis of 160 kbit/s.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

RATE_HZ = 44100
BLOCK_S = 0.05
READY_S = 20.0

_EAR_HZ = 8000
_EAR_SAMPLES = 80
_LOUD = 10 ** (-55 / 20)
_QUIET_S = 0.3
_PIPE_BYTES = 16384  # the system's 64 kB would hold a third of a second

_ALSA_DEFAULT = 'pcm.default {{ type pulse server "{server}" device "tape0.monitor" }}\nctl.default {{ type pulse server "{server}" }}\n'
_ALSA_DEVICE = 'pcm.tape{n} {{ type pulse server "{server}" device "tape{n}.monitor" hint {{ show on description "Tape {n}" }} }}\n'
_ICECAST = """<icecast>
 <limits><sources>16</sources><clients>64</clients></limits>
 <authentication><source-password>{password}</source-password><admin-user>admin</admin-user><admin-password>{password}</admin-password></authentication>
 <hostname>127.0.0.1</hostname>
 <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
 <paths><basedir>{folder}</basedir><logdir>{folder}</logdir><webroot>{folder}</webroot><adminroot>{folder}</adminroot></paths>
 <logging><accesslog>access</accesslog><errorlog>error</errorlog><loglevel>3</loglevel></logging>
 <security><chroot>0</chroot>{user}</security>
</icecast>
"""
_ICECAST_USER = "<changeowner><user>nobody</user><group>nogroup</group></changeowner>"
_PASSWORD = "of-this-benchmark"  # noqa: S105 - of a server that lives as long as the benchmark, on the loopback


class Air(Protocol):
    """A place where what is played is heard.

    source : how a listener of the daemon names it.
    """

    source: str

    def player(self) -> list[str]:
        """Return the command that plays what it reads: float32, mono, at `RATE_HZ`; it takes it at the pace of its clock."""

    def is_on_air(self) -> bool:
        """Tell whether what is played can be heard by now."""

    def ear(self) -> list[str]:
        """Return the command that writes what is heard: float32, mono, at 8 kHz."""


@dataclass(frozen=True, slots=True)
class Card:
    """One sink of the sound cards.  latency_s : what it holds back, so that a busy machine does not make it stutter."""

    sink: str
    source: str
    latency_s: float = 1.0

    def player(self) -> list[str]:
        """See `Air`."""
        raw = ["--raw", "--format=float32le", f"--rate={RATE_HZ}", "--channels=1"]
        return [
            "pacat",
            "--playback",
            "-v",
            *raw,
            f"--device={self.sink}",
            f"--latency-msec={self.latency_s * 1000:.0f}",
        ]

    def is_on_air(self) -> bool:
        """See `Air`."""
        return True

    def ear(self) -> list[str]:
        """See `Air`."""
        raw = ["--raw", "--format=float32le", f"--rate={_EAR_HZ}", "--channels=1"]
        return ["parec", *raw, f"--device={self.sink}.monitor", "--latency-msec=20"]

    def n_recording(self) -> int:
        """Return how many record from it at this moment."""
        sources, recording = (_pactl("list", "short", what) for what in ("sources", "source-outputs"))
        own = next(number for number, name, *_ in sources if name == f"{self.sink}.monitor")
        return sum(source == own for _, source, *_ in recording)


@dataclass(frozen=True, slots=True)
class Mount:
    """One programme of the station.  kind : ``mp3`` or ``ogg``."""

    source: str
    kind: str = "mp3"

    def player(self) -> list[str]:
        """See `Air`."""
        codec = {"mp3": ("libmp3lame", "audio/mpeg"), "ogg": ("libvorbis", "application/ogg")}
        encoder, content = codec[self.kind]
        taken = ["ffmpeg", "-loglevel", "error", "-re", "-f", "f32le", "-ar", str(RATE_HZ), "-ac", "1", "-i", "pipe:0"]
        made = ["-ac", "2", "-c:a", encoder, "-b:a", "160k", "-content_type", content, "-f", self.kind]
        return [*taken, *made, self.source.replace("http://", f"icecast://source:{_PASSWORD}@")]

    def is_on_air(self) -> bool:
        """See `Air`; Icecast has a programme once it has heard of it what it is."""
        try:
            with urllib.request.urlopen(self.source, timeout=READY_S) as stream:  # noqa: S310 - of our own station
                return bool(stream.read(1))
        except OSError:  # there is no such programme yet
            return False

    def ear(self) -> list[str]:
        """See `Air`."""
        heard = ["ffmpeg", "-loglevel", "error", "-fflags", "nobuffer", "-i", self.source]
        return [*heard, "-f", "f32le", "-ar", str(_EAR_HZ), "-ac", "1", "-flush_packets", "1", "pipe:1"]


@contextmanager
def sound_cards(n_cards: int = 1, latency_s: float = 1.0) -> Iterator[tuple[list[Card], Mapping[str, str]]]:
    """Give `n_cards` sinks that are microphones (the first is the default one), and the environment in which ALSA knows them.

    The environment is also set here, for players and ears.
    """
    for program in ("pulseaudio", "pacat", "parec"):
        _need(program, "pulseaudio pulseaudio-utils libasound2-plugins")
    with tempfile.TemporaryDirectory(prefix="card") as name, ExitStack() as stack:
        folder = Path(name)
        server = f"unix:{folder / 'pulse'}"
        devices = "".join(_ALSA_DEVICE.format(server=server, n=n) for n in range(n_cards))
        (folder / "asound.conf").write_text(_ALSA_DEFAULT.format(server=server) + devices)
        sinks = [f"load-module module-null-sink sink_name=tape{n} rate={RATE_HZ} channels=2\n" for n in range(n_cards)]
        (folder / "script.pa").write_text(
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={folder / 'pulse'}\n"
            + "".join(sinks)
            + "set-default-sink tape0\nset-default-source tape0.monitor\n"
        )
        environment = {
            "XDG_RUNTIME_DIR": name,
            "PULSE_RUNTIME_PATH": name,
            "PULSE_CONFIG_PATH": name,
            "PULSE_STATE_PATH": name,
            "PULSE_COOKIE": str(folder / "cookie"),
            "PULSE_SERVER": server,
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }
        stack.enter_context(_environment(environment))
        stack.enter_context(_pulseaudio(folder))
        yield [Card(f"tape{n}", f"mic:tape{n}", latency_s) for n in range(n_cards)], environment


@contextmanager
def station(kinds: Sequence[str] = ("mp3",)) -> Iterator[list[Mount]]:
    """Give a programme a kind (``mp3``, ``ogg``) of a running Icecast server; nothing sounds there until somebody plays."""
    program = shutil.which("icecast2") or shutil.which("icecast") or _need("icecast2", "icecast2")
    _need("ffmpeg", "ffmpeg")
    with tempfile.TemporaryDirectory(prefix="ice") as name:
        folder, port = Path(name), _free_port()
        folder.chmod(0o777)  # as root, Icecast runs as nobody
        user = _ICECAST_USER if os.geteuid() == 0 else ""
        (folder / "conf.xml").write_text(_ICECAST.format(folder=folder, port=port, password=_PASSWORD, user=user))
        with (folder / "said").open("wb") as said:
            server = subprocess.Popen([str(program), "-c", str(folder / "conf.xml")], stdout=said, stderr=said)
        try:
            _until(lambda: _is_icecast(port), server, folder / "said")
            yield [Mount(f"http://127.0.0.1:{port}/programme{n}.{kind}", kind) for n, kind in enumerate(kinds)]
        finally:
            ended = server.poll()
            server.terminate()
            server.wait()
            if ended is not None:
                logs = [path for path in (folder / "said", folder / "error") if path.exists()]
                sys.stderr.write(
                    f"icecast ended by itself with {ended}:\n" + "".join(path.read_text()[-2000:] for path in logs)
                )


class Player:
    """Plays into an `Air` at the pace of its clock: what it is given, and silence while it is given nothing."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self._process = process
        self._said = said
        self._changed = threading.Condition()
        self._given: deque[Samples] = deque()
        self._n_played = self._n_given = 0
        self._has_ended = False

    def play(self, samples: Samples) -> None:
        """Play `samples`; returns when they are taken, which is before they are heard.  Raises `BrokenPipeError` when the player has ended."""
        step = round(BLOCK_S * RATE_HZ)
        with self._changed:
            self._given.extend(samples[first : first + step] for first in range(0, len(samples), step))
            self._n_given += -(-len(samples) // step)
            mine = self._n_given
            self._changed.wait_for(lambda: self._n_played >= mine or self._has_ended)
            if self._n_played < mine:
                self._said.seek(0)
                raise BrokenPipeError(self._said.read()[-2000:])

    def run(self) -> None:
        """Feed the program until it ends."""
        assert self._process.stdin is not None
        silence = np.zeros(round(BLOCK_S * RATE_HZ), "<f4")
        with suppress(OSError, ValueError):
            while True:
                with self._changed:
                    block = self._given.popleft() if self._given else None
                self._process.stdin.write(np.ascontiguousarray(silence if block is None else block, "<f4").tobytes())
                if block is not None:
                    with self._changed:
                        self._n_played += 1
                        self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def n_stutters(self) -> int:
        """Return how often the player had nothing to play when the card wanted something: what followed was late."""
        self._said.seek(0)
        return len(re.findall(rb"Stream underrun", self._said.read()))


@contextmanager
def playing(air: Air) -> Iterator[Player]:
    """Give a player into `air`, which can be heard, and is ended with the block."""
    with tempfile.NamedTemporaryFile() as said:
        process = subprocess.Popen(air.player(), stdin=subprocess.PIPE, stdout=said, stderr=said, bufsize=0)
        assert process.stdin is not None
        fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        player = Player(process, said)
        thread = threading.Thread(target=player.run)
        thread.start()
        try:
            _until(air.is_on_air, process, Path(said.name))
            yield player
        finally:
            process.kill()
            process.wait()
            thread.join()
            process.stdin.close()


class Ear:
    """Hears what is played, as any other listener does, and notes when something begins to sound after a moment's silence.

    onsets : when that was, on `time.monotonic`'s clock.
    """

    def __init__(self) -> None:
        self.onsets: list[float] = []
        self._changed = threading.Condition()
        self._n_heard = 0

    def onset(self, n: int, within_s: float) -> float:
        """Return when the sound number `n` (from 0) began, as soon as it has."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.onsets) > n, within_s):
                message = f"sound number {n} was not heard in {within_s:.0f} s"
                raise TimeoutError(message)
            return self.onsets[n]

    def hears(self, within_s: float = READY_S) -> None:
        """Return when the first of what is played, even silence, has been heard."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._n_heard > 0, within_s):
                message = f"nothing was heard in {within_s:.0f} s"
                raise TimeoutError(message)

    def listen(self, pipe: IO[bytes]) -> None:
        """Hear until `pipe` ends."""
        quiet_s = _QUIET_S
        while data := pipe.read(4 * _EAR_SAMPLES):
            loudest = float(np.abs(np.frombuffer(data, "<f4")).max())
            with self._changed:
                self._n_heard += 1
                if loudest >= _LOUD and quiet_s >= _QUIET_S:
                    self.onsets.append(time.monotonic())
                self._changed.notify_all()
            quiet_s = 0.0 if loudest >= _LOUD else quiet_s + _EAR_SAMPLES / _EAR_HZ


@contextmanager
def listening(air: Air) -> Iterator[Ear]:
    """Give an ear at `air` for the block."""
    ear = Ear()
    process = subprocess.Popen(air.ear(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    thread = threading.Thread(target=ear.listen, args=(process.stdout,))
    thread.start()
    try:
        yield ear
    finally:
        process.kill()
        process.wait()
        thread.join()
        process.stdout.close()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _pulseaudio(folder: Path) -> Iterator[None]:
    """Run PulseAudio on ``script.pa`` in `folder`, entered when it has said that it is ready."""
    options = ["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "-F", str(folder / "script.pa")]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (folder / "log").open("wb") as log:
        ready.bind(str(folder / "ready"))
        ready.settimeout(READY_S)
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "ready")}
        server = subprocess.Popen(["pulseaudio", *options], env=environment, stdout=log, stderr=log)
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
            yield
        except TimeoutError:
            sys.exit(f"pulseaudio did not get ready: {(folder / 'log').read_text()}")
        finally:
            server.terminate()
            server.wait()


def _pactl(*arguments: str) -> list[list[str]]:
    """Return a list of PulseAudio's, its columns by line."""
    said = subprocess.run(["pactl", *arguments], capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in said.splitlines()]


def _need(program: str, packages: str) -> str:
    found = shutil.which(program)
    if found is None:
        sys.exit(f"this needs {program}: apt-get install {packages}")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_icecast(port: int) -> bool:
    """Tell whether Icecast answers at a port, and not who took it meanwhile."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=READY_S) as answer:
            return "Icecast" in str(answer.headers["Server"])
    except urllib.error.HTTPError as error:
        return "Icecast" in str(error.headers["Server"])
    except OSError:
        return False


def _until(is_so: Callable[[], bool], process: subprocess.Popen[bytes], said: Path) -> None:
    """Return when something of another process is so, which tells no event of its own."""
    deadline = time.monotonic() + READY_S
    while not is_so():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{process.args} did not get ready: {said.read_text(errors='replace')[-2000:]}")
        time.sleep(BLOCK_S)
