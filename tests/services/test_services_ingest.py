from __future__ import annotations

import hashlib
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
import structlog
import trio
from service_parts import PARAMS, RATE_HZ, WatchedIndex, music_file, published, track_file
from synthetic import write_wav

from dejavud.errors import (
    IndexFull,
    InternalError,
    NoFingerprint,
    ShuttingDown,
    Timeout,
    UnreadableFile,
    UnsupportedAudio,
)
from dejavud.services import ingest as ingest_module
from dejavud.services import jobs
from dejavud.services.events import EventHub
from dejavud.services.ingest import Ingest, IngestSettings, sha1_of_file
from dejavud.services.inline_workers import InlineWorkers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from dejavud.services.ingest import Ingested


class GatedWorkers(InlineWorkers):
    """Holds every write until it is let go."""

    def __init__(self) -> None:
        self.gate = trio.Event()

    async def write(self, function: Callable[..., object], *args: object) -> object:  # type: ignore[override]
        """See `Workers.write`."""
        await self.gate.wait()
        return await super().write(function, *args)


@asynccontextmanager
async def ingesting(ingest: Ingest) -> AsyncIterator[trio.Nursery]:
    """Run the writer while the block runs."""
    async with trio.open_nursery() as nursery:
        await nursery.start(ingest.serve)
        yield nursery
        nursery.cancel_scope.cancel()


async def test_a_file_becomes_a_track(tmp_path: Path) -> None:
    """The track has the file's SHA1, duration, path and name, and its event leaves after the commit."""
    index, hub = WatchedIndex(), EventHub()
    ingest = Ingest(index, InlineWorkers(), hub, PARAMS)
    events = published(hub)
    path = music_file(tmp_path, 1)
    async with ingesting(ingest):
        ingested = await ingest.add(track_file(path))
    assert ingested.added
    assert list(index.tracks()) == [ingested.track]
    assert ingested.track.file_sha1 == hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
    assert ingested.track.title == "piece1"
    assert ingested.track.path == str(path)
    assert ingested.track.duration_s == pytest.approx(3.0, abs=0.01)
    assert [(event.topic, event.data["track"]["id"]) for event in events] == [("track.added", ingested.track.id)]


async def test_a_large_file_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Second by second of what is decoded, in a process of its own; the track is the same, to the hash, as without."""
    monkeypatch.setattr(jobs, "HEARD_S", 1.0)
    told: list[dict[str, object]] = []

    async def progress(*, must_arrive: bool = False, **figures: object) -> None:
        assert not must_arrive
        told.append(figures)

    kept = []
    for least in (ingest_module.LARGE_BYTES, 1):
        monkeypatch.setattr(ingest_module, "LARGE_BYTES", least)
        index = WatchedIndex()
        ingest = Ingest(index, InlineWorkers(), EventHub(), PARAMS)
        async with ingesting(ingest):
            track = (await ingest.add(track_file(music_file(tmp_path, 1, 30.0)), progress)).track
        kept.append((track.n_hashes, track.n_peaks, track.duration_s, track.title))
        assert bool(told) is (least == 1)
    assert kept[0] == kept[1]
    done = [float(str(figures["done_s"])) for figures in told]
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] <= 30.0
    assert [figures["total_s"] for figures in told] == pytest.approx([30.0] * len(told), abs=0.01)


async def test_a_large_file_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As any other; and one without anything to recognize it by is refused as any other."""
    monkeypatch.setattr(ingest_module, "LARGE_BYTES", 1)
    path = music_file(tmp_path, 1)
    with pytest.raises(Timeout):
        await Ingest(WatchedIndex(), InlineWorkers(), EventHub(), PARAMS, IngestSettings(timeout_s=0.0)).add(
            track_file(path)
        )
    silent = tmp_path / "silent.wav"
    write_wav(silent, np.zeros(RATE_HZ, np.float32), RATE_HZ)
    with pytest.raises(NoFingerprint):
        await Ingest(WatchedIndex(), InlineWorkers(), EventHub(), PARAMS).add(track_file(silent))


