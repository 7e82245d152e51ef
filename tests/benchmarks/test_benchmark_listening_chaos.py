"""The short form of benchmarks/listening_chaos.py, and that it would notice."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def _benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - a module
    """Return benchmarks/listening_chaos.py, which is in no package; what it imports lies beside it."""
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location("benchmark_listening_chaos", folder / "listening_chaos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_sources_that_break_are_heard_again_and_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A station, a camera, a pipe and a sender, each broken several times: all are recognized again, and the daemon holds what it held."""
    outcome = _benchmark(monkeypatch).listen_through_chaos(10, seed=4, rest_s=4.0)
    assert outcome.is_clean, outcome.report()
    assert len(outcome.recovered_s) == 10


def test_what_is_lost_or_kept_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One task or descriptor more, a listener that stays deaf, or a daemon that recognizes nothing any more is not clean."""
    chaos = _benchmark(monkeypatch)
    held = {"n_tasks": 30, "n_threads": 9, "n_descriptors": 20, "n_processes": 2, "memory_bytes": 10**8}
    assert chaos.Outcome(held, held, [1.0], [], recognizes=True).is_clean
    for name in ("n_tasks", "n_descriptors"):
        grown = chaos.Outcome(held, {**held, name: held[name] + 1}, [1.0], [], recognizes=True)
        assert grown.grown == {name: 1}
        assert not grown.is_clean
    assert not chaos.Outcome(held, held, [], ["1: station killed"], recognizes=True).is_clean
    assert not chaos.Outcome(held, held, [1.0], [], recognizes=False).is_clean
