"""Long work on the index that a person asks for: writing it anew, and checking it against what it was made of."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import trio
from structlog.contextvars import bind_contextvars

from dejavud.errors import DejavudError, InvalidRequest
from dejavud.fingerprint.extractor import track_hashes
from dejavud.fingerprint.params import Params
from dejavud.index.base import StoppedError
from dejavud.index.checking import (
    DUPLICATE_CONTENT,
    DUPLICATE_ID,
    MISCOUNTED,
    POSTINGS_DIFFER,
    STRAY,
    VIEW_DAMAGED,
    VIEW_DIFFERS,
    Check,
    Finding,
)
from dejavud.index.view.resident import ResidentIndex
from dejavud.services.ingest import sha1_of_file
from dejavud.services.keeper import set_when_cancelled
from dejavud.services.profiles import profile_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dejavud.fingerprint.classic_params import ClassicParams
    from dejavud.index.base import Compacted, Store
    from dejavud.index.open import KeptIndex
    from dejavud.services.commands import Call, Progress
    from dejavud.services.jobs import FingerprintedFile
    from dejavud.services.workers import Workers
    from dejavud.values import Constellation, Hashes, Track

MAX_FINDINGS = 10_000
"""Told one by one; of more, only how many of each kind there are."""
_TELL_S = 0.2


@dataclass(frozen=True, slots=True)
class CheckIndex:
    """Parameters of ``check``."""

    repair: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finding and what became of it.

    repair : what was done; "" where nothing was.
    """

    finding: Finding
    repair: str = ""


