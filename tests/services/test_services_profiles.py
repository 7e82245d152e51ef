"""The classic profiles through the services: what is stored is dejavu's, and what is asked is answered."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
from service_parts import track_file
from synthetic import synthesize, write_wav

from dejavud.errors import NoFingerprint
from dejavud.fingerprint.classic_params import GENERATIONS
from dejavud.index.duckdb.index import open_duckdb
from dejavud.index.memory import MemoryIndex
from dejavud.matching.matcher import MatchRules
from dejavud.services.commands import no_progress
from dejavud.services.events import EventHub
from dejavud.services.ingest import Ingest
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.microphones import Microphones
from dejavud.services.profiles import profile_of
from dejavud.services.recognizer import Recognizer, RecognizerSettings
from dejavud.values import Hashes

if TYPE_CHECKING:
    from collections.abc import Generator

    from dejavud.fingerprint.classic_params import ClassicParams
    from dejavud.index.base import Index
    from dejavud.values import Array, Recognition, Track

GOLDEN = Path(__file__).parent.parent / "golden"
GOLDEN_RATES_HZ = {"dejavu-0.1.3": 44100, "dejavu-2020": 44100, "ivlovric-1.5": 8000}
"""What the golden samples were taken to be at."""
NEWEST = GENERATIONS["dejavu-2020"]


async def ingested(index: Index, params: ClassicParams, *paths: Path, limit_s: float | None = None) -> list[Track]:
    """Put files into the index."""
    ingest = Ingest(index, InlineWorkers(), EventHub(), params)
    async with trio.open_nursery() as nursery:
        await nursery.start(ingest.serve)
        tracks = [(await ingest.add(track_file(path, limit_s=limit_s))).track for path in paths]
        nursery.cancel_scope.cancel()
    return tracks


def recognizer(index: Index, params: ClassicParams, record: Any = None) -> Recognizer:  # noqa: ANN401 - a fake
    """Return what answers queries by the usual rules."""
    profile, workers = profile_of(params), InlineWorkers()
    return Recognizer(
        index,
        workers,
        EventHub(),
        params,
        match=profile.matching(MatchRules()),
        settings=RecognizerSettings(search_scales=profile.search_scales("radio")),
        microphones=Microphones(workers, profile.microphone_hz, record=record, list_devices=lambda: ["one"]),
    )


def music_file(folder: Path, seed: int, rate_hz: int = 44100, duration_s: float = 15.0) -> Path:
    """Write a piece of music."""
    return write_wav(folder / f"piece{seed}-{rate_hz}.wav", synthesize(seed, duration_s, rate_hz), rate_hz)


def clip_file(folder: Path, seed: int, start_s: float, rate_hz: int = 44100) -> Path:
    """Write five seconds of a piece."""
    samples = synthesize(seed, 15.0, rate_hz)[round(start_s * rate_hz) :][: 5 * rate_hz]
    return write_wav(folder / "clip.wav", samples, rate_hz)


@pytest.mark.parametrize("name", GOLDEN_RATES_HZ)
async def test_what_an_index_holds_is_what_dejavu_stored(name: str, tmp_path: Path) -> None:
    """Of the golden sound every posting in the file is a (hash, offset) of the original code, and none is missing."""
    path = tmp_path / "golden.wav"
    with wave.open(str(GOLDEN / "classic.wav")) as source, wave.open(str(path), "wb") as target:
        target.setparams(source.getparams())
        target.setframerate(GOLDEN_RATES_HZ[name])
        target.writeframes(source.readframes(source.getnframes()))
    with np.load(GOLDEN / f"classic-{name}.npz") as golden:
        values = np.ascontiguousarray(golden["hash"][:, :8]).view(">u8").ravel()
        expected = sorted(zip(values.tolist(), golden["offset"].tolist(), strict=True))
    with open_duckdb(tmp_path / "index.duckdb", GENERATIONS[name]) as index:
        [track] = await ingested(index, GENERATIONS[name], path)
        with index.reading() as cursor:
            stored = cursor.execute("SELECT hash, frame FROM postings ORDER BY hash, frame").fetchall()
    assert stored == expected
    assert (track.n_hashes, track.n_peaks) == (len(expected), 0)


@pytest.mark.parametrize("name", ["dejavu-2020", "dejavu-0.1.3", "ivlovric-1.5"])
async def test_a_clip_is_recognized_where_it_is(name: str, tmp_path: Path) -> None:
    """The track and the second at which the query begins, with dejavu's number as score; unknown music and silence are no match."""
    index, params = MemoryIndex(), GENERATIONS[name]
    tracks = await ingested(index, params, *(music_file(tmp_path, seed) for seed in (1, 2, 3)))
    asked = recognizer(index, params)
    found = await asked.recognize_file(clip_file(tmp_path, 2, 6.0), "clip.wav")
    [match] = found.matches
    assert match.track == tracks[1]
    assert match.track_start_s == pytest.approx(6.0, abs=0.05)
    assert match.track_end_s == pytest.approx(11.0, abs=0.05)
    assert match.score > 20
    assert (match.speed, match.pitch) == (1.0, 1.0)
    assert (found.profile, found.params_digest) == (f"classic/{name}", params.digest)
    assert found.frame_s == pytest.approx(2048 / 44100)
    assert min(found.timings.decode_ms, found.timings.fingerprint_ms, found.timings.lookup_ms) > 0
    assert (await asked.recognize_file(clip_file(tmp_path, 77, 3.0), "unknown")).matches == ()
    silence = write_wav(tmp_path / "silence.wav", np.zeros(44100, np.float32))
    assert (await asked.recognize_file(silence, "silence")).matches == ()


