"""Databases as each generation of dejavu made and filled them, for what reads them."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extras
import pymysql
from sqlalchemy import make_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BATCH_ROWS = 1000
"""As dejavu inserted them."""


@dataclass(frozen=True, slots=True)
class OldFile:
    """A song as dejavu had fingerprinted it.

    content : of its file.  pairs : (hexadecimal hash, offset).
    """

    name: str
    content: bytes
    pairs: Sequence[tuple[str, int]]

    @property
    def sha1(self) -> str:
        """Return the SHA1 of its file, as dejavu spelled it: in capitals."""
        return sha1(self.content, usedforsecurity=False).hexdigest().upper()


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation of the tables in one kind of database.

    schema, kind : of tables and of database.
    statements : that make the tables.
    id, name : columns of the songs.
    stores_sha1, stores_hash : hexadecimal digits to what is given to the database; no SHA1 was kept where the former is None.
    ignores, conflict : how an insert begins and ends, so that what is there already is left alone.
    cut_at : characters of a hash that the column kept.
    """

    schema: str
    kind: str
    statements: tuple[str, ...]
    id: str
    name: str
    stores_sha1: Callable[[str], Any] | None
    stores_hash: Callable[[str], Any]
    ignores: str = "INSERT"
    conflict: str = ""
    cut_at: int | None = None

    @property
    def empty(self) -> Generation:
        """Return the same without its tables, for a database that has them."""
        return replace(self, statements=())

    def asks_hash(self, digits: str) -> Any:  # noqa: ANN401 - bytes or text
        """Return a hash as it stands in the table."""
        value = self.stores_hash(digits)
        return value if self.cut_at is None else value[: self.cut_at].decode()


def _binary(digits: str) -> bytes:
    return bytes.fromhex(digits)


def _based(digits: str) -> bytes:
    """Return base64 as ``codecs.encode(…, 'base64')`` writes it: bytes with a line end."""
    return base64.encodebytes(bytes.fromhex(digits))


_WORLDVEIL_MYSQL_FINGERPRINTS = """
    CREATE TABLE fingerprints (
        hash binary(10) NOT NULL, song_id mediumint unsigned NOT NULL, `offset` int unsigned NOT NULL, {key},
        UNIQUE KEY unique_constraint (song_id, `offset`, hash),
        FOREIGN KEY (song_id) REFERENCES songs (song_id) ON DELETE CASCADE
    ) ENGINE=InnoDB"""

_WORLDVEIL_MYSQL_SONGS = """
    CREATE TABLE songs (
        song_id mediumint unsigned NOT NULL AUTO_INCREMENT, song_name varchar(250) NOT NULL, fingerprinted tinyint DEFAULT 0{sha1},
        PRIMARY KEY (song_id), UNIQUE KEY song_id (song_id)
    ) ENGINE=InnoDB"""

_WORLDVEIL_2019_MYSQL = (
    """
    CREATE TABLE songs (
        song_id MEDIUMINT UNSIGNED NOT NULL AUTO_INCREMENT, song_name VARCHAR(250) NOT NULL, fingerprinted TINYINT DEFAULT 0,
        file_sha1 BINARY(20) NOT NULL, total_hashes INT NOT NULL DEFAULT 0,
        date_created DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
        date_modified DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        CONSTRAINT pk_songs_song_id PRIMARY KEY (song_id), CONSTRAINT uq_songs_song_id UNIQUE KEY (song_id)
    ) ENGINE=InnoDB""",
    """
    CREATE TABLE fingerprints (
        hash BINARY(10) NOT NULL, song_id MEDIUMINT UNSIGNED NOT NULL, `offset` INT UNSIGNED NOT NULL,
        date_created DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
        date_modified DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        INDEX ix_fingerprints_hash (hash),
        CONSTRAINT uq_fingerprints_song_id_offset_hash UNIQUE KEY (song_id, `offset`, hash),
        CONSTRAINT fk_fingerprints_song_id FOREIGN KEY (song_id) REFERENCES songs (song_id) ON DELETE CASCADE
    ) ENGINE=InnoDB""",
)