async def test_what_is_known_by_content_is_not_added_again(tmp_path: Path) -> None:
    """The same bytes under another name give the old track, without a commit and without an event."""
    index, hub = WatchedIndex(), EventHub()
    ingest = Ingest(index, InlineWorkers(), hub, PARAMS)
    async with ingesting(ingest):
        first = await ingest.add(track_file(music_file(tmp_path, 1)))
        events = published(hub)
        again = await ingest.add(track_file(music_file(tmp_path, 1, name="copy.wav")))
    assert again.track == first.track
    assert not again.added
    assert index.commits == [1]
    assert events == []


async def test_tracks_that_are_ready_together_are_committed_together(tmp_path: Path) -> None:
    """While one commit waits for the disk others gather, and go into the next one, a batch at most."""
    workers, index = GatedWorkers(), WatchedIndex()
    ingest = Ingest(index, workers, EventHub(), PARAMS, IngestSettings(batch_tracks=4))
    async with ingesting(ingest), trio.open_nursery() as callers:
        for seed in range(7):
            callers.start_soon(ingest.add, track_file(music_file(tmp_path, seed, 1.0)))
        await trio.testing.wait_all_tasks_blocked()
        workers.gate.set()
    assert sum(index.commits) == 7
    assert max(index.commits) == 4
    assert len(index.commits) <= 3


async def test_two_identical_files_at_once_are_one_track(tmp_path: Path) -> None:
    """Of two callers with the same bytes in one commit one added the track, and both get it."""
    workers, index, hub = GatedWorkers(), WatchedIndex(), EventHub()
    ingest = Ingest(index, workers, hub, PARAMS)
    events = published(hub)
    results: list[Ingested] = []

    async def add(path: Path) -> None:
        results.append(await ingest.add(track_file(path)))

    async with ingesting(ingest), trio.open_nursery() as callers:
        for name in ("first.wav", "a.wav", "b.wav"):
            callers.start_soon(add, music_file(tmp_path, 1, 1.0, name=name))
        await trio.testing.wait_all_tasks_blocked()
        workers.gate.set()
    assert len({result.track.id for result in results}) == 1
    assert sorted(result.added for result in results) == [False, False, True]
    assert len(events) == 1


@pytest.mark.parametrize("error", [IndexFull(reason="no room"), RuntimeError("a bug")])
async def test_one_track_that_cannot_be_stored_fails_alone(tmp_path: Path, error: Exception) -> None:
    """Its neighbours in the commit are stored, its caller is told, and the writer goes on."""
    workers, index = GatedWorkers(), WatchedIndex(refuses="bad", error=error)
    ingest = Ingest(index, workers, EventHub(), PARAMS)
    raised: list[Exception] = []

    async def add(seed: int, title: str) -> None:
        try:
            await ingest.add(track_file(music_file(tmp_path, seed, 1.0), title=title))
        except (IndexFull, InternalError) as caught:
            raised.append(caught)

    with structlog.testing.capture_logs():
        async with ingesting(ingest):
            async with trio.open_nursery() as callers:
                for seed, title in enumerate(("zeroth", "good", "bad", "fine")):
                    callers.start_soon(add, seed, title)
                await trio.testing.wait_all_tasks_blocked()
                workers.gate.set()
            await ingest.add(track_file(music_file(tmp_path, 9, 1.0), title="later"))
    assert {track.title for track in index.tracks()} == {"zeroth", "good", "fine", "later"}
    assert [type(caught) for caught in raised] == [IndexFull if isinstance(error, IndexFull) else InternalError]


