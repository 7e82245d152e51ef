"""The README's recipes, as they stand there: taken from it line by line and run by bash against the real daemon."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import trio
from client_runs import Ran
from daemon_process import Place, RunningDaemon, running_daemon
from old_databases import GENERATIONS, OldDejavu, OldFile
from plain_classic import plain_fingerprint
from radio_station import RATE_HZ, as_mp3, on_air
from real_client import RealClient
from synthetic import synthesize, write_wav

from dejavud.fingerprint.classic_params import GENERATIONS as CONSTANTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fixtures_sound import SoundCard

ROOT = Path(__file__).resolve().parents[1]
PIECE_S = 12.0
RECIPES = {
    title: [line.removeprefix("    ") for line in body.splitlines() if line.startswith("    ")]
    for title, body in re.findall(
        r"^\*\*(.*?)\.\*\*(.*?)(?=^\*\*|^## )",
        (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Five recipes\n")[2],
        re.MULTILINE | re.DOTALL,
    )
}


@dataclass(frozen=True, slots=True)
class Kitchen:
    """A home folder with a daemon, in which lines of the README are typed."""

    daemon: RunningDaemon

    @property
    def home(self) -> Path:
        """Where ~ is, and where lines are typed."""
        return self.daemon.place.folder

    @property
    def environment(self) -> dict[str, str]:
        """Return what the shell has in its environment: a `dejavuctl` of this checkout, which asks this daemon."""
        environment = RealClient(self.daemon).environment
        path = f"{self.home}/bin:{environment['PATH']}"
        return {**environment, "PATH": path, "DEJAVUD_CONTROL": self.daemon.place.control}

    async def type(self, line: str) -> Ran:
        """Run a line to its end; it must end well."""
        done = await trio.run_process(
            ["bash", "-c", line],
            cwd=self.home,
            env=self.environment,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert ran.status == 0, (line, ran)
        return ran

    async def watch(self, line: str, words: str) -> None:
        """Run a line that has no end until it has printed `words`."""
        process = await trio.lowlevel.open_process(
            ["bash", "-c", f"exec {line}"],
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        printed = b""
        with trio.fail_after(30):
            while words.encode() not in printed:
                more = await process.stdout.receive_some()
                assert more, printed.decode()
                printed += more
        process.terminate()
        await process.wait()


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a home folder with two pieces of music in it; its name is short enough for sockets."""
    folder = tmp_path_factory.mktemp("h")
    (folder / "Music").mkdir()
    for seed in (1, 2):
        write_wav(folder / "Music" / f"piece {seed}.wav", synthesize(seed, PIECE_S, RATE_HZ), RATE_HZ)
    (folder / "bin").mkdir()
    (folder / "bin" / "dejavuctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m dejavuctl "$@"\n')
    (folder / "bin" / "dejavuctl").chmod(0o755)
    return folder


@asynccontextmanager
async def kitchen(home: Path, environment: dict[str, str] | None = None) -> AsyncIterator[Kitchen]:
    """Give a kitchen in `home` with a daemon that is ready."""
    async with running_daemon(Place(home), environment=environment) as daemon:
        yield Kitchen(daemon)


def test_there_are_five_recipes() -> None:
    """Each of them has lines to type, and a test here that is named after it."""
    assert len(RECIPES) == 5
    for title, lines in RECIPES.items():
        assert lines
        assert f"test_{title.lower().replace(' ', '_').replace('-', '_')}" in globals()


async def test_radio_logger(home: Path) -> None:
    """A station plays a piece; the table has a row with its title, which spreadsheets read."""
    teach, listen, summary, export = RECIPES["Radio logger"]
    show = np.concatenate([synthesize(1, PIECE_S, RATE_HZ), synthesize(90, 30.0, RATE_HZ)])
    with on_air(as_mp3(show)) as station:
        async with kitchen(home) as here:
            await here.type(teach)
            await here.type(listen.replace("https://radio.example/live.mp3", station.url))
            await here.type("dejavuctl events match.ended --after 0 --count 1")
            assert "piece 1" in (await here.type(summary)).out
            await here.type(export)
    (row,) = csv.DictReader((home / "plays.csv").read_text().splitlines())
    assert (row["listener"], row["title"]) == ("radio", "piece 1")


async def test_what_is_on_the_turntable(home: Path, sound_card: SoundCard) -> None:
    """A piece is played to the microphone: it is named once, and then shown by the listener."""
    teach, ask, listen, show = RECIPES["What is on the turntable"]
    side = write_wav(home / "Music" / "side one.wav", synthesize(3, 30.0, RATE_HZ), RATE_HZ)
    async with kitchen(home) as here:
        await here.type(teach)
        with sound_card.playing(side):
            assert "side one" in (await here.type(ask)).out
            await here.type(listen)
            await here.watch(show, "side one")


async def test_jingle_finder(home: Path) -> None:
    """Five seconds that are played twice in a recording are found twice, each where it is."""
    teach, look, keep = RECIPES["Jingle finder"]
    jingle = synthesize(7, 5.0, RATE_HZ)
    talk = synthesize(90, 60.0, RATE_HZ)
    (home / "jingles").mkdir()
    write_wav(home / "jingles" / "soap.wav", jingle, RATE_HZ)
    quarter = 15 * RATE_HZ
    write_wav(
        home / "aircheck.wav", np.concatenate([talk[:quarter], jingle, talk[quarter:], jingle, talk[:quarter]]), RATE_HZ
    )
    async with kitchen(home) as here:
        await here.type(teach)
        assert (await here.type(look)).out.count("soap") == 2
        await here.type(keep)
    rows = list(csv.DictReader((home / "found.csv").read_text().splitlines()))
    assert [row["title"] for row in rows] == ["soap", "soap"]


async def test_de_duplicate_a_library(home: Path) -> None:
    """A softer copy is told of and taken out; the original stays, and so do both files."""
    first, second, told, looked, removed = RECIPES["De-duplicate a library"]
    (home / "Downloads").mkdir()
    copy = write_wav(home / "Downloads" / "softer.wav", 0.4 * synthesize(1, PIECE_S, RATE_HZ), RATE_HZ)
    async with kitchen(home) as here:
        await here.type(first)
        await here.type(second)
        assert re.search(r"same recording: .*softer\.wav as \d+: piece 1 ", (await here.type(told)).out)
        assert "softer" in (await here.type(looked)).out
        await here.type(removed)
        listed = (await here.type("dejavuctl tracks ls")).out
        assert "softer" not in listed
        assert "piece 1" in listed
    assert copy.exists()


async def test_moving_from_dejavu(home: Path) -> None:
    """The songs of an old database are recognized by a daemon with its profile, which never saw their audio."""
    start, dry, migrate, ask = RECIPES["Moving from dejavu"]
    setting, *program = shlex.split(start.removesuffix(" &"))
    assert program == ["dejavud", "--data-dir", "~/dejavu-library"]
    name, _, profile = setting.partition("=")
    rate_hz = CONSTANTS[profile.partition("/")[2]].rate_hz
    song = np.round(synthesize(3, 8.0, rate_hz) * 30000).astype(np.int16)
    hashes = list(plain_fingerprint(song, CONSTANTS[profile.partition("/")[2]]))
    with closing(OldDejavu(f"sqlite:///{home}/dejavu.db", GENERATIONS["ivlovric-1.3.4 sqlite"])) as old:
        old.add(OldFile("Nocturne", b"nocturne", hashes))
    write_wav(home / "clip.wav", song[2 * rate_hz : 6 * rate_hz] / 32767, rate_hz)
    async with kitchen(home, {name: profile}) as here:
        for line in (dry, migrate):
            await here.type(line.replace("mysql://root:secret@localhost/dejavu", f"sqlite:///{home}/dejavu.db"))
        assert "Nocturne" in (await here.type(ask)).out
