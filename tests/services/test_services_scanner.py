from __future__ import annotations

import http.server
import threading
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
import trio.testing
from service_parts import PARAMS, RATE_HZ, music_file
from synthetic import synthesize, write_wav

from dejavud.errors import InvalidRequest, UnreachableUrl, UnreadableFile, UnsupportedAudio, UnsupportedUrl
from dejavud.fingerprint.classic_params import GENERATIONS
from dejavud.index.memory import MemoryIndex
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.matching.tracker import TrackerRules
from dejavud.services import jobs
from dejavud.services.commands import no_progress
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.scan_jobs import part_frames
from dejavud.services.scanner import Scanner, ScannerSettings
from dejavud.services.timeline import timeline_view
from dejavud.services.workers import open_workers
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from dejavud.index.base import Index
    from dejavud.services.workers import Workers

TRACK_S = 40.0


class Told:
    """Collects progress."""

    def __init__(self) -> None:
        self.figures: list[dict[str, Any]] = []
        self.must_arrive: list[bool] = []

    async def __call__(self, *, must_arrive: bool = False, **figures: object) -> None:
        """Note."""
        self.figures.append(figures)
        self.must_arrive.append(must_arrive)

    @property
    def titles(self) -> list[str]:
        """The titles of all plays that were told as final."""
        return [play["track"]["title"] for figures in self.figures for play in figures["plays"]]


class Held(InlineWorkers):
    """Workers whose streams yield nothing until they are released."""

    def __init__(self) -> None:
        self.working: list[str] = []
        self.release = trio.Event()

    @asynccontextmanager
    async def stream(self, *_args: object, what: str) -> AsyncIterator[AsyncIterator[Any]]:
        """Note who works."""

        async def nothing() -> AsyncIterator[Any]:
            await self.release.wait()
            for item in ():
                yield item

        self.working.append(what)
        yield nothing()


@pytest.fixture
def index(tmp_path: Path) -> MemoryIndex:
    """Give a library of three pieces."""
    index = MemoryIndex()
    for seed in (1, 2, 3):
        path = music_file(tmp_path, seed, TRACK_S)
        done = jobs.fingerprint_file(path, path.name, PARAMS, None)
        title, sha1 = f"piece {seed}", f"{seed:040x}"
        index.add([NewTrack(title, None, None, None, sha1, done.duration_s, done.constellation, done.hashes)])
    return index


@pytest.fixture
def show(tmp_path: Path) -> Path:
    """Give a show: unknown music, a whole piece, a part of another."""
    pieces = [
        synthesize(90, 15, RATE_HZ),
        synthesize(1, TRACK_S, RATE_HZ),
        synthesize(2, TRACK_S, RATE_HZ)[: 25 * RATE_HZ],
    ]
    return write_wav(tmp_path / "show.wav", np.concatenate(pieces), RATE_HZ)


