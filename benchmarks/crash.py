"""Whether anything is lost when the daemon is killed: ``python benchmarks/crash.py [--kills N] [--kind KIND …] [--url URL]``.

A real daemon is killed (SIGKILL) at a random moment of its work, again and again on the same data, and started anew each time.  Every time it has to
start by itself, to have every track that it acknowledged, and to find nothing wrong with what it has, by ``check``: no posting too few or too many,
nothing of a track that is not there.  Exits with 1 where anything else happens.

ingest       files are added, several at a time
view         a resident view of millions of postings is built, while files are added
clustering   as many postings are sorted by hash, while files are added
compaction   the database's file is written anew over and over, while files are added
migration    the songs of an old dejavu are brought over, while files are added
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import wave
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from own_daemon import own_daemon

from dejavuctl.connection import Connection
from dejavuctl.failures import Failed, NoDaemon
from dejavud.fingerprint.extractor import track_hashes
from dejavud.fingerprint.params import Params
from dejavud.index.open import open_index
from dejavud.values import Constellation, NewTrack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from own_daemon import OwnDaemon

N_SENDERS = 2
RATE_HZ, CLIP_S = 8000, 4.0
PEAKS_A_TRACK, FRAMES_A_TRACK = 7200, 7500
TRACKS_AN_ADD = 20
OLD_DATABASE, HASHES_A_SONG = "old.sqlite", 8000


@dataclass(frozen=True, slots=True)
class Kind:
    """What the daemon is killed at.

    environment : its configuration.
    n_tracks : in the index at the beginning, of some 20 000 postings each; it begins anew every so many kills, where that is not 0.
    n_songs : in an old dejavu's database, which the command ``migrate`` is given.
    commands : asked for over and over beside the files that are added.
    within_s : of the start, it is killed at a random moment.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    n_tracks: int = 0
    anew_every: int = 0
    n_songs: int = 0
    commands: tuple[str, ...] = ()
    within_s: float = 1.5


_VIEW = "DEJAVUD_INDEX_RESIDENT_VIEW"
KINDS = {
    "ingest": Kind(),
    "view": Kind({_VIEW: "always"}, n_tracks=240, anew_every=4, within_s=3.0),
    "clustering": Kind({_VIEW: "never"}, n_tracks=240, anew_every=3, within_s=1.2),
    "compaction": Kind({_VIEW: "never"}, n_tracks=60, commands=("compact",)),
    "migration": Kind(
        {"DEJAVUD_ENGINE_PROFILE": "classic/ivlovric-1.4"},
        n_songs=300,
        anew_every=3,
        commands=("migrate",),
        within_s=4.0,
    ),
}


