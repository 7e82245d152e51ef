"""The songs of an old dejavu's database into a classic library: read in one pass, committed many at a time, resumed where it broke off.

What is committed is known by its content, so a run that was cancelled, killed or cut off goes on where it was when it is started again, and one
that is started once too often adds nothing.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import trio
from structlog.contextvars import bind_contextvars

from dejavud.errors import Busy, DejavudError, IndexAway, SourceUnavailable, WrongProfile
from dejavud.fingerprint.classic_params import ClassicParams
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.profiles import params_of
from dejavud.index.urls import without_password
from dejavud.services.classic_jobs import MICROPHONE_HZ
from dejavud.services.views import track_view
from dejavud.values import Constellation, NewTrack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from dejavud.fingerprint.params import HashParams
    from dejavud.index.base import Index
    from dejavud.index.old.database import OldCatalogue, OldDatabase, OldSong
    from dejavud.index.old.values import GatheredSong
    from dejavud.services.commands import Call, Progress
    from dejavud.services.events import EventHub
    from dejavud.services.workers import Workers
    from dejavud.values import Track

COMMIT_HASHES, COMMIT_TRACKS = 1 << 20, 64
"""Songs of so many hashes, or so many songs, are committed together; while they are, the next are read."""
RETRY_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Waits before a database that was lost is asked again; then it is given up."""
MAX_NAMED = 100
"""Songs that are left out and named in the report; more are only counted."""

_CLOSE_S = 10.0
_KNOWN_AT_A_TIME = 5000

HALF_WRITTEN, EMPTY, TOO_LARGE, UNREADABLE = REASONS = ("half_written", "empty", "too_large", "unreadable")
"""Why a song is left out: dejavu had not come to its end; it has no fingerprints; more than a track can have; none that could be read."""


@dataclass(frozen=True, slots=True)
class Migrate:
    """Parameters of ``migrate``."""

    url: str
    dry_run: bool = False


@dataclass(slots=True)
class MigrationReport:
    """What became of an old database.

    url : without its password.  kind, schema : of database and of its tables; see `dejavud.index.old.layout`.
    profile, profiles : of the library; those that the hashes may be of, the likeliest first.
    n_songs, n_rows : in the old database, with their fingerprints.
    n_wanted, n_added, n_known : songs that were not in the library when it began; that were added; that it had, or that are the same file twice.
    n_without_sha1 : of those that were wanted, known by an identity of our own.
    n_left_out : songs that were, by the reason.
    left_out : the first of these.
    n_hashes : that were added.
    n_repeated_rows, n_bad_rows, n_orphan_rows : fingerprints that came twice, could not be read, or belong to no song.
    warnings : sentences.
    """

    url: str
    kind: str = ""
    schema: str = ""
    profile: str = ""
    profiles: tuple[str, ...] = ()
    dry_run: bool = False
    n_songs: int = 0
    n_rows: int = 0
    n_wanted: int = 0
    n_added: int = 0
    n_known: int = 0
    n_without_sha1: int = 0
    n_hashes: int = 0
    n_repeated_rows: int = 0
    n_bad_rows: int = 0
    n_orphan_rows: int = 0
    elapsed_s: float = 0.0
    n_left_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    left_out: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def leave_out(self, song: OldSong, reason: str) -> None:
        """Count a song that is not brought over."""
        self.n_left_out[reason] += 1
        if len(self.left_out) < MAX_NAMED:
            self.left_out.append({"id": song.id, "title": song.title, "reason": reason})


