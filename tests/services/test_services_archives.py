"""Export, import, backup and restore: what comes back is what was there, and nothing is lost on the way."""

from __future__ import annotations

import json
import os
import resource
import struct
import zlib
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
from archive_bench import PARAMS, ArchiveBench, contents, library_track
from history_plays import kept_play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_entries import WIDE_PARAMS, drop_databases, new_track, rows_of, sha1_of, widened
from structlog.testing import capture_logs

from dejavud.errors import (
    ArchiveDamaged,
    ArchiveForeign,
    ArchiveTooNew,
    DejavudError,
    DiskFull,
    InternalError,
    InvalidRequest,
    LibraryNotEmpty,
    ParamsMismatch,
    UnreadableFile,
    UnwritableFile,
)
from dejavud.fingerprint.params import Params
from dejavud.index.history.plays import EVERY_PLAY, as_json
from dejavud.values import Constellation, Hashes, TrackEdit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.values import NewTrack

QUERY = Hashes.concatenate([library_track(seed).hashes for seed in range(4)])
KINDS = ("memory", "duckdb-memory", "memory-view-files", "sqlite-memory")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give the name of an archive, in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "library.dejavu"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[ArchiveBench]:
    """Give a library with a past: tracks that were removed, edited and disabled."""
    with ArchiveBench(tmp_path) as bench:
        bench.index.add([library_track(seed) for seed in range(6)])
        bench.index.remove([1, 4])
        bench.index.edit({2: TrackEdit(disabled=True), 3: TrackEdit(title="Ñandú", album="Album")})
        bench.index.add([library_track(9, added_at=datetime(2011, 2, 3, 4, 5, 6, 789, UTC))])
        yield bench


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[ArchiveBench]:
    """Give an empty library."""
    with ArchiveBench(tmp_path) as bench:
        yield bench


def names_in(folder: Path) -> list[str]:
    """Return the names of what is in a folder."""
    return [path.name for path in folder.iterdir()]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SEEDS = st.lists(st.integers(0, 12), unique=True, max_size=7)


@given(drawn=st.tuples(SEEDS, TEXTS, st.none() | TEXTS, st.sets(st.integers(1, 7))))
@pytest.mark.parametrize(("one", "other"), list(zip(KINDS, KINDS[1:] + KINDS[:1], strict=True)))
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_exported_is_imported_the_same_by_every_other_index(
    tmp_path: Path, one: str, other: str, drawn: tuple[list[int], str, str | None, set[int]]
) -> None:
    """Fields, constellations and look-ups are the same, for any library, and importing again changes nothing."""
    path, (seeds, title, artist, disabled) = tmp_path / "archive", drawn
    with ArchiveBench(tmp_path, one) as source, ArchiveBench(tmp_path, other) as target:
        source.index.add([library_track(seed, 60 * (seed % 3), title=title, artist=artist) for seed in seeds])
        source.index.edit(dict.fromkeys(disabled, TrackEdit(disabled=True)))
        source.index.remove([4])
        target.index.add([library_track(50)])
        target.index.remove([1])
        n_tracks = len(source.tracks())
        assert source.ask("export", path)["n_tracks"] == n_tracks
        assert target.ask("import", path)["n_added"] == n_tracks
        assert contents(target, QUERY) == contents(source, QUERY)
        again = target.ask("import", path)
        assert (again["n_added"], again["n_known"]) == (0, n_tracks)
        assert contents(target, QUERY) == contents(source, QUERY)


def test_a_library_moves_from_server_to_server(tmp_path: Path) -> None:
    """From a file to PostgreSQL, to MariaDB and back: exported, or backed up with its numbers, it is the same library."""
    path = tmp_path / "archive"
    with ExitStack() as stack:
        benches = []
        for number, kind in enumerate(("duckdb-file", "postgresql", "mariadb", "sqlite-file")):
            folder = tmp_path / str(number)
            folder.mkdir()
            benches.append(stack.enter_context(ArchiveBench(folder, kind)))
        benches[0].index.add([library_track(seed, 60 * (seed % 3)) for seed in range(7)])
        benches[0].index.edit({3: TrackEdit(title="Another", disabled=True)})
        benches[0].index.remove([2])
        benches[0].history.record([kept_play(number) for number in range(1203)])
        for one, other in pairwise(benches):
            assert one.ask("backup", path)["n_plays"] == 1203
            assert other.ask("restore", path)["n_plays"] == 1203
            assert other.history.page(EVERY_PLAY, 2000) == one.history.page(EVERY_PLAY, 2000)
            assert other.tracks() == one.tracks()
            assert contents(other, QUERY) == contents(one, QUERY)
            assert other.ask("import", path)["n_known"] == 6
            path.unlink()
    drop_databases(tmp_path)


