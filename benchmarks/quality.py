"""How well the daemon recognizes: ``python benchmarks/quality.py --queries FOLDER --refs REFS.txt``.

Starts a daemon of its own, has it fingerprint the recordings that REFS.txt names (one path a line), sends it the clips
of FOLDER/manifest.tsv through ``dejavuctl recognize file --json --files-from -``, and holds the answers against the
manifest.  With ``--distractors`` the library is first made as large as one likes.  benchmarks/README.md describes the files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distractors import add_distractors
from own_daemon import own_daemon
from scoring import NOBODY, Answer, Query, Scores, read_answers, read_manifest, verdicts, write_answers

from dejavud.fingerprint.params import Params
from dejavud.index.open import open_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from own_daemon import OwnDaemon

_ROOT = Path(__file__).resolve().parents[1]
_DISTRACTOR = "distractor"
"""The name in the answers of all tracks that no recording stands behind."""


@contextmanager
def library(refs: Sequence[str], n_distractors: int, folder: Path) -> Iterator[tuple[OwnDaemon, dict[int, list[str]]]]:
    """Give a daemon whose library in `folder` is `refs` and so many distractors, and the paths of each of the `refs` by id.

    What is in the folder already is used again; one with anything else in it is refused.
    """
    with own_daemon(folder) as daemon:
        paths = fingerprinted(daemon, refs)
        url = daemon.status()["index"]["url"]
    if n_distractors:
        params = Params()
        with open_index(url, params) as index:
            add_distractors(index, n_distractors, params)
    with own_daemon(folder) as daemon:
        n_tracks = daemon.status()["n_tracks"]
        if n_tracks != len(paths) + n_distractors:
            n_others = n_tracks - len(paths) - n_distractors
            sys.exit(
                f"{folder} holds {n_others} tracks that were not asked for: say --distractors, or take another folder"
            )
        yield daemon, paths


def fingerprinted(daemon: OwnDaemon, refs: Sequence[str]) -> dict[int, list[str]]:
    """Have `refs` in the library; return the paths of each track by its id: files of one content are one track."""
    paths: dict[int, list[str]] = {}
    for record in daemon.fingerprint(refs):
        if "error" in record:
            sys.exit(f"{record['source']} could not be fingerprinted: {record['error']['message']}")
        if "track" in record:
            paths.setdefault(record["track"]["id"], []).append(record["source"])
    return paths


def asked(
    daemon: OwnDaemon, queries: Sequence[Query], folder: Path, paths: Mapping[int, list[str]], n_jobs: int
) -> list[Answer]:
    """Return what the daemon says of each query."""
    names = "".join(f"{folder / query.file}\n" for query in queries)
    done = daemon.client("recognize", "file", "--json", "--jobs", str(n_jobs), "--files-from", "-", stdin=names)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return [answer_of(query, record, paths) for query, record in zip(queries, records, strict=True)]


def answer_of(query: Query, record: Mapping[str, Any], paths: Mapping[int, list[str]]) -> Answer:
    """Return the daemon's answer to `query` in the words of the manifest."""
    if "error" in record:
        sys.exit(f"{query.file} could not be asked about: {record['error']['message']}")
    ms = record["timings"]["total_ms"]
    if not record["matches"]:
        return Answer(query.file, NOBODY, 0.0, 0.0, ms)
    match = record["matches"][0]
    same = paths.get(match["track"]["id"], [_DISTRACTOR])
    track = query.track if query.track in same else same[0]
    offset_s = match["track_start_s"] - match["query_start_s"] * match["speed"]
    return Answer(query.file, track, offset_s, match["confidence"], ms)


def commit() -> str:
    """Return which state of the project this is."""
    git = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not a checkout"


def report(scores: Scores, subject: str = "") -> str:
    """Return the score as a page of markdown, which begins with `subject`: what was asked."""
    legend = "Right track and within 0.5 s of the right place / right track, % of queries by condition and length."
    return f"{subject}{legend}\n\n{scores.markdown()}\n{verdicts(scores)}"


def main() -> None:
    """Ask, score, write and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--queries", type=Path, required=True, help="the folder of clips, with its manifest.tsv")
    parser.add_argument("--refs", type=Path, help="a file that names the library's recordings, one path a line")
    parser.add_argument("--conds", nargs="+", help="only these conditions")
    parser.add_argument("--lengths", nargs="+", type=float, help="only these lengths, in seconds")
    parser.add_argument("--data-dir", type=Path, help="keep the library here, for the next run (a temporary folder)")
    parser.add_argument("--distractors", type=int, default=0, help="so many tracks more, which no query resembles (0)")
    parser.add_argument("--jobs", type=int, default=1, help="queries in work at a time (1: a query's time is its own)")
    parser.add_argument("--answers", type=Path, default=Path("answers.tsv"), help="where the answers go (answers.tsv)")
    parser.add_argument("--markdown", type=Path, help="write the score to this file too")
    parser.add_argument("--score-only", action="store_true", help="ask nothing: score the answers that are there")
    options = parser.parse_args()
    queries = [
        query
        for query in read_manifest(options.queries / "manifest.tsv")
        if (not options.conds or query.cond in options.conds)
        and (not options.lengths or query.length_s in options.lengths)
    ]
    if not queries:
        parser.error("the manifest holds no query of these conditions and lengths")
    if options.score_only:
        page = report(Scores(queries, read_answers(options.answers)))
    elif options.refs is None:
        parser.error("name the recordings of the library: --refs")
    else:
        refs = [line for line in options.refs.read_text().splitlines() if line]
        state = commit()  # asked before it can change
        with (
            tempfile.TemporaryDirectory(prefix="library") as temporary,
            library(refs, options.distractors, options.data_dir or Path(temporary)) as (daemon, paths),
        ):
            answers = asked(daemon, queries, options.queries.absolute(), paths, options.jobs)
        write_answers(options.answers, answers)
        subject = f"{len(refs)} recordings and {options.distractors} distractors in the library, commit {state}. "
        page = report(Scores(queries, answers), subject)
    if options.markdown:
        options.markdown.write_text(page)
    print(page, end="")


if __name__ == "__main__":
    main()
