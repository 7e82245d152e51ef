"""A daemon that is killed loses nothing: the short form of benchmarks/crash.py, and that it would notice."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dejavud.fingerprint.params import Params
from dejavud.index.open import open_index


def _benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - a module
    """Return benchmarks/crash.py, which is in no package; what it imports lies beside it."""
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location("benchmark_crash", folder / "crash.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "n_kills"), [("ingest", 3), ("view", 2), ("clustering", 2), ("compaction", 3), ("migration", 2)]
)
def test_a_killed_daemon_starts_by_itself_and_has_everything_that_it_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, n_kills: int
) -> None:
    """Killed at random moments of this work, it has each acknowledged track whole every time, and no other in part."""
    crash = _benchmark(monkeypatch)
    kind = crash.KINDS[name]
    kind = replace(kind, n_tracks=min(kind.n_tracks, 120), n_songs=min(kind.n_songs, 100))
    outcome = crash.kill_again_and_again(kind, n_kills, tmp_path)
    assert outcome.is_clean, outcome.line(name)
    assert outcome.n_kills == n_kills


def test_a_track_that_is_lost_or_there_in_part_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One acknowledged content that is missing is counted, and a posting that is gone is a finding."""
    crash = _benchmark(monkeypatch)
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "dejavud.duckdb"
    crash.fill(path, 2)
    with open_index(f"duckdb:///{path}", Params()) as index, index.reading() as cursor:  # type: ignore[attr-defined]
        cursor.execute("DELETE FROM postings WHERE rowid = 7")
    outcome = crash.Outcome()
    with crash.own_daemon(tmp_path / "data") as daemon:
        crash.examine(daemon, {f"{0:040x}", f"{1:040x}", "ab" * 20}, outcome)
    assert outcome.n_missing == 1
    assert [finding["kind"] for finding in outcome.findings] == ["postings_differ"]
    assert not outcome.is_clean
