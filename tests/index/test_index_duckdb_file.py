"""The DuckDB file: what is opened, what is refused and why, and that a refusal touches nothing."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import duckdb
import pytest
from history_plays import kept_play
from index_entries import new_track, rows_of

from dejavud.errors import IndexDamaged, IndexLocked, IndexUnavailable, ParamsMismatch, SchemaTooNew
from dejavud.index import schema
from dejavud.index.duckdb.connection import SharedConnection
from dejavud.index.duckdb.index import open_duckdb
from dejavud.index.history.plays import PlayFilter
from dejavud.index.open import history_of
from dejavud.values import Hashes, TrackEdit

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.fingerprint.params import Params


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the name of the index of a test."""
    return tmp_path / "index.duckdb"


def refused(path: Path, params: Params) -> IndexUnavailable:
    """Return the error with which opening `path` ends."""
    with pytest.raises(IndexUnavailable) as caught, open_duckdb(path, params):
        pytest.fail("opened")
    return caught.value


def make_index(path: Path, params: Params, n_tracks: int = 2) -> None:
    """Leave an index with some tracks at `path`."""
    with open_duckdb(path, params) as index:
        index.add([new_track(seed, 20_000) for seed in range(n_tracks)])


def test_missing_folders_are_made_for_this_user_only(tmp_path: Path, params: Params) -> None:
    """Every folder that had to be made has mode 0700, and nothing but the index is left in it."""
    path = tmp_path / "a" / "b" / "index.duckdb"
    make_index(path, params)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700, 0o700]
    assert [entry.name for entry in path.parent.iterdir()] == ["index.duckdb"]


def test_another_profile_or_other_parameters_are_refused(path: Path, params: Params) -> None:
    """Hashes that would never meet are not mixed; the message names both sides; the right ones still open."""
    make_index(path, params)
    other = dataclasses.replace(params, profile="classic", hop_samples=128)
    error = refused(path, other)
    assert isinstance(error, ParamsMismatch)
    for word in ("landmark-2", "classic", params.digest, other.digest):
        assert word in error.message
    with open_duckdb(path, dataclasses.replace(params, query_shifts=1)) as index:
        assert index.statistics().n_tracks == 2


def test_a_later_schema_is_refused(path: Path, params: Params) -> None:
    """A file of a later version is not guessed at."""
    make_index(path, params)
    with duckdb.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '4' WHERE key = 'schema_version'")
    error = refused(path, params)
    assert isinstance(error, SchemaTooNew)
    assert (error.details["found"], error.details["known"]) == (4, 3)


VERSION_1 = """
CREATE TABLE meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL);
CREATE TABLE tracks (id INTEGER NOT NULL, title VARCHAR NOT NULL, artist VARCHAR, album VARCHAR, path VARCHAR,
    file_sha1 VARCHAR NOT NULL, duration_s DOUBLE NOT NULL, n_peaks INTEGER NOT NULL, n_hashes INTEGER NOT NULL,
    added_at TIMESTAMP NOT NULL);
CREATE TABLE constellations (track_id INTEGER NOT NULL, part INTEGER NOT NULL,
    data BLOB NOT NULL USING COMPRESSION uncompressed);
CREATE TABLE postings (hash UINTEGER NOT NULL, track_id INTEGER NOT NULL, frame INTEGER NOT NULL);
"""
"""The tables as the first release made them."""


def make_version_1(path: Path, contents: Path) -> None:
    """Leave an index as the first release would at `path`, with what the index at `contents` holds."""
    with duckdb.connect(path) as connection:
        connection.execute(VERSION_1)
        connection.execute(f"ATTACH '{contents}' AS now (READ_ONLY)")
        connection.execute("INSERT INTO tracks SELECT * EXCLUDE (disabled) FROM now.tracks")
        connection.execute("INSERT INTO meta SELECT * FROM now.meta")
        connection.execute("INSERT INTO constellations SELECT * FROM now.constellations")
        connection.execute("INSERT INTO postings SELECT * FROM now.postings")
        connection.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")


