"""Libraries in files: exported, imported, backed up and restored, while everything else goes on."""

from __future__ import annotations

import os
import pwd
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from structlog.contextvars import bind_contextvars

from dejavud import __version__
from dejavud.errors import Busy, InvalidRequest, LibraryNotEmpty
from dejavud.index.archive.layout import FORMAT, PLAIN_FORMAT, ArchiveHeader
from dejavud.index.archive.reader import reading_archive
from dejavud.index.archive.writer import writing_archive
from dejavud.index.history.plays import EVERY_PLAY, Place
from dejavud.services.archive_intake import Intake
from dejavud.services.track_handlers import Selection
from dejavud.services.track_search import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from dejavud.index.archive.writer import ArchiveWriter
    from dejavud.index.base import Store
    from dejavud.services.archive_intake import LibraryParts
    from dejavud.services.commands import Call
    from dejavud.services.library import Library
    from dejavud.services.track_search import TrackFilter
    from dejavud.services.workers import Workers
    from dejavud.values import Constellation, Hashes, Track

T = TypeVar("T")

BLOCK_PLAYS = 1000
BLOCK_TRACKS = 256
BLOCK_PEAKS = 2_000_000
BLOCK_HASHES = 1_000_000
"""What is read from the index and written as one block, at most, but for a track that is larger by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export(Selection):
    """Parameters of ``export``: the file to write, and which tracks; all where nothing is said."""

    file: str

    def __post_init__(self) -> None:
        Selection.__post_init__(self)
        _check_path(self.file)


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """Parameters of ``import`` and ``backup``."""

    file: str

    def __post_init__(self) -> None:
        _check_path(self.file)


@dataclass(frozen=True, slots=True)
class Restore:
    """Parameters of ``restore``; with `replace` what the library holds beside the backup goes."""

    file: str
    replace: bool = False

    def __post_init__(self) -> None:
        _check_path(self.file)


class Archives:
    """Writes and reads archives, for clients of this machine.

    store : beneath the index; it has the postings of profiles whose tracks have no constellation.
    folder : where the daemon may write, for errors.
    """

    def __init__(self, parts: LibraryParts, store: Store, library: Library, *, folder: Path) -> None:
        self._parts = parts
        self._index, self._workers, self._profile = parts.index, parts.workers, parts.profile
        self._store = store
        self._library = library
        self._folder = folder
        self._user = _user_name()
        self._is_reading = False

    async def export(self, params: Export, call: Call) -> dict[str, Any]:
        """Write the tracks that are meant into a file."""
        return await self._write(params.file, params.filter(), call, with_plays=False)

    async def backup(self, params: ArchiveFile, call: Call) -> dict[str, Any]:
        """Write the whole library, and the history, into a file."""
        return await self._write(params.file, EVERYTHING, call, with_plays=True)

    async def import_(self, params: ArchiveFile, call: Call) -> dict[str, Any]:
        """Add the tracks of a file that the library does not have, under new numbers; done again, it goes on."""
        started = perf_counter()
        async with self._intake(params.file, call) as intake:
            await intake.check()
            await intake.add_missing(keeps_ids=False)
        return _told(params.file, started, intake.counts)

    async def restore(self, params: Restore, call: Call) -> dict[str, Any]:
        """Make the library what it was when the file was written.

        What is missing comes first and what is too much goes last, so that whatever ends this on its way has taken nothing that
        is not in the file; done again, it goes on.
        """
        started = perf_counter()
        async with self._intake(params.file, call) as intake:
            if not intake.is_whole:
                raise InvalidRequest(
                    reason=f"{params.file} holds a selection of tracks, not a whole library: import it"
                )
            before = await self._library.select(EVERYTHING)
            if before and not params.replace:
                raise LibraryNotEmpty(n_tracks=len(before))
            await intake.check()
            await intake.add_missing(keeps_ids=True)
            await intake.replace_displaced()
            await intake.remove_others(before)
            await intake.add_plays()
        return _told(params.file, started, intake.counts)

    async def _write(self, file: str, wanted: TrackFilter, call: Call, *, with_plays: bool) -> dict[str, Any]:
        started = perf_counter()
        chosen = None if wanted == EVERYTHING else await self._library.select(wanted)
        n_tracks = (await self._library.statistics()).n_tracks if chosen is None else len(chosen)
        n_plays = await self._workers.read(self._parts.history.count) if chosen is None and with_plays else 0
        header = self._header(n_tracks, is_whole=chosen is None, has_plays=n_plays > 0)
        context = writing_archive(Path(file), header, user=self._user, folder=self._folder)
        async with in_thread(self._workers, context) as writer, aclosing(self._groups(chosen)) as groups:
            async for tracks in groups:
                kept, constellations, hashes = await self._workers.read(self._contents, tracks)
                await self._workers.thread(writer.add, kept, constellations, hashes)
                await call.progress(state="writing", n_done=writer.n_tracks, n_total=n_tracks, n_bytes=writer.n_bytes)
            if n_plays:
                await self._write_plays(writer, n_plays, call)
        counts = {"n_tracks": writer.n_tracks, "n_plays": writer.n_plays, "n_bytes": writer.n_bytes}
        return _told(file, started, counts)

    async def _write_plays(self, writer: ArchiveWriter, n_plays: int, call: Call) -> None:
        """Write the history, newest first; what is told meanwhile is not in it."""
        history, place = self._parts.history, None
        while plays := await self._workers.read(history.page, EVERY_PLAY, BLOCK_PLAYS, place):
            await self._workers.thread(writer.add_plays, plays)
            await call.progress(state="writing", n_done=writer.n_plays, n_total=n_plays, unit="plays")
            place = Place(plays[-1].started_at, plays[-1].id)

    def _header(self, n_tracks: int, *, is_whole: bool, has_plays: bool) -> ArchiveHeader:
        params = self._profile.params
        return ArchiveHeader(
            profile=params.profile,
            params_digest=params.digest,
            params=params.stored(),
            hash_bits=params.hash_bits,
            is_whole=is_whole,
            has_hashes=self._profile.track_hashes is None,
            n_tracks=n_tracks,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            made_by=f"dejavud {__version__}",
            format=FORMAT if has_plays else PLAIN_FORMAT,
        )

    async def _groups(self, chosen: Sequence[Track] | None) -> AsyncGenerator[list[Track], None]:
        """Give the chosen tracks, or all there are, as many at a time as make a block."""
        if chosen is not None:
            for group in _blocks(chosen, is_dense=self._profile.track_hashes is None):
                yield group
            return
        after_id = 0
        while page := await self._workers.read(partial(self._index.tracks, limit=BLOCK_TRACKS, after_id=after_id)):
            for group in _blocks(page, is_dense=False):
                yield group
            after_id = page[-1].id

    def _contents(self, tracks: Sequence[Track]) -> tuple[list[Track], list[Constellation], list[Hashes]]:
        """Return those of `tracks` that are still there whole, with their constellations and, where they are to be carried, their hashes."""
        found = self._index.constellations([track.id for track in tracks])
        kept = [track for track in tracks if track.id in found]
        if self._profile.track_hashes is not None or not kept:
            return kept, [found[track.id] for track in kept], []
        hashes = self._store.postings(kept[0].id, kept[-1].id).by_track([track.id for track in kept])
        whole = [(track, own) for track, own in zip(kept, hashes, strict=True) if len(own) == track.n_hashes]
        return [track for track, _ in whole], [found[track.id] for track, _ in whole], [own for _, own in whole]

    @asynccontextmanager
    async def _intake(self, file: str, call: Call) -> AsyncIterator[Intake]:
        """Give what takes in an archive of this library's parameters; one is read at a time."""
        if self._is_reading:
            raise Busy(what="one import or restore at a time")
        self._is_reading = True
        try:
            async with in_thread(self._workers, reading_archive(Path(file), user=self._user)) as reader:
                reader.header.check(self._parts.profile.params, Path(file))
                yield Intake(self._parts, reader, call.progress)
        finally:
            self._is_reading = False


