"""Reading old databases of three kinds: what is found, what is left alone, and what is said where they cannot be read."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from databases import PASSWORD, SERVERS, free_port
from old_databases import GENERATIONS, OldDejavu, OldFile, filled

from dejavud.errors import DejavudError, SourceUnavailable, SourceUnknown, UnsupportedDatabase
from dejavud.index.old.database import OldCatalogue, OldDatabase, OldSong, id_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dejavud.index.old.values import GatheredSong

KINDS = {
    "mysql": "worldveil-2019 mysql",
    "postgresql": "worldveil-2019 postgresql",
    "sqlite": "ivlovric-2018 sqlite",
}
FORKED = {kind: f"ivlovric-2018 {kind}" for kind in KINDS}


def digits(n: int) -> str:
    """Return the n-th hash."""
    return hashlib.sha1(b"%d" % n, usedforsecurity=False).hexdigest()[:20]


def old_file(n: int, n_pairs: int = 5) -> OldFile:
    """Return a song of its own."""
    return OldFile(f"Song {n}", b"%d" % n, [(digits(100_000 * n + i), i // 2) for i in range(n_pairs)])


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Return each kind of database."""
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path) -> Iterator[str]:
    """Give an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/old.db"
        return
    with {"mysql": SERVERS.mariadb, "postgresql": SERVERS.postgresql}[kind].database() as url:
        yield url


@contextmanager
def opened(url: str) -> Iterator[OldDatabase]:
    """Give the database until the block ends."""
    with closing(OldDatabase(url)) as database:
        yield database


def read(database: OldDatabase, catalogue: OldCatalogue, ids: Sequence[int]) -> dict[int, GatheredSong]:
    """Return what reading songs brings."""
    return {song.id: song for batch in database.read(catalogue, ids) for song in batch.songs}


def hashes(file: OldFile) -> list[tuple[int, int]]:
    """Return the first 64 bits of a file's hashes, with their offsets, each once and in order."""
    return sorted({(int(digits[:16], 16), offset) for digits, offset in file.pairs})


def hashes_of(song: GatheredSong) -> list[tuple[int, int]]:
    """Return the same of what was read."""
    return list(zip(song.hashes.values.tolist(), song.hashes.offsets.tolist(), strict=True))


def test_songs_and_their_hashes_are_found(url: str, kind: str) -> None:
    """Every song with its name, its true SHA1 and its hashes; the kind of database, the generation and its profile are named."""
    files = [old_file(n, 3000 + n) for n in range(4)]
    filled(url, GENERATIONS[KINDS[kind]], files)
    with opened(url) as database:
        catalogue = database.catalogue()
        found = read(database, catalogue, [song.id for song in catalogue.songs])
    assert catalogue.kind == kind
    assert catalogue.schema == GENERATIONS[KINDS[kind]].schema
    assert catalogue.profiles[0] == ("classic/ivlovric-1.4" if kind == "sqlite" else "classic/dejavu-2020")
    assert (catalogue.n_rows, catalogue.n_orphans) == (sum(len(file.pairs) for file in files), 0)
    for song, file in zip(catalogue.songs, files, strict=True):
        assert song == OldSong(song.id, file.name, file.sha1.lower(), True, True, len(file.pairs))  # noqa: FBT003 - as it is
        assert hashes_of(found[song.id]) == hashes(file)
        assert (found[song.id].n_bad, found[song.id].n_repeated) == (0, 0)


