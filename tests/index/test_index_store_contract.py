"""The contract of `dejavud.index.base.Store`, what a store has beside an index, over every kind that keeps things."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from index_entries import KINDS, meetings_of, never, new_track, open_kind, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dejavud.fingerprint.params import Params
    from dejavud.index.base import Store

STORES = [kind for kind in KINDS if "-view" not in kind and not kind.endswith("-64")]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, params: Params) -> Iterator[Store]:
    """Give an empty store of each kind in turn."""
    with open_kind(request.param, tmp_path, params) as opened:
        yield cast("Store", opened)


def test_a_replaced_track_has_its_new_contents_and_no_others(store: Store) -> None:
    """Constellation, postings and counts are the new ones, all else of the track and all other tracks are as they were."""
    old, other = store.add([new_track(1), new_track(2)])
    fresh = new_track(3, 300)
    assert store.replace(old.id, fresh.constellation, fresh.hashes)
    (changed,) = store.tracks(ids=[old.id])
    assert (changed.n_peaks, changed.n_hashes) == (len(fresh.constellation), len(fresh.hashes))
    assert (changed.title, changed.file_sha1, changed.added_at) == (old.title, old.file_sha1, old.added_at)
    np.testing.assert_array_equal(store.constellations([old.id])[old.id].bins, fresh.constellation.bins)
    query = new_track(3, 300).hashes
    hashes = {old.id: fresh.hashes, other.id: new_track(2).hashes}
    assert rows_of(store.lookup(query)) == meetings_of(query, hashes)
    own = store.postings(old.id, old.id)
    assert sorted(zip(own.hashes.tolist(), own.frames.tolist(), strict=True)) == sorted(
        zip(fresh.hashes.values.tolist(), fresh.hashes.offsets.tolist(), strict=True)
    )


def test_what_is_not_there_is_not_replaced(store: Store) -> None:
    """An unknown id is told by False, and nothing is stored under it."""
    fresh = new_track(1)
    assert not store.replace(7, fresh.constellation, fresh.hashes)
    assert list(store.tracks()) == []
    assert len(store.postings(7, 7)) == 0
    assert list(store.stray_ids()) == []


def test_what_is_written_in_transactions_leaves_no_strays(store: Store) -> None:
    """Neither adding nor removing leaves postings or constellations of no track."""
    tracks = store.add([new_track(seed) for seed in range(4)])
    store.remove([tracks[1].id, tracks[3].id])
    assert list(store.stray_ids()) == []


def test_a_compacted_store_holds_what_it_held(store: Store) -> None:
    """Tracks, answers and contents are the same, the next id is a new one, and a second time there is nothing to do."""
    tracks = store.add([new_track(seed) for seed in range(6)])
    store.remove([tracks[0].id, tracks[5].id])
    query = new_track(2).hashes
    before, answer = list(store.tracks()), rows_of(store.lookup(query))
    done = store.compact(lambda _done, _total: None, never)
    assert done.n_bytes_after > 0
    assert list(store.tracks()) == before
    assert rows_of(store.lookup(query)) == answer
    assert sorted(store.constellations([track.id for track in tracks])) == [track.id for track in before]
    assert not store.compact(lambda _done, _total: None, never).is_rewritten
    (added,) = store.add([new_track(9)])
    assert added.id > tracks[5].id
