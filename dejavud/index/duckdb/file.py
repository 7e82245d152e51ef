"""Opening a DuckDB file as an index: made whole or not at all, and nobody else's file touched."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from dejavud.errors import IndexDamaged, IndexFull, IndexLocked, IndexUnavailable
from dejavud.index import schema
from dejavud.index.duckdb.errors import translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dejavud.fingerprint.params import HashParams

_IN_USE = '"dejavud: open in this process"'
"""A database in memory attached under this name marks the file as open in this process, where no file lock tells."""


BLOCK_BYTES = 1 << 16
"""Of a new file: of DuckDB's own 256 k blocks, which each column of each table fills anew, a small library would leave
a tenth empty.  The size is the file's for good; those of 256 k open as they are."""


def connect(path: Path | None, params: HashParams, *, memory_bytes: int, threads: int) -> duckdb.DuckDBPyConnection:
    """Return a connection to the index at `path`, made if it is not there; errors as `open_duckdb` raises them."""
    if path is not None:
        _create_missing(path, params)
    where = "the index in memory" if path is None else str(path)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_bytes}B",
        "threads": threads,
        "temp_directory": "" if path is None else f"{path}.tmp",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    with translated(where):
        try:
            connection = duckdb.connect(":memory:" if path is None else path, config=config)
        except duckdb.ConnectionException as error:  # open in this process with another configuration
            raise IndexLocked(path=path, reason="this very process") from error
        try:
            if path is None:
                _create_tables(connection, params)
            else:
                _claim(connection, path)
                shutil.rmtree(compaction_folder(path), ignore_errors=True)  # of a compaction that was killed
                connection.execute(f"SET allowed_directories = [{quoted(compaction_folder(path))}]")
                meta = _read_meta(connection, path, params)
                schema.check_meta(meta, params, path=str(path))
                _bring_forward(connection, meta)
            connection.execute(
                "SET enable_external_access = false"
            )  # from here on SQL reads no other file but in the one folder, and no network
        except BaseException:
            connection.close()
            raise
    return connection


def compaction_folder(path: Path) -> Path:
    """Return where the file that is to take the place of `path` is written: on the same disk."""
    path = Path(os.path.realpath(path))
    return path.with_name(f"{path.name}.compact")


def quoted(text: object) -> str:
    """Return `text` as SQL has it between quotes."""
    return "'" + str(text).replace("'", "''") + "'"


def _claim(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Mark the file as open in this process; raises `IndexLocked` where it is already."""
    try:
        connection.execute(f"ATTACH ':memory:' AS {_IN_USE}")
    except duckdb.BinderException as error:
        raise IndexLocked(path=path, reason="this very process") from error


def _create_missing(path: Path, params: HashParams) -> None:
    """Make an empty index at `path` where there is nothing yet, and the folders above it for this user only.

    It is made under another name and linked into place when it is whole, so that being killed here leaves nothing that
    cannot be opened, and so that one that another process made meanwhile is kept.
    """
    log = path.with_name(f"{path.name}.wal")
    try:
        if path.exists():
            return
        if log.exists():
            reason = f"it is missing but its log {log.name} is there: put it back, or move the log away to start anew"
            raise IndexDamaged(path=path, reason=reason)
        _make_folders(path.parent)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            fresh = Path(folder, path.name)
            with (
                translated(str(path)),
                duckdb.connect(fresh, config={"default_block_size": BLOCK_BYTES}) as connection,
            ):
                _create_tables(connection, params)
            os.link(fresh, path)
        sync_folder(path.parent)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise IndexFull(reason=f"{path}: {error.strerror}") from error
        raise IndexUnavailable(reason=f"{path} cannot be made: {error.strerror}") from error


def _make_folders(folder: Path) -> None:
    if not folder.exists():
        _make_folders(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the new name of a file in `folder` to the disk; its contents are there already."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create_tables(connection: duckdb.DuckDBPyConnection, params: HashParams) -> None:
    connection.begin()
    for statement in schema.create_statements(params):
        connection.execute(statement)
    connection.executemany("INSERT INTO meta VALUES (?, ?)", list(schema.new_meta(params).items()))
    connection.commit()


def _bring_forward(connection: duckdb.DuckDBPyConnection, meta: Mapping[str, str]) -> None:
    """Make the tables of an older version those of ours, in one transaction."""
    steps = schema.missing_steps(meta)
    if steps:
        connection.begin()
        for statement in steps:
            connection.execute(statement)
        connection.commit()


def _read_meta(connection: duckdb.DuckDBPyConnection, path: Path, params: HashParams) -> dict[str, str]:
    """Return what the file says of itself; one without any table becomes an index, one with others' tables is refused."""
    rows = connection.execute(
        "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns()"
        " WHERE database_name = current_database() AND NOT internal GROUP BY table_name ORDER BY table_name"
    ).fetchall()
    if not rows:
        _create_tables(connection, params)
        return schema.new_meta(params)
    tables = dict(rows)
    if not set(schema.FIRST_TABLES) <= tables.keys() or tables["meta"] != ["key", "value"]:
        others = ", ".join(list(tables)[:5])
        raise IndexDamaged(path=path, reason=f"it is a DuckDB database of another program (its tables: {others})")
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    missing = [name for name in schema.TABLES if name not in tables]
    if missing and meta.get("schema_version") == str(schema.VERSION):
        raise IndexDamaged(path=path, reason=f"there is no table {missing[0]}")
    return meta
