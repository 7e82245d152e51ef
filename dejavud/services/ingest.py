"""A file on its way into the index: known by content, fingerprinted in a worker, committed with its neighbours.

A commit waits for the disk.  One a track would bound the rate of a fast ingest, so one writer takes whatever tracks are ready
when the commit before has ended, and commits them together: alone when they come slowly, many at a time when they come fast.

While the database is away what was fingerprinted waits, and no more is taken in than may wait.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from dejavud.audio.source import open_regular
from dejavud.errors import DejavudError, IndexAway, InternalError, ShuttingDown, Timeout, UnreadableFile
from dejavud.fingerprint.params import Params
from dejavud.services.commands import no_progress
from dejavud.services.duplicate_finder import DuplicateFinder, duplicates_view
from dejavud.services.jobs import FingerprintedFile, fingerprint_parts
from dejavud.services.profiles import profile_of
from dejavud.services.views import track_view
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dejavud.fingerprint.classic_params import ClassicParams
    from dejavud.index.base import Index
    from dejavud.services.commands import Progress
    from dejavud.services.duplicate_finder import DuplicateTrack
    from dejavud.services.events import EventHub
    from dejavud.services.workers import Workers
    from dejavud.values import Tags, Track

log = structlog.get_logger(__name__)

LARGE_BYTES, MAX_LARGE = 32 << 20, 2
"""Files from half an hour of MP3 on tell how far they are; so many of them at a time, each in a process beside the workers'."""
_LAST_COMMIT_S = 30.0
"""How long a commit may hold up the end of the daemon."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
"""Between two tries while the database is away."""


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """What bounds an ingest.

    timeout_s : for decoding and fingerprinting one file.
    batch_tracks : tracks in one commit, at most; as many again may wait for it before their senders do.
    reports_duplicates : whether a new track is compared with those that are there.
    """

    timeout_s: float = 600.0
    batch_tracks: int = 64
    reports_duplicates: bool = True


@dataclass(frozen=True, slots=True)
class TrackFile:
    """A file to add.

    path : where its bytes are now.
    name : what its owner calls it.
    kept_path : what the track remembers of where it came from, None where it is to be known by its title.
    tags : what the owner says of it; goes before what the file says of itself.
    limit_s : fingerprint no more than this; None for all of it.
    """

    path: Path
    name: str
    kept_path: str | None
    tags: Tags
    limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ingested:
    """The track of a file, and whether it is new (False: its content was already known).

    duplicates : tracks that were there before and hold the same recording in another file.
    """

    track: Track
    added: bool
    duplicates: tuple[DuplicateTrack, ...] = ()


@dataclass(slots=True, eq=False)
class _Pending:
    """A fingerprinted track that waits for its commit, and what became of it.

    was_known : whether its content was in the index before the first try to commit it; None before that.
    is_left : nobody waits for it any more.
    """

    entry: NewTrack
    done: trio.Event = field(default_factory=trio.Event)
    was_known: bool | None = None
    is_left: bool = False
    result: Ingested | DejavudError | None = None

    def resolve(self, result: Ingested | DejavudError) -> None:
        self.result = result
        self.done.set()

    async def wait(self) -> Ingested:
        try:
            await self.done.wait()
        except trio.Cancelled:
            self.is_left = True
            raise
        if isinstance(self.result, Ingested):
            return self.result
        if isinstance(self.result, DejavudError):
            raise type(self.result)(**self.result.details)
        raise ShuttingDown


class Ingest:
    """Adds files to the index.  `add` works while `serve` runs."""

    def __init__(
        self,
        index: Index,
        workers: Workers,
        hub: EventHub,
        params: Params | ClassicParams,
        settings: IngestSettings | None = None,
    ) -> None:
        self._index = index
        self._workers = workers
        self._hub = hub
        self._profile = profile_of(params)
        self._settings = settings or IngestSettings()
        self._finder = DuplicateFinder(index, self._profile)
        self._large = trio.CapacityLimiter(MAX_LARGE)
        self._send, self._receive = trio.open_memory_channel[_Pending](self._settings.batch_tracks)

    def change(self, settings: IngestSettings) -> None:
        """Go by these from the next file on; how many wait to be written stays as it is."""
        self._settings = settings

    async def add(self, file: TrackFile, progress: Progress = no_progress) -> Ingested:
        """Return the track of `file` once it is committed; a content that is known is not decoded again.

        Of a large file `progress` is told how much has been heard (``done_s``, ``total_s``).
        Raises `UnreadableFile`, `UnsupportedAudio`, `NoFingerprint`, `Timeout`, `WorkerDied`, `Busy`, `ShuttingDown` and what
        the index raises.  A caller that is cancelled while it waits for the commit leaves the track to be committed, unless the database is
        away: that is waited for.
        """
        sha1 = await self._workers.thread(sha1_of_file, file.path, file.name)
        known = await self._known(sha1)
        if known:
            return Ingested(known[0], added=False)
        is_large = await self._workers.thread(_n_bytes, file.path) >= LARGE_BYTES
        if is_large and isinstance(self._profile.params, Params):
            fingerprinted = await self._fingerprint_large(file, self._profile.params, progress)
        else:
            fingerprinted = await self._workers.process(
                self._profile.jobs.fingerprint_file,
                file.path,
                file.name,
                self._profile.params,
                file.limit_s,
                what=file.name,
                kind="ingest",
                timeout_s=self._settings.timeout_s,
            )
        pending = _Pending(_entry(file, sha1, fingerprinted))
        try:
            await self._send.send(pending)
        except trio.BrokenResourceError:
            raise ShuttingDown from None
        return await pending.wait()

    async def _fingerprint_large(self, file: TrackFile, params: Params, progress: Progress) -> FingerprintedFile:
        """Return the fingerprint of a file, in a process of its own that tells how far it is."""
        async with self._large:
            with trio.move_on_after(self._settings.timeout_s):
                parts = self._workers.stream(
                    fingerprint_parts, file.path, file.name, params, file.limit_s, what=file.name
                )
                async with parts as items:
                    async for item in items:
                        if isinstance(item, FingerprintedFile):
                            return item
                        await progress(done_s=round(item.done_s, 3), total_s=item.total_s)
        raise Timeout(what=file.name, limit_s=self._settings.timeout_s)

    async def _known(self, sha1: str) -> Sequence[Track]:
        """Return the track of this content, where there is one; waits while the database is away."""
        pauses = _pauses_s()
        while True:
            try:
                return await self._workers.read(partial(self._index.tracks, sha1s=(sha1,)))
            except IndexAway:
                await trio.sleep(next(pauses))

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit what `add` brings until cancelled; then commit what has been brought, and leave."""
        async with self._receive:
            task_status.started()
            try:
                while True:
                    await self._commit(self._drained(await self._receive.receive()))
            finally:
                while waiting := self._drained():
                    await self._commit(waiting)

    def _drained(self, *first: _Pending) -> list[_Pending]:
        """Return `first` and what else is ready, one commit's worth at most."""
        batch = list(first)
        while len(batch) < self._settings.batch_tracks:
            try:
                batch.append(self._receive.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        return batch

    async def _commit(self, batch: Sequence[_Pending]) -> None:
        """Commit `batch`, as soon as the database is there, and tell everyone; at the end of the daemon it is not waited for."""
        pauses = _pauses_s()
        while batch and (away := await self._try(batch)) is not None:
            try:
                await trio.sleep(next(pauses))
            except trio.Cancelled:
                for pending in (*batch, *self._all_waiting()):
                    pending.resolve(away)
                raise
            batch = [pending for pending in batch if not pending.is_left]

    async def _try(self, batch: Sequence[_Pending]) -> IndexAway | None:
        """Commit `batch`; what makes a whole batch fail fails alone.  Returns why, where that is to be tried again."""
        try:
            with trio.move_on_after(_LAST_COMMIT_S, shield=True):
                ingested = await self._workers.write(_add, self._index, batch)
                for pending, result in zip(batch, ingested, strict=True):
                    pending.resolve(await self._told(pending.entry, result) if result.added else result)
        except IndexAway as error:
            return error
        except Exception as error:  # noqa: BLE001 - the border of one job: the writer outlives any entry
            if len(batch) == 1:
                batch[0].resolve(_as_answer(error, batch[0].entry))
            else:
                for pending in batch:
                    await self._commit([pending])
        for pending in batch:  # nobody waits for ever, even where the deadline cut the commit off
            pending.done.set()
        return None

    async def _told(self, entry: NewTrack, result: Ingested) -> Ingested:
        """Tell everyone of a new track; return it with the tracks that hold the same recording."""
        duplicates: tuple[DuplicateTrack, ...] = ()
        if self._settings.reports_duplicates:
            try:
                duplicates = await self._workers.match(self._finder.find, result.track, entry)
            except (
                DejavudError
            ) as error:  # the track is stored; that nothing can be said of it now is no reason to fail
                log.warning("duplicates_not_sought", track_id=result.track.id, code=error.code, reason=error.message)
        news = {"track": track_view(result.track), "duplicates": duplicates_view(duplicates)}
        self._hub.publish("track.added", news)
        return replace(result, duplicates=duplicates)

    def _all_waiting(self) -> list[_Pending]:
        """Return all that was brought and not begun."""
        found: list[_Pending] = []
        while some := self._drained():
            found += some
        return found


def _pauses_s() -> Iterator[float]:
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def sha1_of_file(path: Path, name: str) -> str:
    """Return the SHA1 of the file's bytes, 40 lower-case hex digits; raises `UnreadableFile`, `UnsupportedAudio` when empty."""
    with open_regular(path, name) as file:
        try:
            return hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
        except OSError as error:
            raise UnreadableFile(source=name, reason=error.strerror or str(error)) from error


def _n_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it went away just now, which whoever opens it says better
        return 0


def _as_answer(error: Exception, entry: NewTrack) -> DejavudError:
    if isinstance(error, DejavudError):
        return error
    log.error("commit_failed", path=entry.path, exc_info=error)
    return InternalError(reason=f"the track could not be stored: {type(error).__name__}")


def _add(index: Index, batch: Sequence[_Pending]) -> list[Ingested]:
    """Add the entries of `batch` and tell which of them are new; no other writer of this process comes between the two questions.

    Where the connection broke at an earlier try, it may have been stored then: what was known before that counts.
    """
    known = {track.file_sha1 for track in index.tracks(sha1s=[pending.entry.file_sha1 for pending in batch])}
    for pending in batch:
        if pending.was_known is None:
            pending.was_known = pending.entry.file_sha1 in known
            known.add(pending.entry.file_sha1)
    tracks = index.add([pending.entry for pending in batch])
    return [Ingested(track, added=not pending.was_known) for track, pending in zip(tracks, batch, strict=True)]


def _entry(file: TrackFile, sha1: str, fingerprinted: FingerprintedFile) -> NewTrack:
    own = fingerprinted.tags
    return NewTrack(
        title=file.tags.title or own.title or file.name,
        artist=file.tags.artist or own.artist,
        album=file.tags.album or own.album,
        path=file.kept_path,
        file_sha1=sha1,
        duration_s=fingerprinted.duration_s,
        constellation=fingerprinted.constellation,
        hashes=fingerprinted.hashes,
    )