def test_only_what_is_asked_for_is_sent(url: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs that are there already are skipped by the server, not by us; a song that is cut over many fetches comes whole."""
    files = [old_file(n, 40) for n in range(7)]
    filled(url, GENERATIONS[KINDS[kind]], files)
    monkeypatch.setattr("dejavud.index.old.database.BATCH_ROWS", 15)
    with opened(url) as database:
        catalogue = database.catalogue()
        ids = [song.id for song in catalogue.songs]
        wanted = [ids[1], ids[2], ids[5]]
        batches = list(database.read(catalogue, wanted))
    assert [song.id for batch in batches for song in batch.songs] == wanted
    assert [batch.n_open for batch in batches] == [30, 20, 10, 40, 0]
    assert sum(len(song.hashes) for batch in batches for song in batch.songs) == 3 * 40


@pytest.mark.parametrize(
    ("wanted", "existing", "runs"),
    [
        ([], [1, 2], []),
        ([1, 2, 3], [1, 2, 3], [(1, 3)]),
        ([1, 3], [1, 2, 3], [(1, 1), (3, 3)]),
        ([1, 7, 900], [1, 7, 900], [(1, 900)]),
        ([2, 7], [1, 2, 5, 7], [(2, 2), (7, 7)]),
        ([2, 5], [1, 2, 5, 7], [(2, 5)]),
    ],
)
def test_ids_are_asked_for_in_as_few_ranges_as_hold_no_others(
    wanted: list[int], existing: list[int], runs: list[tuple[int, int]]
) -> None:
    """Gaps that no song is in cost nothing; one that is not wanted parts a range."""
    assert id_runs(np.array(wanted, np.int64), np.array(existing, np.int64)) == runs


def test_hundreds_of_ranges_are_asked_for_in_several_statements(tmp_path: Path) -> None:
    """Every second of many songs comes, each once."""
    url = f"sqlite:///{tmp_path}/old.db"
    filled(url, GENERATIONS[KINDS["sqlite"]], [old_file(n, 2) for n in range(450)])
    with opened(url) as database:
        catalogue = database.catalogue()
        wanted = [song.id for song in catalogue.songs][::2]
        assert list(read(database, catalogue, wanted)) == wanted


def test_what_is_half_there_is_told_apart(url: str, kind: str) -> None:
    """A song that was not finished, one without fingerprints, fingerprints without a song, rows that repeat: each is counted as what it is."""
    with closing(OldDejavu(url, GENERATIONS[FORKED[kind]])) as old:
        whole = old.add(old_file(1))
        half = old.begin(old_file(2))
        old.insert(half, old_file(2).pairs)
        empty = old.begin(old_file(3, 0))
        old.complete(empty)
        old.insert(whole, old_file(1).pairs[:2])
        if kind == "mysql":
            old.execute("SET SESSION foreign_key_checks = 0")
        if kind == "postgresql":
            old.execute("ALTER TABLE fingerprints DROP CONSTRAINT fingerprints_song_id_fkey")
        old.insert(99, old_file(4).pairs[:3])
        old.insert_stored([(None, bytes(10), 1)])
    with opened(url) as database:
        catalogue = database.catalogue()
        found = read(database, catalogue, [whole])
    assert catalogue.n_orphans == 4
    by_id = {song.id: (song.is_complete, song.n_rows) for song in catalogue.songs}
    assert by_id == {whole: (True, 7), half: (False, 5), empty: (True, 0)}
    assert (hashes_of(found[whole]), found[whole].n_repeated) == (hashes(old_file(1)), 2)


def test_an_sqlite_database_may_hold_anything(tmp_path: Path) -> None:
    """Names, marks and SHA1s of the wrong type, hashes of the wrong length, offsets that are no numbers: nothing is fatal, all is counted."""
    url = f"sqlite:///{tmp_path}/old.db"
    with closing(OldDejavu(url, GENERATIONS["ivlovric-2018 sqlite"])) as old:
        old.connection.executescript(
            "DROP TABLE songs; CREATE TABLE songs (id INTEGER PRIMARY KEY, name, fingerprinted, file_sha1)"
        )
        rows: list[tuple[Any, ...]] = [
            (1, "\N{SNOWMAN}", 1, None),
            (2, b"caf\xe9", b"\1", bytes(20)),
            (3, None, "1", "x"),
            (4, "", None, ""),
            (5, "n" * 5000, "0", 7),
            (6, "six", b"\0", 1.5),
            (7, 7, "f", b""),
        ]
        old.connection.executemany("INSERT INTO songs VALUES (?, ?, ?, ?)", rows)
        old.connection.execute("INSERT INTO songs VALUES (8, CAST(X'FF61' AS TEXT), 'true', NULL)")
        old.connection.commit()
        good = bytes.fromhex(digits(1))
        stored: list[tuple[object, object, object]] = [
            (1, good, 1),
            (1, good, np.int64(2)),
            (1, digits(1), "3"),
            (1, b"short", 4),
            (1, 12, 4),
            (1, good, "x"),
            (1, good, -1),
            (1, good, 2**40),
            (2, b"", 1),
        ]
        old.insert_stored(stored)
    with opened(url) as database:
        catalogue = database.catalogue()
        found = read(database, catalogue, [1, 2])
    assert [song.title for song in catalogue.songs[:4]] == ["\N{SNOWMAN}", "café", "song 3", "song 4"]
    assert [len(song.title) for song in catalogue.songs[4:]] == [500, 3, 1, 2]
    assert catalogue.songs[7].title == "ÿa"
    assert [song.is_complete for song in catalogue.songs] == [True, True, True, False, False, False, False, True]
    assert not any(song.has_sha1 for song in catalogue.songs)
    assert len({song.file_sha1 for song in catalogue.songs}) == 8
    bits = int(digits(1)[:16], 16)
    assert hashes_of(found[1]) == [(bits, 1), (bits, 2), (bits, 3)]
    assert (found[1].n_bad, found[2].n_bad, len(found[2].hashes)) == (5, 1, 0)


def test_columns_and_tables_are_found_whatever_their_case(tmp_path: Path) -> None:
    """A database that was renamed by hand from one program to the other, or lacks the mark of what is finished, is read too."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript("CREATE TABLE Songs (ID, Name); CREATE TABLE FINGERPRINTS (Hash BLOB, Song_ID, `Offset`)")
        old.execute("INSERT INTO Songs VALUES (5, 'five')")
        old.execute("INSERT INTO FINGERPRINTS VALUES (?, 5, 9)", [bytes(10)])
        old.commit()
    with opened(f"sqlite:///{path}") as database:
        catalogue = database.catalogue()
        assert [(song.title, song.is_complete, song.has_sha1) for song in catalogue.songs] == [("five", True, False)]
        assert hashes_of(read(database, catalogue, [5])[5]) == [(0, 9)]


def test_names_come_in_any_encoding_of_the_server(url: str, kind: str) -> None:
    """Text of the server's encoding, and bytes where a column holds such, are titles."""
    with closing(OldDejavu(url, GENERATIONS[FORKED[kind]])) as old:
        old.add(OldFile("Ça \N{SNOWMAN}", b"1", [(digits(1), 1)]))
        if kind == "mysql":
            old.execute("ALTER TABLE songs MODIFY name VARBINARY(255)")
            old.execute("UPDATE songs SET name = X'C761'")
    with opened(url) as database:
        assert database.catalogue().songs[0].title == ("Ça" if kind == "mysql" else "Ça \N{SNOWMAN}")


def test_nothing_can_be_written(url: str, kind: str) -> None:
    """The connection refuses every change, and a user who may only read can migrate."""
    filled(url, GENERATIONS[KINDS[kind]], [old_file(1)])
    with opened(url) as database:
        database.catalogue()
        for statement in ("DELETE FROM songs", "CREATE TABLE more (id int)", "UPDATE songs SET fingerprinted = 0"):
            with pytest.raises(SourceUnavailable, match=r"(?i)read.?only"), database._using() as connection:
                connection.exec_driver_sql(statement)
    with opened(url) as database:
        assert len(database.catalogue().songs) == 1


@pytest.mark.parametrize("kind", ["mysql", "postgresql"], indirect=True)
def test_a_user_who_may_only_read_can_migrate(url: str, kind: str) -> None:
    """Nothing is needed but the right to select."""
    files = [old_file(1)]
    filled(url, GENERATIONS[KINDS[kind]], files)
    server = {"mysql": SERVERS.mariadb, "postgresql": SERVERS.postgresql}[kind]
    name = sa.make_url(url).database
    reader = f"reader_{name}"
    with closing(OldDejavu(url, GENERATIONS[KINDS[kind]].empty)) as old:
        if kind == "mysql":
            server._execute(f"CREATE USER {reader}@'127.0.0.1' IDENTIFIED BY 'p'")
            server._execute(f"GRANT SELECT ON {name}.* TO {reader}@'127.0.0.1'")
        else:
            old.execute(f"CREATE ROLE {reader} LOGIN PASSWORD 'p'")
            old.execute(f"GRANT SELECT ON songs, fingerprints TO {reader}")
    with opened(url.replace(url[url.index("//") + 2 : url.index("@")], f"{reader}:p")) as database:
        catalogue = database.catalogue()
        assert hashes_of(read(database, catalogue, [1])[1]) == hashes(files[0])
    if kind == "mysql":
        server._execute(f"DROP USER {reader}@'127.0.0.1'")
    else:
        with closing(OldDejavu(url, GENERATIONS[KINDS[kind]].empty)) as old:
            old.execute(f"DROP OWNED BY {reader}")
            old.execute(f"DROP ROLE {reader}")


@pytest.mark.parametrize("kind", ["mysql", "postgresql"], indirect=True)
def test_a_run_sees_one_moment(url: str, kind: str) -> None:
    """What is changed while it reads is as if it had not been; who asks for the catalogue again sees it."""
    filled(url, GENERATIONS[KINDS[kind]], [old_file(1)])
    with opened(url) as database, closing(OldDejavu(url, GENERATIONS[KINDS[kind]].empty)) as old:
        catalogue = database.catalogue()
        old.insert(1, old_file(2).pairs)
        old.execute("UPDATE songs SET song_name = 'renamed'")
        assert len(read(database, catalogue, [1])[1].hashes) == 5
        assert database.catalogue().songs[0].title == "renamed"


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_an_sqlite_file_and_its_folder_stay_as_they_are(tmp_path: Path, journal: str) -> None:
    """Not a byte of the file changes and nothing is left beside it, whatever its journal."""
    folder = tmp_path / "old music#%"
    folder.mkdir()
    path = folder / "old.db"
    filled(f"sqlite:///{path}", GENERATIONS[KINDS["sqlite"]], [old_file(1)])
    with closing(sqlite3.connect(path)) as old:
        old.execute(f"PRAGMA journal_mode = {journal}")
    before = path.read_bytes()
    with opened(f"sqlite:///{path}") as database:
        catalogue = database.catalogue()
        assert len(read(database, catalogue, [1])[1].hashes) == 5
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]


