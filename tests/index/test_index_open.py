"""Database URLs: which open, and what the others are told."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from index_entries import new_track

from dejavud.errors import UnsupportedDatabase
from dejavud.index.open import open_index, without_password

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.fingerprint.params import Params


def test_a_duckdb_url_with_an_absolute_path_opens_that_file(tmp_path: Path, params: Params) -> None:
    """Four slashes, and the tracks are there the next time."""
    url = f"duckdb:///{tmp_path}/my library.duckdb"
    with open_index(url, params) as index:
        added = list(index.add([new_track(1)]))
    assert (tmp_path / "my library.duckdb").is_file()
    with open_index(url, params) as index:
        assert list(index.tracks()) == added


def test_a_duckdb_url_with_a_relative_path_opens_it_from_here(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three slashes mean the current folder, even for a name that DuckDB would take for another kind of database."""
    monkeypatch.chdir(tmp_path)
    with open_index("duckdb:///md:index", params) as index:
        index.add([new_track(1)])
    assert (tmp_path / "md:index").is_file()


@pytest.mark.parametrize("url", ["memory://", "duckdb://", "duckdb:///", "duckdb:///:memory:"])
def test_indexes_in_memory_share_nothing(url: str, params: Params) -> None:
    """Two indexes of one such URL are two, and neither leaves anything behind."""
    with open_index(url, params) as one, open_index(url, params) as other:
        one.add([new_track(1)])
        assert list(other.tracks()) == []
    with open_index(url, params) as again:
        assert list(again.tracks()) == []


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("postgresql+asyncpg://dejavu:s3cret@db/dejavu", "leave out"),
        ("oracle://dejavu:s3cret@db/dejavu", "not supported"),
        ("postgresql://dejavu:s3cret@db", "names no database"),
        ("mysql+pymysql://root:p@ss:s3cret/@db:3306/x?charset=utf8", "%40"),
        ("sqlite:///x.db?password=s3cret", "options"),
        ("sqlite://x.db", "three slashes"),
        ("duckdb://var/lib/index.duckdb", "three slashes"),
        ("duckdb:index.duckdb", "three slashes"),
        ("duckdb:////tmp/x.duckdb?access_mode=read_only&token=s3cret", "options"),
        ("/var/lib/index.duckdb", "not a database URL"),
        ("", "not a database URL"),
    ],
)
def test_other_urls_are_refused_with_what_works_and_without_their_password(url: str, hint: str, params: Params) -> None:
    """The message says what is wrong and what opens; a password is in neither message nor details."""
    with pytest.raises(UnsupportedDatabase, match=hint) as caught, open_index(url, params):
        pytest.fail("opened")
    assert "s3cret" not in f"{caught.value.message} {caught.value.details}"


def test_what_is_not_a_password_is_shown() -> None:
    """User, host and database stay readable."""
    assert without_password("postgresql://dejavu:x@db:5432/music") == "postgresql://dejavu:***@db:5432/music"
    assert without_password("postgresql://dejavu@db/music?sslmode=require") == (
        "postgresql://dejavu@db/music?sslmode=require"
    )


def test_the_embedded_default_does_not_import_sqlalchemy() -> None:
    """Who needs no server's database does not wait for what it takes."""
    program = "import sys, dejavud.daemon; print(*sorted({'sqlalchemy', 'psycopg2', 'pymysql'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