def test_a_restore_takes_nothing_from_the_history(full: ArchiveBench, empty: ArchiveBench, file: Path) -> None:
    """What was heard since the backup stays, what has ended since is not open again, and what nobody goes on with is closed."""
    full.history.record([kept_play(0), kept_play(1, outcome="going"), kept_play(2, outcome="going")])
    full.ask("backup", file)
    full.history.record([kept_play(1), kept_play(3)])
    assert full.ask("restore", file, replace=True)["n_plays"] == 0
    expected = [kept_play(3), kept_play(2, outcome="going"), kept_play(1), kept_play(0)]
    assert full.history.page(EVERY_PLAY, 10) == expected
    empty.ask("restore", file)
    assert [play.outcome for play in empty.history.page(EVERY_PLAY, 10)] == ["cut_off", "cut_off", "unheard"]
    assert empty.ask("restore", file, replace=True)["n_plays"] == 0


def test_an_import_or_export_leaves_the_history_alone(full: ArchiveBench, empty: ArchiveBench, file: Path) -> None:
    """Tracks get other numbers there, which its plays would not have; and without plays a file is one that earlier versions read."""
    full.ask("backup", file)
    assert b'"format":1' in _unpacked_header(file)
    full.history.record([kept_play(0)])
    full.ask("export", file)
    assert b'"format":1' in _unpacked_header(file)
    full.ask("backup", file)
    assert b'"format":2' in _unpacked_header(file)
    assert empty.ask("import", file)["n_plays"] == 0
    assert empty.history.count() == 0


def test_plays_that_make_no_sense_are_damage(full: ArchiveBench, empty: ArchiveBench, file: Path) -> None:
    """Before anything is taken; blocks of plays in a file that says it has none too."""
    full.history.record([kept_play(0)])
    full.ask("backup", file)
    whole = file.read_bytes()
    nonsense: tuple[object, ...] = ([{}], [7], {"a": 1}, [{**as_json(kept_play(0)), "started_at": "then"}])
    for rows in nonsense:
        file.write_bytes(whole[: whole.rindex(b"TAIL")] + _block(b"PLAY", rows))
        with pytest.raises(ArchiveDamaged, match="plays"):
            empty.ask("restore", file)
    full.ask("export", file)
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rindex(b"TAIL")] + _block(b"PLAY", []))
    with pytest.raises(ArchiveDamaged, match="no block"):
        empty.ask("restore", file, replace=True)
    assert empty.tracks() == []


def _unpacked_header(file: Path) -> bytes:
    data = file.read_bytes()
    n_packed = struct.unpack_from("<I", data, 12)[0]
    return zlib.decompress(data[24 : 24 + n_packed])


@given(drawn=st.tuples(SEEDS, SEEDS, st.sets(st.integers(1, 7)), st.sets(st.integers(1, 7))))
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_backup_brings_any_library_back(
    tmp_path: Path, kind: str, drawn: tuple[list[int], list[int], set[int], set[int]]
) -> None:
    """Whatever the library became since, or whichever it is: afterwards it is, number by number, the one that was backed up."""
    path = tmp_path / "backup"
    seeds, mine, renamed, removed = drawn
    with ArchiveBench(tmp_path) as source, ArchiveBench(tmp_path, kind) as target:
        source.index.add([library_track(seed, 40, album=str(seed)) for seed in seeds])
        source.index.remove(sorted(removed)[:2])
        source.ask("backup", path)
        target.index.add([library_track(seed, 40) for seed in mine])
        target.index.edit(dict.fromkeys(renamed, TrackEdit(title="other", disabled=True)))
        target.constellations.read(sorted(renamed | removed))
        target.ask("restore", path, replace=True)
        assert target.tracks() == source.tracks()
        assert contents(target, QUERY) == contents(source, QUERY)
        ids = [track.id for track in source.tracks()]
        mine_now, theirs = target.constellations.read(ids), source.index.constellations(ids)
        for track_id in ids:
            np.testing.assert_array_equal(mine_now[track_id].frames, theirs[track_id].frames)
        (later,) = target.index.add([library_track(77)])
        assert later.id > max(ids, default=0)


