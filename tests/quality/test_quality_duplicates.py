"""Real music in other files is known for what it is, and other music is not."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from audio_files import encode

from dejavud.audio.decode import decode_audio
from dejavud.fingerprint.params import Params
from dejavud.index.memory import MemoryIndex
from dejavud.services.duplicate_finder import DuplicateFinder
from dejavud.services.jobs import fingerprint_file
from dejavud.services.profiles import profile_of
from dejavud.values import NewTrack

PARAMS = Params()
RATE_HZ = 16_000
HEARD_S = 60.0
N_PIECES = 8


@pytest.fixture(scope="module")
def pieces() -> list[Path]:
    """Give the music that ./run-tests fetches; skip where the tests were started without it."""
    folder = os.environ.get("TEST_MUSIC")
    if folder is None:
        pytest.skip("TEST_MUSIC names no folder of music: start the tests by ./run-tests")
    return list(islice(sorted(path for path in Path(folder).rglob("*") if path.suffix in {".ogg", ".wav"}), N_PIECES))


def test_other_files_of_real_music_are_told_from_other_music(pieces: list[Path], tmp_path: Path) -> None:
    """As mp3 of 64 kbit/s, ogg, flac, and with half a second cut off, each is its own piece's duplicate and no other's; no two pieces are."""
    index = MemoryIndex()
    finder = DuplicateFinder(index, profile_of(PARAMS))

    def add(path: Path) -> tuple[int, set[str]]:
        made = fingerprint_file(path, path.name, PARAMS, HEARD_S)
        sha1 = f"{index.statistics().n_tracks:040x}"
        entry = NewTrack(path.stem, None, None, None, sha1, made.duration_s, made.constellation, made.hashes)
        (track,) = index.add([entry])
        return track.id, {each.track.title for each in finder.find(track, entry)}

    for path in pieces:
        _, told = add(path)
        assert told == set(), path
    for path in pieces:
        samples = 0.9 * np.clip(decode_audio(path, name=path.name, rate_hz=RATE_HZ, limit_s=HEARD_S), -1, 1)
        name = path.stem
        for copy in (
            encode(tmp_path / f"{name}.mp3", samples, RATE_HZ, "libmp3lame", bit_rate=64_000),
            encode(tmp_path / f"{name}.ogg", samples, RATE_HZ, "vorbis"),
            encode(tmp_path / f"{name}.flac", samples[RATE_HZ // 2 :], RATE_HZ, "flac", sample_format="s16"),
        ):
            track_id, told = add(copy)
            assert told == {name}, copy
            index.remove([track_id])