def test_an_index_of_the_first_version_is_brought_forward(path: Path, params: Params, tmp_path: Path) -> None:
    """It opens with all it holds, in ours from then on, and takes edits, additions and another opening."""
    make_index(tmp_path / "now.duckdb", params)
    make_version_1(path, tmp_path / "now.duckdb")
    query = new_track(1, 20_000).hashes
    with open_duckdb(tmp_path / "now.duckdb", params) as index:
        tracks, hits = list(index.tracks()), rows_of(index.lookup(query))
    with open_duckdb(path, params) as index:
        assert list(index.tracks()) == tracks
        assert rows_of(index.lookup(query)) == hits
        index.edit({tracks[1].id: TrackEdit(disabled=True)})
        (third,) = index.add([new_track(2)])
        assert third.id > tracks[-1].id
    with open_duckdb(path, params) as index:
        assert [track.disabled for track in index.tracks()] == [False, True, False]
    with duckdb.connect(path) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall() == [("3",)]


VERSION_2 = VERSION_1.replace("added_at TIMESTAMP NOT NULL)", "added_at TIMESTAMP NOT NULL, disabled BOOLEAN NOT NULL)")
"""The tables as they were before there was a history."""


def test_an_index_of_the_second_version_gets_a_history(path: Path, params: Params, tmp_path: Path) -> None:
    """What it holds is as it was, plays are kept from then on, and the file is ours for good."""
    make_index(tmp_path / "now.duckdb", params)
    with duckdb.connect(path) as connection:
        connection.execute(VERSION_2)
        connection.execute(f"ATTACH '{tmp_path / 'now.duckdb'}' AS now (READ_ONLY)")
        for table in ("meta", "tracks", "constellations", "postings"):
            connection.execute(f"INSERT INTO {table} SELECT * FROM now.{table}")  # noqa: S608 - names of the line above
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    with open_duckdb(path, params) as index:
        history = history_of(index)
        assert history.count() == 0
        history.record([kept_play(1)])
    with open_duckdb(path, params) as index:
        assert history_of(index).page(PlayFilter(), 2) == [kept_play(1)]
        assert index.statistics().n_tracks == 2
        assert rows_of(index.lookup(new_track(1, 20_000).hashes))
    with duckdb.connect(path) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall() == [("3",)]


