"""How near our look-ups in PostgreSQL and MariaDB come to the servers' own best plan: ``python benchmarks/index_servers.py [--json]``.

Starts a server of its own of each kind in a temporary folder, fills it with postings as real music has them (see `index_lookup`), and
asks it the same queries in three ways, one after the other, query by query:
- plan: the server looks the postings up and hands them to nobody (EXPLAIN ANALYZE, ANALYZE FORMAT=JSON), by its own clock;
- rows: the same statement by the driver, every row a Python tuple;
- ours: `Index.lookup`, from hashes to hits in numpy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from index_lookup import HASHES_A_TRACK, TRACKS_AN_ADD, Music, timed
from sqlalchemy import create_engine

from dejavud.fingerprint.params import Params
from dejavud.index.sql.index import open_sql

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from databases import MariaDB, PostgreSQL, Server, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from dejavud.index.sql.index import SqlIndex

    Array = NDArray[Any]

SERVERS: dict[str, tuple[type[Server], tuple[str, ...]]] = {
    "postgresql": (PostgreSQL, ("-c", "shared_buffers=1GB", "-c", "max_wal_size=4GB")),
    "mariadb": (MariaDB, ("--innodb-buffer-pool-size=2G", "--innodb-log-file-size=1G")),
}
"""Each with the memory that a server of its own has, so that the postings are in it."""
QUERIES = {2000: 15, 16_000: 5}
SETTLED = {"postgresql": "VACUUM ANALYZE postings", "mariadb": "ANALYZE TABLE postings"}
"""What the server does by itself some minutes after much was written."""


def grow(index: SqlIndex, n_postings: int) -> dict[str, Any]:
    """Fill the index and return how fast that was, for the first and the last tenth of it."""
    music = Music(Params())
    n_adds = max(10, n_postings // HASHES_A_TRACK // TRACKS_AN_ADD)
    add_s = []
    for _ in range(n_adds):
        batch = [music.track() for _ in range(TRACKS_AN_ADD)]
        add_s.append(timed(partial(index.add, batch)) / 1000)
    rates = [
        TRACKS_AN_ADD * HASHES_A_TRACK * len(part) / sum(part)
        for part in (add_s, add_s[: n_adds // 10], add_s[-(n_adds // 10) :])
    ]
    return dict(zip(("postings_per_s", "first_tenth", "last_tenth"), map(round, rates), strict=True))


def statement(kind: str, asked: Array) -> str:
    """Return the look-up of these distinct hashes as the server does it best, of what was tried."""
    numbers = ",".join(map(str, asked.tolist()))
    chosen = f"= ANY('{{{numbers}}}'::int[])" if kind == "postgresql" else f"IN ({numbers})"
    return f"SELECT hash, track_id, frame FROM postings WHERE hash {chosen}"  # noqa: S608 - numbers


def plan_ms(kind: str, connection: Connection, query: str) -> float:
    """Return what the server itself takes, by its own clock."""
    if kind == "postgresql":
        rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}").scalar_one()
        return float(rows[0]["Execution Time"])
    told = json.loads(connection.exec_driver_sql(f"ANALYZE FORMAT=JSON {query}").scalar_one())
    return float(told["query_block"]["r_total_time_ms"])


def look_up(kind: str, index: SqlIndex, connection: Connection) -> Iterator[tuple[str, Any]]:
    """Give the figures of look-ups, everything warm, each query a new one."""
    music = Music(Params(), seed=2)
    index.lookup(music.query(max(QUERIES)))
    for n_hashes, n_repeats in QUERIES.items():
        plan, rows, ours, hits = [], [], [], []
        for _ in range(n_repeats):
            query = music.query(n_hashes)
            asked = np.unique(query.values).view(np.int32)
            own = statement(kind, asked)
            plan.append(plan_ms(kind, connection, own))
            started_s = time.perf_counter()
            hits.append(len(connection.exec_driver_sql(own).fetchall()))
            rows.append(1000 * (time.perf_counter() - started_s))
            ours.append(timed(partial(index.lookup, query)))
        medians = [statistics.median(each) for each in (plan, rows, ours, hits)]
        for name, value in zip(("plan_ms", "rows_ms", "ours_ms", "n_postings"), medians, strict=True):
            yield f"{n_hashes} hashes: {name}", round(value, 1)
        yield f"{n_hashes} hashes: ours / plan", round(medians[2] / medians[0], 2)


def measure(kind: str, n_postings: int) -> dict[str, Any]:
    """Return the figures of one kind of server."""
    program, options = SERVERS[kind]
    with running(program, options) as server, server.database() as url, open_sql(url, Params()) as index:
        figures: dict[str, Any] = {"n_postings": n_postings, "made": grow(index, n_postings)}
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(SETTLED[kind]).close()
            size_bytes = index._dialect.size_bytes(connection)  # noqa: SLF001 - as it is now, and not when the last track came
            figures["bytes_a_posting"] = round(size_bytes / n_postings, 1)
            figures |= dict(look_up(kind, index, connection))
        engine.dispose()
        ids = [track.id for track in index.tracks()]
        for first, last in pairwise(ids[10:90:20]):
            figures["read_20_tracks_ms"] = round(timed(partial(index.postings, first, last)), 1)
        figures["remove_1_track_ms"] = round(timed(partial(index.remove, ids[:1])), 1)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a server")
    parser.add_argument("--millions", type=float, default=10, help="postings, in millions (10)")
    parser.add_argument("--server", choices=list(SERVERS), action="append", help="only this one")
    options = parser.parse_args()
    for kind in options.server or SERVERS:
        figures = {"server": kind, **measure(kind, round(options.millions * 1e6))}
        print(
            json.dumps(figures)
            if options.json
            else "\n".join(f"{name:32}{value!s:>24}" for name, value in figures.items())
        )
        print(flush=True)


if __name__ == "__main__":
    main()