async def test_a_caller_that_leaves_does_not_take_the_track_along(tmp_path: Path) -> None:
    """Cancelled while the commit is under way, the track is committed whole and the writer goes on."""
    workers, index = GatedWorkers(), WatchedIndex()
    ingest = Ingest(index, workers, EventHub(), PARAMS)
    async with ingesting(ingest):
        async with trio.open_nursery() as callers:
            callers.start_soon(ingest.add, track_file(music_file(tmp_path, 1, 1.0)))
            await trio.testing.wait_all_tasks_blocked()
            callers.cancel_scope.cancel()
        workers.gate.set()
        await ingest.add(track_file(music_file(tmp_path, 2, 1.0)))
    assert len(index.tracks()) == 2


async def test_the_writer_commits_what_it_was_brought_before_it_ends(tmp_path: Path) -> None:
    """Told to stop with a commit under way and tracks waiting, it stores all of them and their callers get them."""
    workers, index = GatedWorkers(), WatchedIndex()
    ingest = Ingest(index, workers, EventHub(), PARAMS, IngestSettings(batch_tracks=1))
    results: list[Ingested] = []

    async def add(seed: int) -> None:
        results.append(await ingest.add(track_file(music_file(tmp_path, seed, 1.0))))

    async with trio.open_nursery() as callers, ingesting(ingest):
        for seed in range(3):
            callers.start_soon(add, seed)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.current_trio_token().run_sync_soon(workers.gate.set)  # after the block's cancellation
    assert len(results) == len(index.tracks()) == 3


async def test_what_comes_after_the_end_is_refused(tmp_path: Path) -> None:
    """Once the writer has ended, an ingest says that the daemon is shutting down."""
    ingest = Ingest(WatchedIndex(), InlineWorkers(), EventHub(), PARAMS)
    async with ingesting(ingest):
        pass
    with pytest.raises(ShuttingDown):
        await ingest.add(track_file(music_file(tmp_path, 1, 1.0)))


async def test_what_cannot_be_recognized_is_refused(tmp_path: Path) -> None:
    """Silence and a blip hold no landmark; text holds no audio; a folder is no file: each says so."""
    ingest = Ingest(WatchedIndex(), InlineWorkers(), EventHub(), PARAMS)
    silence = write_wav(tmp_path / "silence.wav", np.zeros(5 * RATE_HZ, np.float32), RATE_HZ)
    text = tmp_path / "text.wav"
    text.write_text("this is not music\n" * 100)
    async with ingesting(ingest):
        with pytest.raises(NoFingerprint, match=r"silence\.wav: its 5\.0 s of audio hold nothing to recognize it by"):
            await ingest.add(track_file(silence))
        with pytest.raises(NoFingerprint):
            await ingest.add(track_file(music_file(tmp_path, 1, 0.05)))
        with pytest.raises(UnsupportedAudio, match=r"text\.wav"):
            await ingest.add(track_file(text))
        with pytest.raises(UnreadableFile):
            await ingest.add(track_file(tmp_path))


async def test_a_limit_cuts_the_track(tmp_path: Path) -> None:
    """With a limit of one second, one second is fingerprinted and is the track's duration."""
    ingest = Ingest(WatchedIndex(), InlineWorkers(), EventHub(), PARAMS)
    async with ingesting(ingest):
        ingested = await ingest.add(track_file(music_file(tmp_path, 1, 3.0), limit_s=1.0))
    assert ingested.track.duration_s == pytest.approx(1.0, abs=0.01)


async def test_a_file_name_that_is_no_text_is_kept_readable(tmp_path: Path) -> None:
    """Bytes of a name that are not UTF-8 become replacement characters, which every database stores."""
    path = music_file(tmp_path, 1, 1.0).rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    ingest = Ingest(WatchedIndex(), InlineWorkers(), EventHub(), PARAMS)
    async with ingesting(ingest):
        ingested = await ingest.add(track_file(path))
    assert ingested.track.path == f"{tmp_path}/caf\N{REPLACEMENT CHARACTER}.wav"
    assert ingested.track.title.encode()


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    """Reading a FIFO's content would wait for ever."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UnreadableFile):
        sha1_of_file(tmp_path / "fifo", "fifo")
