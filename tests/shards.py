"""Distributed indexes on loopback: a coordinator and three shards of a kind, set up by the files that administrators are given.

Fixtures: `cluster` gives a test each kind in turn, empty; the servers are `sharded_postgresql` and `sharded_mariadb`, which all tests share.
"""

from __future__ import annotations

import os
import re
import subprocess
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from databases import PASSWORD, USER, MariaDB, PostgreSQL, Server, running
from sqlalchemy import create_engine, inspect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

FILES = Path(__file__).parents[1] / "conf" / "distributed"
N_SHARDS = 3
ROLE = "library"
"""Whom the daemons log in as: no administrator, on any of the servers."""
ROLE_PASSWORD = "Nur-fuer-Leser"  # noqa: S105 - of servers that live as long as the tests and listen on loopback
LOGGED_POSTGRESQL = ("-c", "log_statement=all")
KEPT_MARIADB = "--innodb-flush-log-at-trx-commit=2"
"""What is committed outlives the process."""
LOGGED_MARIADB = (KEPT_MARIADB, "--general-log", "--general-log-file=general.log")
_TABLES = ("meta", "tracks", "constellations", "changes", "matches")


class Cluster(ABC):
    """A coordinator and its shards, with an empty distributed index."""

    def __init__(
        self, coordinator: Server, shards: Sequence[Server], hash_bits: int = 32, database: str = "dejavud"
    ) -> None:
        self.database = database
        self.coordinator = coordinator
        self.shards = shards
        self._hash_bits = hash_bits
        for shard in shards:
            self._admit(shard)
            self._set_up_shard(shard)
        self._admit(coordinator)
        self._set_up_coordinator()

    @property
    def url(self) -> str:
        """Return the URL that daemons are given."""
        return self.url_on(self.coordinator)

    def url_on(self, server: Server) -> str:
        """Return the URL of the role that the daemons have, on any of the servers."""
        return f"{server.scheme}://{ROLE}:{ROLE_PASSWORD}@127.0.0.1:{server.port}/{self.database}"

    def beside(self, hash_bits: int) -> Self:
        """Return another distributed index on the same servers."""
        return type(self)(self.coordinator, self.shards, hash_bits, f"{self.database}_{hash_bits}")

    def tables(self) -> set[str]:
        """Return the tables of the coordinator that are no parts of others."""
        with self._connected(self.coordinator) as connection:
            return {name for name in inspect(connection).get_table_names() if not name.startswith("postings_")}

    def execute(self, statement: str, server: Server | None = None) -> None:
        """Have the coordinator, or a shard, execute a statement."""
        with self._connected(server or self.coordinator) as connection:
            connection.exec_driver_sql(statement)

    def empty(self) -> None:
        """Have all servers run, and nothing in the index: not even an index, only what the administrator made."""
        for server in (*self.shards, self.coordinator):
            server.start()
        for table in _TABLES:
            self.execute(f"DROP TABLE IF EXISTS {table}")
        for shard in self.shards:
            self.execute("TRUNCATE TABLE postings", shard)

    @contextmanager
    def _connected(self, server: Server) -> Iterator[Connection]:
        engine = create_engine(self.url_on(server))
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    @abstractmethod
    def gated(self) -> AbstractContextManager[None]:
        """Have the shards keep what they would answer to a look-up until the block ends."""

    @abstractmethod
    def statements(self, shard: Server) -> list[str]:
        """Return what a shard was asked since this was called last."""

    @abstractmethod
    def _admit(self, server: Server) -> None:
        """Make the database and the role."""

    @abstractmethod
    def _set_up_shard(self, shard: Server) -> None: ...

    @abstractmethod
    def _set_up_coordinator(self) -> None: ...

    def _told(self, log: Path) -> str:
        """Return what was written into a log since this was called last."""
        with log.open("rb") as file:
            file.seek(self._read.get(log, 0))
            told = file.read()
            self._read[log] = file.tell()
        return told.decode(errors="replace")

    @property
    def _read(self) -> dict[Path, int]:
        return self.__dict__.setdefault("_read_of_logs", {})


class ShardedPostgreSQL(Cluster):
    """PostgreSQL with postgres_fdw."""

    coordinator: PostgreSQL

    @contextmanager
    def gated(self) -> Iterator[None]:
        """See `Cluster.gated`."""
        view = "CREATE VIEW postings AS WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(1))"
        view += " SELECT hash, track_id, frame FROM stored, gate"
        with ExitStack() as stack:
            for shard in self.shards:
                self.execute("ALTER TABLE postings RENAME TO stored", shard)
                self.execute(view, shard)
                stack.enter_context(self._connected(shard)).exec_driver_sql("SELECT pg_advisory_xact_lock(1)")
            yield
        for shard in self.shards:
            self.execute("DROP VIEW postings; ALTER TABLE stored RENAME TO postings", shard)

    def statements(self, shard: Server) -> list[str]:
        """See `Cluster.statements`."""
        told = self._told(shard.folder / "log")
        return [entry.partition("LOG:  ")[2] for entry in re.split(r"\n(?!\t)", told) if "LOG:  " in entry]

    def _admit(self, server: Server) -> None:
        role = f"CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE_PASSWORD}'"
        server._execute(f"DO $$ BEGIN {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        server._execute(f"CREATE DATABASE {self.database} OWNER {ROLE} TEMPLATE template0")

    def _set_up_shard(self, shard: Server) -> None:
        self._psql(self.url_on(shard), "postgresql-shard.sql", {})

    def _set_up_coordinator(self) -> None:
        places = {"dbname": self.database, **{f"shard{n}": "127.0.0.1" for n in range(1, N_SHARDS + 1)}}
        ports = {f"port{n}": str(shard.port) for n, shard in enumerate(self.shards, 1)}
        url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.coordinator.port}/{self.database}"
        self._psql(url, "postgresql-coordinator.sql", {"user": ROLE, "password": ROLE_PASSWORD, **places, **ports})

    def grow(self, server: Server) -> None:
        """Have `server` be the fourth shard, which takes over half of what the first has."""
        self._admit(server)
        self._set_up_shard(server)
        place = {"new": "shard4", "host": "127.0.0.1", "port": str(server.port), "dbname": self.database}
        split = {"old": "shard1", "modulus": "3", "remainder": "0"}
        url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.coordinator.port}/{self.database}"
        login = {"user": ROLE, "password": ROLE_PASSWORD}
        told = self._psql(url, "postgresql-add-shard.sql", {**place, **split, **login})
        with self._connected(self.shards[0]) as connection:
            for statement in told.splitlines()[-3:-1]:
                connection.exec_driver_sql(statement)

    def _psql(self, url: str, file: str, variables: dict[str, str]) -> str:
        if self._hash_bits > 32:
            variables["hash_type"] = "bigint"
        words = [word for name, value in variables.items() for word in ("--set", f"{name}={value}")]
        psql = [str(self.coordinator._programs / "psql"), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]
        return _run([*psql, *words, url.replace("+psycopg2", ""), "--file", str(FILES / file)])


