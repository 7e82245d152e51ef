from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio
from service_parts import PARAMS, WatchedIndex, music_file

from dejavud import __version__
from dejavud.errors import DejavudError, Forbidden, InternalError, InvalidRequest, TrackNotFound, UnreadableFile
from dejavud.hooks.settings import HookSettings
from dejavud.hooks.supervisor import make_hooks
from dejavud.index.open import KeptIndex, history_of
from dejavud.matching.matcher import Considered
from dejavud.matching.tracker import TrackerRules
from dejavud.services.archive_intake import LibraryParts
from dejavud.services.archives import Archives
from dejavud.services.clients import EVERYTHING, Client
from dejavud.services.commands import Call
from dejavud.services.constellations import ConstellationCache
from dejavud.services.events import EventHub
from dejavud.services.handlers import Daemon, Services, command_table
from dejavud.services.hearing import Library as HeardLibrary
from dejavud.services.history import HistorySettings, PlayRecorder
from dejavud.services.ingest import Ingest
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.library import Library
from dejavud.services.listeners import Listeners, ListenSettings
from dejavud.services.live_queries import LiveQueries
from dejavud.services.maintenance import Maintenance
from dejavud.services.microphones import Microphones
from dejavud.services.migration import Migrator
from dejavud.services.profiles import profile_of
from dejavud.services.recognizer import Recognizer, RecognizerSettings
from dejavud.services.scanner import Scanner, ScannerSettings
from dejavud.services.uploads import Upload, UploadStore
from dejavud.values import Alignment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dejavud.services.commands import CommandTable
    from dejavud.values import Hits, QueryFingerprint

OTHER = Call(client=Client("192.0.2.7", EVERYTHING))
LOCAL = replace(OTHER, client=replace(OTHER.client, is_local=True))


class Bench:
    """The whole command table over an index in memory; its matcher matches whatever any hit points to."""

    def __init__(self) -> None:
        self.index, self.hub, self.workers = WatchedIndex(), EventHub(), InlineWorkers()
        self.stop = trio.Event()
        microphones = Microphones(self.workers, PARAMS.rate_hz, record=_no_microphone, list_devices=list)
        self.ingest = Ingest(self.index, self.workers, self.hub, PARAMS)
        self.recognizer = Recognizer(
            self.index,
            self.workers,
            self.hub,
            PARAMS,
            match=self.match,
            settings=RecognizerSettings(),
            microphones=microphones,
        )
        self.error: Exception | None = None
        library = Library(self.index, self.workers, self.hub)
        cache, history = ConstellationCache(self.index), history_of(self.index)
        parts = LibraryParts(self.index, self.workers, self.hub, profile_of(PARAMS), cache, history)
        self.recorder = PlayRecorder(
            history, self.workers, self.hub, HistorySettings(), listeners=list, folder=Path("/dev/null")
        )
        self.table: CommandTable = command_table(
            Services(
                library=library,
                ingest=self.ingest,
                recognizer=self.recognizer,
                live_queries=LiveQueries(
                    self.recognizer, self.workers, self.index, UploadStore(Path("/nowhere"), max_bytes=0), hear=None
                ),
                scanner=Scanner(
                    self.index,
                    self.workers,
                    PARAMS,
                    match=self.match,
                    settings=ScannerSettings(TrackerRules()),
                ),
                microphones=microphones,
                listeners=Listeners(
                    self.workers,
                    self.hub,
                    PARAMS,
                    library=HeardLibrary(self.index, cache, lambda *asked: Considered(self.match(*asked)), 10.0),
                    settings=ListenSettings(TrackerRules()),
                ),
                recorder=self.recorder,
                migrator=Migrator(self.index, self.workers, self.hub, PARAMS),
                maintenance=Maintenance(
                    KeptIndex(self.index, self.index, history), self.workers, PARAMS, fingerprint_timeout_s=60.0
                ),
                archives=Archives(parts, self.index, library, folder=Path("/")),
                workers=self.workers,
                hub=self.hub,
                hooks=make_hooks(HookSettings(), self.hub, list, self.workers.thread),
                params=PARAMS,
                daemon=Daemon(0.0, "memory://", {"control": "ipc:///x", "http": ["http://127.0.0.1:1"]}, self.stop),
            )
        )

    def match(self, _query: QueryFingerprint, hits: Hits, *_rest: object) -> tuple[Alignment, ...]:
        """Stand in for the matcher."""
        if self.error is not None:
            raise self.error
        return tuple(
            Alignment(track_id, 0.0, 1.0, 1.0, 9.0, 0.5, 1.0) for track_id in sorted({*hits.track_ids.tolist()})
        )

    async def ask(self, command: str, call: Call = LOCAL, **params: object) -> dict[str, Any]:
        """Call a command as a transport does, and check that its answer is JSON."""
        answer = await self.table.call(command, params, call)
        json.dumps(answer, allow_nan=False)
        return answer


