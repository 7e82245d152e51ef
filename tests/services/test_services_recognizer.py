from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soxr
import trio
from service_parts import PARAMS, RATE_HZ, WatchedIndex, music_file, published, track_file
from synthetic import write_wav
from test_services_listeners import RULES, library

from dejavud.audio.decode import decode_audio
from dejavud.errors import MicrophoneUnavailable, Timeout, UnsupportedAudio
from dejavud.fingerprint.scaling import search_scales
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.services.commands import no_progress
from dejavud.services.events import EventHub
from dejavud.services.hearing import Hearing
from dejavud.services.ingest import Ingest
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.microphones import Microphones
from dejavud.services.recognizer import Recognizer, RecognizerSettings, match_of
from dejavud.services.views import recognition_view
from dejavud.values import Alignment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from dejavud.services.workers import Workers
    from dejavud.values import Array, Track

BLOCK_SAMPLES = 400


MATCH = Matcher(PARAMS, MatchRules()).match


class Microphone:
    """Hears `samples` and then nothing any more."""

    def __init__(self, samples: Array) -> None:
        self.samples = samples
        self.n_open = 0
        self.asked: object = None

    def record(self, device: str | int | None, rate_hz: int) -> Generator[Array]:
        """Stand in for `dejavud.services.listen_jobs.record`."""
        assert rate_hz == RATE_HZ
        self.asked = device
        self.n_open += 1
        try:
            while len(self.samples):
                block, self.samples = self.samples[:BLOCK_SAMPLES], self.samples[BLOCK_SAMPLES:]
                yield block
            raise MicrophoneUnavailable(reason="unplugged")
        finally:
            self.n_open -= 1


class Bench:
    """A recognizer with everything it needs."""

    def __init__(
        self,
        *,
        workers: Workers | None = None,
        match: Callable[..., tuple[Alignment, ...]] = MATCH,
        settings: RecognizerSettings | None = None,
        heard: Array | None = None,
        quick_match: Callable[..., tuple[Alignment, ...]] | None = None,
        hears: bool = False,
    ) -> None:
        self.index, self.hub = WatchedIndex(), EventHub()
        self.workers = workers or InlineWorkers()
        self.events = published(self.hub)
        self.microphone = Microphone(np.empty(0, np.float32) if heard is None else heard)
        self.recognizer = Recognizer(
            self.index,
            self.workers,
            self.hub,
            PARAMS,
            match=match,
            quick_match=quick_match,
            settings=settings or RecognizerSettings(),
            microphones=Microphones(
                self.workers, RATE_HZ, record=self.microphone.record, list_devices=lambda: ["a microphone"]
            ),
            hear=(lambda: Hearing(PARAMS, RULES, library(self.index))) if hears else None,
        )

    async def add(self, path: Path) -> Track:
        """Put a file into the index."""
        ingest = Ingest(self.index, InlineWorkers(), EventHub(), PARAMS)
        async with trio.open_nursery() as nursery:
            await nursery.start(ingest.serve)
            track = (await ingest.add(track_file(path))).track
            nursery.cancel_scope.cancel()
        return track


def clip(path: Path, start_s: float, duration_s: float, target: Path) -> Path:
    """Cut a piece out of a wav of the engine's rate."""
    samples = samples_of(path)[round(start_s * RATE_HZ) : round((start_s + duration_s) * RATE_HZ)]
    return write_wav(target, samples, RATE_HZ)


def samples_of(path: Path) -> Array:
    """Return the samples of a file as the engine hears it."""
    return decode_audio(path, name=path.name, rate_hz=RATE_HZ)


async def test_a_clip_is_recognized_where_it_is(tmp_path: Path) -> None:
    """The answer names the track and the second at which the query begins, with every timing and the engine."""
    bench = Bench()
    path = music_file(tmp_path, 1, 10.0)
    track = await bench.add(path)
    await bench.add(music_file(tmp_path, 2, 10.0))
    recognition = await bench.recognizer.recognize_file(clip(path, 4.0, 3.0, tmp_path / "clip.wav"), "clip.wav")
    [match] = recognition.matches
    assert match.track == track
    assert match.track_start_s == pytest.approx(4.0, abs=0.05)
    assert match.track_end_s == pytest.approx(7.0, abs=0.05)
    assert (match.query_start_s, match.query_end_s) == pytest.approx((0.0, 3.0), abs=0.05)
    assert (recognition.source, recognition.duration_s) == ("clip.wav", pytest.approx(3.0, abs=0.01))
    assert (recognition.profile, recognition.params_digest) == (PARAMS.profile, PARAMS.digest)
    timings = recognition.timings
    parts = timings.decode_ms, timings.fingerprint_ms, timings.lookup_ms, timings.match_ms
    assert min(parts) > 0
    assert sum(parts) <= timings.total_ms
    assert [event.topic for event in bench.events] == ["match.recognized"]
    assert bench.recognizer.counts.n_matched == 1