@dataclass(slots=True)
class Outcome:
    """What became of one kind of kills: of what was acknowledged, everything has to be there."""

    n_kills: int = 0
    n_acknowledged: int = 0
    n_commands: int = 0
    n_missing: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, and nothing half there."""
        return not self.n_missing and not self.findings

    def line(self, name: str) -> str:
        """Return the outcome for reading."""
        state = "nothing lost" if self.is_clean else f"{self.n_missing} LOST, findings: {json.dumps(self.findings[:5])}"
        return f"{name:12}{self.n_kills:5} kills, {self.n_acknowledged} tracks acknowledged, {self.n_commands} commands: {state}"


class Work:
    """Adds files and asks for commands, in threads of its own, until the daemon is gone.

    acknowledged : the contents of the tracks that the daemon said it has.
    failures : what it refused.
    """

    def __init__(self, daemon: OwnDaemon, kind: Kind, clips: Iterator[Path], folder: Path) -> None:
        self.acknowledged: list[str] = []
        self.failures: list[dict[str, Any]] = []
        self.n_commands = 0
        self._daemon = daemon
        self._clips = clips
        self._params = {"migrate": {"url": f"sqlite:///{folder / OLD_DATABASE}"}}
        self._lock = threading.Lock()
        senders = [threading.Thread(target=self._send) for _ in range(N_SENDERS)]
        askers = [threading.Thread(target=self._ask, args=(command,)) for command in kind.commands]
        self._threads = [*senders, *askers]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Return when the daemon is gone and all has been counted."""
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        with self._connected() as connection:
            while True:
                with self._lock:
                    clip = next(self._clips)
                track = connection.call("fingerprint", {"path": str(clip)})["track"]
                self.acknowledged.append(track["file_sha1"])
                clip.unlink()

    def _ask(self, command: str) -> None:
        with self._connected() as connection:
            while True:
                connection.call(command, self._params.get(command, {}))
                self.n_commands += 1

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Give a connection until the daemon is gone; what it refuses before is noted."""
        try:
            with suppress(NoDaemon), Connection(self._daemon.control) as connection:
                yield connection
        except Failed as failure:
            self.failures.append({"kind": failure.code, "reason": failure.message})


def kill_again_and_again(kind: Kind, n_kills: int, folder: Path, seed: int = 1) -> Outcome:
    """Return what became of an index in `folder` whose daemon was killed so many times."""
    chance = np.random.default_rng(seed)
    clips = clips_in(folder, seed)
    outcome = Outcome()
    acknowledged: set[str] = set()
    data, template = folder / "data", folder / "template"
    if kind.n_tracks:
        template.mkdir()
        fill(template / "dejavud.duckdb", kind.n_tracks)
    if kind.n_songs:
        fill_old(folder / OLD_DATABASE, kind.n_songs)
    for n_kill in range(n_kills + 1):
        if (kind.n_tracks or kind.n_songs) and n_kill % (kind.anew_every or n_kills + 1) == 0:
            acknowledged.clear()
            shutil.rmtree(data, ignore_errors=True)
            if kind.n_tracks:
                shutil.copytree(template, data)
        with own_daemon(data, kind.environment) as daemon:
            examine(daemon, acknowledged, outcome)
            if n_kill == n_kills:
                break
            work = Work(daemon, kind, clips, folder)
            time.sleep(chance.uniform(0, kind.within_s))  # the random moment
            os.kill(daemon.pid, signal.SIGKILL)
            work.wait()
        acknowledged.update(work.acknowledged)
        outcome.n_kills += 1
        outcome.n_acknowledged += len(work.acknowledged)
        outcome.n_commands += work.n_commands
        outcome.findings += work.failures
    return outcome


def examine(daemon: OwnDaemon, acknowledged: set[str], outcome: Outcome) -> None:
    """Note what is missing and what is wrong."""
    with Connection(daemon.control) as connection:
        wanted = sorted(acknowledged)
        for first in range(0, len(wanted), 10_000):
            sha1s = wanted[first : first + 10_000]
            outcome.n_missing += len(sha1s) - len(connection.call("tracks.known", {"sha1s": sha1s})["tracks"])
        outcome.findings += connection.call("check", {})["findings"]


def fill(path: Path, n_tracks: int) -> None:
    """Make an index of tracks whose postings are those of their constellations."""
    params = Params()
    rng = np.random.default_rng(5)
    with open_index(f"duckdb:///{path}", params) as index:
        for first in range(0, n_tracks, TRACKS_AN_ADD):
            entries = []
            for number in range(first, min(first + TRACKS_AN_ADD, n_tracks)):
                frames = np.sort(rng.integers(0, FRAMES_A_TRACK, PEAKS_A_TRACK))
                bins, quarters = rng.integers(20, 480, PEAKS_A_TRACK), rng.integers(0, 4, PEAKS_A_TRACK)
                stars = Constellation(frames, bins, FRAMES_A_TRACK, quarters)
                hashes = track_hashes(stars, params)
                entries.append(NewTrack(f"{number}", None, None, None, f"{number:040x}", 240.0, stars, hashes))
            index.add(entries)


def fill_old(path: Path, n_songs: int) -> None:
    """Make a database as a fork of dejavu made them, of songs with hashes that mean nothing."""
    rng = np.random.default_rng(6)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE songs (id INTEGER PRIMARY KEY, name TEXT, fingerprinted BOOLEAN, file_sha1 BLOB)"
        )
        connection.execute(
            "CREATE TABLE fingerprints (id INTEGER PRIMARY KEY, hash BLOB, song_id INTEGER REFERENCES songs, offset INTEGER)"
        )
        for song in range(1, n_songs + 1):
            connection.execute("INSERT INTO songs VALUES (?, ?, 1, ?)", (song, f"Song {song}", rng.bytes(20)))
            rows = [(rng.bytes(10), song, n // 4) for n in range(HASHES_A_SONG)]
            connection.executemany("INSERT INTO fingerprints (hash, song_id, offset) VALUES (?, ?, ?)", rows)


def clips_in(folder: Path, seed: int) -> Iterator[Path]:
    """Give one short recording of random chords after the other, each another."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(round(RATE_HZ * CLIP_S / 16)) / RATE_HZ
    number = 0
    while True:
        tones_hz = rng.uniform(200, 3000, (16, 8, 1))
        samples = np.sin(2 * np.pi * tones_hz * times_s).sum(axis=1).ravel()
        path = folder / f"clip{number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes((samples * 2000).astype("<i2").tobytes())
        yield path
        number += 1


def main() -> None:
    """Kill, and print a line a kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--kills", type=int, default=200, help="in all (200)")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--url", help="kill over this, empty, database instead of a file of its own; for ingest")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    is_clean = True
    for number, name in enumerate(options.kind):
        kind = KINDS[name]
        if options.url:
            kind = Kind(
                {**kind.environment, "DATABASE_URL": options.url}, commands=kind.commands, within_s=kind.within_s
            )
        n_kills = options.kills // len(options.kind) + (number < options.kills % len(options.kind))
        with tempfile.TemporaryDirectory() as folder:
            outcome = kill_again_and_again(kind, n_kills, Path(folder), options.seed)
        print(outcome.line(name), flush=True)
        is_clean &= outcome.is_clean
    sys.exit(0 if is_clean else 1)


if __name__ == "__main__":
    main()