@pytest.mark.parametrize("rate_hz", [8000, 22050, 48000])
async def test_seconds_are_those_of_the_files_own_rate(rate_hz: int, tmp_path: Path) -> None:
    """At any rate that track and query share, a frame is 2048 samples of it and the answer is in true seconds."""
    index = MemoryIndex()
    await ingested(index, NEWEST, music_file(tmp_path, 1, rate_hz))
    [match] = (await recognizer(index, NEWEST).recognize_file(clip_file(tmp_path, 1, 7.0, rate_hz), "x")).matches
    assert match.track_start_s == pytest.approx(7.0, abs=2048 / rate_hz)


async def test_bytes_without_a_format_are_asked_as_the_old_fork_did(tmp_path: Path) -> None:
    """With the fallback they are 16-bit mono at 8 kHz, met by a track at that rate."""
    index = MemoryIndex()
    [track] = await ingested(index, NEWEST, music_file(tmp_path, 1, 8000))
    samples = synthesize(1, 15.0, 8000)[32_000:72_000]
    (tmp_path / "raw").write_bytes(np.round(samples * 32767).astype("<i2").tobytes())
    found = await recognizer(index, NEWEST).recognize_file(tmp_path / "raw", "raw", raw_fallback=True)
    assert [match.track for match in found.matches] == [track]


async def test_a_take_of_the_microphone_is_a_query_at_44_1_khz(tmp_path: Path) -> None:
    """What is heard is asked at the rate that dejavu recorded at."""
    index = MemoryIndex()
    [track] = await ingested(index, NEWEST, music_file(tmp_path, 1))
    heard = synthesize(1, 15.0)[4 * 44100 :]

    def record(device: str | int | None, rate_hz: int) -> Generator[Array]:
        assert (rate_hz, device) == (44100, None)
        yield heard

    found: Recognition = await recognizer(index, NEWEST, record).recognize_microphone(5.0, None, no_progress)
    assert [match.track for match in found.matches] == [track]
    assert found.matches[0].track_start_s == pytest.approx(4.0, abs=0.05)


async def test_silence_is_no_track_and_a_limit_bounds_one(tmp_path: Path) -> None:
    """A file without a pair of peaks is refused with its reason; of another only so much is stored as was asked for."""
    index = MemoryIndex()
    silence = write_wav(tmp_path / "silence.wav", np.zeros(44100, np.float32))
    with pytest.raises(BaseExceptionGroup) as caught:
        await ingested(index, NEWEST, silence)
    assert caught.value.subgroup(NoFingerprint) is not None
    [track] = await ingested(index, NEWEST, music_file(tmp_path, 1), limit_s=6.0)
    assert track.duration_s == pytest.approx(6.0, abs=0.001)
    hits = index.lookup(all_hashes(index))
    assert hits.track_offsets.max() <= 6.0 * 44100 / 2048


def all_hashes(index: MemoryIndex) -> Hashes:
    """Return a query for every hash of the index."""
    values = np.unique(index._open_contents().postings.hashes)
    return Hashes(values, np.zeros(len(values)))


async def test_two_channels_are_both_heard(tmp_path: Path) -> None:
    """A stereo track is met by either of its channels alone."""
    index, (left, right) = MemoryIndex(), (synthesize(seed, 15.0) for seed in (1, 2))
    path = tmp_path / "stereo.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((2, 2, 44100, 0, "NONE", ""))
        out.writeframes(np.round(np.column_stack([left, right]) * 32767).astype("<i2").tobytes())
    [track] = await ingested(index, NEWEST, path)
    for seed in (1, 2):
        found = await recognizer(index, NEWEST).recognize_file(clip_file(tmp_path, seed, 5.0), "x")
        assert [match.track for match in found.matches] == [track]


async def test_a_known_file_is_not_taken_twice(tmp_path: Path) -> None:
    """By its content, as in every profile."""
    index = MemoryIndex()
    path = music_file(tmp_path, 1)
    copy = Path(shutil.copy(path, tmp_path / "copy.wav"))
    first, second = await ingested(index, NEWEST, path, copy)
    assert first == second
