"""Tracks for the tests of the index, small and deterministic."""

from __future__ import annotations

import hashlib
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from databases import SERVERS

from dejavud.fingerprint.classic_params import GENERATIONS
from dejavud.index.duckdb.index import open_duckdb
from dejavud.index.meetings import MAX_HITS
from dejavud.index.memory import MemoryIndex
from dejavud.index.sql.index import open_sql
from dejavud.index.view.resident import ResidentIndex
from dejavud.index.view.segment_files import SegmentFolder
from dejavud.index.view.upkeep import Portions, Upkeep
from dejavud.values import Constellation, Hashes, NewTrack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dejavud.fingerprint.params import HashParams
    from dejavud.index.base import Index, Store
    from dejavud.values import Hits, Track, TrackEdit

KINDS = (
    "memory",
    "duckdb-file",
    "duckdb-memory",
    "duckdb-file-view",
    "memory-view-files",
    "memory-64",
    "duckdb-file-64",
    "memory-view-files-64",
    "sqlite-file",
    "sqlite-memory",
    "sqlite-file-64",
    "postgresql",
    "postgresql-64",
    "mariadb",
)
"""Those of 64 bits hold the same tracks with wider hashes.  Those with a view answer from it from the beginning: from memory, or
from the files into which every change is written at once."""

SERVER_KINDS = ("postgresql", "mariadb")
SQL = ("sqlite", *SERVER_KINDS)
"""How the kinds begin that go through SQLAlchemy."""

TINY = Portions(loose=1, run=500, read=300, late=0)
"""Everything is written, in several files, and merged."""

WIDE_PARAMS = GENERATIONS["dejavu-2020"]

_SPREAD = 0x9E3779B97F4A7C15
"""Odd, so that different numbers stay different when they are multiplied by it modulo 2^64."""


def widened(hashes: Hashes) -> Hashes:
    """Return `hashes` with other values, equal where they were equal, all over 64 bits."""
    return Hashes(hashes.values.astype(np.uint64) * np.uint64(_SPREAD), hashes.offsets)


class WideIndex:
    """An index whose hashes are of 64 bits, for tests that have some of 32."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def add(self, entries: Sequence[NewTrack]) -> Sequence[Track]:
        """See `Index.add`."""
        return self._index.add([replace(entry, hashes=widened(entry.hashes)) for entry in entries])

    def lookup(self, hashes: Hashes, *, timeout_s: float | None = None) -> Hits:
        """See `Index.lookup`."""
        return self._index.lookup(widened(hashes), timeout_s=timeout_s)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else an index has
        return getattr(self._index, name)


class WritingIndex:
    """An index with a view whose upkeep runs after every change."""

    def __init__(self, index: Index, upkeep: Upkeep) -> None:
        self._index = index
        self._upkeep = upkeep

    def add(self, entries: Sequence[NewTrack]) -> Sequence[Track]:
        """See `Index.add`."""
        added = self._index.add(entries)
        self._upkeep.run(never)
        return added

    def remove(self, track_ids: Sequence[int]) -> Sequence[Track]:
        """See `Index.remove`."""
        gone = self._index.remove(track_ids)
        self._upkeep.run(never)
        return gone

    def edit(self, edits: Mapping[int, TrackEdit]) -> Sequence[Track]:
        """See `Index.edit`."""
        changed = self._index.edit(edits)
        self._upkeep.run(never)
        return changed

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else an index has
        return getattr(self._index, name)


def never() -> bool:
    """Let upkeep come to its end."""
    return False


@contextmanager
def open_view(
    store: Store,
    folder: Path,
    params: HashParams,
    *,
    max_hits: int = MAX_HITS,
    **options: Any,  # noqa: ANN401 - passed on
) -> Iterator[tuple[ResidentIndex, Upkeep]]:
    """Give an index over `store` whose view, in `folder`, was not made yet, and its upkeep."""
    with closing(ResidentIndex(store, max_hits=max_hits)) as index:
        yield index, Upkeep(index, store, SegmentFolder(folder, params), **options)


def url_of(kind: str, folder: Path) -> str:
    """Return the URL of the database of `kind` that belongs to `folder`; a server's is made where there is none yet."""
    if kind not in SERVER_KINDS:
        return f"sqlite:///{folder / 'index.sqlite'}" if kind == "sqlite-file" else "sqlite://"
    note = folder / "url"
    if not note.exists():
        note.write_text(getattr(SERVERS, kind).create())
    return note.read_text()