_WORLDVEIL_2019_POSTGRESQL = (
    """
    CREATE TABLE songs (
        song_id SERIAL, song_name VARCHAR(250) NOT NULL, fingerprinted SMALLINT DEFAULT 0, file_sha1 BYTEA,
        total_hashes INT NOT NULL DEFAULT 0, date_created TIMESTAMP NOT NULL DEFAULT now(),
        date_modified TIMESTAMP NOT NULL DEFAULT now(),
        CONSTRAINT pk_songs_song_id PRIMARY KEY (song_id), CONSTRAINT uq_songs_song_id UNIQUE (song_id)
    )""",
    """
    CREATE TABLE fingerprints (
        hash BYTEA NOT NULL, song_id INT NOT NULL, "offset" INT NOT NULL, date_created TIMESTAMP NOT NULL DEFAULT now(),
        date_modified TIMESTAMP NOT NULL DEFAULT now(),
        CONSTRAINT uq_fingerprints UNIQUE (song_id, "offset", hash),
        CONSTRAINT fk_fingerprints_song_id FOREIGN KEY (song_id) REFERENCES songs (song_id) ON DELETE CASCADE
    )""",
    "CREATE INDEX ix_fingerprints_hash ON fingerprints USING hash (hash)",
)


def _forked(*, key: str, sha1: str, hash_: str, index: str) -> tuple[str, ...]:
    """Return the tables of the forks, whose SQLAlchemy models spell them alike for every database."""
    return (
        f"CREATE TABLE songs (id {key}, name VARCHAR(255) NOT NULL, fingerprinted BOOLEAN, file_sha1 {sha1} NOT NULL)",
        f"""CREATE TABLE fingerprints (
            id {key}, hash {hash_} NOT NULL, song_id INTEGER, "offset" INTEGER NOT NULL,
            FOREIGN KEY (song_id) REFERENCES songs (id) ON DELETE CASCADE)""",
        f"CREATE INDEX ix_hash ON fingerprints ({index})",
    )


_MYSQL_KEY, _POSTGRESQL_KEY, _SQLITE_KEY = (
    "INTEGER AUTO_INCREMENT PRIMARY KEY",
    "SERIAL PRIMARY KEY",
    "INTEGER PRIMARY KEY",
)
_IGNORE = "INSERT IGNORE"

GENERATIONS = {
    f"{generation.schema} {generation.kind}{note}": generation
    for note, generation in (
        (
            "",
            Generation(
                "worldveil-2013",
                "mysql",
                (_WORLDVEIL_MYSQL_SONGS.format(sha1=""), _WORLDVEIL_MYSQL_FINGERPRINTS.format(key="INDEX (hash)")),
                "song_id",
                "song_name",
                None,
                _binary,
                _IGNORE,
            ),
        ),
        (
            ", each hash once",
            Generation(
                "worldveil-2013",
                "mysql",
                (
                    _WORLDVEIL_MYSQL_SONGS.format(sha1=""),
                    _WORLDVEIL_MYSQL_FINGERPRINTS.format(key="PRIMARY KEY (hash)"),
                ),
                "song_id",
                "song_name",
                None,
                _binary,
                _IGNORE,
            ),
        ),
        (
            "",
            Generation(
                "worldveil-0.1.3",
                "mysql",
                (
                    _WORLDVEIL_MYSQL_SONGS.format(sha1=", file_sha1 binary(20) NOT NULL"),
                    _WORLDVEIL_MYSQL_FINGERPRINTS.format(key="INDEX (hash)"),
                ),
                "song_id",
                "song_name",
                _binary,
                _binary,
                _IGNORE,
            ),
        ),
        (
            ", sha1 cut",
            Generation(
                "worldveil-0.1.3",
                "mysql",
                (
                    _WORLDVEIL_MYSQL_SONGS.format(sha1=", file_sha1 binary(10) NOT NULL"),
                    _WORLDVEIL_MYSQL_FINGERPRINTS.format(key="INDEX (hash)"),
                ),
                "song_id",
                "song_name",
                lambda digits: _binary(digits)[:10],
                _binary,
                _IGNORE,
            ),
        ),
        (
            "",
            Generation(
                "worldveil-2019", "mysql", _WORLDVEIL_2019_MYSQL, "song_id", "song_name", _binary, _binary, _IGNORE
            ),
        ),
        (
            "",
            Generation(
                "worldveil-2019",
                "postgresql",
                _WORLDVEIL_2019_POSTGRESQL,
                "song_id",
                "song_name",
                _binary,
                _binary,
                conflict=" ON CONFLICT DO NOTHING",
            ),
        ),
        (
            "",
            Generation(
                "ivlovric-2018",
                "mysql",
                tuple(
                    statement.replace('"', "`")
                    for statement in _forked(key=_MYSQL_KEY, sha1="BINARY(20)", hash_="BINARY(10)", index="hash")
                ),
                "id",
                "name",
                _binary,
                _binary,
            ),
        ),
        (
            "",
            Generation(
                "ivlovric-2018",
                "postgresql",
                _forked(key=_POSTGRESQL_KEY, sha1="BYTEA", hash_="BYTEA", index="hash"),
                "id",
                "name",
                _binary,
                _binary,
            ),
        ),
        (
            "",
            Generation(
                "ivlovric-2018",
                "sqlite",
                _forked(key=_SQLITE_KEY, sha1="BLOB", hash_="BLOB", index="hash"),
                "id",
                "name",
                _binary,
                _binary,
            ),
        ),
        (
            "",
            Generation(
                "ivlovric-1.3.4",
                "mysql",
                (
                    "SET SESSION sql_mode = ''",  # as old servers had it: what is too long is cut, not refused
                    *(
                        statement.replace('"', "`")
                        for statement in _forked(
                            key=_MYSQL_KEY, sha1="VARCHAR(40)", hash_="VARCHAR(16)", index="hash(8)"
                        )
                    ),
                ),
                "id",
                "name",
                _based,
                _based,
                cut_at=16,
            ),
        ),
        (
            ", text",
            Generation(
                "ivlovric-1.3.4",
                "postgresql",
                _forked(key=_POSTGRESQL_KEY, sha1="VARCHAR(40)", hash_="VARCHAR(17)", index="hash"),
                "id",
                "name",
                lambda digits: _based(digits).decode(),
                lambda digits: _based(digits).decode(),
            ),
        ),
        (
            "",
            Generation(
                "ivlovric-1.3.4",
                "sqlite",
                _forked(key=_SQLITE_KEY, sha1="VARCHAR(40)", hash_="VARCHAR(16)", index="hash"),
                "id",
                "name",
                _based,
                _based,
            ),
        ),
    )
}
"""By schema and kind of database, and what was peculiar for a while."""


