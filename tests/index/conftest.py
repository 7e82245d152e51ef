"""Fixtures of the tests of the index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from index_entries import KINDS, drop_databases, open_kind

from dejavud.fingerprint.params import Params

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dejavud.index.base import Index


@pytest.fixture
def params() -> Params:
    """Give the parameters that the daemon has by default."""
    return Params()


@pytest.fixture(autouse=True)
def _dropped_databases(tmp_path: Path) -> Iterator[None]:
    """Drop what the test made on the servers that all tests share."""
    yield
    drop_databases(tmp_path)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Give each kind of index in turn."""
    return str(request.param)


@pytest.fixture
def index(kind: str, tmp_path: Path, params: Params) -> Iterator[Index]:
    """Give an empty index of each kind in turn."""
    with open_kind(kind, tmp_path, params) as opened:
        yield opened
