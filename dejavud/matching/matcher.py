"""Hits to the answer: vote, verify, decide."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.confidence import BEYOND_DOUBT_NATS, confidence, evidence_weight, least_agreement
from dejavud.matching.coverage import find_stretch
from dejavud.matching.duplicates import same_recording
from dejavud.matching.verification import Verifier
from dejavud.matching.voting import vote
from dejavud.values import UNSCALED, Alignment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dejavud.fingerprint.params import Params
    from dejavud.matching.coverage import Stretch
    from dejavud.matching.verification import Verified
    from dejavud.placed_hits import AnyHits
    from dejavud.values import Array, Constellation, QueryFingerprint, Scale

    ConstellationReader = Callable[[Sequence[int]], Mapping[int, Constellation]]


MIN_CANDIDATES = 80
"""Candidates of the longest query.  With 120 tracks 40 are enough from two seconds on; the rest is for larger libraries."""

LEAST_CONFIDENCE = 0.5
"""What is surer than this, and not sure enough, is a candidate worth telling."""

N_JUDGED = 8
"""Tracks whose best alignment is judged; those behind them explain the query worse than eight others."""


SHORT_STRETCH = 0.75
"""What explains less of a query than this is weighed again against what chance gives in its stretch alone: beside silence, or the
last notes of another piece, anything that is busy looks like too much for chance."""

NEAR_FRAMES = 2
"""No farther apart, two alignments with one track are one."""

N_QUICK_CANDIDATES, N_QUICK_REFINED = 16, 8
QUICK_DOUBT = 1e-3
"""A first look settles a query when it leaves so little of the doubt that is allowed,"""
QUICK_COVERAGE, QUICK_AGREEMENT, QUICK_EXPLAINED = 0.9, 0.6, 0.8
"""explains nearly all of it, finds that much of the track, and the query's loudest peaks in the track: nothing else sounds with it,"""
QUICK_RIVAL = 0.6
"""and no other place in the library, a repeat in the track itself or another release, explains so many times as much."""

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
    """What is known of a query when its candidates are judged; the last four as `matching.confidence` has them."""

    duration_s: float
    verifier: Verifier
    verified: Verified
    constellations: Mapping[int, Constellation]
    n_alignments: float
    is_scaled: bool
    evidence_weight: float
    least_agreement: float

    def is_beyond_doubt(self, answer: Alignment) -> bool:
        """Return whether the evidence is more than related pieces could bring about."""
        return self.evidence_weight * answer.score - math.log(max(1.0, self.n_alignments)) >= BEYOND_DOUBT_NATS


@dataclass(frozen=True, slots=True)
class _Asked:
    """What `Matcher.match` is called with."""

    query: QueryFingerprint
    hits: AnyHits
    read_constellations: ConstellationReader
    n_index_frames: float
    scales: Sequence[Scale]


def _opened(asked: _Asked, n_candidates: int, n_refined: int) -> _Case | None:
    """Return a query's case with its best candidates verified; None where it has none."""
    query, scales = asked.query, asked.scales
    if not len(asked.hits) or query.evidence.n_frames == 0:
        return None
    candidates = vote(asked.hits, n_candidates)
    constellations = asked.read_constellations(np.unique(candidates.track_ids).tolist())
    verifier = Verifier(query.evidence)
    return _Case(
        query.duration_s,
        verifier,
        verifier.verify(candidates, scales, constellations, n_refined),
        constellations,
        n_alignments=asked.n_index_frames * len(scales),
        is_scaled=len(scales) > 1,
        evidence_weight=evidence_weight(verifier.relief, scaled=len(scales) > 1),
        least_agreement=least_agreement(verifier.relief),
    )


@dataclass(frozen=True, slots=True)
class Considered:
    """What a query may be: the tracks that sound in it, and those of which that is not sure enough; each the surest first."""

    answers: tuple[Alignment, ...] = ()
    candidates: tuple[Alignment, ...] = ()


