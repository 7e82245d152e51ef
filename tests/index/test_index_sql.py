"""The index in a database: how its tables are made, checked and brought forward, whose they are, and what may go wrong."""

from __future__ import annotations

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pytest
from databases import PASSWORD, USER, free_port
from history_plays import kept_play
from hypothesis import given, settings
from hypothesis import strategies as st
from index_entries import meetings_of, new_track, rows_of, sha1_of, url_of
from sqlalchemy import Connection, create_engine, text

from dejavud.errors import (
    DejavudError,
    IndexAway,
    IndexDamaged,
    IndexUnavailable,
    ParamsMismatch,
    SchemaTooNew,
    Timeout,
)
from dejavud.fingerprint.params import Params
from dejavud.index import schema
from dejavud.index.history.plays import PlayFilter
from dejavud.index.open import history_of, open_index
from dejavud.index.sql import schema as sql_schema
from dejavud.index.sql.index import open_sql
from dejavud.index.urls import digest_of, without_password
from dejavud.values import Hashes

if TYPE_CHECKING:
    from pathlib import Path

    from databases import MariaDB, PostgreSQL

KINDS = ("sqlite-file", "postgresql", "mariadb")


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database of each kind in turn."""
    return url_of(request.param, tmp_path)


def run(url: str, *statements: str) -> None:
    """Run statements beside the index."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def made(url: str, params: Params) -> None:
    """Leave an index with two tracks."""
    with open_sql(url, params) as index:
        index.add([new_track(1), new_track(2)])


def refused(url: str, params: Params) -> DejavudError:
    """Return why it does not open."""
    with pytest.raises(IndexUnavailable) as caught, open_sql(url, params):
        pytest.fail("opened")
    return caught.value


def test_it_is_there_the_next_time(url: str, params: Params) -> None:
    """Tracks, postings, and the numbers that were given are kept."""
    made(url, params)
    with open_sql(url, params) as index:
        one, two = index.tracks()
        assert (one.file_sha1, two.file_sha1) == (sha1_of(1), sha1_of(2))
        query = new_track(1).hashes
        assert rows_of(index.lookup(query)) == meetings_of(query, {1: query, 2: new_track(2).hashes})
        index.remove([2])
    with open_sql(url, params) as index:
        assert index.add([new_track(3)])[0].id == 3


def test_many_that_start_at_once_make_one_index(url: str, params: Params) -> None:
    """Daemons that find an empty database at the same time all open it, and all write to it."""

    def start(seed: int) -> int:
        with open_sql(url, params) as index:
            return index.add([new_track(seed)])[0].id

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(start, range(4))) == [1, 2, 3, 4]
    with open_sql(url, params) as index:
        assert index.statistics().n_tracks == 4


def test_equal_postings_of_a_track_are_all_kept(url: str, params: Params) -> None:
    """Three times the same hash at the same frame is three hits."""
    same = Hashes([7, 7, 7, 9], [5, 5, 5, 5])
    with open_sql(url, params) as index:
        (track,) = index.add([new_track(1, hashes=same)])
        assert rows_of(index.lookup(Hashes([7], [0]))) == [(0, track.id, 5)] * 3
        assert len(index.postings(1, 1)) == 4


def test_tables_of_an_old_dejavu_beside_ours_are_no_matter(url: str, params: Params) -> None:
    """Its songs and fingerprints stay as they are."""
    run(url, "CREATE TABLE songs (song_id INTEGER)", "CREATE TABLE fingerprints (hash INTEGER)")
    run(url, "INSERT INTO songs VALUES (1)")
    made(url, params)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT song_id FROM songs")).scalar_one() == 1
    engine.dispose()


@pytest.mark.parametrize("table", ["meta", "tracks", "postings"])
def test_tables_of_another_program_are_left_alone(url: str, params: Params, table: str) -> None:
    """A table that has the name of one of ours is not taken for one, empty or not, and nothing is made beside it."""
    run(url, f"CREATE TABLE {table} (something INTEGER)")
    assert isinstance(refused(url, params), IndexDamaged)
    run(url, f"INSERT INTO {table} VALUES (1)")  # noqa: S608 - a name of this test's
    error = refused(url, params)
    assert isinstance(error, IndexDamaged)
    assert PASSWORD not in error.message
    run(url, f"DROP TABLE {table}")
    made(url, params)


