from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from client_daemon import FakeDaemon

_HEAVY = ("numpy", "scipy", "trio", "asyncio", "duckdb", "av", "structlog")


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_the_client_imports_nothing_heavy(root_on_path: Path) -> None:
    """All its modules together import no numerics, no event loop and no database."""
    modules = sorted(
        ".".join(path.relative_to(root_on_path / "clients").with_suffix("").parts)
        for path in (root_on_path / "clients" / "dejavuctl").rglob("*.py")
        if path.stem != "__init__"
    )
    assert "dejavuctl.commands.recognize" in modules
    loaded = _run(f"import sys, {', '.join(modules)}; print(*(name for name in {_HEAVY!r} if name in sys.modules))")
    assert loaded.split() == []


def test_help_needs_no_zmq(root_on_path: Path) -> None:
    """What talks to nobody does not wait for the socket library."""
    assert root_on_path
    code = "import sys; from dejavuctl.arguments import parse; parse(['recognize', 'x']); print('zmq' in sys.modules)"
    assert _run(code).strip() == "False"


def test_status_starts_fast(daemon: FakeDaemon, root_on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole `dejavuctl status` takes less than four times a bare `import zmq`, which no client can do without."""
    assert root_on_path
    monkeypatch.setenv("DEJAVUD_CONTROL", daemon.endpoint)

    def took_s(*words: str) -> float:
        started = perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        return perf_counter() - started

    pairs = [(took_s("-c", "import zmq"), took_s("-m", "dejavuctl", "status")) for _ in range(7)]
    assert median(status_s / import_s for import_s, status_s in pairs) < 4
