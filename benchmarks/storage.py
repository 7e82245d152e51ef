"""What a library takes on the disk: ``python benchmarks/storage.py FOLDER`` (or a file that names a recording a line).

Has a daemon of its own fingerprint the recordings, makes the library larger with distractors, and measures the DuckDB file, closed,
at each size: all of it, and by table.  Four minutes are what 240 s of the recordings come to, with all that the file holds beside them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import duckdb
from distractors import add_distractors
from own_daemon import own_daemon
from recordings import recordings_of

from dejavud.fingerprint.params import Params
from dejavud.index.open import open_index

REQUIRED_BYTES = 75_000
CD_BYTES_PER_S = 44_100 * 2 * 2
_FOUR_MINUTES_S = 240.0


@dataclass(frozen=True, slots=True)
class Contents:
    """What a library holds."""

    n_tracks: int
    n_postings: int
    n_peaks: int
    duration_s: float

    def in_four_minutes(self, n: float) -> float:
        """Return how many of `n` things fall to four minutes of the music."""
        return n * _FOUR_MINUTES_S / self.duration_s


@dataclass(frozen=True, slots=True)
class Stored:
    """A closed DuckDB file.

    tables : bytes of the blocks of each table's columns.
    free_bytes : of blocks that are empty and will be used again.
    n_bytes : of the whole file: those, and its header and catalogue.
    """

    contents: Contents
    tables: dict[str, float]
    free_bytes: int
    n_bytes: int

    @property
    def rest_bytes(self) -> float:
        """Return what is neither postings nor constellations nor free."""
        return self.n_bytes - self.tables["postings"] - self.tables["constellations"] - self.free_bytes

    def four_minutes_bytes(self, music: Contents) -> float:
        """Return what four minutes of `music` take in a file like this one: its postings, its peaks, its share of the rest.

        Distractors are not as dense as the recordings that they are made from, so the file's own mean would flatter.
        """
        per_posting = self.tables["postings"] / self.contents.n_postings
        per_peak = self.tables["constellations"] / self.contents.n_peaks
        return (
            music.in_four_minutes(music.n_postings) * per_posting
            + music.in_four_minutes(music.n_peaks) * per_peak
            + self.contents.in_four_minutes(self.rest_bytes + self.free_bytes)
        )

    def row(self, music: Contents) -> tuple[str, ...]:
        """Return a line of the table whose heads are `HEADS`."""
        held, four_minutes_bytes = self.contents, self.four_minutes_bytes(music)
        return (
            f"{held.n_tracks}",
            f"{held.duration_s / 3600:.1f}",
            f"{self.n_bytes / 1e6:.1f}",
            f"{self.tables['postings'] / held.n_postings:.2f}",
            f"{self.tables['constellations'] / held.n_peaks:.2f}",
            f"{held.in_four_minutes(self.rest_bytes) / 1000:.1f}",
            f"{held.in_four_minutes(self.free_bytes) / 1000:.1f}",
            f"**{four_minutes_bytes / 1000:.1f}**: {'met' if four_minutes_bytes <= REQUIRED_BYTES else 'not met'}",
        )


HEADS = (
    "tracks",
    "hours",
    "file, MB",
    "bytes a posting",
    "bytes a peak",
    "all else, kB in four minutes",
    "free blocks, kB",
    "four minutes, kB",
)


def measured(path: Path) -> Stored:
    """Return what the DuckDB file at `path`, which nobody has open, consists of."""
    with duckdb.connect(path, read_only=True) as connection:
        n_tracks, n_postings, n_peaks, duration_s = connection.execute(
            "SELECT count(*), sum(n_hashes)::BIGINT, sum(n_peaks)::BIGINT, sum(duration_s) FROM tracks"
        ).fetchall()[0]
        block_bytes, n_free = connection.execute(
            "SELECT block_size, free_blocks FROM pragma_database_size()"
        ).fetchall()[0]
        tables = [table for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        users = defaultdict(set)
        for table in tables:
            blocks = connection.execute(
                "SELECT DISTINCT unnest(list_prepend(block_id, additional_block_ids)) FROM pragma_storage_info(?)"
                " WHERE persistent",
                [table],
            ).fetchall()
            for (block,) in blocks:
                users[block].add(table)
    n_bytes = dict.fromkeys(tables, 0.0)
    for shared_by in users.values():  # tables that were written together may share a block
        for table in shared_by:
            n_bytes[table] += block_bytes / len(shared_by)
    return Stored(
        Contents(n_tracks, n_postings, n_peaks, duration_s), n_bytes, n_free * block_bytes, path.stat().st_size
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", type=Path, help="a folder of recordings, or a file that names one a line")
    parser.add_argument("--tracks", type=int, nargs="*", default=[1000, 5000], help="sizes to grow it to (1000 5000)")
    parser.add_argument("--folder", type=Path, help="where the library is made (a temporary folder)")
    options = parser.parse_args()
    recordings = recordings_of(options.recordings)
    params = Params()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        with own_daemon(Path(name)) as daemon:
            summary = daemon.fingerprint([str(path) for path in recordings])[-1]["summary"]
            url = daemon.status()["index"]["url"]
        if summary["n_failed"] or not summary["n_added"]:
            sys.exit(f"of {len(recordings)} recordings {summary['n_added']} could be fingerprinted: give others")
        path = Path(url.removeprefix("duckdb:///"))
        files = [measured(path)]
        music = files[0].contents
        for n_tracks in sorted(n for n in options.tracks if n > music.n_tracks):
            with open_index(url, params) as index:
                add_distractors(index, n_tracks - music.n_tracks, params)
            files.append(measured(path))
    print(report(recordings, music, files))


def report(recordings: list[Path], music: Contents, files: list[Stored]) -> str:
    """Return the figures as markdown."""
    own_bytes = music.in_four_minutes(sum(path.stat().st_size for path in recordings))
    audio = (
        f"Four minutes of these recordings are {own_bytes / 1e6:.2f} MB as they are and"
        f" {CD_BYTES_PER_S * _FOUR_MINUTES_S / 1e6:.1f} MB as wav (44.1 kHz, stereo), and come to"
        f" {music.in_four_minutes(music.n_postings):.0f} postings and {music.in_four_minutes(music.n_peaks):.0f} peaks."
    )
    table = [HEADS, ["---"] * len(HEADS), *(stored.row(music) for stored in files)]
    lines = [audio, "", *(f"| {' | '.join(row)} |" for row in table), ""]
    return "\n".join(lines) + f"\nrequired: at most {REQUIRED_BYTES / 1000:.0f} kB for four minutes"


if __name__ == "__main__":
    main()