class Matcher:
    """Turns hits into answers by one set of rules."""

    def __init__(self, params: Params, rules: MatchRules) -> None:
        self._params = params
        self._rules = rules

    def match(
        self,
        query: QueryFingerprint,
        hits: AnyHits,
        read_constellations: ConstellationReader,
        n_index_frames: float,
        scales: Sequence[Scale] = (UNSCALED,),
    ) -> tuple[Alignment, ...]:
        """Return the tracks that sound in the query, the surest first; empty when none is sure enough.

        `hits` are those of `query.hashes`, or of its `scaled_hashes` at these `scales`.

        `read_constellations` is called at most once, with the tracks of the candidates; tracks that it leaves out are not answered.
        `n_index_frames` is how many frames of music the index holds: among more music, chance has more tries.
        """
        return self.consider(query, hits, read_constellations, n_index_frames, scales).answers

    def consider(
        self,
        query: QueryFingerprint,
        hits: AnyHits,
        read_constellations: ConstellationReader,
        n_index_frames: float,
        scales: Sequence[Scale] = (UNSCALED,),
    ) -> Considered:
        """Return what `match` does, and what it was not sure enough of."""
        n_candidates = max(MIN_CANDIDATES, round(self._rules.n_candidates / max(1.0, query.duration_s)))
        asked = _Asked(query, hits, read_constellations, n_index_frames, scales)
        sure, doubtful = self._weighed(_opened(asked, n_candidates, self._rules.n_refined))
        answers = sorted((judged.answer for judged in sure), key=lambda answer: -answer.score)
        candidates = sorted((judged.answer for judged in doubtful), key=lambda answer: -answer.confidence)
        return Considered(tuple(answers[: self._rules.max_matches]), tuple(candidates))

    def match_quickly(
        self,
        query: QueryFingerprint,
        hits: AnyHits,
        read_constellations: ConstellationReader,
        n_index_frames: float,
        scales: Sequence[Scale] = (UNSCALED,),
    ) -> tuple[Alignment, ...]:
        """Return the answer as `match` would give it to the whole fingerprint, where a quick one (`fingerprint_quickly`) settles it.

        Empty where it does not: that the query has to be asked about with everything.
        """
        asked = _Asked(query, hits, read_constellations, n_index_frames, scales)
        case = _opened(asked, N_QUICK_CANDIDATES, N_QUICK_REFINED)
        sure, _ = self._weighed(case)
        if case is None or len(sure) != 1:
            return ()
        [judged] = sure
        answer, doubt = judged.answer, (1.0 - self._rules.min_confidence) * QUICK_DOUBT
        settled = (
            answer.confidence >= 1.0 - doubt
            and answer.coverage >= QUICK_COVERAGE
            and judged.agreement >= QUICK_AGREEMENT
            and case.verifier.explained(query.constellation.most_prominent(1), judged.placed, case.constellations)
            >= QUICK_EXPLAINED
            and _best_elsewhere(case.verified, judged.placed) < QUICK_RIVAL * float(judged.placed.log_ratios[0])
        )
        return (answer,) if settled else ()

    def _weighed(self, case: _Case | None) -> tuple[Sequence[_Judged], Sequence[_Judged]]:
        """Return the tracks that are heard for sure, those that explain most of the query first, and the doubtful ones."""
        if case is None:
            return (), ()
        rules = self._rules
        min_coverage = min(rules.min_coverage, rules.enough_s / case.duration_s)
        sure: list[_Judged] = []
        doubtful: list[_Judged] = []
        for place in _first_of_each_track(case.verified.track_ids)[:N_JUDGED]:
            if int(case.verified.track_ids[place]) in {twin for judged in sure for twin in judged.answer.twins}:
                continue  # it is another release of what is answered already
            judged = self._judge(case, place, sure)
            is_shown = judged.agreement >= case.least_agreement or case.is_beyond_doubt(judged.answer)
            if (
                judged.answer.confidence >= rules.min_confidence
                and judged.answer.coverage >= min_coverage
                and (is_shown or sure)  # what is heard already hides the rest of another
            ):
                sure.append(judged)
            elif judged.answer.confidence >= LEAST_CONFIDENCE:
                doubtful.append(judged)
        return sure, doubtful

    def _judge(self, case: _Case, place: int, sounding: Sequence[_Judged]) -> _Judged:
        """Return a verified candidate judged by the stretch of the query that it explains.

        sounding : tracks that are heard for sure.  That they fit better is no doubt of another that sounds with them, but what they
            explain speaks for them alone.
        """
        placed, verifier = case.verified[np.array([place])], case.verifier
        seen = verifier.sight(placed, case.constellations, [judged.placed for judged in sounding])
        stretch = find_stretch(seen.frames, seen.agree, verifier.n_frames, self._params)
        log_ratio, weight = seen.log_ratio_within(stretch.first, stretch.last), case.evidence_weight
        sure = confidence(log_ratio, _NOBODY, case.n_alignments, weight)
        if sure >= self._rules.min_confidence and 0 < stretch.last - stretch.first < SHORT_STRETCH * verifier.n_frames:
            alone_ratio, alone_weight = _alone(case, placed, stretch, sounding)
            log_ratio, weight = min(log_ratio, alone_ratio), min(weight, alone_weight)
            sure = confidence(log_ratio, _NOBODY, case.n_alignments, weight)
        twins: tuple[int, ...] = ()
        if sure >= min(LEAST_CONFIDENCE, self._rules.min_confidence):  # rivals only take away
            twins = _twins(case, placed)
            apart = {int(placed.track_ids[0]), *twins, *(judged.answer.track_id for judged in sounding)}
            rivals = case.verified.log_ratios[~np.isin(case.verified.track_ids, list(apart))]
            sure = confidence(log_ratio, rivals, case.n_alignments, weight)
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
        return _Judged(answer, placed, seen.agreement_within(stretch.first, stretch.last))


@dataclass(frozen=True, slots=True)
class _Judged:
    """A candidate as it is answered, as it was placed, and the share of its peaks that the query has too."""

    answer: Alignment
    placed: Verified
    agreement: float


def _alone(case: _Case, placed: Verified, stretch: Stretch, sounding: Sequence[_Judged]) -> tuple[float, float]:
    """Return the ratio of `placed`, and what a nat of it is worth, as if the query were the stretch and nothing else."""
    verifier = case.verifier.within(stretch.first, stretch.last)
    moved, *others = (
        replace(one, deltas=one.deltas + stretch.first * one.speeds)
        for one in (placed, *(judged.placed for judged in sounding))
    )
    seen = verifier.sight(moved, case.constellations, others)
    return seen.log_ratio_within(0, verifier.n_frames), evidence_weight(verifier.relief, scaled=case.is_scaled)


def _best_elsewhere(verified: Verified, placed: Verified) -> float:
    """Return the greatest ratio of an alignment with another track or another place in the same."""
    elsewhere = (verified.track_ids != placed.track_ids[0]) | (np.abs(verified.deltas - placed.deltas[0]) > NEAR_FRAMES)
    return float(verified.log_ratios[elsewhere].max(initial=-np.inf))


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