def test_a_database_of_the_second_version_gets_a_history(url: str, params: Params) -> None:
    """Its tracks are as they were, whoever starts first; another program's table of that name is left alone."""
    made(url, params)
    run(
        url,
        "DROP TABLE matches",
        "UPDATE meta SET value = '2' WHERE meta.key = 'schema_version'",
        "CREATE TABLE matches (something INTEGER)",
    )
    assert "matches" in refused(url, params).message
    run(url, "DROP TABLE matches")

    def start(number: int) -> None:
        with open_sql(url, params) as index:
            history_of(index).record([kept_play(number)])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(start, range(3)))
    with open_sql(url, params) as index:
        assert history_of(index).page(PlayFilter(), 4) == [kept_play(number) for number in (2, 1, 0)]
        assert index.statistics().n_tracks == 2


def test_a_later_schema_and_other_parameters_are_refused(url: str, params: Params) -> None:
    """It is not guessed at, and left as it is."""
    made(url, params)
    with pytest.raises(ParamsMismatch), open_sql(url, Params(hop_samples=128)):
        pytest.fail("opened")
    run(url, f"UPDATE meta SET value = '{schema.VERSION + 1}' WHERE value = '{schema.VERSION}'")  # noqa: S608 - numbers
    assert isinstance(refused(url, params), SchemaTooNew)


@pytest.mark.parametrize(
    "change", ["DELETE FROM meta WHERE value = '{digest}'", "DROP TABLE postings", "DROP TABLE matches"]
)
def test_what_is_not_whole_is_damaged(url: str, params: Params, change: str) -> None:
    """A part that is missing is said, not made up."""
    made(url, params)
    run(url, change.format(digest=params.digest))
    assert isinstance(refused(url, params), IndexDamaged)


def test_an_emptied_meta_does_not_cost_the_tracks(url: str, params: Params) -> None:
    """Tables with tracks in them are not taken for half made ones."""
    made(url, params)
    run(url, "DELETE FROM meta")
    assert isinstance(refused(url, params), IndexDamaged)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM tracks")).scalar_one() == 2
    engine.dispose()


def test_tables_that_were_left_half_made_are_made_anew(tmp_path: Path, params: Params) -> None:
    """MariaDB makes each table by itself: what a start that was killed left is ours, and empty."""
    url = url_of("mariadb", tmp_path)
    made(url, params)
    run(url, "DELETE FROM meta", "DELETE FROM tracks", "DELETE FROM constellations", "DELETE FROM postings")
    run(url, "DELETE FROM changes", "DROP TABLE postings")
    made(url, params)


