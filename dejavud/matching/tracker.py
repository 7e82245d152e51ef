"""A long recording's parts to its plays: which tracks are heard, from when to when, and where in them.

The recording is worked through in hops of five seconds.  In each, the tracks that are already known to play are followed along their
alignment, which costs next to nothing; the hits that this leaves unexplained vote, and only candidates that stand out from the pack
are verified, by the same `Matcher` that answers queries.  A track that it is sure of is followed backwards, as far as the evidence is
kept, and forwards until it is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.evidence import HOP_FRAMES, STEP_FRAMES, RecentEvidence
from dejavud.matching.plays import Heard, Limits, Play, plays_of
from dejavud.matching.trail import NEAR_FRAMES, Trail, heard_runs, joined
from dejavud.matching.voting import vote
from dejavud.values import Constellation, Evidence, Hashes, Hits, QueryFingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dejavud.fingerprint.params import Params
    from dejavud.fingerprint.streaming import StreamPart
    from dejavud.matching.trail import Run
    from dejavud.matching.voting import Candidates
    from dejavud.placed_hits import AnyHits
    from dejavud.values import Alignment, Array

    ConstellationReader = Callable[[Sequence[int]], Mapping[int, Constellation]]
    Match = Callable[[QueryFingerprint, AnyHits, ConstellationReader, float], tuple[Alignment, ...]]

BACKWARDS_HOPS = 12
"""A minute: so far back a track is followed that was recognized late, from under a voice."""

N_VOTED = 80
PACK_PLACE = 40
"""The votes of the candidate in this place are what chance gives: in ten seconds of unknown music the best has half as many again."""
STANDS_OUT, LEAST_VOTES = 2.0, 8
"""So many times the pack's votes, and at least so many, make a candidate worth verifying: a track that plays has ten times the pack's, under
noise at 0 dB three times.  With 1.5 and 6 four times as many windows are verified and, under noise at -3 dB too, no more plays found."""
N_VERIFIED = 10

SETTLED = 0.9999
"""From this confidence on a play is taken for granted: what it explains is not asked again."""
OWN_VOTES = 1.25
"""A track that already plays is laid elsewhere only if that explains so many times as much: repeated passages explain as much."""
AS_MUCH = 0.95
"""Of two places in one track that explain so much of what the other does neither is better."""
JUMP_SLACK_FRAMES = 125
"""Four seconds: a track that goes on so little before where it was left goes on, one that goes further back is played again.  Chance may
have it heard for a few seconds more than it was."""


@dataclass(frozen=True, slots=True)
class TrackerRules:
    """What counts as one play.

    max_gap_s : a track that goes on after a break no longer than this is the same play, with a gap.
    min_play_s : what is heard for less, and for less than most of its track, is not reported.
    """

    max_gap_s: float = 15.0
    min_play_s: float = 3.0


class Tracker:
    """Takes the parts of one recording, in order, and gives its plays as they become final.

    Memory does not grow with the recording, only with how much of it one track can fill.
    """

    def __init__(self, params: Params, rules: TrackerRules, match: Match) -> None:
        self._params = params
        self._match = match
        steps_per_s = params.frames_per_s / STEP_FRAMES
        self._limits = Limits(
            max(1, round(rules.max_gap_s * steps_per_s)), max(1, round(rules.min_play_s * steps_per_s))
        )
        self._recent = RecentEvidence(params.bin_min, params.bin_max - params.bin_min, BACKWARDS_HOPS + 1)
        self._hits = _no_hits()
        self._at = 0  # frames that have been worked through
        self._trails: list[Trail] = []
        self._lost: list[Heard] = []  # that may still compete with a trail
        self._played_until: dict[int, int] = {}  # by track, the step up to which its plays have been given

    def feed(
        self, part: StreamPart, hits: AnyHits, read_constellations: ConstellationReader, n_index_frames: float
    ) -> list[Play]:
        """Return the plays that became final with `part`; `hits` are those of its hashes.

        `read_constellations` and `n_index_frames` are what `Matcher.match` takes.
        """
        self._recent.append(part.depths, self._at)
        kept = self._hits.query_offsets >= self._at - HOP_FRAMES
        self._hits = _concatenated(_which(self._hits, kept), _in_order_of_hops(hits))
        plays = []
        while self._recent.end_frame - self._at >= HOP_FRAMES:
            plays += self._hop(self._at + HOP_FRAMES, read_constellations, n_index_frames)
        return plays

    def finish(self, read_constellations: ConstellationReader, n_index_frames: float) -> list[Play]:
        """Return the plays that were still going on at the recording's end."""
        plays = []
        if self._recent.end_frame > self._at:
            plays += self._hop(self._recent.end_frame, read_constellations, n_index_frames)
        return plays + self._close(self._trails)

    @property
    def end_frame(self) -> int:
        """Return the frame up to which the recording has been worked through."""
        return self._at

    def sounding(self) -> list[Play]:
        """Return the plays that are not final yet, as far as they are known."""
        heard = [Heard(trail) for trail in self._trails]
        return _sorted([play for one in heard for play in plays_of(one, [*heard, *self._lost], self._limits)])

    def _hop(self, end: int, read: ConstellationReader, n_index_frames: float) -> list[Play]:
        first, self._at = self._at, end
        for trail in self._trails:
            trail.follow(self._recent, end)
        self._seek(max(0, first - HOP_FRAMES), end, read, n_index_frames)
        return self._close([trail for trail in self._trails if self._is_lost(trail)])

    # -- finding tracks ---------------------------------------------------------------------------------------------

    def _seek(self, first: int, end: int, read: ConstellationReader, n_index_frames: float) -> None:
        """Find the tracks that sound in a window of the recording and are not followed yet."""
        hits = self._hits_between(first, end)
        candidates, standing_out = self._standing_out(hits, first)
        if not len(standing_out):
            return
        evidence = Evidence(self._recent.depths(first, end)[None], self._params.bin_min)
        query = QueryFingerprint(
            Hashes.concatenate([]), _NO_PEAKS, evidence, self._params.frames_to_seconds(end - first)
        )
        for answer in self._match(query, standing_out, read, n_index_frames):
            track = read([answer.track_id]).get(answer.track_id)
            if track is not None:
                places = candidates.deltas[candidates.track_ids == answer.track_id] - first
                self._note(answer, track, round(answer.delta_frames) - first, places.tolist())

    def _hits_between(self, first: int, end: int) -> Hits:
        """Return the hits of the frames [first, end), borders of hops, counted from `first`."""
        hops = (first // HOP_FRAMES, -(-end // HOP_FRAMES))
        window = slice(*np.searchsorted(self._hits.query_offsets // HOP_FRAMES, hops))
        hits = _which(self._hits, window)
        return Hits(hits.query_offsets - first, hits.track_ids, hits.track_offsets)

    def _standing_out(self, hits: Hits, first: int) -> tuple[Candidates, Hits]:
        """Return the candidates that stand out, and the hits of those that are verified; `first` is the window's frame."""
        deltas = hits.track_offsets - hits.query_offsets
        explained = np.zeros(len(hits), bool)
        n_own: dict[int, int] = {}
        for trail in self._trails:
            if trail.confidence >= SETTLED:
                own = (hits.track_ids == trail.track_id) & (np.abs(deltas - (trail.delta + first)) <= NEAR_FRAMES)
                explained |= own
                n_own[trail.track_id] = max(n_own.get(trail.track_id, 0), int(np.count_nonzero(own)))
        left = _which(hits, ~explained)
        candidates = vote(left, N_VOTED)
        pack = candidates.votes[PACK_PLACE] if len(candidates) > PACK_PLACE else 0.0
        own_votes = np.array([n_own.get(track_id, 0) for track_id in candidates.track_ids.tolist()])
        good = candidates[candidates.votes >= np.maximum(max(LEAST_VOTES, STANDS_OUT * pack), OWN_VOTES * own_votes)]
        keys = (good.track_ids << _DELTA_BITS | good.deltas + _DELTA_ZERO)[:N_VERIFIED]
        of_hits = left.track_ids.astype(np.int64) << _DELTA_BITS | deltas[~explained] + _DELTA_ZERO
        return good, _which(left, np.isin(of_hits, keys))

    def _note(self, answer: Alignment, track: Constellation, delta: int, places: Sequence[int]) -> None:
        """Take note that a track is heard: one that is followed, or was a moment ago, or begins.

        delta : where in it, the best of all `places` at which it stands out.
        """
        own = [trail for trail in self._trails if trail.track_id == answer.track_id]
        for trail in own:
            if abs(trail.delta - delta) <= NEAR_FRAMES:
                trail.confirm(answer.confidence, answer.twins)
                return
        since = max(self._played_until.get(answer.track_id, 0) * STEP_FRAMES, self._at - BACKWARDS_HOPS * HOP_FRAMES)
        begun = self._begun(answer, track, {delta, *places}, since)
        for trail, runs in begun:
            resumed_step = trail.first_step + joined(runs, self._limits.max_gap)[-1].first
            for before in own:
                if self._goes_on(before, trail.delta, resumed_step):
                    before.jump(trail.delta, self._recent, resumed_step * STEP_FRAMES)
                    before.confirm(answer.confidence, answer.twins)
                    return
        self._trails += [trail for trail, _ in begun[:1]]

    def _begun(
        self, answer: Alignment, track: Constellation, places: Iterable[int], since: int
    ) -> list[tuple[Trail, list[Run]]]:
        """Return the trails at those places of a track that explain as much as any, and where it is heard, the earliest first; none where nothing is.

        A loop fits the track at each of its turns; what plays from the second one on would be over one turn too early.
        """
        trails = [
            Trail(answer.track_id, track, place, self._recent, since=since, end=self._at) for place in sorted(places)
        ]
        heard = [(trail, heard_runs(trail.steps().log_ratios)) for trail in trails]
        most = max(sum(map(len, runs)) for _, runs in heard)
        best = [(trail, runs) for trail, runs in heard if sum(map(len, runs)) >= max(1.0, AS_MUCH * most)]
        for trail, _ in best:
            trail.confirm(answer.confidence, answer.twins)
        return best

    def _goes_on(self, trail: Trail, delta: int, resumed_step: int) -> bool:
        """Tell whether a track that is heard at `delta` from `resumed_step` on is the play of `trail`, which was interrupted."""
        last = trail.last_heard(self._limits.max_gap + trail.end_step - resumed_step + 8)
        if last is None or not last < resumed_step <= last + self._limits.max_gap:
            return False
        left_at, resumed_at = last * STEP_FRAMES + trail.delta, resumed_step * STEP_FRAMES + delta
        return resumed_at >= left_at - JUMP_SLACK_FRAMES

    # -- losing them ------------------------------------------------------------------------------------------------

    def _is_lost(self, trail: Trail) -> bool:
        last = trail.last_heard(2 * self._limits.max_gap)
        return last is None or trail.end_step - last > self._limits.max_gap

    def _close(self, trails: Sequence[Trail]) -> list[Play]:
        """Stop following `trails` and return their plays."""
        if not trails:
            return []
        closing = [Heard(trail) for trail in trails]
        self._trails = [trail for trail in self._trails if trail not in trails]
        rivals = [*closing, *self._lost, *map(Heard, self._trails)]
        plays = [play for one in closing for play in plays_of(one, rivals, self._limits)]
        self._played_until |= {play.track_id: play.end_frame // STEP_FRAMES for play in plays}
        oldest = (self._at - BACKWARDS_HOPS * HOP_FRAMES) // STEP_FRAMES
        self._played_until = {track_id: step for track_id, step in self._played_until.items() if step > oldest}
        since = min((trail.first_step for trail in self._trails), default=self._at // STEP_FRAMES)
        self._lost = [one for one in (*self._lost, *closing) if one.end_step > since]
        return _sorted(plays)


def _sorted(plays: list[Play]) -> list[Play]:
    return sorted(plays, key=lambda play: (play.first_frame, play.track_id))


_DELTA_BITS = 32
_DELTA_ZERO = 1 << 30
_NO_PEAKS = Constellation(np.empty(0), np.empty(0), 0, np.empty(0))


def _no_hits() -> Hits:
    return Hits(np.empty(0), np.empty(0), np.empty(0))


def _which(hits: AnyHits, which: Array | slice) -> Hits:
    return Hits(hits.query_offsets[which], hits.track_ids[which], hits.track_offsets[which])


def _concatenated(one: Hits, other: Hits) -> Hits:
    return Hits(
        np.concatenate([one.query_offsets, other.query_offsets]),
        np.concatenate([one.track_ids, other.track_ids]),
        np.concatenate([one.track_offsets, other.track_offsets]),
    )


def _in_order_of_hops(hits: AnyHits) -> Hits:
    """Return `hits` hop by hop; numpy sorts 16 bits in a tenth of the time that 32 take."""
    hops = hits.query_offsets // HOP_FRAMES
    return _which(hits, np.argsort((hops - hops.min(initial=0)).astype(np.uint16), kind="stable"))
