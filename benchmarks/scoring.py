"""What answers to queries of known truth are worth: counts for each condition and length, as markdown."""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

NOBODY = "-"
"""In the track column: of a query, that the library does not hold its music; of an answer, that it named nothing."""
MAX_OFFSET_ERROR_S = 0.5


@dataclass(frozen=True, slots=True)
class Query:
    """A row of a manifest: a clip and what is true of it.

    file : path of the clip, relative to the manifest's folder.
    cond : what was done to it.
    length_s : how much of it there is.
    track : path of the recording that it is cut from, `NOBODY` where the library does not hold that.
    start_s : where in the recording it begins.
    speed : how much faster than the recording it plays.
    """

    file: str
    cond: str
    length_s: float
    track: str
    start_s: float
    speed: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of one clip.

    track : path of the recording that was named, or `NOBODY`.
    offset_s : where in it the clip would begin.
    confidence : 0 to 1.
    ms : what the answer took.
    """

    file: str
    track: str
    offset_s: float
    confidence: float
    ms: float


@dataclass(slots=True)
class Score:
    """Counts over some queries: `n_known` from recordings of the library and `n_unknown` from others.

    n_right, n_placed : known ones whose track was named, and whose place in it was right as well.
    n_wrong : known ones for which another track was named.
    n_false : unknown ones for which any track was named.
    """

    n_known: int = 0
    n_right: int = 0
    n_placed: int = 0
    n_wrong: int = 0
    n_unknown: int = 0
    n_false: int = 0
    ms: list[float] = field(default_factory=list)

    def add(self, query: Query, answer: Answer) -> None:
        """Count one answer."""
        self.ms.append(answer.ms)
        named = answer.track != NOBODY
        if query.track == NOBODY:
            self.n_unknown += 1
            self.n_false += named
            return
        right = answer.track == query.track
        self.n_known += 1
        self.n_right += right
        self.n_placed += right and abs(answer.offset_s - query.start_s) <= MAX_OFFSET_ERROR_S
        self.n_wrong += named and not right


def read_manifest(path: Path) -> list[Query]:
    """Return the queries of a manifest, in its order."""
    with path.open(newline="") as file:
        return [
            Query(
                row["file"],
                row["cond"],
                float(row["length_s"]),
                row["track"],
                float(row["start_s"]),
                float(row["speed"]),
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


def read_answers(path: Path) -> list[Answer]:
    """Return the answers that `write_answers` wrote."""
    with path.open(newline="") as file:
        return [
            Answer(
                row["file"],
                row["track"],
                float(row["offset_s"] or "nan"),
                float(row["confidence"] or 0),
                float(row["ms"]),
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write one line an answer under a line of names, separated by tabs; what was not answered has no offset."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(("file", "track", "offset_s", "confidence", "ms"))
        for answer in answers:
            offset = "" if answer.track == NOBODY else f"{answer.offset_s:.3f}"
            table.writerow((answer.file, answer.track, offset, f"{answer.confidence:.6f}", f"{answer.ms:.1f}"))


class Scores:
    """The answers to a set of queries, counted by condition and length."""

    def __init__(self, queries: Sequence[Query], answers: Iterable[Answer]) -> None:
        by_file = {answer.file: answer for answer in answers}
        self._cells: dict[tuple[str, float], Score] = defaultdict(Score)
        for query in queries:
            self._cells[query.cond, query.length_s].add(query, by_file[query.file])
        self.conds = list(dict.fromkeys(query.cond for query in queries))
        self.lengths_s = sorted({query.length_s for query in queries})

    def total(self, *, conds: Sequence[str] | None = None, at_least_s: float = 0.0, at_most_s: float = 1e9) -> Score:
        """Return the sum over these conditions (all where None) and lengths."""
        total = Score()
        for (cond, length_s), cell in self._cells.items():
            if (conds is None or cond in conds) and at_least_s <= length_s <= at_most_s:
                for name in ("n_known", "n_right", "n_placed", "n_wrong", "n_unknown", "n_false"):
                    setattr(total, name, getattr(total, name) + getattr(cell, name))
                total.ms += cell.ms
        return total

    def markdown(self) -> str:
        """Return the whole score: a row a condition, then what unknown music was taken for, errors and time by length."""
        rows: list[tuple[str, Callable[[Score], str]]] = [
            ("unknown music answered", lambda score: share(score.n_false, score.n_unknown)),
            ("wrong track named", lambda score: share(score.n_wrong, score.n_known)),
            ("median time, ms", lambda score: f"{statistics.median(score.ms):.0f}" if score.ms else "-"),
        ]
        table = [["", *(f"{length_s:g} s" for length_s in self.lengths_s)], ["---"] * (1 + len(self.lengths_s))]
        for cond in self.conds:
            cells = (self._cells[cond, length_s] for length_s in self.lengths_s)
            pairs = (f"{share(cell.n_placed, cell.n_known)} / {share(cell.n_right, cell.n_known)}" for cell in cells)
            table.append([cond, *pairs])
        for name, figure in rows:
            totals = (self.total(at_least_s=length_s, at_most_s=length_s) for length_s in self.lengths_s)
            table.append([f"*{name}*", *map(figure, totals)])
        return "\n".join(f"| {' | '.join(row)} |" for row in table) + "\n\n" + _summary(self.total())


def share(part: int, whole: int) -> str:
    """Return `part` of `whole` in per cent, or a dash of nothing."""
    return f"{100 * part / whole:.1f}" if whole else "-"


def _summary(total: Score) -> str:
    wrong, false = share(total.n_wrong, total.n_known), share(total.n_false, total.n_unknown)
    times = sorted(total.ms)
    return (
        f"{total.n_known} queries from the library: right track {share(total.n_right, total.n_known)} %, wrong track"
        f" {wrong} %. {total.n_unknown} from other music: answered all the same {false} % ({total.n_false})."
        f" A query took {statistics.median(times):.0f} ms in the median, {times[int(0.95 * (len(times) - 1))]:.0f} ms at the"
        " 95th percentile.\n"
    )


REQUIRED_RIGHT = (("clean", 2.0, 1e9, 0.99), ("mp3_64k", 2.0, 1e9, 0.99), ("noise0", 5.0, 5.0, 0.90))
"""(condition, shortest, longest in seconds, least share of right tracks)."""
REQUIRED_FALSE = 0.01
"""The greatest share of unknown queries that may be answered."""


def verdicts(scores: Scores) -> str:
    """Return, as markdown, which of the requirements are met; those whose queries were not asked are left out."""
    table = [["required", "measured", ""], ["---"] * 3]
    for cond, shortest_s, longest_s, least in REQUIRED_RIGHT:
        score = scores.total(conds=[cond], at_least_s=shortest_s, at_most_s=longest_s)
        if score.n_known:
            length = f"{shortest_s:g} s" + ("" if shortest_s == longest_s else " and longer")
            met = score.n_right >= least * score.n_known
            wanted = f"{cond}, {length}: right track in {100 * least:g} %"
            table.append([wanted, f"{share(score.n_right, score.n_known)} %", "met" if met else "**not met**"])
    total = scores.total()
    if total.n_unknown:
        met = total.n_false <= REQUIRED_FALSE * total.n_unknown
        wanted = f"no more than {100 * REQUIRED_FALSE:g} % of unknown queries answered"
        table.append([wanted, f"{share(total.n_false, total.n_unknown)} %", "met" if met else "**not met**"])
    return "\n".join(f"| {' | '.join(row)} |" for row in table) + "\n"