def endless(path: Path) -> None:
    """Make a database whose fingerprints never end."""
    with closing(sqlite3.connect(path)) as old:
        old.executescript(
            "CREATE TABLE songs (id, name); CREATE VIEW fingerprints AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL"
            " SELECT i + 1 FROM n) SELECT X'00' AS hash, 1 AS song_id, i AS offset FROM n"
        )


def test_closing_ends_what_another_thread_waits_for(url: str, kind: str, tmp_path: Path) -> None:
    """A statement that would take for ever ends with `source_unavailable` when the database is closed; after that nothing is answered."""
    blocker: Any = None
    if kind == "sqlite":
        endless(tmp_path / "old.db")
    else:
        blocker = OldDejavu(url, GENERATIONS[KINDS[kind]])
        lock = {
            "mysql": "LOCK TABLES fingerprints WRITE",
            "postgresql": "LOCK TABLE fingerprints IN ACCESS EXCLUSIVE MODE",
        }
        blocker.connection.cursor().execute(lock[kind])
    database = OldDatabase(url)
    caught: list[DejavudError] = []

    def count() -> None:
        try:
            database.catalogue()
        except DejavudError as error:
            caught.append(error)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        while not database._lock.locked():
            thread.join(0.01)
        thread.join(0.3)  # by now the statement is under way, or it will find the database closed
        assert thread.is_alive()
        database.close()
        thread.join(10)
        assert not thread.is_alive()
    finally:
        if blocker is not None:
            blocker.close()
    assert [type(error) for error in caught] == [SourceUnavailable]
    with pytest.raises(SourceUnavailable, match="closed"):
        database.catalogue()
    database.close()