def test_an_older_version_is_brought_forward_once(url: str, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step from the version found to ours is done, in order, by one of those that start together."""
    made(url, params)
    done: list[int] = []

    def step(version: int) -> None:
        def take(connection: Connection) -> None:
            connection.execute(text(f"CREATE TABLE step_{version} (n INTEGER)"))
            done.append(version)

        monkeypatch.setitem(sql_schema.MIGRATIONS, version, take)

    now = schema.VERSION
    step(now + 1)
    step(now + 2)
    monkeypatch.setattr(schema, "VERSION", now + 2)

    def start(_: int) -> int:
        with open_sql(url, params) as index:
            return index.statistics().n_tracks

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(start, range(3))) == [2, 2, 2]
    assert done == [now + 1, now + 2]


def test_a_step_that_fails_leaves_the_version(url: str, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start begins with it again; the tracks are there."""
    made(url, params)

    def fail(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE nothing ADD COLUMN x INTEGER"))

    with monkeypatch.context() as patched:
        patched.setitem(sql_schema.MIGRATIONS, schema.VERSION + 1, fail)
        patched.setattr(schema, "VERSION", schema.VERSION + 1)
        refused(url, params)
    with open_sql(url, params) as index:
        assert index.statistics().n_tracks == 2


def test_a_lookup_that_waits_is_stopped_on_the_server(postgresql_url: str, params: Params) -> None:
    """Where somebody holds the table, the look-up ends at its deadline, and no statement of ours is left on the server."""
    engine = create_engine(postgresql_url)
    with open_sql(postgresql_url, params) as index, engine.connect() as holder:
        index.add([new_track(1)])
        holder.execute(text("LOCK TABLE postings"))
        with pytest.raises(Timeout):
            index.lookup(new_track(1).hashes, timeout_s=0.2)
        running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%'"
        assert holder.execute(text(running)).scalar_one() == 0
        holder.rollback()
        assert len(index.lookup(new_track(1).hashes, timeout_s=5)) >= 200
    engine.dispose()


def test_answers_larger_than_a_packet_are_whole(tmp_path: Path, params: Params) -> None:
    """MariaDB cuts what it packs at the size of a packet; what was cut is read row by row."""
    url = url_of("mariadb", tmp_path)
    hashes = Hashes(np.full(3000, 7), np.arange(3000))
    with open_sql(url, params) as index:
        (track,) = index.add([new_track(1, hashes=hashes)])
        with index._connections.transaction() as connection:
            connection.exec_driver_sql("SET SESSION group_concat_max_len = 5000")
            found = index._dialect.find(connection, np.array([7, 8], np.int32))
            by_track = index._dialect.postings(connection, track.id, track.id, np.dtype(np.int32))
    for rows in (found, by_track):
        assert sorted(rows["frame"].tolist()) == list(range(3000))
        assert set(rows["hash"].tolist()) == {7}
        assert set(rows["track_id"].tolist()) == {track.id}


def test_sqlite_says_when_its_file_is_none(tmp_path: Path, params: Params) -> None:
    """Other bytes are not overwritten; a folder is no file; a folder that is missing is made."""
    other = tmp_path / "letter.txt"
    other.write_text("not a database, and long enough to be read as one" * 40)
    assert isinstance(refused(f"sqlite:///{other}", params), IndexDamaged)
    assert other.read_text().startswith("not a database")
    assert refused(f"sqlite:///{tmp_path}", params).code == "index_unavailable"
    made(f"sqlite:///{tmp_path}/new/folder/index.sqlite", params)


@pytest.mark.parametrize("spelling", ["sqlite://", "sqlite:///:memory:", "sqlite+pysqlite://"])
def test_an_sqlite_index_in_memory_is_one_for_all_threads(spelling: str, params: Params) -> None:
    """What one thread adds another finds."""
    with open_index(spelling, params) as index, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda seed: index.add([new_track(seed)]), range(6)))
        assert len(index.tracks()) == 6


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "POSTGRESQL"])
def test_every_spelling_of_postgresql_opens(scheme: str, postgresql_url: str, params: Params) -> None:
    """The driver is ours, whatever the URL says."""
    with open_index(postgresql_url.replace("postgresql+psycopg2", scheme), params) as index:
        assert index.statistics().n_tracks == 0


@pytest.mark.parametrize("scheme", ["mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql"])
def test_every_spelling_of_mysql_opens(scheme: str, mariadb_url: str, params: Params) -> None:
    """MySQL and MariaDB are one kind."""
    with open_index(mariadb_url.replace("mysql+pymysql", scheme), params) as index:
        assert index.statistics().n_tracks == 0


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_an_option_that_no_driver_knows_is_said(scheme: str, params: Params) -> None:
    """What follows the ? goes to the driver; what that does not take is no matter of waiting."""
    url = f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{PORT}/music?colour=green"
    with pytest.raises(DejavudError, match="colour") as caught, open_sql(url, params):
        pytest.fail("opened")
    assert not isinstance(caught.value, IndexAway)
    assert PASSWORD not in caught.value.message


def test_a_password_of_any_script_opens(mariadb_server: MariaDB, mariadb_url: str, params: Params) -> None:
    """It is sent as UTF-8, as the server keeps it."""
    mariadb_server._execute("CREATE OR REPLACE USER greek@127.0.0.1 IDENTIFIED BY 'λέξη@/%?'")
    mariadb_server._execute("GRANT ALL ON *.* TO greek@127.0.0.1")
    url = mariadb_url.replace(f"{USER}:{PASSWORD}", f"greek:{quote('λέξη@/%?', safe='')}")
    with open_sql(url, params) as index:
        assert index.statistics().n_tracks == 0


