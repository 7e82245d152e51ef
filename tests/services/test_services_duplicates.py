"""The same recording in another file is said when it is added, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio
from audio_files import encode
from service_parts import PARAMS, RATE_HZ, WatchedIndex, published, track_file
from synthetic import synthesize, write_wav

from dejavud.errors import Timeout
from dejavud.fingerprint.classic_params import GENERATIONS
from dejavud.index.memory import MemoryIndex
from dejavud.services.events import EventHub
from dejavud.services.ingest import Ingest, Ingested, IngestSettings
from dejavud.services.inline_workers import InlineWorkers
from dejavud.values import TrackEdit

if TYPE_CHECKING:
    from pathlib import Path

PIECE_S = 20.0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give one piece in several files, and two others."""
    folder = tmp_path_factory.mktemp("pieces")
    piece, rate_hz = synthesize(1, PIECE_S, 44100), 44100
    return {
        "wav": write_wav(folder / "piece.wav", piece, rate_hz),
        "flac": encode(folder / "piece.flac", piece, rate_hz, "flac", sample_format="s16"),
        "mp3": encode(folder / "piece.mp3", piece, rate_hz, "libmp3lame", bit_rate=64_000),
        "ogg": encode(folder / "piece.ogg", piece, rate_hz, "vorbis"),
        "cut": write_wav(folder / "cut.wav", piece[rate_hz // 2 :], rate_hz),
        "other": write_wav(folder / "other.wav", synthesize(2, PIECE_S, RATE_HZ), RATE_HZ),
        "third": write_wav(folder / "third.wav", synthesize(3, PIECE_S, RATE_HZ), RATE_HZ),
    }


async def added(ingest: Ingest, *paths: Path, at_once: bool = False) -> list[Ingested]:
    """Return what became of `paths`, added one after the other or all at once."""
    results: list[Ingested] = []

    async def add(path: Path) -> None:
        results.append(await ingest.add(track_file(path)))

    async with trio.open_nursery() as nursery:
        await nursery.start(ingest.serve)
        if at_once:
            async with trio.open_nursery() as callers:
                for path in paths:
                    callers.start_soon(add, path)
        else:
            for path in paths:
                await add(path)
        nursery.cancel_scope.cancel()
    return results


async def test_another_file_of_the_same_recording_is_said(files: dict[str, Path]) -> None:
    """Whatever its encoding, with half a second cut off, in its answer and in its event; it is added all the same."""
    index, hub = MemoryIndex(), EventHub()
    events = published(hub)
    order = ("other", "wav", "third", "mp3", "ogg", "flac", "cut")
    results = await added(Ingest(index, InlineWorkers(), hub, PARAMS), *(files[name] for name in order))
    told = {name: {each.track.title for each in got.duplicates} for name, got in zip(order, results, strict=True)}
    assert told == {
        "other": set(),
        "wav": set(),
        "third": set(),
        "mp3": {"piece"},
        "ogg": {"piece"},
        "flac": {"piece"},
        "cut": {"piece"},
    }
    assert [len(got.duplicates) for got in results] == [0, 0, 0, 1, 2, 3, 4]
    assert all(each.confidence > 0.99 for got in results for each in got.duplicates)
    assert all(got.added for got in results)
    for event, got in zip(events, results, strict=True):
        shown = [(each["id"], round(each["confidence"], 3)) for each in event.data["duplicates"]]
        assert shown == [(each.track.id, round(each.confidence, 3)) for each in got.duplicates]


async def test_of_files_that_come_together_the_later_is_told_of_the_earlier(files: dict[str, Path]) -> None:
    """In one commit too: each pair once, by the track with the greater number."""
    ingest = Ingest(MemoryIndex(), InlineWorkers(), EventHub(), PARAMS)
    results = await added(ingest, files["wav"], files["flac"], files["other"], files["mp3"], at_once=True)
    pairs = [(each.track.id, got.track.id) for got in results for each in got.duplicates]
    ids = sorted(got.track.id for got in results if got.track.title == "piece")
    assert sorted(pairs) == sorted((one, other) for one in ids for other in ids if one < other)


async def test_disabled_tracks_are_not_compared_with(files: dict[str, Path]) -> None:
    """They are in no look-up, this one included."""
    index = MemoryIndex()
    ingest = Ingest(index, InlineWorkers(), EventHub(), PARAMS)
    (first,) = await added(ingest, files["wav"])
    index.edit({first.track.id: TrackEdit(disabled=True)})
    (second,) = await added(Ingest(index, InlineWorkers(), EventHub(), PARAMS), files["flac"])
    assert second.duplicates == ()


async def test_it_can_be_left(files: dict[str, Path]) -> None:
    """Where conf says so nothing is asked, nor with a profile that has no constellations."""
    for params, settings in ((PARAMS, IngestSettings(reports_duplicates=False)), (GENERATIONS["dejavu-2020"], None)):
        index = WatchedIndex()
        ingest = Ingest(index, InlineWorkers(), EventHub(), params, settings)
        results = await added(ingest, files["wav"], files["flac"])
        assert [got.duplicates for got in results] == [(), ()]
        assert index.n_lookups == 0


async def test_a_track_is_stored_where_that_cannot_be_asked(files: dict[str, Path]) -> None:
    """A look-up that fails costs the news and not the track."""

    class SlowIndex(MemoryIndex):
        """Never answers in time."""

        def lookup(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401 - it returns nothing
            """See `Index.lookup`."""
            raise Timeout(what="the look-up", limit_s=5.0)

    index = SlowIndex()
    with structlog.testing.capture_logs() as logs:
        (got,) = await added(Ingest(index, InlineWorkers(), EventHub(), PARAMS), files["wav"])
    assert (got.added, got.duplicates) == (True, ())
    assert list(index.tracks()) == [got.track]
    assert [entry["code"] for entry in logs if entry["event"] == "duplicates_not_sought"] == ["timeout"]
