"""The life of a query: audio, fingerprint, look-up, match, answer."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import trio

from dejavud.errors import InvalidRequest, Timeout
from dejavud.services import listen_jobs
from dejavud.services.constellations import ConstellationCache
from dejavud.services.listen_jobs import Sound
from dejavud.services.profiles import profile_of
from dejavud.services.views import recognition_view
from dejavud.values import UNSCALED, Match, Recognition, Timings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from dejavud.audio.address import Way
    from dejavud.fingerprint.classic_params import ClassicParams
    from dejavud.fingerprint.params import Params
    from dejavud.index.base import Index
    from dejavud.services.commands import Progress
    from dejavud.services.events import EventHub
    from dejavud.services.hearing import Hearing
    from dejavud.services.jobs import FingerprintedQuery
    from dejavud.services.microphones import Microphones
    from dejavud.services.profiles import Matching
    from dejavud.services.workers import Workers
    from dejavud.values import Alignment, Array, ClassicQuery, QueryFingerprint, Scale, Track


_LAST_FRAME_S = 0.25
"""The end of a query is that of its last window, which is longer than a frame: what ends so near it does not end before it."""


URL_S = 10.0
"""How long an address is heard where nothing is said."""


@dataclass(frozen=True, slots=True)
class RecognizerSettings:
    """What bounds a query.

    max_query_s : of a longer query only the beginning is heard.
    timeout_s : for all of one query, from its audio to its answer; the time a microphone listens comes on top.
    search_scales : speeds and pitches to ask for where the query as it is found nothing.
    silence_db : below it a microphone is not listened to, only recorded; dB of full scale.
    """

    max_query_s: float = 120.0
    timeout_s: float = 60.0
    search_scales: tuple[Scale, ...] = ()
    silence_db: float = -66.0


@dataclass(slots=True)
class QueryCounts:
    """Queries since the daemon started, by outcome."""

    n_matched: int = 0
    n_unmatched: int = 0
    n_failed: int = 0


@dataclass(slots=True)
class _Effort:
    """Where the time of one query went so far, and what of the index it could not ask."""

    decode_ms: float
    fingerprint_ms: float
    lookup_ms: float = 0.0
    match_ms: float = 0.0
    unseen: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Taken:
    """What a microphone has given, up to `wanted` samples."""

    wanted: int
    blocks: list[Array] = field(default_factory=list)
    n_samples: int = 0
    n_told_s: int = 0

    def add(self, block: Array) -> bool:
        """Add a block; return whether that is all."""
        self.blocks.append(block)
        self.n_samples += len(block)
        return self.n_samples >= self.wanted

    def samples(self) -> Array:
        return np.concatenate(self.blocks)[: self.wanted] if self.blocks else np.empty(0, np.float32)


class Recognizer:
    """Answers queries.  Each successful one also leaves as the event ``match.recognized``.

    quick_match : settles a first look or leaves it open; without it every query is asked about with everything.
    hear : makes what follows a microphone until it is certain; without it a take of it has its full length.
    """

    def __init__(
        self,
        index: Index,
        workers: Workers,
        hub: EventHub,
        params: Params | ClassicParams,
        *,
        match: Matching,
        settings: RecognizerSettings,
        microphones: Microphones,
        constellations: ConstellationCache | None = None,
        quick_match: Matching | None = None,
        hear: Callable[[], Hearing] | None = None,
    ) -> None:
        self._index = index
        self._workers = workers
        self._hub = hub
        self._profile = profile_of(params)
        self._match = match
        self._quick_match = quick_match
        self._hear = hear
        self._constellations = constellations or ConstellationCache(index)
        self._settings = settings
        self._microphones = microphones
        self.counts = QueryCounts()

    @property
    def settings(self) -> RecognizerSettings:
        """Return what bounds a query now."""
        return self._settings

    def change(self, match: Matching, quick_match: Matching | None, settings: RecognizerSettings) -> None:
        """Answer by these from the next query on."""
        self._match, self._quick_match, self._settings = match, quick_match, settings

    async def recognize_file(
        self,
        path: Path,
        name: str,
        *,
        limit_s: float | None = None,
        raw_fallback: bool = False,
        only_matches: bool = False,
    ) -> Recognition:
        """Return what the first `limit_s` of the file at `path` are (of all of it, up to the longest query, where None).

        With `only_matches` an answer without any is neither counted nor told.  Raises `UnreadableFile`, `UnsupportedAudio`, `Timeout`, `WorkerDied`, `Busy` and what the index raises.
        """
        started = perf_counter()
        heard_s = min(limit_s or self._settings.max_query_s, self._settings.max_query_s)
        with self._bounded(name) as deadline:
            query = await self._workers.process(
                self._profile.jobs.query_file, path, name, self._profile.params, heard_s, raw_fallback, what=name
            )
            return await self._answer(query, name, started, deadline, only_matches=only_matches)

    async def recognize_microphone(
        self, duration_s: float, device: str | int | None, progress: Progress
    ) -> Recognition:
        """Listen for `duration_s` and return what was heard, sooner where that is certain and the recognizer can `hear`.

        Raises `MicrophoneUnavailable` and what a file's query raises.
        """
        duration_s = min(duration_s, self._settings.max_query_s)
        if self._hear is not None:
            hearing = self._hear()
            following = self._microphones.following(device, hearing.params, self._settings.silence_db)
            return await self._recognize_soon(hearing, following, duration_s, "microphone", progress)
        with self.counted():
            samples = await self._microphones.take(duration_s, device, progress)
        return await self._recognize_samples(samples, "microphone")

    async def recognize_url(self, way: Way, name: str, duration_s: float | None, progress: Progress) -> Recognition:
        """Hear what an address sends for `duration_s` (`URL_S`, where None) and return what that is, sooner where it is certain.

        Raises `UnreachableUrl`, `UnsupportedAudio`, `InvalidRequest` where the recognizer cannot `hear`, and what a file's query raises.
        """
        if self._hear is None:
            reason = (
                f"a library of the profile {self._profile.params.profile} is asked with files: send the audio's bytes"
            )
            raise InvalidRequest(reason=reason)
        hearing, duration_s = self._hear(), min(duration_s or URL_S, self._settings.max_query_s)
        job = partial(listen_jobs.follow_url, way, name)
        following = self._workers.stream(job, hearing.params, self._settings.silence_db, what=name)
        limit_s = duration_s + self._settings.timeout_s
        with trio.move_on_after(limit_s):
            return await self._recognize_soon(hearing, following, duration_s, name, progress)
        self.counts.n_failed += 1
        raise Timeout(what=name, limit_s=limit_s)

    async def _recognize_soon(
        self,
        hearing: Hearing,
        following: AbstractAsyncContextManager[AsyncIterator[Array | Sound]],
        duration_s: float,
        name: str,
        progress: Progress,
    ) -> Recognition:
        """Listen as a listener does until it is certain of a track, and answer by all that was heard until then."""
        taken = _Taken(round(duration_s * hearing.params.rate_hz))
        with self.counted():
            async with following as items:
                async for item in items:
                    if not isinstance(item, Sound):
                        if taken.add(item):
                            break
                        if (told_s := taken.n_samples // hearing.params.rate_hz) > taken.n_told_s:
                            taken.n_told_s = told_s
                            await progress(done_s=float(told_s), total_s=duration_s)
                    elif any(change.kind == "started" for change in await self._workers.match(hearing.hear, item, 0)):
                        recognition = await self._recognize_samples(taken.samples(), name, only_matches=True)
                        if recognition.matches:
                            return recognition
        return await self._recognize_samples(taken.samples(), name)

    async def _recognize_samples(self, samples: Array, name: str, *, only_matches: bool = False) -> Recognition:
        """Return what was heard of what is called `name`; with `only_matches` an answer without any is neither counted nor told."""
        started = perf_counter()
        with self._bounded(name) as deadline:
            query = await self._workers.process(
                self._profile.jobs.query_samples, samples, self._profile.params, what=name
            )
            return await self._answer(query, name, started, deadline, only_matches=only_matches)

    async def _answer(
        self,
        query: FingerprintedQuery,
        source: str,
        started: float,
        deadline: trio.CancelScope,
        *,
        only_matches: bool = False,
    ) -> Recognition:
        """Return the answer, for no more effort than it takes: a first look, then all of the query, then other speeds and pitches."""
        effort = _Effort(query.decode_ms, query.fingerprint_ms)
        alignments: tuple[Alignment, ...] = ()
        if query.samples is not None and self._quick_match is not None:
            alignments = await self._ask(query.fingerprint, (UNSCALED,), self._quick_match, deadline, effort)
        if not alignments:
            query = await self._whole(query, source, effort)
            for scales in ((UNSCALED,), self._settings.search_scales):
                if scales and not alignments:
                    alignments = await self._ask(query.fingerprint, scales, self._match, deadline, effort)
        fingerprint = query.fingerprint
        frame_s = self._profile.frame_s(fingerprint)
        matches = await self._matches(alignments, fingerprint.duration_s, frame_s)
        recognition = Recognition(
            source=source,
            duration_s=fingerprint.duration_s,
            n_hashes=len(fingerprint.hashes),
            matches=matches,
            timings=Timings(
                decode_ms=effort.decode_ms,
                fingerprint_ms=effort.fingerprint_ms,
                lookup_ms=effort.lookup_ms,
                match_ms=effort.match_ms,
                total_ms=(perf_counter() - started) * 1000,
            ),
            profile=self._profile.params.profile,
            params_digest=self._profile.params.digest,
            frame_s=frame_s,
            partial=tuple(sorted(effort.unseen)),
        )
        if matches or not only_matches:
            self._tell(recognition)
        return recognition

    async def _whole(self, query: FingerprintedQuery, source: str, effort: _Effort) -> FingerprintedQuery:
        """Return the query with everything that can be asked."""
        whole = self._profile.query_fully
        if query.samples is None or whole is None:
            return query
        made = await self._workers.process(whole, query.samples, self._profile.params, what=source)
        effort.fingerprint_ms += made.fingerprint_ms
        return made

    async def _ask(
        self,
        fingerprint: QueryFingerprint | ClassicQuery,
        scales: tuple[Scale, ...],
        match: Matching,
        deadline: trio.CancelScope,
        effort: _Effort,
    ) -> tuple[Alignment, ...]:
        """Look up and match, both in one turn of a worker thread."""
        left_s = max(0.001, deadline.deadline - trio.current_time())

        def look_up_and_match() -> tuple[Alignment, ...]:
            asked = perf_counter()
            unscaled = scales == (UNSCALED,)
            hashes = fingerprint.hashes if unscaled else self._profile.scaled_hashes(fingerprint, scales)
            hits = self._index.lookup(hashes, timeout_s=left_s)
            effort.unseen.update(hits.unseen)
            found = perf_counter()
            n_index_frames = self._index.statistics().duration_s * self._profile.frames_per_s
            alignments = match(fingerprint, hits, self._constellations.read, n_index_frames, scales)
            effort.lookup_ms += (found - asked) * 1000
            effort.match_ms += (perf_counter() - found) * 1000
            return alignments

        return await self._workers.match(look_up_and_match)

    async def _matches(self, alignments: Sequence[Alignment], query_s: float, frame_s: float) -> tuple[Match, ...]:
        """Return the alignments with their tracks; one whose track was removed or disabled meanwhile is left out."""
        if not alignments:
            return ()
        ids = tuple({alignment.track_id for alignment in alignments})
        tracks = {track.id: track for track in await self._workers.read(partial(self._index.tracks, ids=ids))}
        return tuple(
            match_of(alignment, tracks[alignment.track_id], query_s, frame_s)
            for alignment in alignments
            if alignment.track_id in tracks and not tracks[alignment.track_id].disabled
        )

    def _tell(self, recognition: Recognition) -> None:
        if recognition.matches:
            self.counts.n_matched += 1
            self._hub.publish("match.recognized", recognition_view(recognition))
        else:
            self.counts.n_unmatched += 1

    @contextmanager
    def _bounded(self, source: str) -> Iterator[trio.CancelScope]:
        """Stop a query that takes too long, and count one that fails."""
        with self.counted(), trio.move_on_after(self._settings.timeout_s) as scope:
            yield scope
        if scope.cancelled_caught:
            self.counts.n_failed += 1
            raise Timeout(what=source, limit_s=self._settings.timeout_s)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a query that fails in the block."""
        try:
            yield
        except Exception:
            self.counts.n_failed += 1
            raise


