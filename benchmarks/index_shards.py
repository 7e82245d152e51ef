"""What spreading ``postings`` over three servers costs on one machine: ``python benchmarks/index_shards.py [--json]``.

Starts a server, and then a coordinator with three shards set up by the files of ``conf/distributed``, fills each with the same postings as real
music has them (see `index_lookup`), and asks both the same queries.  On one machine nothing is gained by it: the difference is the way
through the coordinator.  See `index_servers` for what one server does against its own best plan.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from index_lookup import Music, timed
from index_servers import QUERIES, SERVERS, SETTLED, grow
from sqlalchemy import create_engine

from dejavud.fingerprint.params import Params
from dejavud.index.sql.index import open_sql

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from databases import running
from shards import sharded_mariadb_cluster, sharded_postgresql_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

CLUSTERS = {"postgresql": sharded_postgresql_cluster, "mariadb": sharded_mariadb_cluster}


class SetUp(NamedTuple):
    """A database, and the URLs of those that hold its postings."""

    url: str
    places: list[str]


@contextmanager
def one_server(kind: str) -> Iterator[SetUp]:
    """Give a database that is whole."""
    program, options = SERVERS[kind]
    with running(program, options) as server, server.database() as url:
        yield SetUp(url, [url])


@contextmanager
def three_shards(kind: str) -> Iterator[SetUp]:
    """Give a database whose postings are on three servers."""
    with CLUSTERS[kind](options=SERVERS[kind][1]) as cluster:
        yield SetUp(cluster.url, [cluster.url_on(shard) for shard in cluster.shards])


def measure(kind: str, set_up: SetUp, n_postings: int) -> Iterator[tuple[str, Any]]:
    """Give the figures of one set-up, everything warm, each query a new one."""
    with open_sql(set_up.url, Params()) as index:
        yield "written, postings/s", grow(index, n_postings)["postings_per_s"]
        for url in set_up.places:
            engine = create_engine(url, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.exec_driver_sql(SETTLED[kind]).close()
            engine.dispose()
        music = Music(Params(), seed=2)
        index.lookup(music.query(max(QUERIES)))
        for n_hashes, n_repeats in QUERIES.items():
            times_ms = [timed(partial(index.lookup, music.query(n_hashes))) for _ in range(n_repeats)]
            yield f"{n_hashes} hashes, ms", round(statistics.median(times_ms), 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a set-up")
    parser.add_argument("--millions", type=float, default=10, help="postings, in millions (10)")
    parser.add_argument("--server", choices=list(SERVERS), action="append", help="only this kind")
    options = parser.parse_args()
    for kind in options.server or SERVERS:
        for name, given in (("one server", one_server), ("three shards", three_shards)):
            with given(kind) as set_up:
                figures = {"server": kind, "set-up": name, **dict(measure(kind, set_up, round(options.millions * 1e6)))}
            lines = (f"{key:32}{value!s:>24}" for key, value in figures.items())
            print(json.dumps(figures) if options.json else "\n".join((*lines, "")), flush=True)


if __name__ == "__main__":
    main()
