"""Real database servers of the tests' own: started when first asked for, on loopback, in temporary folders.

Fixtures: `postgresql_url` and `mariadb_url` give a test an empty database; `postgresql_server` and `mariadb_server` the server itself,
to be stopped, killed and started again.  Everything goes through `SERVERS`, which whoever is no test may use as well.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2
import pymysql
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USER = "dejavud"
PASSWORD = "Geheim-7-words"  # noqa: S105 - of servers that live as long as the tests and listen on loopback
_SERVER_USER = "nobody"
"""The servers refuse to run as root; where the tests do, the servers run as this user."""
_READY_S = 60.0
_POLL_S = 0.02


class MissingProgramError(Exception):
    """A server's program is not installed."""


class Server(ABC):
    """One server, over its whole life: `start` and `stop` take turns, and its databases stay in between.

    folder : of its own, empty; its user must be able to get there.
    options : of its command line, behind those that it needs; for a test of crashes, those that make it durable.
    """

    scheme: str
    package: str

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._names = (f"test_{n}" for n in count())
        if os.geteuid() == 0:
            shutil.chown(folder, _SERVER_USER)
        self._initialize()

    def start(self) -> None:
        """Have it run and take connections; nothing happens where it does."""
        if self.is_running:
            return
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command(), *self._options], stdout=log, stderr=log, start_new_session=True, **_as_server_user()
            )
        deadline_s = time.monotonic() + _READY_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise AssertionError((self.folder / "log").read_text()[-2000:])
            time.sleep(_POLL_S)  # another process tells no event of ours
        self._admit()

    @property
    def is_running(self) -> bool:
        """Tell whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it as an administrator does: who is connected loses the connection, and all is written down."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End it as a crash of its machine does."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Have it hang: connections stay, and nothing is answered until `thaw`."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        self._signal_all(signal.SIGCONT)

    def url(self, name: str) -> str:
        """Return the URL of the database `name`."""
        return f"{self.scheme}://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def create(self) -> str:
        """Return the URL of a new, empty database; the server is started where it does not run."""
        self.start()
        name = next(self._names)
        self._execute(f"CREATE DATABASE {name}{self._creation}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database that `create` made, whoever is connected to it; the server is started where it does not run."""
        self.start()
        self._execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]}{self._dropping}")

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the URL of a new, empty database, which is dropped at the end of the block."""
        url = self.create()
        try:
            yield url
        finally:
            self.drop(url)

    @abstractmethod
    def _initialize(self) -> None:
        """Make the files of a new server; raises `MissingProgramError`."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _admit(self) -> None:  # noqa: B027 - to be overridden where it takes more than `_initialize`
        """Let `USER` in."""

    @abstractmethod
    def _execute(self, statement: str) -> None:
        """Run a statement as the administrator."""

    _stop_signal = signal.SIGTERM
    _creation = ""
    _dropping = ""

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg2.OperationalError, pymysql.OperationalError):
            self._execute("SELECT 1")
            return True
        return False

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if number == signal.SIGKILL:
            _signal_tree(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(_READY_S)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        _signal_tree(self._process.pid, number)


class PostgreSQL(Server):
    """A PostgreSQL server, of the latest version that is installed."""

    scheme = "postgresql+psycopg2"
    package = "postgresql"
    _stop_signal = signal.SIGINT
    _creation = " TEMPLATE template0"
    _dropping = " WITH (FORCE)"

    @cached_property
    def _programs(self) -> Path:
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        found = shutil.which("postgres") if not folders else None
        if not folders and found is None:
            raise MissingProgramError(self.package)
        return folders[-1] if found is None else Path(found).resolve().parent

    def _initialize(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        options = ["--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C", f"--pwfile={password}"]
        command = [str(self._programs / "initdb"), "-D", str(self.folder / "data"), "-U", USER, *options]
        subprocess.run(command, check=True, capture_output=True, **_as_server_user())

    def _command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "64MB",
            "max_wal_size": "256MB",
            "autovacuum_naptime": "1h",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *words]

    def _execute(self, statement: str) -> None:
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname="postgres", connect_timeout=10
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


class MariaDB(Server):
    """A MariaDB server."""

    scheme = "mysql+pymysql"
    package = "mariadb-server"
    _creation = " CHARACTER SET utf8mb4"

    @cached_property
    def _program(self) -> str:
        return _program("mariadbd", self.package)

    def _initialize(self) -> None:
        options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        command = [
            _program("mariadb-install-db", self.package),
            "--no-defaults",
            f"--datadir={self.folder}/data",
            *options,
        ]
        _program("mariadbd", self.package)
        subprocess.run(command, check=True, capture_output=True, **_as_server_user())

    def _command(self) -> list[str]:
        settings = {
            "datadir": self.folder / "data",
            "tmpdir": self.folder,  # one that starts deletes what others have in a common one
            "socket": self._socket,
            "pid-file": self.folder / "pid",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "innodb-buffer-pool-size": "128M",
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-doublewrite": 0,
            "performance-schema": 0,
        }
        words = [f"--{name}={value}" for name, value in settings.items()]
        return [self._program, "--no-defaults", "--skip-name-resolve", *words]

    @property
    def _socket(self) -> str:
        return f"{self.folder}/socket"

    def _admit(self) -> None:
        for host in ("127.0.0.1", "localhost"):
            self._execute(f"CREATE USER IF NOT EXISTS '{USER}'@'{host}' IDENTIFIED BY '{PASSWORD}'")
            self._execute(f"GRANT ALL ON *.* TO '{USER}'@'{host}'")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:  # PyMySQL leaves its own open where nobody answers
            return probe.connect_ex(self._socket) == 0 and super()._answers()

    def _execute(self, statement: str) -> None:
        with (
            pymysql.connect(unix_socket=self._socket, user="root", connect_timeout=10) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SET sql_notes = 0")
            cursor.execute(statement)


_S = TypeVar("_S", bound=Server)


class Servers:
    """The servers of one run of the tests, each started when it is first asked for."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    @cached_property
    def postgresql(self) -> PostgreSQL:
        """The PostgreSQL server that tests share."""
        return self._stack.enter_context(running(PostgreSQL))

    @cached_property
    def mariadb(self) -> MariaDB:
        """The MariaDB server that tests share."""
        return self._stack.enter_context(running(MariaDB))

    def end(self) -> None:
        """End those that were started."""
        self._stack.close()


SERVERS = Servers()


@contextmanager
def running(kind: type[_S], options: Sequence[str] = ()) -> Iterator[_S]:
    """Give a server of its own until the block ends; fails the test where its program is missing."""
    with tempfile.TemporaryDirectory(prefix="dejavud-") as folder:
        try:
            server = kind(Path(folder), options)
        except MissingProgramError as error:
            pytest.fail(f"this test starts a real {kind.__name__}: install the package {error} (./run-tests does)")
        try:
            server.start()
            yield server
        finally:
            server.stop()


def pytest_configure() -> None:
    """Have a run that is told to end do so in order: servers are left behind otherwise."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """End the servers after the last test."""
    SERVERS.end()


@pytest.fixture(scope="session")
def postgresql_server() -> PostgreSQL:
    """Give the PostgreSQL server that tests share; one that stops it need not start it again."""
    return SERVERS.postgresql


@pytest.fixture(scope="session")
def mariadb_server() -> MariaDB:
    """Give the MariaDB server that tests share; one that stops it need not start it again."""
    return SERVERS.mariadb


@pytest.fixture
def postgresql_url(postgresql_server: PostgreSQL) -> Iterator[str]:
    """Give the URL of an empty PostgreSQL database of this test's own."""
    with postgresql_server.database() as url:
        yield url


@pytest.fixture
def mariadb_url(mariadb_server: MariaDB) -> Iterator[str]:
    """Give the URL of an empty MariaDB database of this test's own."""
    with mariadb_server.database() as url:
        yield url


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(name: str, package: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingProgramError(package)
    return found


def _as_server_user() -> dict[str, Any]:
    """Return the options of a process that is a server's."""
    if os.geteuid() != 0:
        return {"cwd": "/"}
    return {"cwd": "/", "user": _SERVER_USER, "group": "nogroup", "extra_groups": []}


def _signal_tree(pid: int, number: signal.Signals) -> None:
    """Signal a server with all its processes; the parent first, so that it does not replace a child that is gone."""
    children = [
        child for thread in Path(f"/proc/{pid}/task").glob("*/children") for child in thread.read_text().split()
    ]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    for child in children:
        _signal_tree(int(child), number)
