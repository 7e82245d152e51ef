"""Which queries a report shows, and the pictures of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.evaluation.clips import prefix, recut
from dejavud.evaluation.conditions import condition_of
from dejavud.evaluation.plots import Overlay, overlay_picture
from dejavud.evaluation.queries import Outcome
from dejavud.evaluation.run import constellation_of, heard
from dejavud.fingerprint.extractor import Extractor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dejavud.evaluation.queries import Query
    from dejavud.evaluation.run import Results

N_FOUND, N_MISSED = 3, 3
WIDTH_PX, HEIGHT_PX = 1280, 640


@dataclass(frozen=True, slots=True)
class Example:
    """A query, and a PNG of its constellation over the track's."""

    query: Query
    picture: bytes


def examples(results: Results) -> list[Example]:
    """Return a few matches, the easiest and the hardest, and a few failures, the worst first."""
    return [Example(query, _picture(results, query)) for query in chosen(results.queries)]


def chosen(queries: Iterable[Query]) -> list[Query]:
    """Return which queries to show: no two of one condition among the matches, nor among the failures."""
    queries = list(queries)
    found = [query for query in queries if query.outcome is Outcome.RIGHT]
    hardest = sorted(found, key=lambda query: (query.confidence, query.score))
    easiest = [max(found, key=lambda query: query.score)] if found else []
    severity = {Outcome.FALSE: 0, Outcome.WRONG: 1, Outcome.MISPLACED: 2, Outcome.SILENT: 3}
    missed = [
        query
        for query in queries
        if query.outcome in severity and (query.known or query.answered) and _is_placed(query)
    ]
    worst = sorted(missed, key=lambda query: (severity[query.outcome], -query.length_s, query.confidence))
    return _varied([*easiest, *hardest], N_FOUND) + _varied(worst, N_MISSED)


def _is_placed(query: Query) -> bool:
    return query.outcome is Outcome.SILENT or query.answer_start_s is not None


def _varied(queries: Sequence[Query], n: int) -> list[Query]:
    """Return `n` of `queries` in their order: of different conditions and clips, then of different conditions only."""
    kept: list[Query] = []
    for clips_differ in (True, False):
        for query in queries:
            is_new = query.condition not in {other.condition for other in kept}
            if is_new and not (clips_differ and query.path in {other.path for other in kept}):
                kept.append(query)
    return sorted(kept[:n], key=queries.index)


def _picture(results: Results, query: Query) -> bytes:
    """Return the clip laid over the track that was named, at that place, or over its own where none was."""
    params, condition = results.config.engine, condition_of(query.condition)
    cut = recut(Path(query.path), query.start_s, results.settings.lengths_s[-1])
    samples = heard(cut, condition, results.settings, query.clip, params, is_known=query.known)
    extractor = Extractor(params, params.query_peaks_per_s)
    extractor.feed(prefix(samples, query.length_s, params.rate_hz))
    named = query.answer if query.answered and query.answer is not None else query.path
    start_s = query.answer_start_s if query.answered and query.answer_start_s is not None else query.start_s
    factor = 1 + condition.value / 100
    overlay = Overlay(
        clip=extractor.finish(),
        track=constellation_of(Path(named), params),
        start_s=start_s,
        length_s=query.length_s,
        speed=condition.speed,
        pitch=factor if condition.kind in {"speed", "pitch"} else 1.0,
    )
    return overlay_picture(overlay, params, WIDTH_PX, HEIGHT_PX)