@pytest.mark.parametrize("query", ["unknown", "silence", "blip"])
async def test_what_is_not_known_has_no_match_and_no_event(tmp_path: Path, query: str) -> None:
    """Foreign music, silence and half a frame are answered, with nothing."""
    bench = Bench()
    await bench.add(music_file(tmp_path, 1, 5.0))
    path = {
        "unknown": lambda: music_file(tmp_path, 2, 3.0),
        "silence": lambda: write_wav(tmp_path / "s.wav", np.zeros(RATE_HZ, np.float32), RATE_HZ),
        "blip": lambda: music_file(tmp_path, 1, 0.02, name="blip.wav"),
    }[query]()
    recognition = await bench.recognizer.recognize_file(path, query)
    assert recognition.matches == ()
    assert bench.events == []
    assert bench.recognizer.counts.n_unmatched == 1


async def test_a_long_query_is_heard_from_its_beginning(tmp_path: Path) -> None:
    """Beyond the longest query, and beyond the caller's own limit, nothing is read."""
    bench = Bench(settings=RecognizerSettings(max_query_s=2.0))
    path = music_file(tmp_path, 1, 4.0)
    assert (await bench.recognizer.recognize_file(path, "x")).duration_s == pytest.approx(2.0, abs=0.01)
    assert (await bench.recognizer.recognize_file(path, "x", limit_s=9.0)).duration_s == pytest.approx(2.0, abs=0.01)
    assert (await bench.recognizer.recognize_file(path, "x", limit_s=1.0)).duration_s == pytest.approx(1.0, abs=0.01)


async def test_bytes_without_a_format_are_samples_only_where_asked(tmp_path: Path) -> None:
    """With the fallback they are 16-bit mono at 8 kHz; without it they are unsupported."""
    bench = Bench()
    path = music_file(tmp_path, 1, 10.0)
    track = await bench.add(path)
    raw = tmp_path / "raw"
    raw.write_bytes((samples_of(path)[4 * RATE_HZ : 7 * RATE_HZ] * 32767).astype("<i2").tobytes())
    recognition = await bench.recognizer.recognize_file(raw, "raw", raw_fallback=True)
    assert [match.track for match in recognition.matches] == [track]
    with pytest.raises(UnsupportedAudio):
        await bench.recognizer.recognize_file(raw, "raw")
    assert bench.recognizer.counts.n_failed == 1