@asynccontextmanager
async def in_thread(workers: Workers, context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Give what `context` gives; it is entered and left in threads, and left whatever happens."""
    value = await workers.thread(context.__enter__)
    try:
        yield value
    except BaseException as error:
        with trio.CancelScope(shield=True):
            await workers.thread(context.__exit__, type(error), error, error.__traceback__)
        raise
    with trio.CancelScope(shield=True):
        await workers.thread(context.__exit__, None, None, None)


def _blocks(tracks: Sequence[Track], *, is_dense: bool) -> Iterator[list[Track]]:
    """Give `tracks`, which ascend by id, as many at a time as make a block; where `is_dense`, no numbers are left out in one."""
    block: list[Track] = []
    n_peaks = n_hashes = 0
    for track in tracks:
        is_full = len(block) == BLOCK_TRACKS or n_peaks + track.n_peaks > BLOCK_PEAKS
        is_full |= n_hashes + track.n_hashes > BLOCK_HASHES
        if block and (is_full or (is_dense and track.id > block[-1].id + 1)):
            yield block
            block, n_peaks, n_hashes = [], 0, 0
        block.append(track)
        n_peaks += track.n_peaks
        n_hashes += track.n_hashes
    if block:
        yield block


def _told(file: str, started: float, counts: dict[str, int]) -> dict[str, Any]:
    bind_contextvars(**counts)
    return {"archive": {"file": file, **counts, "elapsed_s": round(perf_counter() - started, 3)}}


def _check_path(file: str) -> None:
    if not Path(file).is_absolute() or "\0" in file:
        msg = f"'file' must be absolute: the daemon's working directory is not yours: {file[:200]!r}"
        raise ValueError(msg)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container may run under a number that nobody has
        return f"the user {os.geteuid()}"
