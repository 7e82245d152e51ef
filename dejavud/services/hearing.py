"""What one listener hears, second by second, to plays that start, are refined and end.

Two looks at the same sound.  The tracker keeps the exact record, some ten seconds late.  Until it knows, the last seconds are asked about as a query is,
unless a play that is known explains them: that says quickly that a track plays.  Each play is told once, whichever of the two finds it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from dejavud.matching.evidence import HOP_FRAMES, STEP_FRAMES, RecentEvidence
from dejavud.matching.tracker import JUMP_SLACK_FRAMES, Tracker
from dejavud.matching.verification import SILENT_DEPTH
from dejavud.services.heard_peaks import RecentPeaks
from dejavud.services.heard_plays import NEAR_FRAMES, Candidate, Change, HeardPlay, last_delta, placed
from dejavud.services.listen_jobs import TICK_FRAMES, moved
from dejavud.values import Hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dejavud.fingerprint.params import Params
    from dejavud.fingerprint.streaming import StreamPart
    from dejavud.index.base import Index
    from dejavud.matching.plays import Play
    from dejavud.matching.tracker import ConstellationReader, TrackerRules
    from dejavud.placed_hits import AnyHits
    from dejavud.services.constellations import ConstellationCache
    from dejavud.services.listen_jobs import Look, Sound
    from dejavud.services.profiles import Considering
    from dejavud.values import Alignment, QueryFingerprint

RECENT_STEPS, EXPLAINED_NATS = 5, 8.0
"""A play explains what sounds now when the last second and a quarter is so much likelier with it than by chance."""
BEYOND_DOUBT = 1e-12
"""What leaves so little doubt is told at once; what leaves more, when the next second says the same.  The first second and a half of a track leaves
far less; of three hours of music that was not in a library of ten thousand tracks two looks left between 1e-7 and 1e-8."""
AGAIN_FRAMES = 4 * TICK_FRAMES
"""What was thought of so long ago is thought of no more."""
YOUNG_FRAMES = 15 * TICK_FRAMES
"""So long a track may turn out to be at another of its repetitions."""
SLACK_FRAMES = TICK_FRAMES
LOOK_SLACK_FRAMES = JUMP_SLACK_FRAMES
"""A track that goes on so little before where it was left goes on; looks know to a second where that was."""
OVER_FRAMES = 3 * TICK_FRAMES
"""So long after its track's last note a play has ended, unless the track was found to lie elsewhere."""
TRUSTED_FRAMES = 2 * TICK_FRAMES
"""Looks know to so much where a play begins and ends."""
MOVED_FRAMES = 16
"""Half a second: what changes a play by more is told."""
LONGEST_FILL_FRAMES = 4096


@dataclass(frozen=True, slots=True)
class _Thought:
    """A track that may play, and when it was thought of.  is_sure : as an answer to a query is."""

    track_id: int
    delta: int
    frame: int
    confidence: float
    is_sure: bool


@dataclass(frozen=True, slots=True)
class Library:
    """What is asked.  consider : `dejavud.matching.matcher.Matcher.consider`; lookup_s : for one look-up."""

    index: Index
    constellations: ConstellationCache
    consider: Considering
    lookup_s: float

    def match(
        self, query: QueryFingerprint, hits: AnyHits, read: ConstellationReader, n_frames: float
    ) -> tuple[Alignment, ...]:
        """Return the tracks that sound in a query."""
        return self.consider(query, hits, read, n_frames).answers

    def n_frames(self, params: Params) -> float:
        """Return how many frames of music the index holds."""
        return self.index.statistics().duration_s * params.frames_per_s