def test_a_backup_is_restored_into_an_empty_library(full: ArchiveBench, empty: ArchiveBench, file: Path) -> None:
    """With ids, times and states; every track leaves as an event; progress ends with all."""
    told = full.ask("backup", file)
    assert told["n_bytes"] == file.stat().st_size
    assert told["n_tracks"] == 5
    restored = empty.ask("restore", file)
    assert (restored["n_added"], restored["n_removed"], restored["n_updated"]) == (5, 0, 0)
    assert empty.tracks() == full.tracks()
    assert [event.topic for event in empty.events] == ["track.added"] * 5
    assert (empty.told[-1]["n_done"], empty.told[-1]["n_total"]) == (5, 5)


def test_a_library_is_only_replaced_where_that_is_asked_for(full: ArchiveBench, file: Path) -> None:
    """Without that nothing happens; with it only what differs does."""
    full.ask("backup", file)
    before = full.tracks()
    with pytest.raises(LibraryNotEmpty):
        full.ask("restore", file)
    full.events.clear()
    told = full.ask("restore", file, replace=True)
    assert (told["n_added"], told["n_known"], told["n_updated"], told["n_removed"]) == (0, 5, 0, 0)
    assert (full.tracks(), full.events) == (before, [])


def test_a_restore_that_breaks_off_has_taken_nothing_that_is_not_in_the_backup(
    full: ArchiveBench, empty: ArchiveBench, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every write in turn: what the library or the backup had is in one of them; doing it again goes on to the end."""
    monkeypatch.setattr("dejavud.services.archive_intake.COMMIT_TRACKS", 1)
    full.ask("backup", file)
    kept = {track.file_sha1 for track in full.tracks()}
    own = [library_track(seed) for seed in (0, 5, 20, 3)]
    for n_writes in range(40):
        empty.index.remove([track.id for track in empty.tracks()])
        empty.index.add(own)
        broken = _BreakingIndex(empty.index, n_writes)
        monkeypatch.setattr(empty.index, "add", broken.add)
        monkeypatch.setattr(empty.index, "remove", broken.remove)
        try:
            empty.ask("restore", file, replace=True)
        except InternalError as error:
            if not isinstance(error.__cause__, ConnectionError):
                raise
            there = {track.file_sha1 for track in empty.tracks()}
            if broken.n_removed == 0:
                assert {entry.file_sha1 for entry in own} <= there
            assert there <= kept | {entry.file_sha1 for entry in own}
        else:
            assert n_writes > 5
            break
        finally:
            monkeypatch.undo()
            monkeypatch.setattr("dejavud.services.archive_intake.COMMIT_TRACKS", 1)
        empty.ask("restore", file, replace=True)
        assert empty.tracks() == full.tracks()
    else:
        pytest.fail("no end")
    assert empty.tracks() == full.tracks()


class _BreakingIndex:
    """Fails at a write, and counts the removals before it."""

    def __init__(self, index: Any, n_writes: int) -> None:  # noqa: ANN401 - any index
        self._add, self._remove = index.add, index.remove
        self._left = n_writes
        self.n_removed = 0

    def add(self, entries: Any) -> Any:  # noqa: ANN401 - passed on
        """See `Index.add`."""
        self._step()
        return self._add(entries)

    def remove(self, ids: Any) -> Any:  # noqa: ANN401 - passed on
        """See `Index.remove`."""
        self._step()
        self.n_removed += len(ids)
        return self._remove(ids)

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ConnectionError


def test_a_selection_is_exported(full: ArchiveBench, empty: ArchiveBench, file: Path) -> None:
    """The tracks that the filters mean, which are imported, and not taken for a library."""
    assert full.ask("export", file, search="ñandu")["n_tracks"] == 1
    with pytest.raises(InvalidRequest, match="import it"):
        empty.ask("restore", file)
    assert empty.ask("import", file)["n_added"] == 1
    assert [track.title for track in empty.tracks()] == ["Ñandú"]


def test_an_import_goes_on_where_it_broke_off(full: ArchiveBench, empty: ArchiveBench, file: Path) -> None:
    """What came stays, and only the rest is added by the next."""
    full.ask("export", file)
    full.ask("export", file.with_name("some"), ids=[3, 5])
    empty.ask("import", file.with_name("some"))
    told = empty.ask("import", file)
    assert (told["n_added"], told["n_known"]) == (3, 2)
    assert contents(empty, QUERY) == contents(full, QUERY)


@pytest.mark.parametrize("kind", ["memory", "duckdb-memory"])
def test_hashes_of_tracks_without_constellations_are_carried(tmp_path: Path, file: Path, kind: str) -> None:
    """A classic library comes back hash by hash, whole and in part."""
    nothing = Constellation(np.empty(0), np.empty(0), 7, np.empty(0))

    def classic(seed: int) -> NewTrack:
        return replace(new_track(seed, constellation=nothing), hashes=widened(new_track(seed).hashes))

    with ArchiveBench(tmp_path, kind, WIDE_PARAMS) as source, ArchiveBench(tmp_path, kind, WIDE_PARAMS) as target:
        source.index.add([classic(seed) for seed in range(9)])
        source.index.remove([2, 3])
        source.ask("export", file, ids=[1, 5, 6, 9])
        assert target.ask("import", file)["n_added"] == 4
        source.ask("backup", file)
        target.ask("restore", file, replace=True)
        assert target.tracks() == source.tracks()
        query = Hashes.concatenate([classic(seed).hashes for seed in range(9)])
        assert rows_of(target.index.lookup(query)) == rows_of(source.index.lookup(query))


def test_other_parameters_are_refused(full: ArchiveBench, tmp_path: Path, file: Path) -> None:
    """Hashes that would never meet are not mixed."""
    full.ask("export", file)
    with (
        ArchiveBench(tmp_path, params=Params(hop_samples=128)) as other,
        pytest.raises(ParamsMismatch, match="landmark"),
    ):
        other.ask("import", file)


@pytest.mark.parametrize("command", ["import", "restore"])
def test_damage_anywhere_is_noticed_before_anything_is_taken(
    full: ArchiveBench, empty: ArchiveBench, file: Path, command: str
) -> None:
    """One bit that changed, or the file cut short, at many places: refused with a code, and the library is as it was."""
    full.ask("backup", file)
    whole = file.read_bytes()
    codes = set()
    for place in [*range(0, len(whole), max(1, len(whole) // 150)), *range(60), len(whole) - 1]:
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        for damaged in (bytes(changed), whole[:place]):
            file.write_bytes(damaged)
            with pytest.raises(DejavudError) as caught:
                empty.ask(command, file)
            codes.add(caught.value.code)
    file.write_bytes(whole + b"\n")
    with pytest.raises(ArchiveDamaged, match="after its end"):
        empty.ask(command, file)
    assert codes == {"archive_damaged", "archive_foreign"}
    assert (empty.tracks(), empty.events) == ([], [])


@given(data=st.binary(max_size=300), whole=st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_an_archive_or_an_error(tmp_path: Path, data: bytes, *, whole: bool) -> None:
    """No file, however it is made, brings anything but a code of ours."""
    path = tmp_path / "any"
    with ArchiveBench(tmp_path) as bench:
        bench.index.add([library_track(1)])
        bench.ask("backup", path)
        path.write_bytes(path.read_bytes()[: 8 + whole * 40] + data)
        with pytest.raises((ArchiveDamaged, ArchiveForeign, ArchiveTooNew)):
            bench.ask("import", path)


def _block(kind: bytes, content: object) -> bytes:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    packed = zlib.compress(raw)
    checksum = zlib.crc32(packed, zlib.crc32(struct.pack("<4sII", kind, len(packed), len(raw))))
    return struct.pack("<4sIII", kind, len(packed), len(raw), checksum) + packed


def test_a_later_format_is_refused_by_its_number(empty: ArchiveBench, file: Path) -> None:
    """Whatever else is in it."""
    file.write_bytes(b"\x93DEJAVU\n" + _block(b"HEAD", {"format": 3, "colour": "blue"}) + _block(b"NEWS", b"x"))
    with pytest.raises(ArchiveTooNew, match="format 3"):
        empty.ask("import", file)


@pytest.mark.parametrize(
    "block",
    [
        struct.pack("<I", 2**31) + b"[]",
        struct.pack("<I", 4) + b"[1] ",
        struct.pack("<I", 5) + b"[{}] ",
        struct.pack("<I", 3) + b"[] tail",
        b"",
        b"x",
    ],
)
def test_a_block_that_makes_no_sense_is_damage(
    full: ArchiveBench, empty: ArchiveBench, file: Path, block: bytes
) -> None:
    """Checksums that agree do not make nonsense believed."""
    full.ask("export", file, ids=[])
    start = file.read_bytes()
    file.write_bytes(start[: start.rindex(b"TAIL")] + _block(b"TRKS", block))
    with pytest.raises(ArchiveDamaged):
        empty.ask("import", file)


def test_a_file_of_another_kind_is_not_overwritten(full: ArchiveBench, file: Path) -> None:
    """A slip of the finger costs nothing; an older archive is replaced."""
    file.write_text("my only copy")
    with pytest.raises(UnwritableFile, match="not an archive"):
        full.ask("backup", file)
    assert file.read_text() == "my only copy"
    file.unlink()
    full.ask("backup", file)
    full.index.add([library_track(30)])
    assert full.ask("backup", file)["n_tracks"] == 6
    assert names_in(file.parent) == [file.name]


def test_what_cannot_be_written_says_who_and_where(full: ArchiveBench, tmp_path: Path) -> None:
    """The message names the user that the daemon runs as, and a folder that it may write in."""
    with pytest.raises(UnwritableFile) as caught:
        full.ask("backup", tmp_path / "nowhere" / "x")
    assert "No such file" in caught.value.message
    assert str(tmp_path) in str(caught.value.details["folder"])
    assert caught.value.details["user"]


@pytest.mark.parametrize("n_bytes", [0, 100, 1000])
def test_a_full_disk_leaves_what_was_there(full: ArchiveBench, file: Path, n_bytes: int) -> None:
    """Where the system takes no more bytes that is said; the archive of before is whole and no part of the new one is left."""
    full.ask("backup", file)
    before = file.read_bytes()
    full.index.add([library_track(31)])

    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
        with pytest.raises(DiskFull), capture_logs():  # which cannot be written either
            full.ask("backup", file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before
    assert names_in(file.parent) == [file.name]


@pytest.mark.parametrize("target", ["missing", "folder", "pipe", "text", "empty"])
def test_what_is_no_archive_is_told(empty: ArchiveBench, tmp_path: Path, target: str) -> None:
    """A file that is not there or not a file, and one of another kind, each by its code; a pipe is not waited for."""
    path = tmp_path / target
    {
        "missing": lambda: None,
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "text": lambda: path.write_text("hello, I am a text\n"),
        "empty": lambda: path.write_bytes(b""),
    }[target]()
    expected = ArchiveForeign if target in {"text", "empty"} else UnreadableFile
    with pytest.raises(expected):
        empty.ask("import", path)


async def test_a_backup_that_is_called_off_leaves_nothing(full: ArchiveBench, file: Path) -> None:
    """Ctrl-C in the middle: no part of the file is there, and the next one works."""
    with trio.CancelScope() as scope:
        note = full._note

        async def cancel(**figures: object) -> None:
            await note(**figures)  # type: ignore[arg-type]
            scope.cancel()

        full._note = cancel  # type: ignore[method-assign, assignment]
        await full.run("backup", file)
    assert scope.cancelled_caught
    assert names_in(file.parent) == []
    del full._note
    assert (await full.run("backup", file))["n_tracks"] == 5


async def test_tracks_that_come_and_go_meanwhile_are_in_or_out(
    full: ArchiveBench, empty: ArchiveBench, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each track is whole or not there, whatever is written beside the backup."""
    monkeypatch.setattr("dejavud.services.archives.BLOCK_TRACKS", 2)
    steps = iter([lambda: full.index.remove([5, 6]), lambda: full.index.add([library_track(40)])])
    read = full.index.constellations

    def racing(ids: Any) -> Any:  # noqa: ANN401 - passed on
        next(steps, lambda: None)()
        return read(ids)

    monkeypatch.setattr(full.index, "constellations", racing)
    await full.run("backup", file)
    await empty.run("restore", file)
    assert {track.file_sha1 for track in empty.tracks()} == {sha1_of(seed) for seed in (1, 2, 9, 40)}
    assert PARAMS.hash_bits == 32


def test_archives_are_for_clients_of_this_machine(full: ArchiveBench, file: Path) -> None:
    """Nobody else has the daemon write or read files."""
    for command in ("export", "import", "backup", "restore"):
        with pytest.raises(InvalidRequest, match="local control socket"):
            full.ask(command, file, local=False)
    with pytest.raises(InvalidRequest, match="absolute"):
        full.ask("backup", Path("library"))
