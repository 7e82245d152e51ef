"""Hits to the answer: vote, verify, decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.confidence import EVIDENCE_WEIGHT, SCALED_EVIDENCE_WEIGHT, confidence
from dejavud.matching.coverage import find_stretch
from dejavud.matching.duplicates import same_recording
from dejavud.matching.verification import Verifier
from dejavud.matching.voting import vote
from dejavud.values import UNSCALED, Alignment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

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

    min_confidence : answers below it are "no match".
    min_coverage, enough_s : so much of the query, or so many seconds of it where that is less, must be explained.  Tracks that share
        samples or a drum machine agree to the bit, but in scattered moments only.
    max_matches : at most so many tracks are named.
    n_candidates : alignments that are verified of a query of a second; a longer query's votes say more, so fewer are.
    n_refined : of those, alignments that are placed to a fraction of a frame.
    """

    min_confidence: float = 0.99
    min_coverage: float = 0.4
    enough_s: float = 3.0
    max_matches: int = 1
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
            evidence_weight=EVIDENCE_WEIGHT if len(scales) == 1 else SCALED_EVIDENCE_WEIGHT,
        )
        rules = self._rules
        min_coverage = min(rules.min_coverage, rules.enough_s / query.duration_s)
        sure: list[Alignment] = []
        for place in _first_of_each_track(verified.track_ids)[:N_JUDGED]:
            answer = self._answer(case, place, {answer.track_id for answer in sure})
            if answer.confidence >= rules.min_confidence and answer.coverage >= min_coverage:
                sure.append(answer)
        return tuple(sorted(sure, key=lambda answer: -answer.score)[: rules.max_matches])

    def _answer(self, case: _Case, place: int, sounding: AbstractSet[int]) -> Alignment:
        """Return a verified candidate judged by the stretch of the query that it explains.

        sounding : tracks that are heard for sure; that they fit better is no doubt of another that sounds with them.
        """
        placed, n_frames = case.verified[np.array([place])], case.verifier.n_frames
        stretch = find_stretch(*case.verifier.agreement(placed, case.constellations), n_frames, self._params)
        log_ratio = case.verifier.log_ratio_within(placed, case.constellations, stretch.first, stretch.last)
        sure = confidence(log_ratio, _NOBODY, case.n_alignments, case.evidence_weight)
        if sure >= self._rules.min_confidence:  # rivals only take away, so what is not sure without them is done with
            sure = confidence(log_ratio, _rivals(case, placed, sounding), case.n_alignments, case.evidence_weight)
        return Alignment(
            track_id=int(placed.track_ids[0]),
            delta_frames=float(placed.deltas[0]),
            speed=float(placed.speeds[0]),
            pitch=float(placed.pitches[0]),
            score=log_ratio,
            confidence=sure,
            coverage=stretch.coverage,
        )


def _rivals(case: _Case, placed: Verified, sounding: AbstractSet[int]) -> Array:
    """Return float64 [n]: the ratios of the alignments with other recordings than that of `placed`, and not yet `sounding`."""
    verified, constellations = case.verified, case.constellations
    own, delta = int(placed.track_ids[0]), float(placed.deltas[0])
    first, last = round(delta), round(delta + case.verifier.n_frames * float(placed.speeds[0]))
    apart = {own, *sounding}
    for place in _first_of_each_track(verified.track_ids)[:N_JUDGED]:
        other = int(verified.track_ids[place])
        shift = round(float(verified.deltas[place]) - delta)
        if other not in apart and same_recording(constellations[own], constellations[other], shift, first, last):
            apart.add(other)
    return verified.log_ratios[~np.isin(verified.track_ids, list(apart))]


def _first_of_each_track(track_ids: Array) -> list[int]:
    """Return the places where a track is first seen, in order."""
    return sorted(np.unique(track_ids, return_index=True)[1].tolist())
