"""The life of a scan: a long recording, part by part, to the timeline of what is played in it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from dejavud.audio.address import Way, check_url, url_without_password
from dejavud.errors import InvalidRequest
from dejavud.fingerprint.params import Params
from dejavud.matching.tracker import Tracker, TrackerRules
from dejavud.services import scan_jobs
from dejavud.services.constellations import ConstellationCache
from dejavud.services.timeline import PlayedTrack, Timeline, played_track, plays_view
from dejavud.services.url_guard import UrlGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from dejavud.fingerprint.params import HashParams
    from dejavud.fingerprint.streaming import StreamPart
    from dejavud.index.base import Index
    from dejavud.matching.plays import Play
    from dejavud.matching.tracker import Match
    from dejavud.services.commands import Progress
    from dejavud.services.workers import Workers
    from dejavud.values import Track


@dataclass(frozen=True, slots=True)
class ScannerSettings:
    """What bounds a scan.

    rules : what counts as one play.
    lookup_s : for one look-up in the index.
    max_files : scanned at a time; more wait for their turn.  What an address sends does not wait: it may never end.
    """

    rules: TrackerRules
    lookup_s: float = 60.0
    max_files: int = 2


class Scanner:
    """Turns recordings of any length into timelines.

    guard : looks at where addresses lead that are not to be trusted.
    """

    def __init__(
        self,
        index: Index,
        workers: Workers,
        params: HashParams,
        *,
        match: Match,
        settings: ScannerSettings,
        constellations: ConstellationCache | None = None,
        guard: UrlGuard | None = None,
    ) -> None:
        self._index = index
        self._workers = workers
        self._params = params
        self._match = match
        self._settings = settings
        self._constellations = constellations or ConstellationCache(index)
        self.guard = guard or UrlGuard()
        self._turns = trio.CapacityLimiter(settings.max_files)

    def change(self, match: Match, settings: ScannerSettings) -> None:
        """Go by these from the next scan on; how many run at a time stays as it is."""
        self._match, self._settings = match, settings

    async def scan_file(self, path: Path, name: str, progress: Progress, *, limit_s: float | None = None) -> Timeline:
        """Return what is played in the first `limit_s` of the file at `path` (in all of it, where None).

        Each play is told to `progress` as soon as it is final.  Raises `UnreadableFile`, `UnsupportedAudio`, `WorkerDied`, `Busy`,
        `InvalidRequest` where the library's profile knows no scan, and what the index raises.
        """
        async with self._turns:
            return await self._scan(partial(scan_jobs.scan_file, path), name, progress, limit_s)

    def way(self, url: str, *, is_trusted: bool) -> AbstractAsyncContextManager[Way]:
        """Give the way to an address, for as long as the block goes on; raises `UnsupportedUrl`."""
        check_url(url)
        return nullcontext(Way(url)) if is_trusted else self.guard.way(url)

    async def scan_url(
        self,
        url: str,
        name: str | None,
        progress: Progress,
        *,
        limit_s: float | None = None,
        is_trusted: bool = False,
    ) -> Timeline:
        """Return what is played at an address, when that ends; as `scan_file`, and raises `UnsupportedUrl` and `UnreachableUrl`.

        is_trusted : wherever it leads is all right with whom this is for.
        """
        async with self.way(url, is_trusted=is_trusted) as way:
            job = partial(scan_jobs.scan_url, way)
            return await self._scan(job, name or url_without_password(url), progress, limit_s)

    async def _scan(
        self,
        job: Callable[[str, Params, float | None, int], scan_jobs.Parts],
        name: str,
        progress: Progress,
        limit_s: float | None,
    ) -> Timeline:
        params = self._params
        if not isinstance(params, Params):
            reason = (
                f"a library of the profile {params.profile} cannot be scanned for: start the daemon with landmark-2"
            )
            raise InvalidRequest(reason=reason)
        run = _Run(params, Tracker(params, self._settings.rules, self._match), progress)
        ended = scan_jobs.Ended(0.0, 0)
        n_frames = scan_jobs.part_frames((await self._workers.read(self._index.statistics)).n_postings)
        async with self._workers.stream(job, name, params, limit_s, n_frames, what=name) as items:
            async for item in items:
                if isinstance(item, scan_jobs.Opened):
                    run.total_s = item.total_s
                    await run.tell([], [])
                elif isinstance(item, scan_jobs.Ended):
                    ended = item
                else:
                    plays = await self._workers.match(self._advance, run, item)
                    run.done_s = params.frames_to_seconds(item.end_frame)
                    await self._take(run, plays)
        run.done_s = ended.duration_s
        await self._take(run, await self._workers.match(self._finish, run))
        in_order = sorted(run.plays, key=lambda play: play.start_s)
        return Timeline(name, ended.duration_s, tuple(in_order), ended.n_damaged_packets, tuple(sorted(run.unseen)))

    def _advance(self, run: _Run, part: StreamPart) -> list[Play]:
        """Ask the index and match, in the worker thread that runs this."""
        hits = self._index.lookup(part.hashes, timeout_s=self._settings.lookup_s)
        run.unseen.update(hits.unseen)
        return run.tracker.feed(part, hits, self._constellations.read, self._n_index_frames(run.params))

    def _finish(self, run: _Run) -> list[Play]:
        return run.tracker.finish(self._constellations.read, self._n_index_frames(run.params))

    def _n_index_frames(self, params: Params) -> float:
        return self._index.statistics().duration_s * params.frames_per_s

    async def _take(self, run: _Run, plays: Sequence[Play]) -> None:
        """Keep and tell what has become final, and tell what sounds now; a track that was removed meanwhile is left out."""
        sounding = run.tracker.sounding()
        missing = tuple({play.track_id for play in (*plays, *sounding)} - run.tracks.keys())
        if missing:
            named = await self._workers.read(partial(self._index.tracks, ids=missing))
            run.tracks |= {track.id: track for track in named}
        final = run.named(plays)
        run.plays += final
        await run.tell(final, run.named(sounding))


@dataclass(slots=True)
class _Run:
    """One scan under way.

    done_s, total_s : how much has been worked through, of how much where that is known.
    tracks : those that were named so far, by id.
    plays : those that are final.
    unseen : what of the index could not be asked at times.
    """

    params: Params
    tracker: Tracker
    progress: Progress
    done_s: float = 0.0
    total_s: float | None = None
    tracks: dict[int, Track] = field(default_factory=dict)
    plays: list[PlayedTrack] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)

    def named(self, plays: Sequence[Play]) -> list[PlayedTrack]:
        return [
            played_track(play, self.tracks[play.track_id], self.params)
            for play in plays
            if play.track_id in self.tracks
        ]

    async def tell(self, final: Sequence[PlayedTrack], sounding: Sequence[PlayedTrack]) -> None:
        await self.progress(
            must_arrive=bool(final),
            done_s=round(self.done_s, 3),
            total_s=None if self.total_s is None else round(self.total_s, 3),
            plays=plays_view(final),
            sounding=plays_view(sounding),
        )
