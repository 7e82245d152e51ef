"""A long recording's parts to its plays: which tracks are heard, from when to when, and where in them.

The recording is worked through in hops of five seconds.  In each, the tracks that are already known to play are followed along their
alignment, which costs next to nothing; the hits that this leaves unexplained vote, and only candidates that stand out from the pack
are verified, by the same `Matcher` that answers queries.  A track that it is sure of is followed backwards, as far as the evidence is
kept, and forwards until it is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.duplicates import MIN_SHARED, shared
from dejavud.matching.trail import HOP_FRAMES, STEP_FRAMES, RecentEvidence, Run, Trail, heard_runs, joined
from dejavud.matching.voting import vote
from dejavud.values import Constellation, Evidence, Hashes, Hits, QueryFingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dejavud.fingerprint.params import Params
    from dejavud.fingerprint.streaming import StreamPart
    from dejavud.values import Alignment, Array

    ConstellationReader = Callable[[Sequence[int]], Mapping[int, Constellation]]
    Match = Callable[[QueryFingerprint, Hits, ConstellationReader, float], tuple[Alignment, ...]]

BACKWARDS_HOPS = 12
"""A minute: so far back a track is followed that was recognized late, from under a voice."""

N_VOTED = 80
PACK_PLACE = 40
"""The votes of the candidate in this place are what chance gives: in ten seconds of unknown music the best has half as many again."""
STANDS_OUT, LEAST_VOTES = 1.5, 6
"""So many times the pack's votes, and at least so many, make a candidate worth verifying."""
N_VERIFIED = 10

NEAR_FRAMES = 3
"""Alignments of one track no further apart than this are one."""
SETTLED = 0.9999
"""From this confidence on a play is taken for granted: what it explains is not asked again."""
OWN_VOTES = 1.25
"""A track that already plays is laid elsewhere only if that explains so many times as much: repeated passages explain as much."""
SAME_SOUND = 0.15
"""Two tracks that are heard at once and have so much in common are one sound, and the better one is named: other mixes of a piece
share a third of their peaks, tracks that have nothing to do with each other a thirtieth."""
STEP_ENOUGH_NATS = 8.0
"""Of two trails of one sound the better one explains more of the recording; only among equals does it matter how well: a
repeated bar may fit another better by half a frame."""
MOSTLY_TAKEN = 0.3
"""A trail of which a stronger one explains more than this is an echo of it, what is left of it too."""
JUMP_SLACK_FRAMES = 31
MIN_GAP_STEPS = 4


@dataclass(frozen=True, slots=True)
class TrackerRules:
    """What counts as one play.

    max_gap_s : a track that goes on after a break no longer than this is the same play, with a gap.
    min_play_s : what is heard for less, and for less than most of its track, is not reported.
    """

    max_gap_s: float = 15.0
    min_play_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Play:
    """A track in a recording.

    first_frame, end_frame : where in the recording it is heard.
    track_first_frame, track_end_frame : where in the track these are.
    confidence : 0 to 1.
    coverage : share of the play in which the track is heard, 0 to 1.
    gaps : of the recording's frames, (first, end) each, in order; inside the play.
    twins : other tracks of the library that hold the same recording.
    """

    track_id: int
    first_frame: int
    end_frame: int
    track_first_frame: int
    track_end_frame: int
    confidence: float
    coverage: float
    gaps: tuple[tuple[int, int], ...]
    twins: tuple[int, ...] = ()