class Maintenance:
    """The commands ``compact`` and ``check``."""

    def __init__(
        self, kept: KeptIndex, workers: Workers, params: Params | ClassicParams, *, fingerprint_timeout_s: float
    ) -> None:
        self._kept = kept
        self._workers = workers
        self._profile = profile_of(params)
        self._derive: Callable[[Constellation], Hashes] | None = None
        if isinstance(params, Params):
            self._derive = partial(track_hashes, params=params)
        self._timeout_s = fingerprint_timeout_s

    def allow(self, fingerprint_timeout_s: float) -> None:
        """Give one file so long to be fingerprinted, from now on."""
        self._timeout_s = fingerprint_timeout_s

    async def sizes(self) -> dict[str, Any]:
        """Return what the view takes on the disk, beside the database, and which share of the postings is sorted by hash; None for what is not kept."""
        kept = self._kept
        view = kept.index.view() if isinstance(kept.index, ResidentIndex) else None
        clustered = None
        if kept.clustering is not None:
            clustered = round(await self._workers.read(kept.clustering.share), 4)
        return {"view_bytes": None if view is None else view.n_file_bytes, "clustered_share": clustered}

    async def compact(self, _params: object, call: Call) -> dict[str, Any]:
        """Have the store put in order, and the space that nothing uses given back."""
        started = perf_counter()
        compacted = await self._in_background(self._kept.store.compact, call.progress)
        bind_contextvars(**asdict(compacted))
        return {**asdict(compacted), "elapsed_s": round(perf_counter() - started, 3)}

    async def check(self, params: CheckIndex, call: Call) -> dict[str, Any]:
        """Look at everything that is stored, and repair what can be."""
        if params.repair:
            call.client.check_local("'check' that repairs")
        started = perf_counter()
        view = self._kept.index if isinstance(self._kept.index, ResidentIndex) else None
        check = Check(self._kept.store, view, self._derive)
        outcomes = _Outcomes()
        n_tracks = await self._check_tracks(check, call.progress, outcomes, repair=params.repair)
        for finding in await self._workers.background(check.strays):
            outcomes.add(await self._repaired(finding) if params.repair else Outcome(finding))
        await self._check_view(outcomes, repair=params.repair)
        bind_contextvars(n_findings=outcomes.n_findings, n_repaired=outcomes.n_repaired)
        return {
            "n_tracks": n_tracks,
            "n_findings": outcomes.n_findings,
            "n_repaired": outcomes.n_repaired,
            "kinds": dict(outcomes.kinds),
            "findings": [{**asdict(outcome.finding), "repair": outcome.repair or None} for outcome in outcomes.told],
            "elapsed_s": round(perf_counter() - started, 3),
        }

    async def _check_tracks(self, check: Check, progress: Progress, outcomes: _Outcomes, *, repair: bool) -> int:
        """Look at all tracks, portion by portion; return how many there were."""
        statistics = await self._workers.read(self._kept.store.statistics)
        portions, seen = check.portions(), set[bytes]()
        n_tracks = n_postings = 0
        while (tracks := await self._workers.background(next, portions, None)) is not None:
            found = await self._workers.background(check.duplicates, tracks, seen)
            found += await self._workers.background(check.look, tracks)
            for finding in found:
                outcomes.add(await self._repaired(finding) if repair else Outcome(finding))
            n_tracks += len(tracks)
            n_postings += sum(track.n_hashes for track in tracks)
            await progress(n_done=n_postings, n_total=statistics.n_postings, n_findings=outcomes.n_findings)
        return n_tracks

    async def _check_view(self, outcomes: _Outcomes, *, repair: bool) -> None:
        """Read the files of the view, and have it made anew where it is damaged, differs, or the store was changed beneath it."""
        upkeep = self._kept.upkeep
        if upkeep is None:
            return
        stop = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(set_when_cancelled, stop)
            reasons = await self._workers.background(upkeep.damaged, stop.is_set)
            nursery.cancel_scope.cancel()
        for reason in reasons:
            outcomes.add(Outcome(Finding(VIEW_DAMAGED, None, reason), "made anew" if repair else ""))
        if repair and outcomes.touch_the_view:
            await self._workers.background(upkeep.discard)

    async def _repaired(self, finding: Finding) -> Outcome:
        """Return what became of a finding."""
        store, track_id, kind = self._kept.store, finding.track_id, finding.kind
        if track_id is None or kind == DUPLICATE_ID:
            return Outcome(finding)
        if kind == VIEW_DIFFERS:
            return Outcome(finding, "made anew")
        if kind in {STRAY, DUPLICATE_CONTENT}:
            index = store if kind == STRAY else self._kept.index
            await self._workers.write(index.remove, [track_id])
            return Outcome(finding, "deleted")
        if kind in {MISCOUNTED, POSTINGS_DIFFER} and self._derive is not None:
            await self._workers.write(_derive_again, store, track_id, self._derive)
            return Outcome(finding, "postings made of the constellation")
        return await self._fingerprinted_again(finding, track_id)

    async def _fingerprinted_again(self, finding: Finding, track_id: int) -> Outcome:
        """Return what became of a track that only its file can bring back: where that is gone, what is there of it is left."""
        tracks = await self._workers.read(partial(self._kept.store.tracks, ids=[track_id]))
        for track in tracks[:1]:
            try:
                fingerprinted = await self._fingerprint(track)
            except DejavudError as error:
                return Outcome(replace(finding, reason=f"{finding.reason}; {error.message}"))
            await self._workers.write(
                self._kept.store.replace, track_id, fingerprinted.constellation, fingerprinted.hashes
            )
            return Outcome(finding, "fingerprinted again")
        return Outcome(finding, "removed meanwhile")

    async def _fingerprint(self, track: Track) -> FingerprintedFile:
        """Return the fingerprint of a track's file; raises `InvalidRequest` where there is none of the same content."""
        path = Path(track.path or "")
        if not path.is_absolute():
            raise InvalidRequest(reason="where its file is is not known: remove the track and add the file again")
        if await self._workers.thread(sha1_of_file, path, str(path)) != track.file_sha1:
            raise InvalidRequest(reason=f"{path} is another file now: remove the track and add its file again")
        return await self._workers.process(
            self._profile.jobs.fingerprint_file,
            path,
            path.name,
            self._profile.params,
            track.duration_s,
            what=path.name,
            kind="ingest",
            timeout_s=self._timeout_s,
        )

    async def _in_background(
        self, work: Callable[[Callable[[int, int], None], Callable[[], bool]], Compacted], progress: Progress
    ) -> Compacted:
        """Return what `work` returns, which tells how far it is and is told when to end."""
        stop = threading.Event()
        done = _Done()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(set_when_cancelled, stop)
            nursery.start_soon(done.report, progress)
            try:
                result = await self._workers.background(work, done.tell, stop.is_set)
            except StoppedError:
                await trio.sleep_forever()  # it was cancelled, which this raises
            nursery.cancel_scope.cancel()
        return result


class _Done:
    """How much is done: told by a thread, and passed on by the event loop."""

    def __init__(self) -> None:
        self._figures = (0, 0)

    def tell(self, n_done: int, n_total: int) -> None:
        self._figures = (n_done, n_total)

    async def report(self, progress: Progress) -> None:
        told = (0, 0)
        while True:
            await trio.sleep(_TELL_S)
            if self._figures != told:
                told = self._figures
                await progress(n_done=told[0], n_total=told[1])


class _Outcomes:
    """What was found, and what became of it."""

    def __init__(self) -> None:
        self.told: list[Outcome] = []
        self.kinds: Counter[str] = Counter()
        self.n_findings = self.n_repaired = 0
        self.touch_the_view = False

    def add(self, outcome: Outcome) -> None:
        if len(self.told) < MAX_FINDINGS:
            self.told.append(outcome)
        self.kinds[outcome.finding.kind] += 1
        self.n_findings += 1
        self.n_repaired += bool(outcome.repair)
        self.touch_the_view |= bool(outcome.repair)


def _derive_again(store: Store, track_id: int, derive: Callable[[Constellation], Hashes]) -> bool:
    """Make a track's postings of its constellation; return whether both are there."""
    constellation = store.constellations([track_id]).get(track_id)
    return constellation is not None and store.replace(track_id, constellation, derive(constellation))
