"""A look at an index without opening it for work: nothing is made, changed or brought to another version."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.errors import IndexUnavailable
from dejavud.index import schema
from dejavud.index.urls import is_server, normalized, path_of, scheme_of, without_password

if TYPE_CHECKING:
    from dejavud.fingerprint.params import HashParams


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found.

    path : of the file; None where it is none.
    n_tracks : None where there is no index yet.
    version : of its schema, 0 where there is none.
    """

    path: Path | None
    n_tracks: int | None
    version: int


def look_at(url: str, params: HashParams) -> Seen:
    """Return what is at `url`.

    Raises what opening it would: `UnsupportedDatabase`, `IndexLocked` where another process has the file, `IndexDamaged`, `SchemaTooNew`,
    `ParamsMismatch`, `IndexAway` and `IndexUnavailable`.
    """
    scheme = scheme_of(url)
    if scheme == "memory":
        return Seen(None, None, 0)
    path = None if is_server(url) else path_of(url)
    where = without_password(url) if path is None else path
    if path is not None and not Path(path).exists():
        return Seen(Path(path), None, 0)
    meta, n_tracks = _of_duckdb(Path(path)) if scheme == "duckdb" and path is not None else _of_sql(url)
    if not meta:
        return Seen(None if path is None else Path(path), None, 0)
    schema.check_meta(meta, params, path=where)
    return Seen(None if path is None else Path(path), n_tracks, int(meta["schema_version"]))


def _of_duckdb(path: Path) -> tuple[dict[str, str], int]:
    import duckdb  # noqa: PLC0415 - where it is not the database, it is not needed

    from dejavud.index.duckdb.errors import translated  # noqa: PLC0415

    with translated(str(path)), closing(duckdb.connect(path, read_only=True)) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        counted = connection.execute("SELECT count(*) FROM tracks").fetchone()
        return meta, 0 if counted is None else counted[0]


def _of_sql(url: str) -> tuple[dict[str, str], int]:
    """Return what the database says of itself, nothing where it has no index."""
    from sqlalchemy import create_engine, func, inspect, select  # noqa: PLC0415 - as above
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from dejavud.index.sql.schema import meta, tracks  # noqa: PLC0415

    engine = create_engine(normalized(url))
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(meta.name):
                return {}, 0
            found = {row.key: row.value for row in connection.execute(select(meta.c.key, meta.c.value))}
            return found, connection.execute(select(func.count()).select_from(tracks)).scalar_one()
    except SQLAlchemyError as error:
        words = str(getattr(error, "orig", error)).strip().splitlines()
        raise IndexUnavailable(reason=f"{without_password(url)}: {words[0] if words else error}") from error
    finally:
        engine.dispose()