def match_of(alignment: Alignment, track: Track, query_s: float, frame_s: float) -> Match:
    """Return `alignment`, in frames of `frame_s`, in seconds on the clocks of query and track.

    The stretch is that in which the track is heard, within what query and track can share.
    """
    delta_s, speed = alignment.delta_frames * frame_s, alignment.speed
    start_s = max(0.0, -delta_s / speed, alignment.first_frame * frame_s)
    end_s = max(start_s, min(query_s, (track.duration_s - delta_s) / speed, _end_s(alignment, query_s, frame_s)))
    return Match(
        track=track,
        confidence=alignment.confidence,
        score=alignment.score,
        query_start_s=start_s,
        query_end_s=end_s,
        track_start_s=delta_s + start_s * speed,
        track_end_s=delta_s + end_s * speed,
        speed=speed,
        pitch=alignment.pitch,
        coverage=alignment.coverage,
        gaps=tuple((first * frame_s, last * frame_s) for first, last in alignment.gaps),
        twins=alignment.twins,
    )


def _end_s(alignment: Alignment, query_s: float, frame_s: float) -> float:
    """Return where in the query an alignment ends: after its last frame, or with the query where that holds no further one."""
    end_s = alignment.last_frame * frame_s
    return query_s if query_s - end_s < _LAST_FRAME_S else end_s
