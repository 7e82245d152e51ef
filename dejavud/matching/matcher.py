"""Hits to the answer: vote, verify, decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.confidence import confidence, evidence_weight
from dejavud.matching.coverage import find_stretch
from dejavud.matching.duplicates import same_recording
from dejavud.matching.verification import Verifier
from dejavud.matching.voting import vote
from dejavud.values import UNSCALED, Alignment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dejavud.fingerprint.params import Params
    from dejavud.matching.verification import Verified
    from dejavud.values import Array, Constellation, Hits, QueryFingerprint, Scale

    ConstellationReader = Callable[[Sequence[int]], Mapping[int, Constellation]]


MIN_CANDIDATES = 80
"""Candidates of the longest query.  With 120 tracks 40 are enough from two seconds on; the rest is for larger libraries."""

N_JUDGED = 8
"""Tracks whose best alignment is judged; those behind them explain the query worse than eight others."""


_NOBODY = np.empty(0)


@dataclass(frozen=True, slots=True)
class MatchRules:
    """What counts as recognized.

    min_confidence : answers below it are "no match"; 1 less the rate of false answers to unknown music that is allowed.
    min_coverage, enough_s : so much of the query, or so many seconds of it where that is less, must be explained.  Tracks that share
        samples or a drum machine agree to the bit, but in scattered moments only.
    max_matches : at most so many tracks are named.
    n_candidates : alignments that are verified of a query of a second; a longer query's votes say more, so fewer are.
    n_refined : of those, alignments that are placed to a fraction of a frame.
    """

    min_confidence: float = 0.9999
    min_coverage: float = 0.4
    enough_s: float = 3.0
    max_matches: int = 3
    n_candidates: int = 400
    n_refined: int = 20


@dataclass(frozen=True, slots=True)
class _Case:
    """What is known of a query when its candidates are judged; `n_alignments` and `evidence_weight` as `confidence` takes them."""

    verifier: Verifier
    verified: Verified
    constellations: Mapping[int, Constellation]
    n_alignments: float
    evidence_weight: float


class Matcher:
    """Turns hits into answers by one set of rules."""

    def __init__(self, params: Params, rules: MatchRules) -> None:
        self._params = params
        self._rules = rules

    def match(
        self,
        query: QueryFingerprint,
        hits: Hits,
        read_constellations: ConstellationReader,
        n_index_frames: float,
        scales: Sequence[Scale] = (UNSCALED,),
    ) -> tuple[Alignment, ...]:
        """Return the tracks that sound in the query, the surest first; empty when none is sure enough.

        `hits` are those of `query.hashes`, or of its `scaled_hashes` at these `scales`.

        `read_constellations` is called at most once, with the tracks of the candidates; tracks that it leaves out are not answered.
        `n_index_frames` is how many frames of music the index holds: among more music, chance has more tries.
        """
        if not len(hits) or query.evidence.n_frames == 0:
            return ()
        n_candidates = max(MIN_CANDIDATES, round(self._rules.n_candidates / max(1.0, query.duration_s)))
        candidates = vote(hits, n_candidates)
        constellations = read_constellations(np.unique(candidates.track_ids).tolist())
        verifier = Verifier(query.evidence)
        verified = verifier.verify(candidates, scales, constellations, self._rules.n_refined)
        case = _Case(
            verifier,
            verified,
            constellations,
            n_alignments=n_index_frames * len(scales),
            evidence_weight=evidence_weight(verifier.relief, scaled=len(scales) > 1),
        )
        rules = self._rules
        min_coverage = min(rules.min_coverage, rules.enough_s / query.duration_s)
        sure: list[_Judged] = []
        for place in _first_of_each_track(verified.track_ids)[:N_JUDGED]:
            if int(verified.track_ids[place]) in {twin for judged in sure for twin in judged.answer.twins}:
                continue  # it is another release of what is answered already
            judged = self._judge(case, place, sure)
            if judged.answer.confidence >= rules.min_confidence and judged.answer.coverage >= min_coverage:
                sure.append(judged)
        answers = sorted((judged.answer for judged in sure), key=lambda answer: -answer.score)
        return tuple(answers[: rules.max_matches])

    def _judge(self, case: _Case, place: int, sounding: Sequence[_Judged]) -> _Judged:
        """Return a verified candidate judged by the stretch of the query that it explains.

        sounding : tracks that are heard for sure.  That they fit better is no doubt of another that sounds with them, but what they
            explain speaks for them alone.
        """
        placed, verifier = case.verified[np.array([place])], case.verifier
        seen = verifier.sight(placed, case.constellations, [judged.placed for judged in sounding])
        stretch = find_stretch(seen.frames, seen.agree, verifier.n_frames, self._params)
        log_ratio = seen.log_ratio_within(stretch.first, stretch.last)
        sure = confidence(log_ratio, _NOBODY, case.n_alignments, case.evidence_weight)
        twins: tuple[int, ...] = ()
        if sure >= self._rules.min_confidence:  # rivals only take away, so what is not sure without them is done with
            twins = _twins(case, placed)
            apart = {int(placed.track_ids[0]), *twins, *(judged.answer.track_id for judged in sounding)}
            rivals = case.verified.log_ratios[~np.isin(case.verified.track_ids, list(apart))]
            sure = confidence(log_ratio, rivals, case.n_alignments, case.evidence_weight)
        answer = Alignment(
            track_id=int(placed.track_ids[0]),
            delta_frames=float(placed.deltas[0]),
            speed=float(placed.speeds[0]),
            pitch=float(placed.pitches[0]),
            score=log_ratio,
            confidence=sure,
            coverage=stretch.coverage,
            first_frame=stretch.first,
            last_frame=stretch.last,
            gaps=stretch.gaps,
            twins=twins,
        )
        return _Judged(answer, placed)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A candidate as it is answered, and as it was placed."""

    answer: Alignment
    placed: Verified


def _twins(case: _Case, placed: Verified) -> tuple[int, ...]:
    """Return the other tracks that hold the recording of `placed`, where it was placed."""
    verified, constellations = case.verified, case.constellations
    own, delta = int(placed.track_ids[0]), float(placed.deltas[0])
    first, last = round(delta), round(delta + case.verifier.n_frames * float(placed.speeds[0]))
    twins = []
    for place in _first_of_each_track(verified.track_ids)[:N_JUDGED]:
        other = int(verified.track_ids[place])
        shift = round(float(verified.deltas[place]) - delta)
        if other != own and same_recording(constellations[own], constellations[other], shift, first, last):
            twins.append(other)
    return tuple(sorted(twins))


def _first_of_each_track(track_ids: Array) -> list[int]:
    """Return the places where a track is first seen, in order."""
    return sorted(np.unique(track_ids, return_index=True)[1].tolist())