class Migrator:
    """Brings old databases over, one at a time."""

    def __init__(self, index: Index, workers: Workers, hub: EventHub, params: HashParams) -> None:
        self._index = index
        self._workers = workers
        self._hub = hub
        self._params = params
        self._is_running = False

    async def migrate(self, params: Migrate, call: Call) -> dict[str, Any]:
        """Bring an old database over, and return the report: the command ``migrate``."""
        bind_contextvars(source=without_password(params.url))
        report = await self.run(params.url, call.progress, dry_run=params.dry_run)
        bind_contextvars(n_added=report.n_added, n_known=report.n_known, n_hashes=report.n_hashes)
        return {"migration": asdict(report)}

    async def run(self, url: str, progress: Progress, *, dry_run: bool = False) -> MigrationReport:
        """Return what became of the database at `url`; with `dry_run` nothing is added, and any profile will do.

        Raises `UnsupportedDatabase`, `SourceUnavailable`, `SourceUnknown`, `WrongProfile`, `Busy` while another is brought over, and what
        the index raises.  Whatever ends it, cancellation too, what was committed by then stays, and no song is there in part.
        """
        if self._is_running:
            raise Busy(what="one migration")
        self._is_running = True
        started = perf_counter()
        try:
            async with self._opened(url) as source:
                await progress(state="counting")
                catalogue = await self._workers.thread(source.catalogue, abandon=True)
                report = MigrationReport(source.shown_url, profile=self._params.profile, dry_run=dry_run)
                wanted = await self._plan(catalogue, report)
                if isinstance(self._params, ClassicParams) and not dry_run:
                    left = {song.id: song for song in wanted}
                    await self._bring(_Run(source, report, progress, self._params, catalogue, left))
                report.elapsed_s = round(perf_counter() - started, 3)
                return report
        finally:
            self._is_running = False

    @asynccontextmanager
    async def _opened(self, url: str) -> AsyncIterator[OldDatabase]:
        source = await self._workers.thread(_source, url)
        try:
            yield source
        finally:
            with trio.move_on_after(_CLOSE_S, shield=True):
                await self._workers.thread(source.close, abandon=True)

    async def _plan(self, catalogue: OldCatalogue, report: MigrationReport) -> list[OldSong]:
        """Return the songs that are to be brought over; raises `WrongProfile`."""
        report.kind, report.schema, report.profiles = catalogue.kind, catalogue.schema, catalogue.profiles
        report.n_songs, report.n_rows = len(catalogue.songs), catalogue.n_rows
        report.n_orphan_rows = catalogue.n_orphans
        self._check_profile(report)
        whole = []
        for song in catalogue.songs:
            if flaw := _flaw(song):
                report.leave_out(song, flaw)
            else:
                whole.append(song)
        known: set[str] = set()
        for start in range(0, len(whole), _KNOWN_AT_A_TIME):
            sha1s = [song.file_sha1 for song in whole[start : start + _KNOWN_AT_A_TIME]]
            found = await self._workers.read(partial(self._index.tracks, sha1s=sha1s))
            known.update(track.file_sha1 for track in found)
        wanted = []
        for song in whole:
            if song.file_sha1 not in known:
                known.add(song.file_sha1)
                wanted.append(song)
        report.n_wanted, report.n_known = len(wanted), len(whole) - len(wanted)
        report.n_without_sha1 = sum(not song.has_sha1 for song in wanted)
        return wanted

    def _check_profile(self, report: MigrationReport) -> None:
        suggested = report.profiles[0]
        if not isinstance(self._params, ClassicParams):
            if not report.dry_run:
                hint = (
                    f"The tables are of {report.schema}; if other constants made the hashes, name their profile"
                    f" (see docs/classic.md): {', '.join(report.profiles)}."
                )
                raise WrongProfile(profile=self._params.profile, suggested=suggested, hint=hint)
            return
        if self._params.digest not in {params_of(Params(profile=profile)).digest for profile in report.profiles}:
            report.warnings.append(
                f"the tables are of {report.schema}, whose hashes are of {' or '.join(report.profiles)}; this library's are of"
                f" {report.profile}, and where that is wrong no query will meet any of them"
            )
        elif len({params_of(Params(profile=profile)).digest for profile in report.profiles}) > 1:
            report.warnings.append(
                f"tables of {report.schema} may hold hashes of {' or '.join(report.profiles)}: if no clip of a song is recognized, try another"
            )

    async def _bring(self, run: _Run) -> None:
        """Read and commit, side by side."""
        send, receive = trio.open_memory_channel[list[NewTrack]](0)
        failure: DejavudError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, run, send)
            try:
                async with receive:
                    async for entries in receive:
                        await self._commit(run, entries)
            except DejavudError as error:
                failure = error
                nursery.cancel_scope.cancel()
        failure = failure or run.failure
        if failure is not None:
            raise failure

    async def _read(self, run: _Run, send: trio.MemorySendChannel[list[NewTrack]]) -> None:
        """Send what is to be committed together; where the database is lost, wait, and go on with the first song that had not come."""
        async with send:
            n_tries = 0
            while True:
                n_before = len(run.left)
                try:
                    await self._read_pass(run, send)
                except SourceUnavailable as error:
                    n_tries = 0 if len(run.left) < n_before else n_tries
                    if n_tries >= len(RETRY_S):
                        run.failure = error
                        return
                    await run.tell("waiting", reason=error.message)
                    await trio.sleep(RETRY_S[n_tries])
                    n_tries += 1
                else:
                    for song in run.left.values():  # its rows went while the connection was lost
                        run.report.leave_out(song, EMPTY)
                    return

    async def _read_pass(self, run: _Run, send: trio.MemorySendChannel[list[NewTrack]]) -> None:
        batches = run.source.read(run.catalogue, list(run.left))
        while (batch := await self._workers.thread(next, batches, None, abandon=True)) is not None:
            for gathered in batch.songs:
                self._take(run, run.left.pop(gathered.id), gathered)
                if run.is_batch_full:
                    await send.send(run.batch)
                    run.batch = []
            run.n_open = batch.n_open
            await run.tell("reading")
        if run.batch:
            await send.send(run.batch)
            run.batch = []

    def _take(self, run: _Run, song: OldSong, gathered: GatheredSong) -> None:
        """Have a song committed with the next ones, unless none of its hashes could be read."""
        report, hashes = run.report, gathered.hashes
        run.n_read += song.n_rows
        report.n_bad_rows += gathered.n_bad
        report.n_repeated_rows += gathered.n_repeated
        if not len(hashes):
            report.leave_out(song, UNREADABLE)
            return
        n_frames = int(hashes.offsets.max()) + 1
        duration_s = run.params.frames_to_seconds(n_frames, MICROPHONE_HZ)
        nothing = np.empty(0)
        constellation = Constellation(nothing, nothing, n_frames, nothing)
        run.batch.append(NewTrack(song.title, None, None, None, song.file_sha1, duration_s, constellation, hashes))

    async def _commit(self, run: _Run, entries: Sequence[NewTrack]) -> None:
        known, tracks = await self._stored(run, entries)
        for track in tracks:
            if track.file_sha1 in known:  # somebody else added it since
                run.report.n_known += 1
            else:
                run.report.n_added += 1
                run.report.n_hashes += track.n_hashes
                self._hub.publish("track.added", {"track": track_view(track)})
        await run.tell("reading", must_arrive=True)

    async def _stored(self, run: _Run, entries: Sequence[NewTrack]) -> tuple[set[str], Sequence[Track]]:
        """Return what `_add` does; where the library's own database is away, wait for it."""
        for delay_s in RETRY_S:
            try:
                return await self._workers.write(_add, self._index, entries)
            except IndexAway as error:
                await run.tell("waiting", reason=error.message)
                await trio.sleep(delay_s)
        return await self._workers.write(_add, self._index, entries)