def test_a_user_without_rights_is_told_so_at_once(
    postgresql_server: PostgreSQL, mariadb_server: MariaDB, params: Params, postgresql_url: str, mariadb_url: str
) -> None:
    """Who may log in and not make tables is told what was denied; it is not taken for a server that is away."""
    postgresql_server._execute("DROP ROLE IF EXISTS guest")
    postgresql_server._execute("CREATE ROLE guest LOGIN PASSWORD 'guest-pass'")
    mariadb_server._execute("CREATE OR REPLACE USER guest@127.0.0.1 IDENTIFIED BY 'guest-pass'")
    mariadb_server._execute(f"GRANT SELECT ON {mariadb_url.rpartition('/')[2]}.* TO guest@127.0.0.1")
    for url in (postgresql_url, mariadb_url):
        error = refused(url.replace(f"{USER}:{PASSWORD}", "guest:guest-pass"), params)
        assert not isinstance(error, IndexAway)
        assert "denied" in error.message
        assert "guest-pass" not in f"{error.message} {error.details}"


def test_a_lost_connection_is_made_anew(
    postgresql_server: PostgreSQL, mariadb_server: MariaDB, postgresql_url: str, mariadb_url: str, params: Params
) -> None:
    """A server that was restarted between two calls is no matter; one that was killed is away, and then back."""
    for server, url in ((postgresql_server, postgresql_url), (mariadb_server, mariadb_url)):
        with open_sql(url, params) as index:
            added = list(index.add([new_track(1)]))
            server.stop()
            server.start()
            assert list(index.tracks()) == added
            server.kill()
            with pytest.raises(IndexAway) as caught:
                index.lookup(new_track(1).hashes)
            assert PASSWORD not in f"{caught.value.message} {caught.value.details}"
            assert not index.statistics().reachable
            server.start()
            while not index.statistics().reachable:
                pass
            assert len(index.lookup(new_track(1).hashes)) >= 200


def test_many_calls_while_the_server_is_away_are_refused_at_once(
    postgresql_server: PostgreSQL, postgresql_url: str, params: Params
) -> None:
    """One of them tries; the others need not wait for it."""
    with open_sql(postgresql_url, params) as index:
        postgresql_server.stop()

        def ask(_: int) -> int:
            with pytest.raises(IndexAway):
                index.tracks()
            return 1

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(ask, range(200))) == 200
        postgresql_server.start()


PASSWORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=4, max_size=18).map(
    lambda word: f"{word}\u00a77"  # so that none is a word of our messages
)
PORT = free_port()


@st.composite
def urls(draw: st.DrawFn) -> tuple[str, str, str]:
    """Give a URL of a server that is not there, its password as it is, and as it stands in the URL."""
    password = draw(PASSWORDS)
    scheme = draw(st.sampled_from(["postgresql", "mysql", "mariadb+pymysql", "postgresql+asyncpg", "oracle"]))
    form = draw(st.sampled_from(["{scheme}://music:{word}@{place}", "{scheme}://{place}?password={word}&user=music"]))
    as_it_is = [] if set(password) & set("&#") else [password]  # these end an option, and the password with it
    written = draw(st.sampled_from([quote(password, safe=""), quote(password), *as_it_is]))
    return form.format(scheme=scheme, word=written, place=f"127.0.0.1:{PORT}/library"), password, written


@settings(max_examples=150, deadline=None, derandomize=True)
@given(urls())
def test_no_password_is_shown_whatever_it_is_and_however_it_is_written(given_url: tuple[str, str, str]) -> None:
    """Special characters, percent-encoded or not, in the place of a password or as an option: no message and no detail has it."""
    url, password, written = given_url
    told = [without_password(url)]
    with contextlib.suppress(DejavudError):
        digest_of(url)
    try:
        with open_index(url, Params()):
            pytest.fail("opened")
    except DejavudError as error:
        told += [error.message, json.dumps(error.details, ensure_ascii=False, default=str)]
    for text_told in told:
        assert password not in text_told
        assert written not in text_told


def test_a_digest_tells_databases_apart_and_not_users() -> None:
    """Whoever logs in, and however the scheme is spelled, the view is that of the database."""
    one = digest_of("postgresql://a:b@host:1/x")
    assert one == digest_of("postgres://c:d%40@host:1/x?sslmode=require")
    assert len({one, digest_of("postgresql://a:b@host:2/x"), digest_of("postgresql://a:b@host:1/y")}) == 3
    assert digest_of("mysql://a:b@host:1/x") != one
