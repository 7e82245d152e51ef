"""From a database URL to an open index."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.index.duckdb import DEFAULT_MEMORY_BYTES, DEFAULT_THREADS, DuckDBIndex, open_duckdb
from dejavud.index.duckdb_clustering import Clustering
from dejavud.index.memory import MemoryIndex
from dejavud.index.resident import ResidentIndex
from dejavud.index.segment_files import SegmentFolder
from dejavud.index.upkeep import Upkeep
from dejavud.index.urls import path_of, scheme_of, without_password

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.fingerprint.params import HashParams
    from dejavud.index.base import Index, Store


__all__ = ["IndexSettings", "KeptIndex", "open_index", "open_kept_index", "without_password"]


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Whether a resident view is kept beside the index, and what the embedded database may take.

    resident_view : "auto", where it takes at most `view_bytes`; "always"; "never".
    memory_bytes, threads : of DuckDB.
    """

    resident_view: str
    view_bytes: int
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    threads: int = DEFAULT_THREADS


@dataclass(frozen=True, slots=True)
class KeptIndex:
    """An index, the store beneath it, and what is to be run beside them, again and again; None where there is nothing to do.

    upkeep : of the resident view.
    clustering : of the store's postings.
    """

    index: Index
    store: Store
    upkeep: Upkeep | None = None
    clustering: Clustering | None = None


@contextmanager
def open_kept_index(url: str, params: HashParams, settings: IndexSettings) -> Iterator[KeptIndex]:
    """Give the index at `url` as `open_index`, where it is a file with the resident view in the folder beside it, ``FILE.view``."""
    with open_index(url, params, memory_bytes=settings.memory_bytes, threads=settings.threads) as index:
        if not isinstance(index, DuckDBIndex) or index.path is None:
            yield KeptIndex(index, index)
            return
        clustering = Clustering(index)
        folder = SegmentFolder(index.path.with_name(f"{index.path.name}.view"), params)
        if settings.resident_view == "never":
            folder.delete()
            yield KeptIndex(index, index, clustering=clustering)
            return
        with closing(ResidentIndex(index)) as resident:
            max_bytes = settings.view_bytes if settings.resident_view == "auto" else None
            yield KeptIndex(resident, index, Upkeep(resident, index, folder, max_bytes=max_bytes), clustering)


@contextmanager
def open_index(
    url: str, params: HashParams, *, memory_bytes: int = DEFAULT_MEMORY_BYTES, threads: int = DEFAULT_THREADS
) -> Iterator[Store]:
    """Give the index at `url`, made if it is not there, until the block ends.

    url : in SQLAlchemy's form: see `dejavud.index.urls.FORMS`.
    memory_bytes, threads : of DuckDB.

    Raises `UnsupportedDatabase` for any other URL, and what `open_duckdb` and `open_sql` raise.
    """
    scheme = scheme_of(url)
    if scheme == "memory":
        with closing(MemoryIndex()) as memory:
            yield memory
    elif scheme == "duckdb":
        path = path_of(url)
        with open_duckdb(
            None if path is None else Path(path), params, memory_bytes=memory_bytes, threads=threads
        ) as index:
            yield index
    else:
        from dejavud.index.sql import open_sql  # noqa: PLC0415 - SQLAlchemy takes longer to import than DuckDB to start

        with open_sql(url, params) as shared:
            yield shared
