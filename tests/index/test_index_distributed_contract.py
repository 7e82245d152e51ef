"""The contract of `dejavud.index.base.Index`, over postings that are spread over three servers."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
import test_index_contract

from dejavud.index.sql.index import SqlIndex, open_sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shards import Cluster

    from dejavud.fingerprint.params import Params


@pytest.fixture
def index(cluster: Cluster, params: Params) -> Iterator[SqlIndex]:
    """Give an empty distributed index."""
    with open_sql(cluster.url, params) as opened:
        yield opened


globals().update(
    {
        name: test
        for name, test in vars(test_index_contract).items()
        if name.startswith("test_") and set(inspect.signature(test).parameters) == {"index"}
    }
)