def scanner(index: Index, workers: Workers | None = None) -> Scanner:
    """Return a scanner as the daemon makes it."""
    match = Matcher(PARAMS, MatchRules(max_matches=4, enough_s=2.0)).match
    return Scanner(index, workers or InlineWorkers(), PARAMS, match=match, settings=ScannerSettings(TrackerRules()))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of `folder` over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def cut_in_half(path: Path, to: Path) -> Path:
    """Write the first half of a file's bytes and return where."""
    whole = path.read_bytes()
    to.write_bytes(whole[: len(whole) // 2 + 1])
    return to


async def test_a_show_becomes_a_timeline(index: MemoryIndex, show: Path) -> None:
    """The plays are named in order, in seconds, and the whole is JSON that every transport can show."""
    timeline = await scanner(index).scan_file(show, "the show", no_progress)
    view = timeline_view(timeline, PARAMS)
    assert view["recording"] == {"source": "the show", "duration_s": 80.0, "n_damaged_packets": 0}
    assert [play["track"]["title"] for play in view["plays"]] == ["piece 1", "piece 2"]
    first = view["plays"][0]
    assert first["start_s"] == pytest.approx(15, abs=1)
    assert first["end_s"] == pytest.approx(55, abs=1)
    assert first["track_start_s"] == pytest.approx(0, abs=0.2)
    assert first["gaps"] == first["twins"] == []


async def test_progress_tells_every_play_once(index: MemoryIndex, show: Path) -> None:
    """What has become final is told, and told so that it must arrive; the figures say how far the scan is."""
    told = Told()
    timeline = await scanner(index).scan_file(show, "show", told)
    assert sorted(told.titles) == ["piece 1", "piece 2"]
    assert [bool(figures["plays"]) for figures in told.figures] == told.must_arrive
    done = [figures["done_s"] for figures in told.figures]
    assert done == sorted(done)
    assert done[-1] == timeline.duration_s == 80.0
    assert {figures["total_s"] for figures in told.figures} == {80.0}


async def test_a_limit_hears_the_beginning_only(index: MemoryIndex, show: Path) -> None:
    """What comes after the limit is not heard, and the figures count up to it."""
    told = Told()
    timeline = await scanner(index).scan_file(show, "show", told, limit_s=30)
    assert timeline.duration_s == 30
    assert told.figures[-1]["total_s"] == 30
    assert [play.track.title for play in timeline.plays] == ["piece 1"]
    assert timeline.plays[0].end_s == pytest.approx(30, abs=1)


async def test_silence_is_an_empty_timeline(index: MemoryIndex, tmp_path: Path) -> None:
    """A silent recording is no error: nothing is played in it."""
    silent = write_wav(tmp_path / "silent.wav", np.zeros(60 * RATE_HZ, np.float32), RATE_HZ)
    timeline = await scanner(index).scan_file(silent, "silent", no_progress)
    assert (timeline.duration_s, timeline.plays) == (60.0, ())


async def test_a_moment_is_an_empty_timeline(index: MemoryIndex, tmp_path: Path) -> None:
    """So is a recording too short for a single frame."""
    short = write_wav(tmp_path / "short.wav", synthesize(1, 0.05, RATE_HZ), RATE_HZ)
    assert (await scanner(index).scan_file(short, "short", no_progress)).plays == ()


async def test_a_file_that_breaks_off_gives_what_was_before(index: MemoryIndex, show: Path, tmp_path: Path) -> None:
    """A recording that was cut in the middle of its bytes is scanned as far as it goes."""
    cut = cut_in_half(show, tmp_path / "cut.wav")
    timeline = await scanner(index).scan_file(cut, "cut", no_progress)
    assert timeline.duration_s == pytest.approx(40, abs=1)
    assert [play.track.title for play in timeline.plays] == ["piece 1"]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [("missing.wav", None, UnreadableFile), ("notes.txt", b"no music\n" * 99, UnsupportedAudio), ("empty.wav", b"", UnsupportedAudio)],
)  # fmt: skip
async def test_what_is_no_recording_is_refused(
    index: MemoryIndex, tmp_path: Path, name: str, content: bytes | None, error: type[Exception]
) -> None:
    """A file that is not there or holds no audio is an error of its own code."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error):
        await scanner(index).scan_file(tmp_path / name, name, no_progress)


async def test_an_address_is_heard(index: MemoryIndex, show: Path) -> None:
    """A recording behind an http address has the timeline that it has as a file, whose length is known before."""
    told = Told()
    with served(show.parent) as address:
        timeline = await scanner(index).scan_url(f"{address}/show.wav", None, told, is_trusted=True)
    assert timeline.source == f"{address}/show.wav"
    assert [play.track.title for play in timeline.plays] == ["piece 1", "piece 2"]
    assert told.figures[0]["total_s"] == 80.0


async def test_an_address_where_nothing_is_says_so(index: MemoryIndex, tmp_path: Path) -> None:
    """A missing page, a page that is no audio, and a machine that refuses are told apart; passwords are not repeated."""
    (tmp_path / "page.html").write_text("<p>no music</p>" * 99)
    with served(tmp_path) as address:
        with pytest.raises(UnreachableUrl, match="404"):
            await scanner(index).scan_url(f"{address}/missing.mp3", None, no_progress, is_trusted=True)
        with pytest.raises(UnsupportedAudio):
            await scanner(index).scan_url(f"{address}/page.html", None, no_progress, is_trusted=True)
        hidden = address.replace("://", "://me:secret@")
        with pytest.raises(UnreachableUrl) as caught:
            await scanner(index).scan_url(f"{hidden}/missing.mp3", None, no_progress, is_trusted=True)
        assert "secret" not in caught.value.message
    with pytest.raises(UnreachableUrl, match="refused"):
        await scanner(index).scan_url(f"{address}/show.wav", None, no_progress, is_trusted=True)


@pytest.mark.parametrize(
    "url",
    ["ftp://host/a.mp3", "file:///etc/passwd", "concat:/etc/passwd", "http:///a.mp3", "http://ho st/", "http://[::1/a", "rtmp://host/", ""],
)  # fmt: skip
async def test_other_addresses_are_refused(index: MemoryIndex, url: str) -> None:
    """Only the schemes that are meant to be are fetched, and nothing is asked before that is known."""
    with pytest.raises(UnsupportedUrl):
        await scanner(index).scan_url(url, None, no_progress)


async def test_a_redirect_leads_to_no_file(index: MemoryIndex, show: Path) -> None:
    """An address that sends us on to a file of this machine opens none."""

    class Redirecting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", show.as_uri())
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with pytest.raises(UnreachableUrl):
            await scanner(index).scan_url(
                f"http://127.0.0.1:{server.server_port}/a.wav", None, no_progress, is_trusted=True
            )
        server.shutdown()
        thread.join()


async def test_a_library_of_another_profile_is_not_scanned(index: MemoryIndex, show: Path) -> None:
    """The fingerprint of dejavu keeps nothing to follow a track by; the refusal says what to do."""
    classic = next(iter(GENERATIONS.values()))
    refusing = Scanner(index, InlineWorkers(), classic, match=lambda *_: (), settings=ScannerSettings(TrackerRules()))
    with pytest.raises(InvalidRequest, match="landmark-2"):
        await refusing.scan_file(show, "show", no_progress)


async def test_a_track_that_is_removed_meanwhile_is_left_out(index: MemoryIndex, show: Path) -> None:
    """What is not in the library any more when it would be named is no play."""

    class Vanishing(MemoryIndex):
        def tracks(self, **which: Any) -> Any:  # noqa: ANN401 - as the index has it
            return [track for track in index.tracks(**which) if track.title != "piece 1"]

        lookup = index.lookup  # type: ignore[assignment]
        constellations = index.constellations  # type: ignore[assignment]
        statistics = index.statistics  # type: ignore[assignment]

    timeline = await scanner(Vanishing()).scan_file(show, "show", no_progress)
    assert [play.track.title for play in timeline.plays] == ["piece 2"]


def test_a_large_library_is_asked_with_shorter_parts() -> None:
    """Parts are as long as is worth it where the library is small, and short enough to bound what it answers where it is large."""
    lengths = [part_frames(n_postings) for n_postings in (0, 10**6, 10**7, 10**8, 10**9, 10**10)]
    assert lengths[:3] == [4096] * 3
    assert lengths == sorted(lengths, reverse=True)
    assert 160 * 2 < part_frames(10**8) < 1000
    assert lengths[-1] == 160


async def test_files_wait_for_their_turn_and_stations_do_not(index: MemoryIndex, show: Path) -> None:
    """So many files are scanned at a time as the settings say; an address that may never end takes no turn from them."""
    held = Held()
    bounded = Scanner(index, held, PARAMS, match=lambda *_: (), settings=ScannerSettings(TrackerRules(), max_files=1))
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(bounded.scan_file, show, f"show {number}", no_progress)
            await trio.testing.wait_all_tasks_blocked()
        station = partial(bounded.scan_url, "http://radio.example/live", "radio", is_trusted=True)
        nursery.start_soon(station, no_progress)
        await trio.testing.wait_all_tasks_blocked()
        assert held.working == ["show 0", "radio"]
        held.release.set()
    assert held.working == ["show 0", "radio", "show 1", "show 2"]


async def test_it_runs_beside_the_daemon(index: MemoryIndex, show: Path) -> None:
    """Over real worker processes the timeline is the one that is made in place."""
    async with open_workers(n_processes=1, max_waiting=2) as workers:
        beside = await scanner(index, workers).scan_file(show, "show", no_progress)
    assert beside == await scanner(index).scan_file(show, "show", no_progress)