def drop_databases(folder: Path) -> None:
    """Drop the servers' databases that belong to `folder` or to one in it."""
    for note in folder.rglob("url"):
        url = note.read_text()
        (SERVERS.postgresql if url.startswith("postgresql") else SERVERS.mariadb).drop(url)


@contextmanager
def open_kind(kind: str, folder: Path, params: HashParams, **options: Any) -> Iterator[Index]:  # noqa: ANN401 - passed on
    """Give an index of one of `KINDS` until the block ends."""
    if kind.endswith("-64"):
        with open_kind(kind.removesuffix("-64"), folder, WIDE_PARAMS, **options) as index:
            yield WideIndex(index)
    elif "-view" in kind:
        store_kind, _, files = kind.partition("-view")
        with (
            open_kind(store_kind, folder, params, **options) as store,
            open_view(store, folder / "view", params, portions=TINY if files else None, **options) as (index, upkeep),
        ):
            upkeep.run(never)
            assert index.view() is not None
            yield WritingIndex(index, upkeep) if files else index
    elif kind in SERVER_KINDS or kind.startswith("sqlite"):
        with open_sql(url_of(kind, folder), params, **options) as index:
            yield index
    elif kind == "memory":
        with closing(MemoryIndex(**options)) as index:
            yield index
    else:
        with open_duckdb(folder / "index.duckdb" if kind == "duckdb-file" else None, params, **options) as index:
            yield index


def new_track(seed: int, n_hashes: int = 200, *, n_values: int = 1000, **fields: Any) -> NewTrack:  # noqa: ANN401 - any field of a NewTrack
    """Return a track made from `seed` alone, with hashes of `n_values` different values."""
    rng = np.random.default_rng(seed)
    frames = np.sort(rng.integers(0, 4 * n_hashes + 1, n_hashes // 2))
    given = {
        "title": f"Title {seed}",
        "artist": None if seed % 3 == 0 else f"Artist {seed}",
        "album": None,
        "path": f"/music/{seed}.flac",
        "file_sha1": sha1_of(seed),
        "duration_s": 60.0 + seed,
        "constellation": Constellation(
            frames, rng.integers(20, 480, len(frames)), 4 * n_hashes + 1, rng.integers(0, 4, len(frames))
        ),
        "hashes": Hashes(rng.integers(0, n_values, n_hashes), rng.integers(0, 4 * n_hashes, n_hashes)),
    }
    return NewTrack(**{**given, **fields})


def sha1_of(seed: int) -> str:
    """Return the content hash of the track that `new_track` makes from `seed`."""
    return hashlib.sha1(str(seed).encode(), usedforsecurity=False).hexdigest()


def rows_of(hits: Hits) -> list[tuple[int, int, int]]:
    """Return the rows of `hits` in an order of their own, to compare them as sets with repeats."""
    columns = (hits.query_offsets.tolist(), hits.track_ids.tolist(), hits.track_offsets.tolist())
    return sorted(zip(*columns, strict=True))


def meetings_of(query: Hashes, stored: dict[int, Hashes]) -> list[tuple[int, int, int]]:
    """Return the rows that a look-up must give, found by comparing everything with everything."""
    return sorted(
        (int(query.offsets[i]), track_id, int(hashes.offsets[j]))
        for track_id, hashes in stored.items()
        for i, j in zip(*np.nonzero(query.values[:, None] == hashes.values[None, :]), strict=True)
    )
