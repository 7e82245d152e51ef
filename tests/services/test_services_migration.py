"""Old databases into a library: everything once, nothing in part, whatever ends a run."""

from __future__ import annotations

import hashlib
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from databases import SERVERS
from old_databases import GENERATIONS, OldDejavu, OldFile, filled
from service_parts import WatchedIndex, published

from dejavud.errors import Busy, IndexAway, IndexFull, SourceUnavailable, WrongProfile
from dejavud.fingerprint.classic_params import GENERATIONS as CONSTANTS
from dejavud.fingerprint.params import Params
from dejavud.index.memory import MemoryIndex
from dejavud.index.old.database import OldDatabase
from dejavud.services.commands import Call, no_progress
from dejavud.services.events import EventHub
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.migration import Migrate, Migrator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dejavud.fingerprint.params import HashParams
    from dejavud.index.base import Index
    from dejavud.services.migration import MigrationReport

PARAMS = CONSTANTS["ivlovric-1.4"]
N_PAIRS = 300


def old_file(n: int, n_pairs: int = N_PAIRS) -> OldFile:
    """Return a song of its own, of which five hashes begin at each offset."""
    pairs = [(hashlib.sha1(b"%d %d" % (n, i), usedforsecurity=False).hexdigest()[:20], i // 5) for i in range(n_pairs)]
    return OldFile(f"Song {n}", b"%d" % n, pairs)


FILES = [old_file(n) for n in range(6)]


class Told:
    """Keeps what a migration tells, and does something at the first news that a test waits for."""

    def __init__(
        self, when: Callable[[dict[str, Any]], bool] = lambda _: False, do: Callable[[], object] = bool
    ) -> None:
        self.news: list[dict[str, Any]] = []
        self._when, self._do = when, do
        self._is_done = False

    async def __call__(self, *, must_arrive: bool = False, **figures: object) -> None:
        """Take news."""
        await trio.lowlevel.checkpoint()
        self.news.append({**figures, "must_arrive": must_arrive})
        if not self._is_done and self._when(self.news[-1]):
            self._is_done = True
            self._do()


def migrator(index: Index, params: HashParams = PARAMS, hub: EventHub | None = None) -> Migrator:
    """Return what brings databases into `index`."""
    return Migrator(index, InlineWorkers(), hub or EventHub(), params)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of an old database with six songs."""
    url = f"sqlite:///{tmp_path}/old.db"
    filled(url, GENERATIONS["ivlovric-2018 sqlite"], FILES)
    return url


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have little read at a time, each song committed by itself, and a lost database asked again at once."""
    monkeypatch.setattr("dejavud.index.old.database.BATCH_ROWS", 25)
    monkeypatch.setattr("dejavud.services.migration.COMMIT_TRACKS", 1)
    monkeypatch.setattr("dejavud.services.migration.RETRY_S", (0.0, 0.01, 0.01))


def whole_songs(index: Index) -> list[str]:
    """Return the titles of the library, each of whose tracks has all its hashes."""
    tracks = index.tracks()
    by_title = {file.name: len(set(file.pairs)) for file in FILES}
    assert all(track.n_hashes == by_title[track.title] for track in tracks)
    return sorted(track.title for track in tracks)


ALL = [file.name for file in FILES]


async def test_every_song_comes_over_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs become tracks with their name, SHA1, length and hashes, and an event each; a second run adds nothing and reads no fingerprint."""
    index, hub = MemoryIndex(), EventHub()
    seen = published(hub)
    report = await migrator(index, hub=hub).run(url, no_progress)
    assert (report.n_songs, report.n_wanted, report.n_added, report.n_known) == (6, 6, 6, 0)
    assert report.n_hashes == sum(len(file.pairs) for file in FILES)
    assert report.warnings == []
    assert [event.topic for event in seen] == ["track.added"] * 6
    for track, file in zip(index.tracks(), FILES, strict=True):
        assert (track.title, track.file_sha1, track.path) == (file.name, file.sha1.lower(), None)
        assert track.duration_s == pytest.approx(60 * 2048 / 44100)
    asked = []
    monkeypatch.setattr(OldDatabase, "read", lambda _self, _catalogue, ids: asked.extend(ids) or iter(()))
    again = await migrator(index).run(url, no_progress)
    assert (again.n_added, again.n_known, again.n_wanted, asked) == (0, 6, 0, [])
    assert len(index.tracks()) == 6


async def test_the_report_counts_what_was_left_out(url: str, tmp_path: Path) -> None:
    """Half-written, empty and unreadable songs, fingerprints that repeat, are damaged or belong to none, songs without a SHA1 and files that are there twice."""
    with closing(OldDejavu(url, GENERATIONS["ivlovric-2018 sqlite"].empty)) as old:
        half = old.begin(old_file(7))
        old.insert(half, old_file(7).pairs)
        old.complete(old.begin(old_file(8)))
        damaged = old.begin(old_file(9))
        old.insert_stored([(damaged, b"short", 1)] * 3)
        old.complete(damaged)
        old.insert(1, FILES[0].pairs[:4])
        old.insert_stored([(2, b"", 1)])
        old.insert(99, FILES[0].pairs[:2])
        old.add(FILES[3])
        old.execute("UPDATE songs SET file_sha1 = x'' WHERE id = 3")
    index = MemoryIndex()
    report = await migrator(index).run(url, no_progress)
    assert report.n_left_out == {"half_written": 1, "empty": 1, "too_large": 0, "unreadable": 1}
    assert [(song["title"], song["reason"]) for song in report.left_out] == [
        ("Song 7", "half_written"),
        ("Song 8", "empty"),
        ("Song 9", "unreadable"),
    ]
    assert (report.n_songs, report.n_added, report.n_known, report.n_without_sha1) == (10, 6, 1, 1)
    assert (report.n_repeated_rows, report.n_bad_rows, report.n_orphan_rows) == (4, 4, 2)
    assert whole_songs(index) == ALL
    assert (await migrator(index).run(url, no_progress)).n_added == 0
    assert tmp_path.joinpath("old.db").exists()


async def test_a_song_with_too_many_fingerprints_is_left_out(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would not fit into memory is not even read."""
    with closing(OldDejavu(url, GENERATIONS["ivlovric-2018 sqlite"].empty)) as old:
        old.add(old_file(7, N_PAIRS + 1))
    monkeypatch.setattr("dejavud.index.old.database.MAX_SONG_ROWS", N_PAIRS)
    index = MemoryIndex()
    report = await migrator(index).run(url, no_progress)
    assert (report.n_left_out["too_large"], report.n_added) == (1, 6)


@pytest.mark.parametrize(("n_tracks", "commits"), [(64, [6]), (4, [4, 2]), (1, [1] * 6)])
async def test_many_songs_share_a_commit(
    url: str, monkeypatch: pytest.MonkeyPatch, n_tracks: int, commits: list[int]
) -> None:
    """Songs are committed together, so many at a time."""
    monkeypatch.setattr("dejavud.services.migration.COMMIT_TRACKS", n_tracks)
    index = WatchedIndex()
    await migrator(index).run(url, no_progress)
    assert index.commits == commits
    monkeypatch.setattr("dejavud.services.migration.COMMIT_HASHES", 2 * N_PAIRS)
    index = WatchedIndex()
    await migrator(index).run(url, no_progress)
    assert max(index.commits) <= 2


@pytest.mark.usefixtures("small_steps")
async def test_progress_tells_of_all_there_is(url: str) -> None:
    """From counting to the last fingerprint; songs are counted when they are committed, and that news always arrives."""
    told = Told()
    await migrator(MemoryIndex()).run(url, told)
    assert told.news[0]["state"] == "counting"
    reading = told.news[1:]
    assert {news["state"] for news in reading} == {"reading"}
    assert {(news["n_songs"], news["n_rows"]) for news in reading} == {(6, 6 * N_PAIRS)}
    rows = [news["n_rows_done"] for news in reading]
    assert rows == sorted(rows)
    assert rows[-1] == 6 * N_PAIRS
    assert [news["n_songs_done"] for news in reading if news["must_arrive"]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.usefixtures("small_steps")
async def test_a_cancelled_run_leaves_whole_songs_and_goes_on(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled after some commits: no song is there in part, the old database is let go of, and the next run brings the rest only."""
    closed = []
    close = OldDatabase.close
    monkeypatch.setattr(OldDatabase, "close", lambda self: closed.append(close(self)))
    index = WatchedIndex()
    with trio.CancelScope() as scope:
        await migrator(index).run(url, Told(lambda news: news.get("n_songs_done") == 2, scope.cancel))
    assert scope.cancelled_caught
    assert len(closed) == 1
    there = whole_songs(index)
    assert 2 <= len(there) < 6
    read: list[int] = []
    ids_of = OldDatabase.read

    def noted(self: OldDatabase, catalogue: Any, ids: Sequence[int]) -> Any:  # noqa: ANN401
        read.extend(ids)
        return ids_of(self, catalogue, ids)

    monkeypatch.setattr(OldDatabase, "read", noted)
    report = await migrator(index).run(url, no_progress)
    assert (report.n_known, report.n_added, len(read)) == (len(there), 6 - len(there), 6 - len(there))
    assert whole_songs(index) == ALL


@contextmanager
def on_a_server(kind: str) -> Iterator[str]:
    """Give a database with the six songs on a real server, which runs again afterwards."""
    server = {"mysql": SERVERS.mariadb, "postgresql": SERVERS.postgresql}[kind]
    with server.database() as url:
        filled(url, GENERATIONS[f"ivlovric-2018 {kind}"], FILES)
        yield url


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_lost_server_is_waited_for(kind: str) -> None:
    """A server that ends in the middle and comes back: the caller is told, and every song comes over, once and whole."""
    server = {"mysql": SERVERS.mariadb, "postgresql": SERVERS.postgresql}[kind]
    with on_a_server(kind) as url:
        index, told = WatchedIndex(), Told(lambda news: news.get("n_songs_done") == 2, server.kill)
        waits = Told(lambda news: news["state"] == "waiting", server.start)

        async def progress(**news: Any) -> None:  # noqa: ANN401
            await told(**news)
            await waits(**news)

        report = await migrator(index).run(url, progress)
        server.start()
    assert (report.n_added, report.n_known, report.n_bad_rows, report.n_repeated_rows) == (6, 0, 0, 0)
    assert whole_songs(index) == ALL
    if kind == "postgresql":  # what a small MySQL table sends may all have come already
        assert "waiting" in {news["state"] for news in waits.news}


@pytest.mark.usefixtures("small_steps")
async def test_a_server_that_stays_away_is_given_up(url: str) -> None:
    """After the last wait the error is `source_unavailable`, not a group of it; what was committed stays, and the next run goes on with it."""
    del url
    with on_a_server("postgresql") as url:
        index, told = WatchedIndex(), Told(lambda news: news.get("n_songs_done") == 2, SERVERS.postgresql.stop)
        with pytest.raises(SourceUnavailable):
            await migrator(index).run(url, told)
        assert [news["state"] for news in told.news].count("waiting") == 3
        n_there = len(whole_songs(index))
        assert 2 <= n_there < 6
        SERVERS.postgresql.start()
        assert (await migrator(index).run(url, no_progress)).n_known == n_there
        assert whole_songs(index) == ALL


@pytest.mark.usefixtures("small_steps")
async def test_a_library_that_cannot_store_says_so(url: str) -> None:
    """An error of the index ends the run with that error alone; what was committed before stays."""
    index = WatchedIndex(refuses="Song 3", error=IndexFull(reason="no room"))
    with pytest.raises(IndexFull):
        await migrator(index).run(url, no_progress)
    assert whole_songs(index) == ALL[:3]


@pytest.mark.usefixtures("small_steps")
async def test_a_library_whose_database_is_away_is_waited_for(url: str) -> None:
    """While the library's own database is away the caller is told so, and every song comes over when it is back."""
    index = WatchedIndex(refuses="Song 3", error=IndexAway(url="postgresql://x", reason="gone"))

    def back() -> None:
        index._refuses = ""

    told = Told(lambda news: news["state"] == "waiting", back)
    report = await migrator(index).run(url, told)
    assert report.n_added == 6
    assert [news["state"] for news in told.news].count("waiting") == 1
    assert whole_songs(index) == ALL


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_library_of_another_kind_of_profile_is_told_which_it_needs(url: str, *, dry_run: bool) -> None:
    """Into a library of our own profile nothing can come: the error says what to type. Looking only is always possible, and changes nothing."""
    index = WatchedIndex()
    one = migrator(index, Params())
    if dry_run:
        report = await one.run(url, no_progress, dry_run=True)
        assert (report.n_wanted, report.n_added, report.profiles) == (6, 0, ("classic/ivlovric-1.4",))
    else:
        with pytest.raises(
            WrongProfile, match=r"DEJAVUD_ENGINE_PROFILE=classic/ivlovric-1\.4 dejavud --data-dir"
        ) as caught:
            await one.run(url, no_progress)
        assert "landmark-2" in caught.value.message
    assert index.commits == []


@pytest.mark.parametrize(
    ("name", "profile", "warned"),
    [
        ("ivlovric-2018 sqlite", "ivlovric-1.4", ""),
        ("ivlovric-2018 sqlite", "dejavu-0.1.3", ""),  # the same constants
        ("ivlovric-2018 sqlite", "dejavu-2020", "no query will meet"),
        ("ivlovric-1.3.4 sqlite", "ivlovric-1.5", "may hold hashes of"),
    ],
)
async def test_a_profile_that_contradicts_the_tables_is_warned_of(
    tmp_path: Path, name: str, profile: str, warned: str
) -> None:
    """The tables suggest a profile; another is taken all the same, because only their owner can know, with a warning."""
    url = f"sqlite:///{tmp_path}/old.db"
    filled(url, GENERATIONS[name], FILES[:1])
    report: MigrationReport = await migrator(MemoryIndex(), CONSTANTS[profile]).run(url, no_progress)
    assert report.n_added == 1
    assert len(report.warnings) == bool(warned)
    assert warned in "".join(report.warnings)


async def test_one_migration_runs_at_a_time(url: str) -> None:
    """A second one is refused as busy; after the first has ended there may be another."""
    one = migrator(MemoryIndex())
    refused = []

    async def again(**_news: object) -> None:
        if not refused:
            with pytest.raises(Busy) as caught:
                await one.run(url, no_progress)
            refused.append(caught.value)

    await one.run(url, again)
    assert len(refused) == 1
    assert (await one.run(url, no_progress)).n_known == 6


async def test_the_command_tells_what_became_of_it(url: str) -> None:
    """The report is its answer."""
    answer = await migrator(MemoryIndex()).migrate(Migrate(url), Call())
    assert answer["migration"]["n_added"] == 6