class ShardedMariaDB(Cluster):
    """MariaDB with Spider."""

    @contextmanager
    def gated(self) -> Iterator[None]:
        """See `Cluster.gated`."""
        with ExitStack() as stack:
            for shard in self.shards:
                stack.enter_context(self._connected(shard)).exec_driver_sql("LOCK TABLES postings WRITE")
            yield

    def statements(self, shard: Server) -> list[str]:
        """See `Cluster.statements`."""
        told = self._told(shard.folder / "data" / "general.log")
        return [line.partition("Query\t")[2] for line in told.splitlines() if "Query\t" in line]

    def _admit(self, server: Server) -> None:
        server._execute(f"CREATE DATABASE {self.database} CHARACTER SET utf8mb4")
        server._execute(f"CREATE USER IF NOT EXISTS '{ROLE}'@'127.0.0.1' IDENTIFIED BY '{ROLE_PASSWORD}'")
        server._execute(f"GRANT ALL ON {self.database}.* TO '{ROLE}'@'127.0.0.1'")

    def _set_up_shard(self, shard: Server) -> None:
        self._mariadb(shard, (FILES / "mariadb-shard.sql").read_text())

    def _set_up_coordinator(self) -> None:
        script = (FILES / "mariadb-coordinator.sql").read_text()
        words = {"DATABASE": self.database, "USER": ROLE, "PASSWORD": ROLE_PASSWORD}
        for n, shard in enumerate(self.shards, 1):
            words |= {f"SHARD{n}": "127.0.0.1", f"PORT{n}": str(shard.port)}
        for word, value in words.items():
            script = script.replace(f"@{word}@", value)
        self._mariadb(self.coordinator, script)

    def _mariadb(self, server: Server, script: str) -> None:
        if self._hash_bits > 32:
            script = script.replace("hash INT NOT NULL", "hash BIGINT NOT NULL")
        login = ["--host=127.0.0.1", f"--port={server.port}", f"--user={USER}", f"--password={PASSWORD}"]
        _run(["mariadb", "--no-defaults", *login, self.database], script)


def _run(command: list[str], given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def sharded_postgresql_cluster(options: Sequence[str] = LOGGED_POSTGRESQL) -> Iterator[ShardedPostgreSQL]:
    """Give a distributed PostgreSQL of its own until the block ends; `options` are its shards'."""
    with ExitStack() as stack:
        coordinator = stack.enter_context(running(PostgreSQL))
        shards = [stack.enter_context(running(PostgreSQL, options)) for _ in range(N_SHARDS)]
        yield ShardedPostgreSQL(coordinator, shards)


@contextmanager
def sharded_mariadb_cluster(options: Sequence[str] = LOGGED_MARIADB) -> Iterator[Cluster]:
    """Give a distributed MariaDB of its own until the block ends; `options` are its shards'."""
    with ExitStack() as stack:
        spider = [KEPT_MARIADB, *_options(FILES / "mariadb-coordinator.cnf")]
        coordinator = stack.enter_context(running(MariaDB, spider))
        shards = [stack.enter_context(running(MariaDB, options)) for _ in range(N_SHARDS)]
        yield ShardedMariaDB(coordinator, shards)


def _options(file: Path) -> list[str]:
    """Return the options of a file of MariaDB's as those of a command line."""
    lines = [line.strip() for line in file.read_text().splitlines()]
    return ["--" + line.replace(" = ", "=") for line in lines if line and line[0] not in "#["]


@pytest.fixture(scope="session", params=["postgresql", "mariadb"])
def any_cluster(request: pytest.FixtureRequest) -> Cluster:
    """Give a distributed database of each kind in turn."""
    found = request.getfixturevalue(f"sharded_{request.param}")
    assert isinstance(found, Cluster)
    return found


@pytest.fixture
def cluster(any_cluster: Cluster) -> Cluster:
    """Give a distributed database of each kind in turn, empty."""
    any_cluster.empty()
    return any_cluster


@pytest.fixture(scope="session")
def sharded_postgresql() -> Iterator[ShardedPostgreSQL]:
    """Give a distributed PostgreSQL that all tests share."""
    with sharded_postgresql_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def sharded_mariadb() -> Iterator[Cluster]:
    """Give a distributed MariaDB that all tests share."""
    with sharded_mariadb_cluster() as cluster:
        yield cluster