def _no_microphone(*_args: object, **_kwargs: object) -> Any:  # noqa: ANN401 - never entered
    msg = "nobody asked for a microphone"
    raise AssertionError(msg)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Give a command table whose writer runs."""
    made = Bench()
    async with trio.open_nursery() as nursery:
        await nursery.start(made.ingest.serve)
        yield made
        nursery.cancel_scope.cancel()


async def test_the_table_has_every_command(bench: Bench) -> None:
    """The commands are those that the clients know."""
    tracks = {f"tracks.{name}" for name in ("list", "get", "known", "edit", "enable", "disable", "remove")}
    audio = {"recognize", "recognize_microphone", "scan", "fingerprint"}
    files = {"export", "import", "backup", "restore", "migrate"}
    listening = {
        "devices",
        *(f"listen.{name}" for name in ("list", "add", "remove", "pause", "resume", "send", "peaks")),
    }
    history = {"history.list", "history.summary", "history.remove"}
    assert set(bench.table.names) == tracks | audio | files | listening | history | {
        "events.replay",
        "jobs.list",
        "jobs.get",
        "jobs.cancel",
        "hooks.list",
        "hooks.test",
        "status",
        "metrics",
        "ready",
        "compact",
        "check",
        "shutdown",
    }


async def test_status_tells_how_the_daemon_is(bench: Bench, tmp_path: Path) -> None:
    """Version, library, index, engine, workers, microphone, endpoints and queries are there, with true values."""
    path = music_file(tmp_path, 1)
    await bench.ask("fingerprint", path=str(path))
    await bench.ask("recognize", path=str(path))
    status = await bench.ask("status")
    assert status["version"] == __version__
    assert status["uptime_s"] > 0
    assert (status["n_tracks"], status["duration_s"]) == (1, 3.0)
    assert status["n_postings"] == bench.index.tracks()[0].n_hashes
    assert status["index"]["url"] == "memory://"
    assert status["engine"] == {"profile": PARAMS.profile, "params": PARAMS.digest}
    assert status["microphone"] == {"available": False, "reason": "no device of this machine can record"}
    assert status["listeners"] == []
    assert status["endpoints"] == {"control": "ipc:///x", "http": ["http://127.0.0.1:1"]}
    assert status["queries"] == {"n_matched": 1, "n_unmatched": 0, "n_failed": 0}
    assert set(status["workers"]) == {
        "n_processes",
        "n_busy",
        "n_waiting",
        "n_died",
        "n_replaced",
        "n_alive",
        "n_reads_waiting",
        "n_writes_waiting",
        "n_streams",
    }


async def test_a_track_comes_and_goes(bench: Bench, tmp_path: Path) -> None:
    """Added, listed, got, known by content, removed, and then not there: each by its command."""
    path = music_file(tmp_path, 1)
    added = await bench.ask("fingerprint", path=str(path), title="Song", artist="Somebody", album="Record")
    track = added["track"]
    assert added["added"]
    assert (track["title"], track["artist"], track["album"], track["path"]) == ("Song", "Somebody", "Record", str(path))
    assert await bench.ask("fingerprint", path=str(path)) == {"track": track, "added": False, "duplicates": []}
    assert await bench.ask("tracks.list") == {"tracks": [track], "n_total": 1, "next": None, "next_after_id": None}
    assert await bench.ask("tracks.get", id=track["id"]) == {"track": track}
    unknown = "0" * 40
    known = await bench.ask("tracks.known", sha1s=[track["file_sha1"].upper(), unknown])
    assert known == {"tracks": {track["file_sha1"]: track}}
    assert await bench.ask("tracks.remove", ids=[track["id"], 99]) == {"removed": [track], "n_removed": 1}
    with pytest.raises(TrackNotFound):
        await bench.ask("tracks.get", id=track["id"])


async def test_the_library_is_paged(bench: Bench, tmp_path: Path) -> None:
    """Pages follow each other by `next_after_id`, which is null on the last one."""
    for seed in range(3):
        await bench.ask("fingerprint", path=str(music_file(tmp_path, seed, 1.0)))
    first = await bench.ask("tracks.list", limit=2)
    rest = await bench.ask("tracks.list", limit=2, after_id=first["next_after_id"])
    assert [len(first["tracks"]), len(rest["tracks"])] == [2, 1]
    assert rest["next_after_id"] is None
    assert len({track["id"] for page in (first, rest) for track in page["tracks"]}) == 3


async def test_bytes_that_came_along_are_audio(bench: Bench, tmp_path: Path) -> None:
    """An upload is known by its sender's name for it, not by the file that holds it."""
    stored = music_file(tmp_path, 1, name="upload-x7")
    call = replace(OTHER, audio=Upload("My Song.wav", stored))
    track = (await bench.ask("fingerprint", call))["track"]
    assert (track["title"], track["path"]) == ("My Song", "My Song.wav")
    assert (await bench.ask("fingerprint", call, name="other.wav"))["track"] == track
    recognition = await bench.ask("recognize", call)
    assert recognition["query"]["source"] == "My Song.wav"
    assert recognition["matches"][0]["track"]["id"] == track["id"]
    assert (await bench.ask("recognize", call, source="radio"))["query"]["source"] == "radio"