@dataclass(slots=True)
class Hearing:
    """Follows one listener's sound.  For one thread at a time; everything here may block.

    ids : numbers for plays, unique in the daemon's life.  recent : what was heard lately, for whoever looks.
    """

    params: Params
    rules: TrackerRules
    library: Library
    ids: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)
    plays: list[HeardPlay] = field(default_factory=list)
    recent: RecentPeaks = field(default_factory=RecentPeaks)
    _ended: list[HeardPlay] = field(default_factory=list)
    _thoughts: list[_Thought] = field(default_factory=list)
    _tracker: Tracker | None = None
    _origin: int = 0  # the tracker's frame 0 on the listener's clock
    _heard_to: int = 0  # the listener's frame up to which anything has been heard
    _tracked_to: int = 0  # the listener's frame up to which the tracker has heard
    _sounding: set[int] = field(default_factory=set)  # tracks that the tracker follows
    _changes: list[Change] = field(default_factory=list)

    def hear(self, sound: Sound, base: int) -> list[Change]:
        """Return what `sound` makes known; its frame 0 is `base` on the listener's clock, which never goes back."""
        end = self._heard_to = base + sound.end_frame
        self.recent.note(sound, base)
        for look in sound.looks:
            self._look(look, base + look.first_frame)
        for part in sound.parts:
            self._fill(base + part.first_frame)
            self._feed(moved(part, base))
        if sound.is_silent and end - self._tracked_to >= HOP_FRAMES:
            self._fill(end)
        self._end_what_is_over(end)
        self._expire(self._tracked_to)
        return self._taken()

    def finish(self) -> list[Change]:
        """End every play: the source is gone for longer than a play may pause."""
        if self._tracker is not None:
            final = self._tracker.finish(self.library.constellations.read, self.library.n_frames(self.params))
            self._tie(self._placed(final), ())
            self._tracker = None
        self._expire(None)
        return self._taken()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Return the tracks that may sound just now, as the last looks have it, the likeliest first."""
        playing = {track_id for play in self.plays for track_id in (play.track_id, *play.twins)}
        best: dict[int, float] = {}
        for thought in self._thoughts:
            if self._heard_to - thought.frame <= AGAIN_FRAMES and thought.track_id not in playing:
                best[thought.track_id] = thought.confidence
        return tuple(Candidate(*one) for one in sorted(best.items(), key=lambda one: -one[1]))

    @property
    def max_gap_frames(self) -> int:
        """Return how long a play may pause."""
        return round(self.rules.max_gap_s * self.params.frames_per_s)

    def _taken(self) -> list[Change]:
        changes, self._changes = self._changes, []
        return changes

    def _tell(self, kind: Literal["started", "updated", "ended"], play: HeardPlay) -> None:
        self._changes.append(Change(kind, play))

    # -- quickly ----------------------------------------------------------------------------------------------------

    def _look(self, look: Look, first: int) -> None:
        """Ask about the last few seconds, unless a play that is known explains them."""
        n_frames = look.query.evidence.n_frames
        end = first + n_frames
        if not n_frames or self._is_explained(look, first, end):
            return
        library = self.library
        hits = library.index.lookup(look.query.hashes, timeout_s=library.lookup_s)
        if not len(hits):
            return
        read, n_index_frames = library.constellations.read, library.n_frames(self.params)
        considered = library.consider(look.query, hits, read, n_index_frames)
        for doubtful in considered.candidates:
            self._think(doubtful, first, is_sure=False)
        for place, answer in enumerate(considered.answers):
            self._answered(answer, first, is_first=place == 0)

    def _is_explained(self, look: Look, first: int, end: int) -> bool:
        """Tell whether a play that is known is what sounds at the end of a look; up to where it does, it has been seen."""
        explained = False
        evidence = RecentEvidence(self.params.bin_min, self.params.bin_max - self.params.bin_min, 1)
        evidence.append(look.query.evidence.depths[0], 0)
        tracks = self.library.constellations.read([play.track_id for play in self.plays])
        for play in self.plays:
            if play.track_id in tracks:
                laid = evidence.lay(tracks[play.track_id], play.delta + first, 0, end - first)
                ratios = laid.steps().log_ratios
                if ratios[-RECENT_STEPS:].sum() >= EXPLAINED_NATS:
                    play.see(min(end, first + STEP_FRAMES * (1 + int(np.argmax(np.cumsum(ratios))))))
                    explained = True
        return explained

    def _answered(self, answer: Alignment, first: int, *, is_first: bool) -> None:
        """Take note of a track that sounds in a look that begins at the frame `first`.

        is_first : it explains most of the look; what explains the rest is told when a second look agrees.
        """
        delta, end = round(answer.delta_frames) - first, first + round(answer.last_frame)
        begun = max(first + round(answer.first_frame), -delta)
        if any(
            play.is_of(answer.track_id, answer.twins) and play.lies_at(delta) and begun < play.seen_frame
            for play in self._ended
        ):
            return  # a long look still sees what has ended
        for play in self.plays:
            if play.is_of(answer.track_id, answer.twins) and self._is_again(play, answer.track_id, delta, begun, end):
                return
        is_new = all(play.track_id != answer.track_id for play in self.plays)
        sure_by_itself = is_first and is_new and 1.0 - answer.confidence <= BEYOND_DOUBT
        if sure_by_itself or self._was_thought_of(answer, delta, end):
            confidence = float(answer.confidence)
            play = HeardPlay(self.ids(), answer.track_id, delta, begun, end, confidence, answer.twins, end)
            self.plays.append(play)
            self._tell("started", play)
        else:
            self._think(answer, first, is_sure=True)

    def _was_thought_of(self, answer: Alignment, delta: int, end: int) -> bool:
        """Tell whether an earlier look said the same."""
        return any(
            thought.is_sure
            and thought.track_id == answer.track_id
            and abs(thought.delta - delta) <= NEAR_FRAMES
            and end - AGAIN_FRAMES <= thought.frame < end
            for thought in self._thoughts
        )

    def _think(self, answer: Alignment, first: int, *, is_sure: bool) -> None:
        """Keep in mind what a look that begins at the frame `first` says."""
        frame = first + round(answer.last_frame)
        thought = _Thought(
            answer.track_id, round(answer.delta_frames) - first, frame, float(answer.confidence), is_sure
        )
        self._thoughts = [*(one for one in self._thoughts if frame - one.frame <= AGAIN_FRAMES), thought]

    def _is_again(self, play: HeardPlay, track_id: int, delta: int, begun: int, end: int) -> bool:
        """Tell whether what was heard from `begun` to `end` is `play`, which then goes on there."""
        is_soon = begun - play.seen_frame <= self.max_gap_frames
        if track_id == play.track_id and abs(delta - play.delta) > NEAR_FRAMES:
            goes_on = delta + begun >= play.track_seen_frame - LOOK_SLACK_FRAMES
            is_young = not play.records and end - play.first_frame <= YOUNG_FRAMES
            if not (is_young or (is_soon and (goes_on or play.lies_at(delta)))):
                return is_soon  # a repetition of what goes on, or the track from elsewhere: the tracker tells which
            play.lay(delta)
        elif track_id != play.track_id and not is_soon:
            return False
        play.see(end)
        return True

    # -- exactly ----------------------------------------------------------------------------------------------------

    def _fill(self, end: int) -> None:
        """Have the tracker hear silence up to `end`: the source was silent, or away."""
        from dejavud.fingerprint.streaming import StreamPart  # noqa: PLC0415 - scipy, which the daemon starts without

        if self._tracker is None:
            self._origin = self._tracked_to = end
            self._tracker = Tracker(self.params, self.rules, self.library.match)
        while self._tracked_to < end:
            n_frames = min(end - self._tracked_to, LONGEST_FILL_FRAMES)
            depths = np.full((n_frames, self.params.bin_max - self.params.bin_min), SILENT_DEPTH, np.uint8)
            self._feed(StreamPart(self._tracked_to, depths, Hashes.concatenate([])))

    def _feed(self, part: StreamPart) -> None:
        """Have the tracker hear `part`, on the listener's clock."""
        assert self._tracker is not None  # noqa: S101 - _fill has made it
        skipped = self._tracked_to - part.first_frame
        if skipped > 0:
            return  # the source's clock went back: it has been heard
        own = moved(part, -self._origin)
        hits = self.library.index.lookup(own.hashes, timeout_s=self.library.lookup_s)
        read, n_frames = self.library.constellations.read, self.library.n_frames(self.params)
        try:
            final = self._tracker.feed(own, hits, read, n_frames)
        finally:
            self._tracked_to = part.end_frame  # it has taken the part, even where the index went away while it looked
        self._tie(self._placed(final), self._placed(self._tracker.sounding()))

    def _placed(self, plays: Iterable[Play]) -> list[Play]:
        """Return plays of the tracker on the listener's clock."""
        plays = list(plays)
        tracks = self.library.constellations.read([play.track_id for play in plays])
        return [placed(play, self._origin, tracks.get(play.track_id)) for play in plays]

    def _tie(self, final: Iterable[Play], sounding: Iterable[Play]) -> None:
        """Bring the exact record and the plays that were told together."""
        for exact in final:
            play = self._play_of(exact, is_final=True)
            if play is not None:
                self._refine(play, exact, tell=False)
                if not play.outlives_record(self.max_gap_frames):
                    self._end(play)
        self._sounding = set()
        for exact in sounding:
            self._sounding.add(exact.track_id)
            play = self._play_of(exact, is_final=False)
            if play is not None:
                self._refine(play, exact, tell=True)

    def _play_of(self, exact: Play, *, is_final: bool) -> HeardPlay | None:
        """Return the play that is `exact`, told now if it was not before; None for one that has ended already, or that is none."""
        before = [play for play in self._ended if play.is_of(exact.track_id, exact.twins) and play.overlaps(exact)]
        if any(play.lies_at(last_delta(exact)) for play in before):
            return None
        for play in sorted(self.plays, key=lambda play: play.track_id != exact.track_id):
            if play.is_of(exact.track_id, exact.twins) and self._meets(play, exact):
                return play
        if before or any(self._is_repetition(play, exact, is_final=is_final) for play in self.plays):
            return None
        first, end = exact.first_frame, exact.end_frame
        play = HeardPlay(self.ids(), exact.track_id, last_delta(exact), first, end, exact.confidence, exact.twins)
        play.records.append(exact)
        self.plays.append(play)
        self._tell("started", play)
        return play

    def _is_repetition(self, play: HeardPlay, exact: Play, *, is_final: bool) -> bool:
        """Tell whether `exact` is taken for `play` at another of its track's repetitions: nobody plays a track twice at once.

        One that begins soon after `play` was heard last has to last for a while, or to its end, to be believed.
        """
        if play.track_id != exact.track_id:
            return False
        both = min(play.seen_frame, exact.end_frame) - max(play.first_frame, exact.first_frame)
        is_soon = 0 <= exact.first_frame - play.first_frame <= play.seen_frame + self.max_gap_frames - play.first_frame
        return 2 * both > exact.n_frames or (is_soon and not is_final and exact.n_frames < YOUNG_FRAMES)

    def _meets(self, play: HeardPlay, exact: Play) -> bool:
        """Tell whether `exact` is a record of `play`, of which it has the recording."""
        gap = self.max_gap_frames
        if exact.first_frame > play.seen_frame + gap or play.first_frame > exact.end_frame + gap:
            return False
        if not play.records or play.lies_at(last_delta(exact)) or play.record_of(exact) is not None:
            return True
        goes_on = exact.first_frame + last_delta(exact) >= play.records[-1].track_end_frame - SLACK_FRAMES
        return goes_on and exact.first_frame >= play.records[-1].end_frame - SLACK_FRAMES

    def _refine(self, play: HeardPlay, exact: Play, *, tell: bool) -> None:
        """Take the tracker's word for `play`, but where it has not heard what looks have seen."""
        known, first, track_id, n_gaps = bool(play.records), play.first_frame, play.track_id, len(play.gaps)
        record = play.record_of(exact)
        if record is not None:
            if exact.track_id != record.track_id and exact.n_frames < record.n_frames:
                return  # a passage of another release, where it fits a little better
            play.records.remove(record)
        play.records = sorted([*play.records, exact], key=lambda one: one.first_frame)
        play.track_id, play.twins = exact.track_id, exact.twins
        play.confidence = max(play.confidence, exact.confidence)
        begun = play.records[0].first_frame
        if begun < first + TRUSTED_FRAMES:
            play.first_frame = begun
        if exact.end_frame >= play.seen_frame - 3 * HOP_FRAMES:  # no older record than the tracker is late
            play.lay(last_delta(exact))
        play.seen_frame = max(play.seen_frame, exact.end_frame)
        has_moved = abs(play.first_frame - first) > MOVED_FRAMES or n_gaps != len(play.gaps)
        if tell and (not known or has_moved or track_id != play.track_id):
            self._tell("updated", play)

    # -- ending -----------------------------------------------------------------------------------------------------

    def _end_what_is_over(self, now: int) -> None:
        """End the plays that were heard to their track's last note, and those that have paused for too long.

        Looks may have seen the last note; else the tracker says where they ended, once it has heard as much.  Of a track that was taken for several
        of its repetitions nobody knows where its last note is.
        """
        tracks = self.library.constellations.read([play.track_id for play in self.plays])
        recorded_to = self._origin + self._tracker.end_frame if self._tracker is not None else 0
        for play in list(self.plays):
            last_frame = play.records[-1].end_frame if play.records else play.seen_frame
            if (
                play.is_gone(YOUNG_FRAMES, TRUSTED_FRAMES)
                and now - max(last_frame, play.looked_frame) > self.max_gap_frames
            ):
                self._end(play)
            elif play.track_id in tracks and not play.past:
                over = int(tracks[play.track_id].frames[-1]) + 1 - play.delta
                if now - over <= OVER_FRAMES or over - play.seen_frame > TRUSTED_FRAMES:
                    continue
                if over - play.looked_frame <= STEP_FRAMES or not play.records:
                    self._end(play, over)
                elif recorded_to >= over:
                    self._end(play)

    def _expire(self, tracked_to: int | None) -> None:
        """End the plays that the tracker knows nothing of, long after they were heard last; all where `tracked_to` is None."""
        patience = self.max_gap_frames + 2 * HOP_FRAMES
        for play in list(self.plays):
            if tracked_to is None or (play.track_id not in self._sounding and tracked_to - play.seen_frame > patience):
                self._end(play)

    def _end(self, play: HeardPlay, at: int | None = None) -> None:
        """End a play where it was heard last, or at the frame `at`."""
        self.plays.remove(play)
        if at is not None:
            play.seen_frame = at
        elif play.records and not play.outlives_record(self.max_gap_frames):
            play.seen_frame = play.records[-1].end_frame
        oldest = play.seen_frame - 4 * self.max_gap_frames - YOUNG_FRAMES
        self._ended = [*(other for other in self._ended if other.seen_frame > oldest), play]
        self._tell("ended", play)
