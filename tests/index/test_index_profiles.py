"""Profiles and the index: hashes of 64 bits, and no index asked with another profile than made it."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest
from index_entries import KINDS, WIDE_PARAMS, meetings_of, new_track, open_kind, rows_of

from dejavud.errors import ParamsMismatch
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.profiles import PROFILES, params_of
from dejavud.index.duckdb.index import open_duckdb
from dejavud.index.memory import MemoryIndex
from dejavud.index.open import open_index
from dejavud.values import Constellation, Hashes

if TYPE_CHECKING:
    from pathlib import Path

SAME_CONSTANTS = {"classic/dejavu-0.1.3", "classic/ivlovric-1.4"}


def test_every_kind_is_tested_with_both_widths() -> None:
    """The contract's tests run over hashes of 32 and of 64 bits, in memory and in a file."""
    assert {"memory", "duckdb-file"} <= {kind.removesuffix("-64") for kind in KINDS if kind.endswith("-64")}


@pytest.mark.parametrize("kind", ["memory", "duckdb-file"])
def test_hashes_of_64_bits_are_kept_whole(kind: str, tmp_path: Path) -> None:
    """The least and the greatest, and values that differ in one half only, are met by themselves alone, also after reopening."""
    values = [0, 1, 2**32, 2**32 + 1, 2**63 - 1, 2**63, 2**64 - 1]
    edges = Hashes(np.array(values, np.uint64), [0, 1, 2, -(2**31), 2**31 - 1, 5, 6])
    silence = Constellation(np.empty(0), np.empty(0), 9, np.empty(0))
    with open_kind(kind, tmp_path, WIDE_PARAMS) as index:
        (added,) = index.add([new_track(1, hashes=edges, constellation=silence)])
        assert rows_of(index.lookup(edges)) == meetings_of(edges, {added.id: edges})
        assert len(index.lookup(Hashes(np.array([2**32 + 2, 2**63 + 1], np.uint64), [0, 0]))) == 0
        assert len(index.constellations([added.id])[added.id]) == 0
    if kind == "duckdb-file":
        with open_kind(kind, tmp_path, WIDE_PARAMS) as index:
            assert rows_of(index.lookup(edges)) == meetings_of(edges, {added.id: edges})


def test_a_column_is_as_wide_as_the_profiles_hashes(tmp_path: Path) -> None:
    """Our own hashes take 32 bits a posting, dejavu's 64."""
    widths = {}
    for name in ("landmark-2", "classic/dejavu-2020"):
        with open_duckdb(tmp_path / "x" / name / "i.duckdb", params_of(Params(profile=name))):
            pass
        with duckdb.connect(tmp_path / "x" / name / "i.duckdb") as connection:
            [(widths[name],)] = connection.execute(
                "SELECT data_type FROM duckdb_columns() WHERE table_name = 'postings' AND column_name = 'hash'"
            ).fetchall()
    assert widths == {"landmark-2": "UINTEGER", "classic/dejavu-2020": "UBIGINT"}


def test_an_index_is_refused_by_every_other_profile(tmp_path: Path) -> None:
    """Whichever profile made it, all others are told `params_mismatch` with both names; generations of the same constants share one."""
    urls = {name: f"duckdb:///{tmp_path}/{number}.duckdb" for number, name in enumerate(PROFILES)}
    for name, url in urls.items():
        with open_index(url, params_of(Params(profile=name))) as index:
            index.add([new_track(1)])
    for made, asked in permutations(PROFILES, 2):
        if {made, asked} == SAME_CONSTANTS:
            with open_index(urls[made], params_of(Params(profile=asked))) as index:
                assert index.statistics().n_tracks == 1
            continue
        with pytest.raises(ParamsMismatch) as caught, open_index(urls[made], params_of(Params(profile=asked))):
            pytest.fail(f"{made} opened as {asked}")
        assert caught.value.code == "params_mismatch"
        assert made in caught.value.message
        assert asked in caught.value.message


def test_the_index_tells_which_constants_made_it(tmp_path: Path) -> None:
    """Its table meta has the profile's name and every constant that hashes depend on, for whoever has nothing but the file."""
    params = params_of(Params(profile="classic/ivlovric-1.5"))
    with open_duckdb(tmp_path / "i.duckdb", params):
        pass
    with duckdb.connect(tmp_path / "i.duckdb") as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    assert (meta["profile"], meta["params_digest"]) == ("classic/ivlovric-1.5", params.digest)
    for constant in ('"fan_value": 40', '"amp_min_db": 15.0', '"neighborhood_cells": 7', '"rate_hz": 8000'):
        assert constant in meta["params"]


def test_the_memory_index_takes_either_width() -> None:
    """An index in memory is as wide as what comes first, and what is not in it is not met."""
    index = MemoryIndex()
    assert len(index.lookup(Hashes(np.array([2**40], np.uint64), [0]))) == 0
    (added,) = index.add([new_track(1, hashes=Hashes(np.array([2**40, 7], np.uint64), [3, 4]))])
    assert rows_of(index.lookup(Hashes(np.array([2**40], np.uint64), [1]))) == [(1, added.id, 3)]