def test_a_result_that_is_left_in_the_middle_costs_nothing(
    url: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass may be given up after any batch: closing does not read the rest, and another pass can begin."""
    filled(url, GENERATIONS[KINDS[kind]], [old_file(n, 2000) for n in range(3)])
    monkeypatch.setattr("dejavud.index.old.database.BATCH_ROWS", 100)
    with opened(url) as database:
        catalogue = database.catalogue()
        batches = database.read(catalogue, [1, 2, 3])
        next(batches)
        batches.close()  # type: ignore[attr-defined] - it is a generator
    with opened(url) as database:
        assert len(read(database, database.catalogue(), [1, 2, 3])) == 3


@pytest.mark.parametrize(
    "url",
    [
        "oracle://a:secret@host/x",
        "duckdb:////x.duckdb",
        "nonsense",
        "mysql://a:secret@host:port/x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///relative.db",
        "://",
    ],
)
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    """What no dejavu wrote to is `unsupported_database`, with the forms that are, and without the password."""
    with pytest.raises(UnsupportedDatabase) as caught:
        OldDatabase(url)
    assert "secret" not in caught.value.message
    assert "sqlite:////" in caught.value.message


def failure(url: str) -> SourceUnavailable:
    """Return the error of asking a database for its catalogue."""
    with opened(url) as database, pytest.raises(SourceUnavailable) as caught:
        database.catalogue()
    assert PASSWORD not in caught.value.message
    assert "secret" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("kind", ["mysql", "postgresql"], indirect=True)
def test_a_server_that_refuses_says_why(url: str) -> None:
    """A wrong password, a database that is not there and a server that does not run are told, and the password never is."""
    assert "denied" in (text := failure(url.replace(PASSWORD, "secret")).message) or "authentication failed" in text
    assert "none_such" in failure(url.rpartition("/")[0] + "/none_such").message
    port = sa.make_url(url).port
    assert "refused" in failure(url.replace(str(port), str(free_port()))).message.lower()


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """A file that is not there, a folder, and a file of something else are told apart."""
    assert "No such file" in failure(f"sqlite:///{tmp_path}/none.db").message
    assert "directory" in failure(f"sqlite:///{tmp_path}").message
    (tmp_path / "text.db").write_text("no database at all, only text" * 100)
    assert "not a database" in failure(f"sqlite:///{tmp_path}/text.db").message


def test_a_database_of_something_else_is_told(url: str) -> None:
    """Where dejavu's tables are missing, or a column of them, the error names what is there."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE customers (id int)")
    with opened(url) as database, pytest.raises(SourceUnknown, match="there is: customers"):
        database.catalogue()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE songs (id int, name varchar(10))")
        connection.exec_driver_sql("CREATE TABLE fingerprints (id int, song_id int)")
    with opened(url) as database, pytest.raises(SourceUnknown, match="'fingerprints' has no column 'hash'") as caught:
        database.catalogue()
    assert "song_id" in caught.value.message


@pytest.mark.parametrize("kind", ["mysql", "postgresql"], indirect=True)
def test_the_old_programs_urls_are_understood(url: str) -> None:
    """``postgres://``, ``mysql://`` and drivers that this machine does not have name the same databases."""
    scheme, rest = url.split("://")
    others = (
        ("postgres", "postgresql", "postgresql+asyncpg")
        if "postgres" in scheme
        else ("mysql", "mariadb", "mysql+mysqldb")
    )
    for other in others:
        with opened(f"{other}://{rest}") as database, pytest.raises(SourceUnknown):
            database.catalogue()


@pytest.mark.parametrize(
    ("generation", "hashes_a_frame", "profiles"),
    [
        ("ivlovric-1.3.4 sqlite", 24, ("classic/ivlovric-1.4", "classic/ivlovric-1.5")),
        ("ivlovric-1.3.4 sqlite", 280, ("classic/ivlovric-1.5", "classic/ivlovric-1.4")),
        ("ivlovric-2018 sqlite", 280, ("classic/ivlovric-1.4",)),
    ],
)
def test_the_density_of_hashes_tells_the_likeliest_profile(
    tmp_path: Path, generation: str, hashes_a_frame: int, profiles: tuple[str, ...]
) -> None:
    """Constants that make ten times the hashes are known by it, where the tables alone leave it open."""
    pairs = [(digits(n), n // hashes_a_frame) for n in range(hashes_a_frame * 10)]
    url = f"sqlite:///{tmp_path}/old.db"
    filled(url, GENERATIONS[generation], [OldFile("one", b"", pairs)])
    with opened(url) as database:
        assert database.catalogue().profiles == profiles
