"""Queries that are recognized while they come: raw or encoded, fast or slow, broken, silent, or never ending."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
from service_parts import PARAMS, RATE_HZ, WatchedIndex, published
from stations import encoded
from synthetic import synthesize
from test_services_listeners import RULES, index, library, piece, silence

from dejavud.audio.pcm_format import PcmFormat
from dejavud.errors import Busy, IndexAway, Timeout, TooLarge, UnsupportedAudio
from dejavud.interfaces.audio_channel import AudioChannel
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.services.commands import no_progress
from dejavud.services.events import EventHub
from dejavud.services.hearing import Hearing
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.live_queries import IDLE_S, LiveQueries, LiveQuery
from dejavud.services.microphones import Microphones
from dejavud.services.recognizer import Recognizer, RecognizerSettings
from dejavud.services.uploads import UploadStore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from dejavud.values import Alignment, Recognition

__all__ = ["index"]

PCM = PcmFormat("s16le", RATE_HZ, 1)
PIECE_BYTES = RATE_HZ // 5  # a tenth of a second


def raw(sound: NDArray[Any]) -> bytes:
    """Return `sound` as 16-bit samples."""
    return (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()


class Counting(InlineWorkers):
    """Counts jobs, and has no time for the first few."""

    def __init__(self, n_refused: int = 0) -> None:
        super().__init__()
        self.n_jobs, self.n_refused = 0, n_refused

    async def process(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as its own
        """See `Workers.process`."""
        self.n_jobs += 1
        if self.n_jobs <= self.n_refused:
            raise Busy(what="jobs")
        return await super().process(*args, **kwargs)


class Slow(InlineWorkers):
    """Does nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = trio.Event()

    async def process(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as its own
        """See `Workers.process`."""
        await self.go_on.wait()
        return await super().process(*args, **kwargs)


class Bench:
    """Live queries over a library of three pieces.

    told : the progress.
    n_taken : bytes that were taken.
    """

    def __init__(
        self,
        index: WatchedIndex,
        folder: Path,
        *,
        workers: InlineWorkers | None = None,
        max_bytes: int = 1 << 24,
        hears: bool = True,
    ) -> None:
        workers = workers or InlineWorkers()
        self.hub, self.folder = EventHub(), folder
        self.events = published(self.hub)
        matcher = Matcher(PARAMS, MatchRules())
        self.recognizer = Recognizer(
            index,
            workers,
            self.hub,
            PARAMS,
            match=matcher.match,
            quick_match=matcher.match_quickly,
            settings=RecognizerSettings(max_query_s=30.0),
            microphones=Microphones(workers, RATE_HZ, list_devices=list),
        )
        self.queries = LiveQueries(
            self.recognizer,
            workers,
            index,
            UploadStore(folder, max_bytes=max_bytes),
            hear=(lambda: Hearing(PARAMS, RULES, library(index))) if hears else None,
        )
        self.told: list[dict[str, Any]] = []
        self.n_taken = 0

    async def ask(
        self, data: bytes | Iterable[bytes], query: LiveQuery, *, ends: bool = True, piece_bytes: int = PIECE_BYTES
    ) -> Recognition:
        """Return the answer to a query whose sound comes in pieces, as fast as it is taken, and does not end where not `ends`."""
        channel = AudioChannel(is_stream=True)
        if isinstance(data, bytes):
            data = [data[first : first + piece_bytes] for first in range(0, len(data), piece_bytes)]

        async def send() -> None:
            for one in data:
                await channel.put(one)
                if channel.is_dropped:
                    return
                self.n_taken += len(one)
            if ends:
                channel.end()

        async def progress(**figures: object) -> None:
            self.told.append(figures)

        recognition: Recognition | None = None
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            try:
                recognition = await self.queries.recognize(query, channel, progress)
            except Exception as error:  # noqa: BLE001 - raised again outside the nursery
                failure = error
            channel.drop()
            nursery.cancel_scope.cancel()
        assert list(self.folder.iterdir()) == []
        if failure is not None:
            raise failure
        assert recognition is not None
        return recognition


async def test_the_answer_comes_as_soon_as_it_is_certain(index: WatchedIndex, tmp_path: Path) -> None:
    """Of a stream without end some seconds are heard, the rest is not taken, and the answer is a query's: where in the track it began."""
    bench = Bench(index, tmp_path)
    recognition = await bench.ask(raw(piece(1)[5 * RATE_HZ :]), LiveQuery("hall", PCM), ends=False)
    [match] = recognition.matches
    assert match.track.title == "piece 1"
    assert match.track_start_s == pytest.approx(5.0, abs=0.05)
    assert recognition.source == "hall"
    assert bench.n_taken <= 8 * 2 * RATE_HZ + (64 << 10)
    assert [event.topic for event in bench.events] == ["match.recognized"]
    assert (bench.recognizer.counts.n_matched, bench.recognizer.counts.n_unmatched) == (1, 0)


@pytest.mark.parametrize("kind", ["mp3", "ogg", "flac", "mpegts", "adts", "webm", "wav"])
async def test_encoded_sound_is_recognized_while_it_comes(index: WatchedIndex, tmp_path: Path, kind: str) -> None:
    """Whatever is decoded from its beginning on needs no end; what is before the track is no obstacle."""
    sound = np.concatenate([np.zeros(2 * 48_000, np.float32), synthesize(2, 20.0, 48_000)])
    bench = Bench(index, tmp_path)
    recognition = await bench.ask(encoded(sound, 48_000, kind), LiveQuery("x"), ends=False, piece_bytes=2000)
    [match] = recognition.matches
    assert match.track.title == "piece 2"
    assert match.track_start_s - match.query_start_s == pytest.approx(-2.0, abs=0.1)
    assert recognition.duration_s < 20.0


@pytest.mark.parametrize("kind", ["mp3", "ogg", "webm", "adts"])
async def test_a_broken_stream_is_recognized_by_what_is_whole(index: WatchedIndex, tmp_path: Path, kind: str) -> None:
    """Damage in the middle, and an end in the middle of a packet, cost what they hit and no more."""
    data = bytearray(encoded(synthesize(2, 12.0, 48_000), 48_000, kind))
    middle = len(data) // 3
    data[middle : middle + 2000] = np.random.default_rng(1).bytes(2000)
    recognition = await Bench(index, tmp_path, hears=False).ask(bytes(data[: -len(data) // 4]), LiveQuery("x"))
    assert [match.track.title for match in recognition.matches] == ["piece 2"]
    assert 4.0 < recognition.duration_s < 12.0


async def test_what_is_known_so_far_is_told(index: WatchedIndex, tmp_path: Path) -> None:
    """About once a second: how much was heard, how loud its last second is, and which tracks it may be, the likeliest first."""
    bench = Bench(index, tmp_path)
    noise = np.random.default_rng(1).normal(0, 0.2, 10 * RATE_HZ)
    await bench.ask(raw(silence(2.0)) + raw(piece(1, 10.0) * 0.3 + noise), LiveQuery("x", PCM))
    heard = [figures["heard_s"] for figures in bench.told]
    assert heard == sorted(heard)
    assert np.diff(heard).max() <= 1.2 + (64 << 10) / PCM.bytes_per_s
    assert bench.told[0]["level_db"] == -120.0
    assert bench.told[-1]["level_db"] == pytest.approx(-14, abs=2)
    assert bench.told[0]["candidates"] == []
    likely = [one for figures in bench.told for one in figures["candidates"]]
    assert {one["track"]["title"] for one in likely} == {"piece 1"}
    assert all(0 <= one["confidence"] <= 1 for one in likely)


async def test_unknown_sound_is_heard_to_its_limit_or_its_end(index: WatchedIndex, tmp_path: Path) -> None:
    """Nothing is found in it: that is an answer, of as much as was wanted, and of no more than a query may have."""
    unknown = raw(piece(77, 40.0))
    for query, ends, heard_s in (
        (LiveQuery("x", PCM, 4.0), False, 4.0),
        (LiveQuery("x", PCM), False, 30.0),
        (LiveQuery("x", PCM, 100.0), True, 30.0),
        (LiveQuery("x", PCM), True, 6.0),
    ):
        bench = Bench(index, tmp_path)
        data = unknown[: 6 * 2 * RATE_HZ] if heard_s == 6 else unknown
        recognition = await bench.ask(data, query, ends=ends)
        assert recognition.matches == ()
        assert recognition.duration_s == pytest.approx(heard_s, abs=0.01)
        assert (bench.recognizer.counts.n_unmatched, bench.events) == (1, [])


async def test_encoded_sound_without_an_end_is_heard_to_its_limit(index: WatchedIndex, tmp_path: Path) -> None:
    """What is heard is counted, not bytes: the rate of encoded sound is its own."""
    bench = Bench(index, tmp_path)
    data = encoded(synthesize(77, 20.0, 48_000), 48_000, "mp3")
    recognition = await bench.ask(data, LiveQuery("x", limit_s=4.0), ends=False, piece_bytes=2000)
    assert (recognition.matches, recognition.duration_s) == ((), pytest.approx(4.0, abs=0.01))
    assert bench.n_taken < len(data)


async def test_what_a_look_is_certain_of_and_the_whole_is_not_is_no_answer_yet(
    index: WatchedIndex, tmp_path: Path
) -> None:
    """The query goes on until both agree; a try without a match is neither counted nor told."""
    bench, n_asked = Bench(index, tmp_path), 0
    matcher = Matcher(PARAMS, MatchRules())

    def reluctant(*asked: Any) -> tuple[Alignment, ...]:  # noqa: ANN401 - what the matcher takes
        nonlocal n_asked
        n_asked += 1
        return () if n_asked <= 2 else matcher.match(*asked)

    bench.recognizer.change(reluctant, None, bench.recognizer.settings)
    recognition = await bench.ask(raw(piece(1)), LiveQuery("x", PCM), ends=False)
    assert [match.track.title for match in recognition.matches] == ["piece 1"]
    assert n_asked == 3
    counts = bench.recognizer.counts
    assert (counts.n_matched, counts.n_unmatched, len(bench.events)) == (1, 0, 1)
    assert bench.told[-1]["candidates"][0]["track"]["title"] == "piece 1"


async def test_silence_is_no_match_and_costs_no_look_up(index: WatchedIndex, tmp_path: Path) -> None:
    """It is looked at and never asked about, but once at its end."""
    bench, before = Bench(index, tmp_path), index.n_lookups
    assert (await bench.ask(raw(silence(5.0)), LiveQuery("x", PCM))).matches == ()
    assert index.n_lookups - before <= 2
    assert {figures["level_db"] for figures in bench.told} == {-120.0}


@pytest.mark.parametrize(
    ("data", "query", "reason"),
    [
        (b"", LiveQuery("hall"), "hall"),
        (b"", LiveQuery("hall", PCM), "hall"),
        (b"\0", LiveQuery("hall", PCM), "hall"),
        (b"rubbish" * 9999, LiveQuery("hall"), "hall"),
        (b"RIFF\0\0\0\0WAVEfmt ", LiveQuery("hall", PCM), "this is a wav file, and raw samples"),
    ],
)
async def test_what_is_no_sound_is_refused(
    index: WatchedIndex, tmp_path: Path, data: bytes, query: LiveQuery, reason: str
) -> None:
    """Nothing, rubbish, half a sample, and a file that is said to be raw samples."""
    bench = Bench(index, tmp_path)
    with pytest.raises(UnsupportedAudio, match=reason):
        await bench.ask(data, query)
    assert bench.recognizer.counts.n_failed == 1


async def test_rubbish_without_an_end_is_given_up(index: WatchedIndex, tmp_path: Path) -> None:
    """After some megabytes of which nothing can be decoded no more is taken; fewer looks than a dozen were tried."""
    workers = Counting()
    bench = Bench(index, tmp_path, workers=workers)
    with pytest.raises(UnsupportedAudio):
        await bench.ask((b"rubbish" * 9999 for _ in range(1000)), LiveQuery("x"), ends=False)
    assert 4 << 20 < bench.n_taken < 16 << 20
    assert workers.n_jobs <= 12


async def test_more_than_may_be_kept_is_too_large(index: WatchedIndex, tmp_path: Path) -> None:
    """Sound that is encoded at no rate that music has is not kept without a limit."""
    bench = Bench(index, tmp_path, max_bytes=100_000)
    with pytest.raises(TooLarge):
        await bench.ask(raw(piece(77, 20.0)), LiveQuery("x", PCM))


async def test_who_sends_too_fast_is_held_up(index: WatchedIndex, tmp_path: Path) -> None:
    """While nobody looks, a second and some pieces are taken, and no more; then all goes on."""
    workers = Slow()
    bench = Bench(index, tmp_path, workers=workers)
    async with trio.open_nursery() as nursery:
        answers: list[Recognition] = []

        async def ask() -> None:
            answers.append(await bench.ask(raw(piece(1)), LiveQuery("x", PCM), ends=False))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert bench.n_taken <= PCM.bytes_per_s + (64 << 10) + 2 * PIECE_BYTES
        workers.go_on.set()
    assert answers[0].matches


async def test_a_sender_that_pauses_or_trickles_is_given_up(
    index: WatchedIndex, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """One who sends nothing for a while, and one who sends a sample now and then, cost some time and then nothing."""
    bench = Bench(index, tmp_path)
    started = autojump_clock.current_time()
    with pytest.raises(Timeout, match="next sound"):
        await bench.ask(raw(piece(77, 3.0)), LiveQuery("x", PCM), ends=False)
    assert autojump_clock.current_time() - started == pytest.approx(IDLE_S, abs=2)

    channel = AudioChannel(is_stream=True)

    async def trickle() -> None:
        while not channel.is_dropped:
            await channel.put(b"\0\0")
            await trio.sleep(IDLE_S - 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        started = autojump_clock.current_time()
        with pytest.raises(Timeout, match="sending the query's sound"):
            await bench.queries.recognize(LiveQuery("x", PCM, 10.0), channel, no_progress)
        assert autojump_clock.current_time() - started == pytest.approx(10.0 + 60.0, abs=1)
        channel.drop()
    assert bench.recognizer.counts.n_failed == 2


async def test_a_look_that_nobody_has_time_for_is_left_out(index: WatchedIndex, tmp_path: Path) -> None:
    """Where the workers are busy the query goes on, and is answered when they are not."""
    workers = Counting(n_refused=3)
    bench = Bench(index, tmp_path, workers=workers)
    recognition = await bench.ask(raw(piece(3)), LiveQuery("x", PCM))
    assert [match.track.title for match in recognition.matches] == ["piece 3"]
    assert workers.n_jobs > 3


async def test_an_index_that_is_away_ends_the_query(
    index: WatchedIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error comes with the first look, not with the last sound."""

    def away(*_args: object, **_kwargs: object) -> None:
        raise IndexAway(url="x", reason="gone")

    monkeypatch.setattr(index, "lookup", away)
    bench = Bench(index, tmp_path)
    with pytest.raises(IndexAway):
        await bench.ask(raw(piece(1)), LiveQuery("x", PCM), ends=False)
    assert bench.recognizer.counts.n_failed == 1


async def test_a_profile_that_cannot_follow_answers_at_the_end(index: WatchedIndex, tmp_path: Path) -> None:
    """Where nothing can say what is certain, the whole of a query is heard, up to its limit."""
    bench = Bench(index, tmp_path, hears=False)
    recognition = await bench.ask(raw(piece(1)), LiveQuery("x", PCM, 12.0), ends=False)
    assert recognition.duration_s == pytest.approx(12.0, abs=0.01)
    assert [match.track.title for match in recognition.matches] == ["piece 1"]
    assert bench.told == []


async def test_a_caller_that_leaves_leaves_nothing(index: WatchedIndex, tmp_path: Path) -> None:
    """Cancelled in the middle, the query's file is gone."""
    bench = Bench(index, tmp_path)
    with trio.move_on_after(0.3):
        await bench.queries.recognize(LiveQuery("x", PCM), AudioChannel(is_stream=True), no_progress)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - a look from an async test