async def test_a_query_has_a_deadline(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A query whose work does not end is given up, named, and counted."""

    class Stuck(InlineWorkers):
        async def match(self, function: Callable[..., object], *args: object) -> object:  # type: ignore[override]
            del function, args
            await trio.sleep_forever()

    started_s = autojump_clock.current_time()
    bench = Bench(workers=Stuck(), settings=RecognizerSettings(timeout_s=7.0))
    with pytest.raises(Timeout, match=r"clip\.wav took longer than 7\.0 s"):
        await bench.recognizer.recognize_file(music_file(tmp_path, 1, 1.0), "clip.wav")
    assert autojump_clock.current_time() - started_s == 7
    assert bench.recognizer.counts.n_failed == 1


async def test_a_track_that_is_removed_meanwhile_is_left_out(tmp_path: Path) -> None:
    """An alignment with a track that is gone by the time it is named is no match."""

    def removing(*query_and_hits: Any) -> tuple[Alignment, ...]:  # noqa: ANN401 - what the matcher takes
        found = MATCH(*query_and_hits)
        bench.index.remove([alignment.track_id for alignment in found])
        return found

    bench = Bench(match=removing)
    path = music_file(tmp_path, 1, 5.0)
    await bench.add(path)
    assert (await bench.recognizer.recognize_file(path, "x")).matches == ()


@pytest.mark.parametrize(
    ("delta_frames", "query_s", "expected"),
    [
        (100.0, 2.0, (0.0, 2.0, 3.2, 5.2)),
        (0.0, 2.0, (0.0, 2.0, 0.0, 2.0)),
        (-25.0, 2.0, (0.8, 2.0, 0.0, 1.2)),
        (250.0, 5.0, (0.0, 2.0, 8.0, 10.0)),
        (400.0, 5.0, (0.0, 0.0, 12.8, 12.8)),
        (-10.5, 30.0, (0.336, 10.336, 0.0, 10.0)),
    ],
)
async def test_a_match_is_what_query_and_track_share(
    tmp_path: Path, delta_frames: float, query_s: float, expected: tuple[float, ...]
) -> None:
    """Both stretches start at one moment and end with the query or the track, whichever is first."""
    track = await Bench().add(music_file(tmp_path, 1, 10.0))
    match = match_of(
        Alignment(track.id, delta_frames, 1.0, 1.0, 50.0, 0.9, 0.8), track, query_s, PARAMS.frames_to_seconds(1)
    )
    found = match.query_start_s, match.query_end_s, match.track_start_s, match.track_end_s
    assert found == pytest.approx(expected, abs=0.005)


async def test_what_is_played_faster_is_sought_only_where_it_is_asked_for(tmp_path: Path) -> None:
    """Five seconds at 1.03 times the speed are no match as they are, and are one, with that speed, when radio's speeds are sought."""
    path, faster = music_file(tmp_path, 1, 20.0), tmp_path / "faster.wav"
    samples = decode_audio(path, name="1", rate_hz=44100)[4 * 44100 :]
    write_wav(faster, soxr.resample(samples, 44100 * 1.03, 44100)[: 5 * 44100], 44100)
    plain, searching = Bench(), Bench(settings=RecognizerSettings(search_scales=search_scales("radio")))
    await plain.add(path)
    track = await searching.add(path)
    assert (await plain.recognizer.recognize_file(faster, "x")).matches == ()
    [match] = (await searching.recognizer.recognize_file(faster, "x")).matches
    assert match.track == track
    assert match.track_start_s == pytest.approx(4.0, abs=0.05)
    assert match.speed == pytest.approx(1.03, abs=0.001)
    assert match.pitch == pytest.approx(1.03, abs=0.001)
    assert match.track_end_s - match.track_start_s == pytest.approx(5.0 * 1.03, abs=0.05)


async def test_what_is_found_as_it_is_is_not_sought_at_other_speeds(tmp_path: Path) -> None:
    """The index is asked once for a query that it answers, twice for one that it does not."""
    path, unknown = music_file(tmp_path, 1, 10.0), music_file(tmp_path, 2, 5.0)
    bench = Bench(settings=RecognizerSettings(search_scales=search_scales("clock")))
    await bench.add(path)
    bench.index.n_lookups = 0  # of the search for copies of what was added
    await bench.recognizer.recognize_file(path, "known")
    assert bench.index.n_lookups == 1
    await bench.recognizer.recognize_file(unknown, "unknown")
    assert bench.index.n_lookups == 3


async def test_what_could_not_be_asked_is_told(tmp_path: Path) -> None:
    """An answer names what of the index was away in any of its look-ups, and is whole again when it is back."""
    path = music_file(tmp_path, 1, 10.0)
    bench = Bench()
    await bench.add(path)
    bench.index.unseen = ("shard2", "shard1")
    told = await bench.recognizer.recognize_file(path, "known")
    assert told.partial == ("shard1", "shard2")
    assert recognition_view(told)["partial"] == ["shard1", "shard2"]
    bench.index.unseen = ()
    assert (await bench.recognizer.recognize_file(path, "known")).partial == ()


async def test_an_easy_query_is_answered_by_a_first_look(tmp_path: Path) -> None:
    """What is plain costs one look-up of few hashes; what is not is asked about with everything, and then sought at other speeds."""
    path, unknown = music_file(tmp_path, 1, 20.0), music_file(tmp_path, 2, 5.0)
    bench = Bench(
        quick_match=Matcher(PARAMS, MatchRules()).match_quickly,
        settings=RecognizerSettings(search_scales=search_scales("clock")),
    )
    track = await bench.add(path)
    bench.index.n_lookups = 0
    easy = await bench.recognizer.recognize_file(clip(path, 6.0, 5.0, tmp_path / "easy.wav"), "easy")
    assert [match.track for match in easy.matches] == [track]
    assert easy.matches[0].track_start_s == pytest.approx(6.0, abs=0.02)
    assert bench.index.n_lookups == 1
    hard = await bench.recognizer.recognize_file(unknown, "unknown")
    assert hard.matches == ()
    assert bench.index.n_lookups == 4
    assert easy.n_hashes * 8 < hard.n_hashes


async def test_one_take_of_the_microphone_is_a_query(tmp_path: Path) -> None:
    """As much as was asked for is heard, its progress told each second, and the microphone closed again."""
    path = music_file(tmp_path, 1, 10.0)
    bench = Bench(heard=samples_of(path)[2 * RATE_HZ :])
    track = await bench.add(path)
    told: list[dict[str, float | str]] = []

    async def progress(**figures: float | str) -> None:
        told.append(figures)

    recognition = await bench.recognizer.recognize_microphone(3.5, "usb", progress)
    assert recognition.duration_s == pytest.approx(3.5, abs=0.01)
    assert recognition.source == "microphone"
    assert [match.track for match in recognition.matches] == [track]
    assert recognition.matches[0].track_start_s == pytest.approx(2.0, abs=0.05)
    assert [figures["done_s"] for figures in told] == [1.0, 2.0, 3.0]
    assert bench.microphone.asked == "usb"
    assert bench.microphone.n_open == 0


async def test_a_microphone_is_listened_to_until_it_is_certain(tmp_path: Path) -> None:
    """Of half a minute that was allowed, a known track takes some seconds; the answer is a recognition of what was heard until then."""
    path = music_file(tmp_path, 1, 30.0)
    bench = Bench(heard=samples_of(path)[5 * RATE_HZ :], hears=True)
    track = await bench.add(path)
    recognition = await bench.recognizer.recognize_microphone(30.0, None, no_progress)
    assert recognition.duration_s <= 5.0
    assert [match.track for match in recognition.matches] == [track]
    assert recognition.matches[0].track_start_s == pytest.approx(5.0, abs=0.05)
    assert recognition.matches[0].score > 0
    assert bench.microphone.n_open == 0
    assert (bench.recognizer.counts.n_matched, bench.recognizer.counts.n_unmatched) == (1, 0)
    assert [event.topic for event in bench.events] == ["match.recognized"]


async def test_a_microphone_that_hears_nothing_known_is_heard_for_as_long_as_was_allowed(tmp_path: Path) -> None:
    """Unknown music takes all of the time, and is then asked about with everything, as any query."""
    bench = Bench(heard=samples_of(music_file(tmp_path, 2, 9.0)), hears=True)
    await bench.add(music_file(tmp_path, 1, 10.0))
    recognition = await bench.recognizer.recognize_microphone(6.5, None, no_progress)
    assert recognition.duration_s == pytest.approx(6.5, abs=0.01)
    assert recognition.matches == ()
    assert (bench.recognizer.counts.n_matched, bench.recognizer.counts.n_unmatched) == (0, 1)
    with pytest.raises(MicrophoneUnavailable):
        await bench.recognizer.recognize_microphone(6.5, None, no_progress)


async def test_a_microphone_that_is_unplugged_ends_the_take() -> None:
    """The error arrives, the device is closed, and the query counts as failed."""
    bench = Bench(heard=np.zeros(RATE_HZ, np.float32))
    with pytest.raises(MicrophoneUnavailable, match="unplugged"):
        await bench.recognizer.recognize_microphone(3.0, None, no_progress)
    assert bench.microphone.n_open == 0
    assert bench.recognizer.counts.n_failed == 1


async def test_the_sound_system_is_asked_once_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    """Whether there is a microphone is remembered, and asked again when it may have changed."""
    started_s = autojump_clock.current_time()
    answers: list[list[str] | Exception] = [MicrophoneUnavailable(reason="no PyAudio"), [], ["a microphone"]]

    def list_devices() -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    microphones = Microphones(InlineWorkers(), RATE_HZ, list_devices=list_devices)
    assert await microphones.unavailable() == "no PyAudio"
    assert await microphones.unavailable() == "no PyAudio"
    await trio.sleep(61)
    assert "can record" in await microphones.unavailable()
    await trio.sleep(61)
    assert await microphones.unavailable() == ""
    assert autojump_clock.current_time() - started_s == 122