class Tracker:
    """Takes the parts of one recording, in order, and gives its plays as they become final.

    Memory does not grow with the recording, only with how much of it one track can fill.
    """

    def __init__(self, params: Params, rules: TrackerRules, match: Match) -> None:
        self._params = params
        self._match = match
        self._max_gap_steps = max(1, round(rules.max_gap_s * params.frames_per_s / STEP_FRAMES))
        self._min_play_steps = max(1, round(rules.min_play_s * params.frames_per_s / STEP_FRAMES))
        self._recent = RecentEvidence(params.bin_min, params.bin_max - params.bin_min, BACKWARDS_HOPS)
        self._hits = _no_hits()
        self._at = 0  # frames that have been worked through
        self._trails: list[Trail] = []
        self._lost: list[_Heard] = []  # that may still compete with a trail
        self._played_until: dict[int, int] = {}  # by track, the step up to which its plays have been given

    def feed(
        self, part: StreamPart, hits: Hits, read_constellations: ConstellationReader, n_index_frames: float
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

    def sounding(self) -> list[Play]:
        """Return the plays that are not final yet, as far as they are known."""
        heard = [self._heard(trail) for trail in self._trails]
        return _sorted([play for one in heard for play in self._plays(one, [*heard, *self._lost])])

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
        standing_out = self._standing_out(hits, first)
        if not len(standing_out):
            return
        evidence = Evidence(self._recent.depths(first, end)[None], self._params.bin_min)
        query = QueryFingerprint(
            Hashes.concatenate([]), _NO_PEAKS, evidence, self._params.frames_to_seconds(end - first)
        )
        for answer in self._match(query, standing_out, read, n_index_frames):
            delta = round(answer.delta_frames) - first
            track = read([answer.track_id]).get(answer.track_id)
            if track is not None:
                self._note(answer.track_id, track, delta, answer.confidence)

    def _hits_between(self, first: int, end: int) -> Hits:
        """Return the hits of the frames [first, end), borders of hops, counted from `first`."""
        hops = (first // HOP_FRAMES, -(-end // HOP_FRAMES))
        window = slice(*np.searchsorted(self._hits.query_offsets // HOP_FRAMES, hops))
        hits = _which(self._hits, window)
        return Hits(hits.query_offsets - first, hits.track_ids, hits.track_offsets)

    def _standing_out(self, hits: Hits, first: int) -> Hits:
        """Return the hits of the candidates that are worth verifying; `first` is the window's frame."""
        deltas = hits.track_offsets - hits.query_offsets
        explained = np.zeros(len(hits), bool)
        n_own: dict[int, int] = {}
        for trail in self._trails:
            if trail.confidence >= SETTLED:
                own = (hits.track_ids == trail.track_id) & (np.abs(deltas - (trail.delta + first)) <= NEAR_FRAMES)
                explained |= own
                n_own[trail.track_id] = max(n_own.get(trail.track_id, 0), int(np.count_nonzero(own)))
        left = _which(hits, ~explained)
        if not len(left):
            return left
        candidates = vote(left, N_VOTED)
        pack = candidates.votes[min(PACK_PLACE, len(candidates) - 1)] if len(candidates) > PACK_PLACE else 0.0
        own_votes = np.array([n_own.get(track_id, 0) for track_id in candidates.track_ids.tolist()])
        good = candidates.votes >= np.maximum(max(LEAST_VOTES, STANDS_OUT * pack), OWN_VOTES * own_votes)
        chosen = np.flatnonzero(good)[:N_VERIFIED]
        keys = candidates.track_ids[chosen] << _DELTA_BITS | candidates.deltas[chosen] + _DELTA_ZERO
        of_hits = left.track_ids.astype(np.int64) << _DELTA_BITS | deltas[~explained] + _DELTA_ZERO
        return _which(left, np.isin(of_hits, keys))

    def _note(self, track_id: int, track: Constellation, delta: int, confidence: float) -> None:
        """Take note that a track is heard: of one that is followed, or was a moment ago, or begins."""
        own = [trail for trail in self._trails if trail.track_id == track_id]
        for trail in own:
            if abs(trail.delta - delta) <= NEAR_FRAMES:
                trail.confidence = max(trail.confidence, confidence)
                return
        since = self._played_until.get(track_id, 0) * STEP_FRAMES
        begun = Trail(track_id, track, delta, self._recent, since=since, end=self._at)
        begun.confidence = confidence
        runs = heard_runs(begun.steps().log_ratios())
        if not runs:
            return
        resumed_step = begun.first_step + joined(runs, self._max_gap_steps)[-1].first
        for trail in own:
            if self._goes_on(trail, delta, resumed_step):
                trail.jump(delta, self._recent, resumed_step * STEP_FRAMES)
                trail.confidence = max(trail.confidence, confidence)
                return
        self._trails.append(begun)

    def _goes_on(self, trail: Trail, delta: int, resumed_step: int) -> bool:
        """Tell whether a track that is heard at `delta` from `resumed_step` on is the play of `trail`, which was interrupted."""
        last = trail.last_heard(self._max_gap_steps + trail.end_step - resumed_step + 8)
        if last is None or not last < resumed_step <= last + self._max_gap_steps:
            return False
        left_at, resumed_at = last * STEP_FRAMES + trail.delta, resumed_step * STEP_FRAMES + delta
        return resumed_at >= left_at - JUMP_SLACK_FRAMES

    # -- losing them ------------------------------------------------------------------------------------------------

    def _is_lost(self, trail: Trail) -> bool:
        last = trail.last_heard(2 * self._max_gap_steps)
        return last is None or trail.end_step - last > self._max_gap_steps

    def _close(self, trails: Sequence[Trail]) -> list[Play]:
        """Stop following `trails` and return their plays."""
        if not trails:
            return []
        closing = [self._heard(trail) for trail in trails]
        self._trails = [trail for trail in self._trails if trail not in trails]
        rivals = [*closing, *self._lost, *(self._heard(trail) for trail in self._trails)]
        plays = [play for one in closing for play in self._plays(one, rivals)]
        self._played_until |= {play.track_id: play.end_frame // STEP_FRAMES for play in plays}
        oldest = self._recent.first_frame // STEP_FRAMES
        self._played_until = {track_id: step for track_id, step in self._played_until.items() if step > oldest}
        since = min((trail.first_step for trail in self._trails), default=self._at // STEP_FRAMES)
        self._lost = [one for one in (*self._lost, *closing) if one.first_step + len(one.mask) > since]
        return _sorted(plays)

    def _heard(self, trail: Trail) -> _Heard:
        steps = trail.steps()
        ratios = steps.log_ratios()
        mask = np.zeros(len(ratios), bool)
        for run in heard_runs(ratios):
            mask[run.first : run.end] = True
        heard = ratios[mask]
        strength = float(np.minimum(heard, STEP_ENOUGH_NATS).sum() + 0.01 * heard.sum())
        return _Heard(trail, trail.first_step, mask, strength, steps.deltas, steps.n_peaks)

    def _plays(self, one: _Heard, others: Sequence[_Heard]) -> list[Play]:
        """Return the plays that `one` is: what no stronger trail of the same sound explains, cut where the breaks are too long."""
        taken = np.zeros(len(one.mask), bool)
        twins: set[int] = set()
        for other in others:
            if other.trail is one.trail:
                continue
            is_stronger = (other.strength, -other.trail.track_id) > (one.strength, -one.trail.track_id)
            for meeting in _meetings(one, other):
                if meeting.kinship >= SAME_SOUND and is_stronger:
                    taken[meeting.first - one.first_step : meeting.end - one.first_step] = True
                elif meeting.kinship >= MIN_SHARED and other.trail.track_id != one.trail.track_id:
                    twins.add(other.trail.track_id)
        if np.count_nonzero(taken & one.mask) > MOSTLY_TAKEN * np.count_nonzero(one.mask):
            return []
        runs = _runs_of(one.mask & ~taken)
        plays = []
        for span in joined(runs, self._max_gap_steps):
            inside = [run for run in runs if span.first <= run.first and run.end <= span.end]
            n_heard = sum(map(len, inside))
            if n_heard >= min(self._min_play_steps, 0.8 * one.trail.track.n_frames / STEP_FRAMES):
                plays.append(self._play(one, span, joined(inside, MIN_GAP_STEPS), tuple(sorted(twins))))
        return plays

    def _play(self, one: _Heard, span: Run, inside: Sequence[Run], twins: tuple[int, ...]) -> Play:
        """Return the play that the steps `span` are, of which `inside` are heard."""
        first, end = (one.first_step + span.first) * STEP_FRAMES, (one.first_step + span.end) * STEP_FRAMES
        first_delta, end_delta = int(one.deltas[span.first]), int(one.deltas[span.end - 1])
        gaps = tuple(
            ((one.first_step + a.end) * STEP_FRAMES, (one.first_step + b.first) * STEP_FRAMES)
            for a, b in pairwise(inside)
        )
        # where only silence lies between what is heard and the track's own beginning or end, it is part of the play
        if not one.n_peaks[: span.first].any() and first + first_delta > 0:
            first = max(0, -first_delta, first - self._min_play_steps * STEP_FRAMES)
        end = min(end, one.trail.end_frame)
        if not one.n_peaks[span.end :].any():
            end = min(
                one.trail.end_frame, one.trail.track.n_frames - end_delta, end + self._min_play_steps * STEP_FRAMES
            )
        missing = sum(b - a for a, b in gaps)
        return Play(
            track_id=one.trail.track_id,
            first_frame=first,
            end_frame=end,
            track_first_frame=first + first_delta,
            track_end_frame=min(end + end_delta, one.trail.track.n_frames),
            confidence=one.trail.confidence,
            coverage=1.0 - missing / max(1, end - first),
            gaps=gaps,
            twins=twins,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """A trail and where its track was heard.

    first_step : of the recording; mask : bool [n], whether the track is heard in each step from there; strength : for ranking.
    deltas, n_peaks : of the steps.
    """

    trail: Trail
    first_step: int
    mask: Array
    strength: float
    deltas: Array
    n_peaks: Array

    def overlap(self, other: _Heard) -> tuple[int, int]:
        """Return the steps [low, high) of the recording that both have; low is not below high where there are none."""
        return (
            max(self.first_step, other.first_step),
            min(self.first_step + len(self.mask), other.first_step + len(other.mask)),
        )


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Steps [first, end) of the recording in which two trails lie beside each other at one shift, and what they have in common there, 0 to 1."""

    first: int
    end: int
    kinship: float


def _meetings(one: _Heard, other: _Heard) -> list[_Meeting]:
    """Return where two trails are heard at once: kinship is 1 of one track laid twice, else the share of peaks that both tracks have."""
    low, high = one.overlap(other)
    if low >= high:
        return []
    mine, theirs = (
        slice(low - one.first_step, high - one.first_step),
        slice(low - other.first_step, high - other.first_step),
    )
    both = np.flatnonzero(one.mask[mine] & other.mask[theirs])
    if not len(both):
        return []
    shifts = (other.deltas[theirs] - one.deltas[mine])[both]
    meetings = []
    for steps in np.split(both, np.flatnonzero(np.abs(np.diff(shifts)) > NEAR_FRAMES) + 1):
        first, end = low + int(steps[0]), low + int(steps[-1]) + 1
        kinship = 1.0
        if one.trail.track_id != other.trail.track_id:
            own, others = int(one.deltas[first - one.first_step]), int(other.deltas[first - other.first_step])
            span = first * STEP_FRAMES + own, end * STEP_FRAMES + own
            kinship = shared(one.trail.track, other.trail.track, others - own, *span)
        meetings.append(_Meeting(first, end, kinship))
    return meetings


def _runs_of(mask: Array) -> list[Run]:
    borders = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [Run(int(first), int(end)) for first, end in borders.reshape(-1, 2)]


def _sorted(plays: list[Play]) -> list[Play]:
    return sorted(plays, key=lambda play: (play.first_frame, play.track_id))


_DELTA_BITS = 32
_DELTA_ZERO = 1 << 30
_NO_PEAKS = Constellation(np.empty(0), np.empty(0), 0, np.empty(0))


def _no_hits() -> Hits:
    return Hits(np.empty(0), np.empty(0), np.empty(0))


def _which(hits: Hits, which: Array | slice) -> Hits:
    return Hits(hits.query_offsets[which], hits.track_ids[which], hits.track_offsets[which])


def _concatenated(one: Hits, other: Hits) -> Hits:
    return Hits(
        np.concatenate([one.query_offsets, other.query_offsets]),
        np.concatenate([one.track_ids, other.track_ids]),
        np.concatenate([one.track_offsets, other.track_offsets]),
    )


def _in_order_of_hops(hits: Hits) -> Hits:
    """Return `hits` hop by hop; numpy sorts 16 bits in a tenth of the time that 32 take."""
    hops = hits.query_offsets // HOP_FRAMES
    return _which(hits, np.argsort((hops - hops.min(initial=0)).astype(np.uint16), kind="stable"))
