from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from degrading import RATE_HZ, in_a_room, save_mp3, save_wav, with_pink_noise

from dejavud.audio.decode import decode_audio
from dejavud.fingerprint.extractor import TrackExtractor, fingerprint_query, track_hashes
from dejavud.fingerprint.params import Params
from dejavud.index.memory import MemoryIndex
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from degrading import Samples

    from dejavud.values import Alignment

PARAMS = Params()
HEARD_S = 100.0
"""So much of each recording is in the library."""
PLACES_S = (17.31, 68.94)
UNKNOWN_PLACES_S = (12.05, 31.77, 55.5, 81.23)
LONGEST_S = 5.0
N_HELD_OUT = 4
"""One in so many recordings is kept out of the library."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording.  samples : float32 [n] at 44.1 kHz, its beginning."""

    name: str
    samples: Samples

    def clip(self, start_s: float, length_s: float) -> Samples:
        """Return a stretch of it."""
        start = round(start_s * RATE_HZ)
        return self.samples[start : start + round(length_s * RATE_HZ)].astype(np.float64)


class Library:
    """What the known recordings are found in, as the daemon finds them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = MemoryIndex()
        self._matcher = Matcher(PARAMS, MatchRules())
        self.names: dict[int, str] = {}

    def add(self, name: str, path: Path) -> None:
        """Fingerprint the beginning of the file at `path`."""
        extractor = TrackExtractor(PARAMS)
        samples = decode_audio(path, name=name, rate_hz=PARAMS.rate_hz, limit_s=HEARD_S)
        extractor.feed(samples)
        constellation = extractor.finish()
        duration_s, sha1 = PARAMS.samples_to_seconds(len(samples)), f"{len(self.names):040x}"
        hashes = track_hashes(constellation, PARAMS)
        entry = NewTrack(name, None, None, str(path), sha1, duration_s, constellation, hashes)
        [track] = self._index.add([entry])
        self.names[track.id] = name

    def recognize(self, samples: Samples, *, as_mp3: bool = False) -> Alignment | None:
        """Return what the daemon would say of a file of `samples`."""
        path = self._folder / ("clip.mp3" if as_mp3 else "clip.wav")
        (save_mp3 if as_mp3 else save_wav)(path, samples)
        query = fingerprint_query(decode_audio(path, name=path.name, rate_hz=PARAMS.rate_hz), PARAMS)
        n_frames = self._index.statistics().duration_s * PARAMS.frames_per_s
        found = self._matcher.match(query, self._index.lookup(query.hashes), self._index.constellations, n_frames)
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Music:
    """Free recordings: some in a library, some kept out of it."""

    library: Library
    known: Sequence[Recording]
    unknown: Sequence[Recording]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Music:
    """Give the music that ./run-tests fetches; skip where the tests were started without it."""
    folder = os.environ.get("TEST_MUSIC")
    if folder is None:
        pytest.skip("TEST_MUSIC names no folder of music: start the tests by ./run-tests")
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in {".ogg", ".wav"})
    library = Library(tmp_path_factory.mktemp("clips"))
    known, unknown = [], []
    for number, path in enumerate(paths):
        samples = decode_audio(path, name=path.name, rate_hz=RATE_HZ, limit_s=HEARD_S)
        if len(samples) < HEARD_S * RATE_HZ:
            continue
        if number % N_HELD_OUT == N_HELD_OUT - 1:
            unknown.append(Recording(path.name, samples))
        else:
            library.add(path.name, path)
            known.append(Recording(path.name, samples))
    assert known
    assert unknown
    return Music(library, known, unknown)


def degraded(samples: Samples, cond: str, seed: int) -> Samples:
    """Return `samples` after what `cond` names; the same for the same seed."""
    rng = np.random.default_rng(seed)
    if cond == "room":
        return in_a_room(samples, rng)
    return with_pink_noise(samples, float(cond.removeprefix("noise")), rng) if cond.startswith("noise") else samples


@pytest.mark.parametrize(
    ("cond", "length_s", "least"),
    [("clean", 2.0, 0.95), ("mp3", 2.0, 0.95), ("noise5", 3.0, 0.85), ("noise0", 5.0, 0.8), ("room", 5.0, 0.8)],
)
def test_degraded_clips_of_known_music_are_recognized(music: Music, cond: str, length_s: float, least: float) -> None:
    """Of real music, cut anywhere and degraded, nearly every clip is named, in its right place, and none is called another's."""
    n_clips = n_right = n_placed = 0
    for number, recording in enumerate(music.known):
        for start_s in PLACES_S:
            n_clips += 1
            clip = degraded(recording.clip(start_s, length_s), cond, 100 * number + n_clips)
            found = music.library.recognize(clip, as_mp3=cond == "mp3")
            if found is not None:
                assert music.library.names[found.track_id] == recording.name
                n_right += 1
                n_placed += abs(PARAMS.frames_to_seconds(found.delta_frames) - start_s) < 0.1
    assert n_right >= least * n_clips
    assert n_placed >= (least - 0.1) * n_clips  # music repeats itself: another place may be as right


@pytest.mark.parametrize("cond", ["clean", "noise0", "room"])
def test_music_that_the_library_does_not_hold_is_not_recognized(music: Music, cond: str) -> None:
    """Clips of recordings that were kept out of the library, by the same artist as those in it, are taken for none of them."""
    answered = [
        (recording.name, start_s, music.library.names[found.track_id])
        for number, recording in enumerate(music.unknown)
        for start_s in UNKNOWN_PLACES_S
        if (found := music.library.recognize(degraded(recording.clip(start_s, LONGEST_S), cond, number))) is not None
    ]
    assert not answered