@dataclass(slots=True)
class _Run:
    """One migration under way.

    left : songs of `catalogue` that are to be read yet, by id, ascending.
    batch : songs that were read and are to be committed together.
    n_read, n_open : fingerprints of the songs that were read, and of the one that is being read.
    failure : why the reading ended before its end.
    """

    source: OldDatabase
    report: MigrationReport
    progress: Progress
    params: ClassicParams
    catalogue: OldCatalogue
    left: dict[int, OldSong]
    batch: list[NewTrack] = field(default_factory=list)
    n_read: int = 0
    n_open: int = 0
    n_rows: int = 0
    failure: DejavudError | None = None

    def __post_init__(self) -> None:
        self.n_rows = sum(song.n_rows for song in self.left.values())

    @property
    def is_batch_full(self) -> bool:
        return len(self.batch) >= COMMIT_TRACKS or sum(len(entry.hashes) for entry in self.batch) >= COMMIT_HASHES

    async def tell(self, state: str, *, must_arrive: bool = False, **figures: object) -> None:
        await self.progress(
            must_arrive=must_arrive,
            state=state,
            n_songs_done=self.report.n_added,
            n_songs=self.report.n_wanted,
            n_rows_done=self.n_read + self.n_open,
            n_rows=self.n_rows,
            **figures,
        )


def _flaw(song: OldSong) -> str | None:
    """Return why a song cannot be brought over."""
    from dejavud.index.old.database import MAX_SONG_ROWS  # noqa: PLC0415 - it loads SQLAlchemy and its drivers

    if not song.is_complete:
        return HALF_WRITTEN
    if not song.n_rows:
        return EMPTY
    return TOO_LARGE if song.n_rows > MAX_SONG_ROWS else None


def _source(url: str) -> OldDatabase:
    from dejavud.index.old.database import OldDatabase  # noqa: PLC0415 - it loads SQLAlchemy and its drivers

    return OldDatabase(url)


def _add(index: Index, entries: Sequence[NewTrack]) -> tuple[set[str], Sequence[Track]]:
    """Add `entries` and return their tracks, with the contents that were known before; no other writer of this process comes between."""
    known = {track.file_sha1 for track in index.tracks(sha1s=[entry.file_sha1 for entry in entries])}
    return known, index.add(entries)
