"""Fixtures that tests of several floors share, and the order of the tests."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["databases", "fixtures_sound", "shards"]

# A shell without job control starts what it puts into the background with SIGINT ignored, and the programs that the tests
# interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_BEGUN_FIRST = (
    "benchmarks/test_in_real_time.py",
    "services/test_services_archives.py",
    "web/test_web_page.py",
    "test_migrate.py",
)
"""Files of a minute and more, the longest first: each is tested by one process, and the last one of the run keeps the others waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files in front; the others stay in their order."""
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(_BEGUN_FIRST)}
    assert all(path.exists() for path in ranks)
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