def test_an_index_that_cannot_be_brought_forward_is_left_as_it_is(
    path: Path, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps are one transaction: where the last fails none was taken, and a later start does them all."""
    make_index(tmp_path / "now.duckdb", params)
    make_version_1(path, tmp_path / "now.duckdb")
    with monkeypatch.context() as patched:
        patched.setitem(schema.STEPS, 2, (*schema.STEPS[2], "ALTER TABLE tracks DROP COLUMN nothing"))
        refused(path, params)
    with open_duckdb(path, params) as index:
        assert index.statistics().n_tracks == 2


@pytest.mark.parametrize(
    "change", ["UPDATE meta SET value = 'x'", "DELETE FROM meta", "DROP TABLE postings", "DROP TABLE matches"]
)
def test_an_index_with_parts_missing_is_refused(path: Path, params: Params, change: str) -> None:
    """Without its tables or with nonsense in meta it is damaged, not new."""
    make_index(path, params)
    with duckdb.connect(path) as connection:
        connection.execute(change)
    assert isinstance(refused(path, params), IndexDamaged)


@pytest.mark.parametrize("table", ["orders (id INTEGER)", "meta (name VARCHAR)", "meta (key VARCHAR, value VARCHAR)"])
def test_another_programs_database_is_refused_and_left_alone(path: Path, params: Params, table: str) -> None:
    """A DuckDB file with others' tables is never made into an index, byte for byte."""
    with duckdb.connect(path) as connection:
        connection.execute(f"CREATE TABLE {table}")
    before = path.read_bytes()
    error = refused(path, params)
    assert isinstance(error, IndexDamaged)
    assert "another program" in error.message
    assert path.read_bytes() == before


def test_a_duckdb_file_without_tables_becomes_an_index(path: Path, params: Params) -> None:
    """An empty database is nobody's."""
    duckdb.connect(path).close()
    make_index(path, params)


@pytest.mark.parametrize("contents", [b"", b"#!/bin/sh\n" * 2000, bytes(20_000)], ids=["empty", "text", "zeros"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, params: Params, contents: bytes) -> None:
    """Whatever it is, it is not overwritten."""
    path.write_bytes(contents)
    assert isinstance(refused(path, params), IndexDamaged)
    assert path.read_bytes() == contents


def test_an_sqlite_file_is_refused(path: Path, params: Params) -> None:
    """DuckDB would like to open it with an extension from the network; it does not get to."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (id INTEGER)")
    connection.close()
    assert str(path) in refused(path, params).message


def test_a_folder_is_refused(tmp_path: Path, params: Params) -> None:
    """A folder in place of the file is named as such."""
    error = refused(tmp_path, params)
    assert isinstance(error, IndexDamaged)
    assert "directory" in error.message.lower()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, params: Params) -> None:
    """The reason is the system's own."""
    (tmp_path / "file").write_text("")
    assert "Not a directory" in refused(tmp_path / "file" / "index.duckdb", params).message


@pytest.mark.parametrize("kept_share", [0.01, 0.5, 0.9])
def test_a_truncated_file_is_refused_or_its_loss_is_noticed(path: Path, params: Params, kept_share: float) -> None:
    """A file cut short never passes for a smaller library."""
    make_index(path, params, n_tracks=20)
    os.truncate(path, int(path.stat().st_size * kept_share))
    with pytest.raises(IndexDamaged), open_duckdb(path, params) as index:
        index.lookup(new_track(0, 20_000).hashes)


def test_bytes_that_changed_on_the_disk_are_noticed(path: Path, params: Params) -> None:
    """DuckDB's block checksums end a read of damaged blocks with IndexDamaged, not with wrong answers."""
    make_index(path, params, n_tracks=20)
    size = path.stat().st_size
    with path.open("r+b") as file:
        for position in range(20_000, size, 4096):
            file.seek(position)
            file.write(b"\xaa" * 16)
    with pytest.raises(IndexDamaged), open_duckdb(path, params) as index:
        index.lookup(new_track(0, 20_000).hashes)


def test_a_damaged_constellation_is_named(path: Path, params: Params) -> None:
    """Bytes that fail the constellation's own checksum are IndexDamaged with the file's name."""
    make_index(path, params)
    with duckdb.connect(path) as connection:
        connection.execute("UPDATE constellations SET data = 'nonsense'::BLOB WHERE track_id = 1")
    with open_duckdb(path, params) as index, pytest.raises(IndexDamaged, match=r"index\.duckdb.*stored constellation"):
        index.constellations([1])


def test_a_log_without_its_file_is_not_thrown_away(path: Path, params: Params) -> None:
    """A lost database file beside a log that holds tracks is an error, not a fresh start."""
    log = path.with_name("index.duckdb.wal")
    log.write_bytes(b"tracks")
    error = refused(path, params)
    assert isinstance(error, IndexDamaged)
    assert "index.duckdb.wal" in error.message
    assert log.read_bytes() == b"tracks"
    assert not path.exists()


def test_new_files_have_small_blocks_and_old_ones_open_as_they_are(path: Path, params: Params) -> None:
    """A block is 64 kB, so that a small library is a small file; the size is the file's own for good."""
    make_index(path, params)
    old = path.with_name("old.duckdb")
    with duckdb.connect(old, config={"default_block_size": 1 << 18}) as connection:
        (block_bytes,) = connection.execute("SELECT block_size FROM pragma_database_size()").fetchall()[0]
        assert block_bytes == 1 << 18
    make_index(old, params)
    with duckdb.connect(path) as connection:
        (block_bytes,) = connection.execute("SELECT block_size FROM pragma_database_size()").fetchall()[0]
    assert block_bytes == 1 << 16
    with open_duckdb(old, params) as index:
        assert index.statistics().n_tracks == 2


def test_what_is_known_is_not_asked_of_the_file(path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics of an index that nobody wrote to since, and a look-up of nothing, need no query; a write is counted at once."""
    n_queries = 0
    cursor = SharedConnection.cursor

    def counted(connection: SharedConnection) -> object:
        nonlocal n_queries
        n_queries += 1
        return cursor(connection)

    with open_duckdb(path, params) as index:
        index.add([new_track(1)])
        before = index.statistics()
        monkeypatch.setattr(SharedConnection, "cursor", counted)
        assert index.statistics() == before
        assert len(index.lookup(Hashes([], []))) == 0
        assert n_queries == 0
        index.add([new_track(2)])
        assert index.statistics().n_tracks == 2
        index.remove([1])
        assert index.statistics().n_tracks == 1


def test_postings_are_read_by_track(path: Path, params: Params) -> None:
    """Those of a range of ids, both ends with it, and each track's in order of frame."""
    with open_duckdb(path, params) as index:
        index.add([new_track(seed) for seed in range(5)])
        found = index.postings(2, 3)
        assert sorted(set(found.track_ids.tolist())) == [2, 3]
        for track_id in (2, 3):
            own = found.track_ids == track_id
            assert (found.frames[own][1:] >= found.frames[own][:-1]).all()
            hashes = new_track(track_id - 1).hashes
            assert sorted(zip(found.hashes[own].tolist(), found.frames[own].tolist(), strict=True)) == sorted(
                zip(hashes.values.tolist(), hashes.offsets.tolist(), strict=True)
            )


def test_a_file_in_use_by_another_process_names_it(path: Path, params: Params) -> None:
    """The second daemon says which process has the file."""
    make_index(path, params)
    program = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        error = refused(path, params)
        assert holder.stdin is not None
        holder.stdin.close()
        assert holder.wait(30) == 0
    assert isinstance(error, IndexLocked)
    assert f"process {holder.pid}" in error.message
    make_index(path, params)


@pytest.mark.parametrize("threads", [2, 1], ids=["same settings", "other settings"])
def test_a_file_in_use_by_this_process_is_refused(path: Path, params: Params, threads: int) -> None:
    """Two indexes over one file in one process would not know of each other's writes."""
    with open_duckdb(path, params) as index:
        with pytest.raises(IndexLocked, match="this very process"), open_duckdb(path, params, threads=threads):
            pytest.fail("opened")
        index.add([new_track(1)])
    make_index(path, params)


def without_override(program: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program for which permissions count, even where the tests run as root."""
    command = [sys.executable, "-c", program]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root ignores permissions")
@pytest.mark.parametrize(("mode", "exists"), [(0o500, False), (0o500, True), (0o000, True)])
def test_a_missing_permission_is_said(path: Path, params: Params, mode: int, *, exists: bool) -> None:
    """A read-only folder or file ends with IndexUnavailable that names the file and the reason."""
    if exists:
        make_index(path, params)
        path.chmod(0o400)
    path.parent.chmod(mode)
    program = (
        "from pathlib import Path\n"
        "from dejavud.errors import IndexUnavailable\n"
        "from dejavud.fingerprint.params import Params\n"
        "from dejavud.index.duckdb.index import open_duckdb\n"
        f"try:\n    open_duckdb(Path({str(path)!r}), Params()).__enter__()\n"
        "except IndexUnavailable as error:\n    print(error.code, error.message)\n"
    )
    try:
        done = without_override(program)
    finally:
        path.parent.chmod(0o700)
    assert done.stdout.startswith("index_unavailable"), done
    assert str(path) in done.stdout
    assert "permission denied" in done.stdout.lower()


def test_of_processes_that_start_together_one_gets_the_new_index(path: Path, params: Params) -> None:
    """The file is made once, whole; every process but one is told that it is in use."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from dejavud.errors import DejavudError\n"
        "from dejavud.fingerprint.params import Params\n"
        "from dejavud.index.duckdb.index import open_duckdb\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "try:\n"
        f"    with open_duckdb(Path({str(path)!r}), Params()):\n"
        "        print('open', flush=True)\n"
        "        sys.stdin.read()\n"
        "except DejavudError as error:\n"
        "    print(error.code, flush=True)\n"
    )
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(4)
        ]
        pipes = [(child.stdin, child.stdout) for child in children if child.stdin and child.stdout]
        assert [said.readline() for _, said in pipes] == ["ready\n"] * 4
        for ask, _ in pipes:
            ask.write("go\n")
            ask.flush()
        answers = sorted(said.readline() for _, said in pipes)
        for ask, _ in pipes:
            ask.close()
    assert answers == ["index_locked\n"] * 3 + ["open\n"]
    assert [entry.name for entry in path.parent.iterdir()] == ["index.duckdb"]
    make_index(path, params)


@pytest.mark.parametrize("sql", ["SELECT * FROM read_text('{}')", "COPY tracks TO '{}.csv'", "ATTACH '{}.db'"])
def test_sql_reaches_no_other_file(path: Path, params: Params, sql: str) -> None:
    """Nothing that gets into a statement can read or write outside the index."""
    other = path.with_name("other")
    other.write_text("secret")
    with (
        open_duckdb(path, params) as index,
        pytest.raises(IndexUnavailable, match="disabled by configuration"),
        index.reading() as cursor,
    ):
        cursor.execute(sql.format(other))
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["index.duckdb", "other"]