class OldDejavu:
    """A database open for writing, with the tables of a generation in it."""

    def __init__(self, url: str, generation: Generation) -> None:
        self.generation = generation
        self._mark = "?" if generation.kind == "sqlite" else "%s"
        self._offset = "`offset`" if generation.kind == "mysql" else '"offset"'
        self.connection: Any = _connected(url)
        for statement in generation.statements:
            self.execute(statement)

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement with ``?`` for its values, commit, and return its rows."""
        cursor = self.connection.cursor()
        if values:
            cursor.execute(statement.replace("?", self._mark), values)
        else:
            cursor.execute(statement)
        rows = list(cursor.fetchall()) if cursor.description else []
        cursor.close()
        self.connection.commit()
        return rows

    def add(self, file: OldFile) -> int:
        """Do what dejavu did with a file: the song, its hashes in batches, and then the mark that it is whole; return its id."""
        song_id = self.begin(file)
        self.insert(song_id, file.pairs)
        self.complete(song_id)
        return song_id

    def begin(self, file: OldFile) -> int:
        """Insert a song that is not fingerprinted yet, and return its id."""
        made = self.generation
        columns: dict[str, object] = {made.name: file.name, "fingerprinted": made.kind != "postgresql" and 0}
        if made.schema == "worldveil-2019" and made.kind == "postgresql":
            columns["fingerprinted"] = 0
        if made.stores_sha1 is not None:
            columns["file_sha1"] = made.stores_sha1(file.sha1)
        if made.schema == "worldveil-2019":
            columns["total_hashes"] = len(file.pairs)
        marks = ", ".join("?" for _ in columns)
        self.execute(f"INSERT INTO songs ({', '.join(columns)}) VALUES ({marks})", *columns.values())  # noqa: S608
        return int(self.execute(f"SELECT max({made.id}) FROM songs")[0][0])  # noqa: S608

    def insert(self, song_id: int, pairs: Iterable[tuple[str, int]]) -> None:
        """Insert hashes of a song."""
        made = self.generation
        self.insert_stored([(song_id, made.stores_hash(digits), offset) for digits, offset in pairs])

    def insert_stored(self, rows: Sequence[tuple[object, object, object]]) -> None:
        """Insert rows of (song, hash, offset) as they are to stand there."""
        made, mark = self.generation, self._mark
        statement = f"{made.ignores} INTO fingerprints (song_id, hash, {self._offset}) VALUES ({mark}, {mark}, {mark}){made.conflict}"
        cursor = self.connection.cursor()
        for start in range(0, len(rows), BATCH_ROWS):
            batch = rows[start : start + BATCH_ROWS]
            if made.kind == "postgresql":
                psycopg2.extras.execute_batch(cursor, statement, batch, page_size=BATCH_ROWS)
            else:
                cursor.executemany(statement, batch)
        cursor.close()
        self.connection.commit()

    def generate(self, n_rows: int, per_song: int) -> None:
        """Insert many fingerprints without meaning, 20 at each offset, made where the server can make them."""
        into = f"INSERT INTO fingerprints (song_id, {self._offset}, hash) "
        if self.generation.kind == "sqlite":
            counted = f"n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n LIMIT {n_rows})"  # noqa: S608
            numbers = f"(WITH RECURSIVE {counted} SELECT i FROM n)"  # noqa: S608 - of ours
            values = f"i / {per_song} + 1, i % {per_song} / 20, CAST(substr(printf('%010d', i * 7919), 1, 10) AS BLOB)"
        elif self.generation.kind == "postgresql":
            numbers = f"generate_series(0, {n_rows - 1}) AS n(i)"
            values = f"i / {per_song} + 1, i % {per_song} / 20, substr(decode(md5(i::text), 'hex'), 1, 10)"
        else:
            numbers = f"(SELECT seq AS i FROM seq_0_to_{n_rows - 1}) AS n"  # noqa: S608 - of ours
            values = f"i DIV {per_song} + 1, i MOD {per_song} DIV 20, SUBSTR(UNHEX(MD5(i)), 1, 10)"
        self.execute(into + f"SELECT {values} FROM {numbers}")  # noqa: S608 - of ours

    def complete(self, song_id: int) -> None:
        """Mark a song as fingerprinted to the end."""
        made = self.generation
        is_boolean = made.kind == "postgresql" and made.schema.startswith("ivlovric")
        self.execute(f"UPDATE songs SET fingerprinted = ? WHERE {made.id} = ?", True if is_boolean else 1, song_id)  # noqa: S608

    def stored(self, hashes: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
        """Return (song, offset) of every row with one of these hashes, by hash, asked for as dejavu did: many in one statement."""
        made, found = self.generation, {}
        asked = {made.asks_hash(digits): digits for digits in hashes}
        keys = list(asked)
        for start in range(0, len(keys), 500):
            batch = keys[start : start + 500]
            marks = ", ".join("?" for _ in batch)
            statement = f"SELECT hash, song_id, {self._offset} FROM fingerprints WHERE hash IN ({marks})"  # noqa: S608 - names of ours
            rows = self.execute(statement, *batch)
            for value, song_id, offset in rows:
                key = bytes(value) if isinstance(value, memoryview) else value
                found.setdefault(asked[key], []).append((song_id, offset))
        return found

    def name_of(self, song_id: int) -> str:
        """Return a song's name."""
        made = self.generation
        return str(self.execute(f"SELECT {made.name} FROM songs WHERE {made.id} = ?", song_id)[0][0])  # noqa: S608

    def close(self) -> None:
        """Let go of the database."""
        self.connection.close()


def _connected(url: str) -> Any:  # noqa: ANN401 - any of three drivers'
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite":
        return sqlite3.connect(str(parts.database))
    if parts.get_backend_name() == "postgresql":
        return psycopg2.connect(
            host=parts.host, port=parts.port, user=parts.username, password=parts.password, dbname=parts.database
        )
    return pymysql.connect(
        host=str(parts.host),
        port=int(parts.port or 0),
        user=parts.username,
        password=str(parts.password),
        database=parts.database,
        charset="utf8mb4",
        init_command="SET sql_notes = 0",
    )


def filled(url: str, generation: Generation, files: Iterable[OldFile]) -> None:
    """Make the database at `url` as `generation` would have with these files."""
    with closing(OldDejavu(url, generation)) as old:
        for file in files:
            old.add(file)
