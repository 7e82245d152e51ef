"""What the library opens: the words of either old library, and the places of the daemon."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from api_music import piece_file

from dejavud import Dejavu
from dejavud.errors import (
    DejavudError,
    IndexAway,
    IndexLocked,
    IndexUnavailable,
    InvalidConfig,
    InvalidRequest,
    UnsupportedDatabase,
)
from dejavud.recognize import FileRecognizer

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "p@ss/w:rd"  # noqa: S105 - the tests' own


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        (
            {
                "database": {"host": "127.0.0.1", "user": "root", "password": PASSWORD, "database": "dejavu"},
                "database_type": "mysql",
                "fingerprint_limit": 10,
            },
            "mysql://root:***@127.0.0.1/dejavu",
        ),
        (
            {
                "database": {
                    "host": "db",
                    "port": 5433,
                    "user": "postgres",
                    "password": PASSWORD,
                    "database": "dejavu",
                },
                "database_type": "postgres",
            },
            "postgresql://postgres:***@db:5433/dejavu",
        ),
        ({"database": {"host": "db", "user": "root", "passwd": PASSWORD, "db": "d"}}, "mysql://root:***@db/d"),
        ({"database": {"hostname": "db", "username": "root", "database": "d"}}, "mysql://root@db/d"),
        (f"postgres://root:{quote(PASSWORD, safe='')}@db/d", "postgres://root:***@db/d"),
    ],
)
def test_a_server_that_is_not_there_is_named(config: str | dict[str, Any], shown: str) -> None:
    """The old servers, in the words of every version, are asked for at the right place, and no password is in what is said."""
    with pytest.raises(IndexAway) as raised:
        Dejavu(config)
    assert raised.value.message.startswith(f"the database at {shown} cannot be reached")
    assert PASSWORD not in repr(raised.value)
    assert "w:rd" not in repr(raised.value)


def test_a_password_that_could_be_read_in_two_ways_is_refused() -> None:
    """What follows its @ would be taken for the host, and shown."""
    with pytest.raises(UnsupportedDatabase, match="%40") as raised:
        Dejavu(f"postgres://root:{PASSWORD}@db/d")
    assert "w:rd" not in repr(raised.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///songs.sqlite"])
def test_sqlite_opens(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, and as a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    with Dejavu(dburl=url) as library:
        assert library.db.get_num_songs() == 0
    assert (tmp_path / "songs.sqlite").exists() == url.endswith("songs.sqlite")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"databse": {}}, "no key 'databse'"),
        ({"database": {"hots": "db"}}, "no key 'hots'"),
        ({"database": "mysql://db/d"}, r"Dejavu\(dburl=…\)"),
        ({"database_type": "oracle"}, "one of mysql, postgres"),
        ({"fingerprint_limit": 0}, "seconds above 0"),
        ({"fingerprint_limit": "10"}, "seconds above 0"),
        (5, "not int"),
    ],
)
def test_a_wrong_configuration_says_where(config: Any, reason: str) -> None:  # noqa: ANN401 - what the case says
    """A key or value that is wrong is named with what is right; nothing is ignored."""
    with pytest.raises(InvalidConfig, match=reason):
        Dejavu(config)


def test_a_configuration_without_a_server_is_the_embedded_database(tmp_path: Path) -> None:
    """A dict with nothing but a limit opens the default; -1 is the old word for no limit."""
    with Dejavu({"fingerprint_limit": -1}) as library:
        assert library.fingerprint_limit is None
    with Dejavu({"fingerprint_limit": 7}) as library:
        assert library.fingerprint_limit == 7
    with Dejavu(fingerprint_limit=2.5) as library:
        assert library.fingerprint_limit == 2.5
    assert (tmp_path / ".local/share/dejavud/dejavud.duckdb").is_file()


def test_the_default_is_the_daemons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the database is the one that the environment, .env or conf name, as for a daemon started here."""
    (tmp_path / ".env").write_text("DATABASE_URL=duckdb:///dotenv.duckdb\n")
    Dejavu().close()
    assert (tmp_path / "dotenv.duckdb").is_file()
    monkeypatch.setenv("DATABASE_URL", f"duckdb:///{tmp_path}/environment.duckdb")
    Dejavu().close()
    assert (tmp_path / "environment.duckdb").is_file()
    Dejavu(dburl="duckdb:///argument.duckdb").close()
    assert (tmp_path / "argument.duckdb").is_file()


def test_songs_stay(tmp_path: Path) -> None:
    """What one program stored the next one knows."""
    song = piece_file(tmp_path / "song.wav", 1, 8000, 4.0)
    with Dejavu("duckdb:///songs.duckdb") as library:
        library.fingerprint_file(song)
    with Dejavu("duckdb:///songs.duckdb") as library:
        assert library.recognize(FileRecognizer, song)["results"][0]["song_name"] == "song"


def test_a_database_in_use_is_refused() -> None:
    """A second `Dejavu` of this program, and one of another program, are told that the file is in use; after close it is free."""
    attempt = "from dejavud import Dejavu; Dejavu('duckdb:///songs.duckdb')"
    with Dejavu("duckdb:///songs.duckdb"):
        with pytest.raises(IndexLocked, match="in use"):
            Dejavu("duckdb:///songs.duckdb")
        other = subprocess.run([sys.executable, "-c", attempt], capture_output=True, text=True, check=False)
        assert "IndexLocked" in other.stderr
    Dejavu("duckdb:///songs.duckdb").close()


def test_a_closed_library_says_so(library: Dejavu, music: Path) -> None:
    """After close, which may come twice, every call is the same error."""
    library.close()
    library.close()
    path = music / "piece1.wav"
    calls = [
        lambda: library.recognize(FileRecognizer, path),
        lambda: library.fingerprint_file(path),
        lambda: library.fingerprint_directory(music, nprocesses=1),
        library.get_fingerprinted_songs,
        lambda: library.delete_songs_by_id([1]),
        library.db.get_num_songs,
        library.db.empty,
    ]
    for call in calls:
        with pytest.raises(IndexUnavailable, match="closed"):
            call()


def test_the_database_is_named_once() -> None:
    """A configuration and a URL together leave open which counts."""
    with pytest.raises(InvalidRequest, match="not both"):
        Dejavu("memory://", dburl="memory://")


def test_a_library_that_does_not_open_leaves_nothing_open(tmp_path: Path) -> None:
    """What fails to open can be put right and opened at once."""
    path = tmp_path / "songs.duckdb"
    path.write_text("not a database")
    with pytest.raises(DejavudError):
        Dejavu(f"duckdb:///{path}")
    path.unlink()
    Dejavu(f"duckdb:///{path}").close()
