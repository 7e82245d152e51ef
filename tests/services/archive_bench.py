"""A library with its archive commands, over any index."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import trio
from index_entries import new_track, open_kind, rows_of
from service_parts import published

from dejavud.fingerprint.extractor import track_hashes
from dejavud.fingerprint.params import Params
from dejavud.index.open import history_of
from dejavud.services.archive_intake import LibraryParts
from dejavud.services.archives import ArchiveFile, Archives, Export, Restore
from dejavud.services.clients import EVERYTHING, LOCAL, Client
from dejavud.services.commands import Call, Command, CommandTable
from dejavud.services.constellations import ConstellationCache
from dejavud.services.events import EventHub
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.library import Library
from dejavud.services.profiles import profile_of

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.fingerprint.params import HashParams
    from dejavud.values import Constellation, Hashes, NewTrack, Track

PARAMS = Params()


class ArchiveBench:
    """The commands of archives over one index; `told` is all progress so far.

    Use it as a context manager.
    """

    def __init__(self, folder: Path, kind: str = "memory", params: HashParams = PARAMS) -> None:
        self._stack = ExitStack()
        self.index: Any = self._stack.enter_context(open_kind(kind, folder, params))
        self.hub = EventHub()
        self.events = published(self.hub)
        self.told: list[dict[str, Any]] = []
        workers, profile = InlineWorkers(), profile_of(params)  # type: ignore[arg-type]
        self.constellations = ConstellationCache(self.index)
        self.history = self._stack.enter_context(closing(history_of(self.index)))
        parts = LibraryParts(self.index, workers, self.hub, profile, self.constellations, self.history)
        archives = Archives(parts, self.index, Library(self.index, workers, self.hub), folder=folder)
        self.table = CommandTable(
            (
                Command("export", Export, archives.export),
                Command("import", ArchiveFile, archives.import_),
                Command("backup", ArchiveFile, archives.backup),
                Command("restore", Restore, archives.restore),
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def ask(self, command: str, file: Path, *, local: bool = True, **params: object) -> dict[str, Any]:
        """Return what a command tells of an archive."""
        return trio.run(self.run, command, file, local, params)

    async def run(
        self,
        command: str,
        file: Path,
        local: bool = True,  # noqa: FBT001, FBT002 - trio.run passes by position
        params: dict[str, object] | None = None,
    ) -> dict[str, Any]:
        """Return what a command tells of an archive."""
        call = Call(progress=self._note, client=LOCAL if local else Client("far", EVERYTHING))
        told: dict[str, Any] = (await self.table.call(command, {"file": str(file), **(params or {})}, call))["archive"]
        return told

    async def _note(self, *, must_arrive: bool = False, **figures: object) -> None:  # noqa: ARG002 - as `Progress` has it
        await trio.lowlevel.checkpoint()
        self.told.append(figures)

    def tracks(self) -> list[Track]:
        """Return all tracks."""
        return list(self.index.tracks())


def library_track(seed: int, n_peaks: int = 100, **fields: Any) -> NewTrack:  # noqa: ANN401 - any field of a NewTrack
    """Return a track whose hashes are those of its constellation."""
    entry = new_track(seed, 2 * n_peaks, **fields)
    return replace(entry, hashes=track_hashes(entry.constellation, PARAMS))


def contents(bench: ArchiveBench, query: Hashes) -> list[tuple[object, ...]]:
    """Return all that a library knows, but for its tracks' ids: fields, constellations, and what a query meets of each."""
    tracks = bench.tracks()
    stars = bench.index.constellations([track.id for track in tracks])
    met = rows_of(bench.index.lookup(query))
    return sorted(
        (
            *(getattr(track, name) for name in track.__slots__ if name not in {"id", "artist", "album", "path"}),
            track.artist or "",
            track.album or "",
            track.path or "",
            _peaks(stars[track.id]),
            tuple((query_frame, frame) for query_frame, track_id, frame in met if track_id == track.id),
        )
        for track in tracks
    )


def _peaks(constellation: Constellation) -> tuple[object, ...]:
    columns = (constellation.frames, constellation.bins, constellation.quarters)
    return (constellation.n_frames, *(tuple(column.tolist()) for column in columns))
