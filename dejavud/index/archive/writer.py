"""Writing an archive: whole, or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import zlib
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from dejavud.errors import DiskFull, UnwritableFile
from dejavud.index.archive.layout import CHECKED, COUNT, FRAME, MAGIC, PLAIN_FORMAT, fields_of
from dejavud.index.constellation_codec import encode_constellation
from dejavud.index.history.plays import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from io import FileIO
    from pathlib import Path

    from dejavud.index.archive.layout import ArchiveHeader, Kind
    from dejavud.index.history.plays import KeptPlay
    from dejavud.values import Constellation, Hashes, Track

_LEVEL = 6
"""Of zlib.  What constellations are packed into hardly gets smaller; the fields do."""


class ArchiveWriter:
    """Writes the blocks of one archive into a file; made by `writing_archive`."""

    def __init__(
        self, file: FileIO, header: ArchiveHeader, explained: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._file = file
        self._explained = explained
        self._has_hashes = header.has_hashes
        self._has_plays = header.format > PLAIN_FORMAT
        self._whole = hashlib.sha256()
        self._n_blocks = 0
        self.n_bytes = 0
        self.n_tracks = self.n_plays = 0
        self._put(MAGIC)
        self._block(b"HEAD", _json(asdict(header)))

    def add(self, tracks: Sequence[Track], constellations: Sequence[Constellation], hashes: Sequence[Hashes]) -> None:
        """Write a block of tracks; `hashes` are parallel to them, or empty where the archive has none."""
        if not tracks:
            return
        packed = [encode_constellation(constellation) for constellation in constellations]
        rows = _json([fields_of(track, len(data)) for track, data in zip(tracks, packed, strict=True)])
        parts = [COUNT.pack(len(rows)), rows, *packed]
        if self._has_hashes:
            values = [own.values.astype(own.values.dtype.newbyteorder("<")).tobytes() for own in hashes]
            offsets = [own.offsets.astype("<i4").tobytes() for own in hashes]
            parts += [*values, *offsets]
        self._block(b"TRKS", b"".join(parts))
        self.n_tracks += len(tracks)
        self._n_blocks += 1

    def add_plays(self, plays: Sequence[KeptPlay]) -> None:
        """Write a block of plays, after all tracks; only where the header says so."""
        self._block(b"PLAY", _json([as_json(play) for play in plays]))
        self.n_plays += len(plays)

    def finish(self) -> None:
        """Write the end, which proves that the archive is whole."""
        plays = {"n_plays": self.n_plays} if self._has_plays else {}
        tail = {"n_tracks": self.n_tracks, "n_blocks": self._n_blocks, **plays, "sha256": self._whole.hexdigest()}
        self._block(b"TAIL", _json(tail))

    def _block(self, kind: Kind, raw: bytes) -> None:
        packed = zlib.compress(raw, _LEVEL)
        checksum = zlib.crc32(packed, zlib.crc32(CHECKED.pack(kind, len(packed), len(raw))))
        self._put(FRAME.pack(kind, len(packed), len(raw), checksum) + packed)

    def _put(self, data: bytes) -> None:
        left = memoryview(data)
        with self._explained():
            while left:
                left = left[self._file.write(left) :]
        self._whole.update(data)
        self.n_bytes += len(data)


@contextmanager
def writing_archive(path: Path, header: ArchiveHeader, *, user: str, folder: Path) -> Iterator[ArchiveWriter]:
    """Give a writer whose archive is at `path` when the block ends, whole and on the disk; where it raises, nothing of it is left.

    What is at `path` already is replaced then, where it is an archive; anything else is refused.

    user, folder : for errors: who writes, and where that is certainly allowed.

    Raises `UnwritableFile` and `DiskFull`.
    """
    with _explained(path, user, folder):
        _refuse_others(path)
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.partial")
        file = temporary.open("xb", buffering=0)  # with a buffer, closing would fail once more on a full disk
    try:
        with file:
            writer = ArchiveWriter(file, header, partial(_explained, path, user, folder))
            yield writer
            with _explained(path, user, folder):
                writer.finish()
                os.fsync(file.fileno())
        with _explained(path, user, folder):
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path, user: str, folder: Path) -> Iterator[None]:
    """Raise `DiskFull` and `UnwritableFile` for the system's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise DiskFull(path=path) from error
        raise UnwritableFile(path=path, reason=error.strerror or str(error), user=user, folder=folder) from error


def _refuse_others(path: Path) -> None:
    """Raise `FileExistsError` where something is at `path` that is no archive: a slip of the finger must not cost a file."""
    if not path.exists():
        return
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
        if start == MAGIC:
            return
    raise FileExistsError(errno.EEXIST, "there is something else already, which is not an archive")


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _json(message: object) -> bytes:
    return json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
