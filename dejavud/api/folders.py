"""A folder of recordings on its way into the index."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from dejavud.errors import DejavudError, IndexUnavailable, UnreadableFile
from dejavud.wire.audio_extensions import AUDIO_EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dejavud.services.ingest import Ingest, Ingested, TrackFile

    Tell = Callable[[TrackFile, "Ingested | DejavudError"], None]


@dataclass(slots=True)
class FolderReport:
    """What became of the files of a folder, by path.

    added, known : to the song's id; known are those whose content was in the database before, or came earlier in the folder.
    failed : to the reason.
    """

    added: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    failed: dict[str, DejavudError] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.added) + len(self.known) + len(self.failed)

    def note(self, path: Path, outcome: Ingested | DejavudError) -> None:
        """Put one file where it belongs."""
        if isinstance(outcome, DejavudError):
            self.failed[str(path)] = outcome
        else:
            (self.added if outcome.added else self.known)[str(path)] = outcome.track.id


def audio_files(folder: Path, extensions: Iterable[str] | None) -> list[Path]:
    """Return the files below `folder` with these extensions (with or without their dot, in any case), in order of path.

    Raises `UnreadableFile` where there is no such folder, or one in it cannot be read.
    """
    wanted = {f".{extension.lower().lstrip('.')}" for extension in extensions or AUDIO_EXTENSIONS}
    if not folder.is_dir():
        reason = "this is a file: use fingerprint_file" if folder.exists() else "there is no such folder"
        raise UnreadableFile(source=str(folder), reason=reason)
    return sorted(path for path in _files_below(folder) if path.suffix.lower() in wanted)


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder, onerror=_refuse):
        yield from (Path(parent, name) for name in names)


def _refuse(error: OSError) -> None:
    raise UnreadableFile(source=str(error.filename), reason=error.strerror or str(error)) from error


async def add_all(ingest: Ingest, files: Iterable[TrackFile], tell: Tell, *, n_at_once: int) -> None:
    """Add `files`, and tell what became of each as soon as it is known; a bad file hinders no other.

    Raises `IndexUnavailable` and its like, which no file will fare better with, and whatever `tell` raises; in a group.  What was
    brought to the writer until then is committed.
    """
    waiting = iter(files)

    async def add_next() -> None:
        for file in waiting:  # shared: each task takes the next one
            outcome: Ingested | DejavudError
            try:
                outcome = await ingest.add(file)
            except IndexUnavailable:
                raise
            except DejavudError as error:
                outcome = error
            tell(file, outcome)

    async with trio.open_nursery() as writing:
        await writing.start(ingest.serve)
        async with trio.open_nursery() as adding:
            for _ in range(n_at_once):
                adding.start_soon(add_next)
        writing.cancel_scope.cancel()