@pytest.mark.parametrize("command", ["recognize", "fingerprint"])
async def test_only_a_local_caller_names_files(bench: Bench, tmp_path: Path, command: str) -> None:
    """From a socket that others reach, a path is refused whatever it names, and so is a relative one from anybody."""
    path = str(music_file(tmp_path, 1))
    with pytest.raises(Forbidden, match="send the bytes"):
        await bench.ask(command, OTHER, path=path)
    with pytest.raises(InvalidRequest, match="must be absolute"):
        await bench.ask(command, path="piece1.wav")
    with pytest.raises(InvalidRequest, match="there is no audio"):
        await bench.ask(command, OTHER)
    with pytest.raises(InvalidRequest, match="not both"):
        await bench.ask(command, replace(LOCAL, audio=Upload("x", Path(path))), path=path)
    with pytest.raises(UnreadableFile):
        await bench.ask(command, path=str(tmp_path / "missing.wav"))


@pytest.mark.parametrize(
    ("command", "params", "complaint"),
    [
        ("recognize", {"path": "/x", "limit_s": 0}, "'limit_s' must be a number of seconds from 0.5"),
        ("recognize", {"path": "/x", "limit_s": float("inf")}, "'limit_s' must be"),
        ("recognize", {"path": 7}, "'path' must be a string or null"),
        ("recognize_microphone", {"duration_s": -1}, "'duration_s' must be"),
        ("recognize_microphone", {"device": 1.5}, "'device' must be a string or a whole number or null"),
        ("fingerprint", {"pth": "/x"}, "unknown parameter 'pth'"),
        ("tracks.list", {"limit": 0}, "'limit' must be from 1 to 1000"),
        ("tracks.list", {"limit": 1001}, "'limit' must be from 1 to 1000"),
        ("tracks.list", {"after_id": -1}, "'after_id' must be"),
        ("tracks.get", {}, "'id' is missing"),
        ("tracks.get", {"id": 2**40}, "'id' must be"),
        ("tracks.get", {"id": True}, "'id' must be a whole number"),
        ("tracks.remove", {"ids": [-1]}, "'ids' must be"),
        ("tracks.remove", {"ids": list(range(10_001))}, "at most 10000"),
        ("tracks.known", {"sha1s": ["xyz"]}, "40 hexadecimal digits"),
        ("shutdown", {"now": True}, "takes: none"),
    ],
)
async def test_parameters_that_make_no_sense_are_refused(
    bench: Bench, command: str, params: dict[str, object], complaint: str
) -> None:
    """The refusal names the parameter and what it may be."""
    with pytest.raises(InvalidRequest) as caught:
        await bench.ask(command, **params)
    assert complaint in caught.value.message


async def test_shutdown_is_for_the_local_socket(bench: Bench) -> None:
    """Nobody stops the daemon from elsewhere; the local user does."""
    with pytest.raises(InvalidRequest, match="local control socket"):
        await bench.ask("shutdown", OTHER)
    assert not bench.stop.is_set()
    assert await bench.ask("shutdown") == {"stopping": True}
    assert bench.stop.is_set()


async def test_a_bug_is_contained_in_its_command(bench: Bench, tmp_path: Path) -> None:
    """The caller gets `internal_error` without the bug's inside, the log gets all of it, the next command works."""
    path = str(music_file(tmp_path, 1))
    bench.error = RuntimeError("secret detail")
    with structlog.testing.capture_logs() as logs, pytest.raises(InternalError) as caught:
        await bench.ask("recognize", path=path)
    assert "secret" not in caught.value.message
    assert [log["event"] for log in logs] == ["command_failed", "command_answered"]
    bench.error = None
    assert (await bench.ask("recognize", path=path))["matches"] == []


async def test_each_job_is_one_line_in_the_log(bench: Bench, tmp_path: Path) -> None:
    """The line says what was asked, how it ended, and how long it took; polling is not in the log of a quiet day."""
    path = str(music_file(tmp_path, 1))
    merge = structlog.contextvars.merge_contextvars
    with structlog.testing.capture_logs(processors=[merge]) as logs:
        await bench.ask("fingerprint", path=path)
        await bench.ask("recognize", path=path)
        await bench.ask("status")
        with pytest.raises(DejavudError):
            await bench.ask("recognize", path="/missing.wav")
    lines = [log for log in logs if log["log_level"] != "debug"]
    assert [(line["command"], line["outcome"]) for line in lines] == [
        ("fingerprint", "ok"),
        ("recognize", "ok"),
        ("recognize", "unreadable_file"),
    ]
    assert lines[0]["added"]
    assert lines[0]["source"] == "piece1.wav"
    assert lines[1]["n_matches"] == 1
    assert "n_matches" not in lines[2]
    assert all(line["elapsed_ms"] >= 0 for line in lines)
