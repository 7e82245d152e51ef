"""From a database URL to an open index."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.index.base import SharedStore
from dejavud.index.duckdb.clustering import Clustering
from dejavud.index.duckdb.history import MemoryHistory
from dejavud.index.duckdb.index import DEFAULT_MEMORY_BYTES, DEFAULT_THREADS, DuckDBIndex, open_duckdb
from dejavud.index.history.history import History, KeepsHistory
from dejavud.index.memory import MemoryIndex
from dejavud.index.urls import digest_of, is_server, path_of, scheme_of, without_password
from dejavud.index.view.following import ChangedTracks, FollowingIndex
from dejavud.index.view.resident import ResidentIndex
from dejavud.index.view.segment_files import SegmentFolder
from dejavud.index.view.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dejavud.fingerprint.params import HashParams
    from dejavud.index.base import Index, Store


__all__ = ["IndexSettings", "KeptIndex", "history_of", "open_index", "open_kept_index", "without_password"]


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Whether a resident view is kept beside the index, and what the embedded database may take.

    resident_view : "auto", where it takes at most `view_bytes`; "always"; "never".
    memory_bytes, threads : of DuckDB.
    data_dir : where the view of a database is that is no file; None: there is none of such.
    """

    resident_view: str
    view_bytes: int
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    threads: int = DEFAULT_THREADS
    data_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class KeptIndex:
    """An index, the store beneath it, and what is to be run beside them, again and again; None where there is nothing to do.

    upkeep : of the resident view.
    clustering : of the store's postings.
    history : what listeners heard.
    follow : takes in what other processes wrote and returns the tracks that they touched, None for any; raises `IndexAway` where the
        database is.
    """

    index: Index
    store: Store
    history: History
    upkeep: Upkeep | None = None
    clustering: Clustering | None = None
    follow: Callable[[], Sequence[int] | None] | None = None


@contextmanager
def open_kept_index(url: str, params: HashParams, settings: IndexSettings) -> Iterator[KeptIndex]:
    """Give the index at `url` as `open_index`, with a resident view where it keeps things for good.

    That of a file is in the folder beside it, ``FILE.view``; that of a server's database in the data folder.
    """
    with (
        open_index(url, params, memory_bytes=settings.memory_bytes, threads=settings.threads) as store,
        closing(history_of(store)) as history,
    ):
        clustering = Clustering(store) if isinstance(store, DuckDBIndex) and store.path is not None else None
        shared = store if isinstance(store, SharedStore) else None
        place = _place_of_view(url, settings)
        if place is None or settings.resident_view == "never":
            if place is not None:
                SegmentFolder(place, params).delete()
            follow = None if shared is None else ChangedTracks(shared).follow
            yield KeptIndex(store, store, history, clustering=clustering, follow=follow)
            return
        with closing(ResidentIndex(store) if shared is None else FollowingIndex(shared)) as resident:
            max_bytes = settings.view_bytes if settings.resident_view == "auto" else None
            upkeep = Upkeep(resident, store, SegmentFolder(place, params), max_bytes=max_bytes)
            keep_up = resident.follow if isinstance(resident, FollowingIndex) else None
            yield KeptIndex(resident, store, history, upkeep, clustering, keep_up)


def history_of(store: Store) -> History:
    """Return the history that is kept where `store` keeps its tracks; of one in memory, a history that is gone when it is closed."""
    return History(store.history() if isinstance(store, KeepsHistory) else MemoryHistory())


def _place_of_view(url: str, settings: IndexSettings) -> Path | None:
    """Return the folder of the view of this database; None for one that forgets everything at the end."""
    if scheme_of(url) == "memory":
        return None
    if is_server(url):
        return None if settings.data_dir is None else settings.data_dir / f"view-{digest_of(url)}"
    path = path_of(url)
    return None if path is None else Path(f"{Path(path).absolute()}.view")


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
        from dejavud.index.sql.index import open_sql  # noqa: PLC0415 - SQLAlchemy takes longer to import than DuckDB to start

        with open_sql(url, params) as shared:
            yield shared
