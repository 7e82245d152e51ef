"""Reading an archive: every byte is checked before it is believed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import zlib
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from dejavud.errors import ArchiveDamaged, ArchiveForeign, ArchiveTooNew, UnreadableFile
from dejavud.index.archive.layout import (
    CHECKED,
    COUNT,
    FORMAT,
    FRAME,
    MAGIC,
    MAX_BLOCK_BYTES,
    PLAIN_FORMAT,
    ArchivedTrack,
    ArchiveHeader,
    is_track,
)
from dejavud.index.constellation_codec import decode_constellation
from dejavud.index.history.plays import of_json
from dejavud.values import Hashes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from dejavud.index.history.plays import KeptPlay
    from dejavud.values import Constellation

_KINDS = {PLAIN_FORMAT: (b"TRKS", b"TAIL"), FORMAT: (b"TRKS", b"PLAY", b"TAIL")}
"""Blocks that follow the header, by format."""


class ArchiveReader:
    """Reads the blocks of one archive; made by `reading_archive`.  For one thread at a time."""

    def __init__(self, file: BinaryIO, path: Path, user: str) -> None:
        self._file = file
        self._path = path
        self._user = user
        self._size = os.fstat(file.fileno()).st_size
        self._start = 0
        self.header = self._read_header()

    def check(self) -> Iterator[int]:
        """Read all of it and give after each block how many bytes that were; the archive is whole when this comes to its end.

        Raises `ArchiveDamaged`.
        """
        whole = hashlib.sha256()
        n_tracks = n_blocks = n_plays = 0
        self._file.seek(0)
        whole.update(self._read(self._start))
        while True:
            frame, packed = self._next()
            raw = self._unpacked(frame, packed)
            if frame[0] == b"TAIL":
                break
            if frame[0] == b"PLAY":
                n_plays += len(self._plays(raw))
            else:
                n_tracks += len(self._rows(raw))
                n_blocks += 1
            whole.update(FRAME.pack(*frame))
            whole.update(packed)
            yield self._file.tell()
        expected: dict[str, object] = {"n_tracks": n_tracks, "n_blocks": n_blocks, "sha256": whole.hexdigest()}
        if self.header.format > PLAIN_FORMAT:
            expected["n_plays"] = n_plays
        tail = self._object(raw)
        if {name: tail.get(name) for name in expected} != expected:
            self.refuse("its end does not agree with what is before it")
        if self._file.tell() != self._size:
            self.refuse(f"there are {self._size - self._file.tell()} bytes after its end")

    @property
    def n_bytes(self) -> int:
        """Return the size of the file."""
        return self._size

    def blocks(self) -> Iterator[list[ArchivedTrack]]:
        """Give the tracks, a block at a time, from the beginning; raises `ArchiveDamaged`."""
        self._file.seek(self._start)
        while True:
            frame, packed = self._next()
            raw = self._unpacked(frame, packed)
            if frame[0] == b"TAIL":
                return
            if frame[0] == b"TRKS":
                yield self._tracks(raw)

    def plays(self) -> Iterator[list[KeptPlay]]:
        """Give the plays of the history, a block at a time, newest first; raises `ArchiveDamaged`."""
        self._file.seek(self._start)
        while self.header.format > PLAIN_FORMAT:
            frame, packed = self._next()
            if frame[0] == b"TAIL":
                return
            if frame[0] == b"PLAY":
                yield self._plays(self._unpacked(frame, packed))

    def constellation(self, track: ArchivedTrack) -> Constellation:
        """Return the constellation of a track; raises `ArchiveDamaged`."""
        try:
            return decode_constellation(track.constellation)
        except ValueError as error:
            self.refuse(str(error))

    def _read_header(self) -> ArchiveHeader:
        if self._read(len(MAGIC), allow_less=True) != MAGIC:
            raise ArchiveForeign(path=self._path)
        frame, packed = self._next(kinds=(b"HEAD",))
        found = self._object(self._unpacked(frame, packed))
        version = found.get("format")
        if not isinstance(version, int) or version < 1:
            self.refuse("its header names no format")
        if version > FORMAT:
            raise ArchiveTooNew(path=self._path, found=version, known=FORMAT)
        self._start = self._file.tell()
        try:
            return ArchiveHeader(**{field.name: found[field.name] for field in fields(ArchiveHeader)})
        except KeyError as error:
            self.refuse(f"its header names no {error.args[0]}")

    def _next(self, kinds: tuple[bytes, ...] = ()) -> tuple[tuple[bytes, int, int, int], bytes]:
        """Return the next block as it lies in the file, its checksum compared."""
        kinds = kinds or _KINDS[min(self.header.format, FORMAT)]
        kind, n_packed, n_raw, checksum = FRAME.unpack(self._read(FRAME.size))
        if kind not in kinds or n_raw > MAX_BLOCK_BYTES or n_packed > self._size - self._file.tell():
            self.refuse(f"what begins before byte {self._file.tell()} is no block, or is cut short")
        packed = self._read(n_packed)
        if zlib.crc32(packed, zlib.crc32(CHECKED.pack(kind, n_packed, n_raw))) != checksum:
            self.refuse(f"the checksum of the block that ends at byte {self._file.tell()} is wrong")
        return (kind, n_packed, n_raw, checksum), packed

    def _unpacked(self, frame: tuple[bytes, int, int, int], packed: bytes) -> bytes:
        unpack = zlib.decompressobj()
        try:
            raw = unpack.decompress(packed, frame[2])
        except zlib.error as error:
            self.refuse(str(error))
        if len(raw) != frame[2]:
            self.refuse("a block unpacks to another size than it says")
        return raw

    def _plays(self, raw: bytes) -> list[KeptPlay]:
        """Return the plays of a block, checked."""
        try:
            return [of_json(values) for values in json.loads(raw)]
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            self.refuse(f"a block of plays cannot be read: {error}")

    def _rows(self, raw: bytes) -> list[dict[str, Any]]:
        """Return the fields of the tracks of a block, checked."""
        try:
            (n_bytes,) = COUNT.unpack_from(raw)
            rows = json.loads(raw[COUNT.size : COUNT.size + n_bytes])
            if not all(is_track(row) for row in rows):
                self.refuse("a track lacks a field, or has a wrong one")
        except (struct.error, ValueError, TypeError) as error:
            self.refuse(f"a block of tracks cannot be read: {error}")
        return list(rows)

    def _tracks(self, raw: bytes) -> list[ArchivedTrack]:
        rows = self._rows(raw)
        sizes = [row["constellation_bytes"] for row in rows]
        n_hashes = [row["n_hashes"] if self.header.has_hashes else 0 for row in rows]
        value_type = np.dtype("<u8" if self.header.hash_bits == 64 else "<u4")  # noqa: PLR2004 - bits of a hash
        start = COUNT.size + COUNT.unpack_from(raw)[0]
        ends = np.cumsum([start, *sizes, sum(n_hashes) * value_type.itemsize, sum(n_hashes) * 4]).tolist()
        if ends[-1] != len(raw):
            self.refuse("a block of tracks has another size than its tracks say")
        values = np.frombuffer(raw, value_type, sum(n_hashes), ends[-3])
        offsets = np.frombuffer(raw, "<i4", sum(n_hashes), ends[-2])
        bounds = np.cumsum([0, *n_hashes]).tolist()
        return [
            ArchivedTrack(
                row,
                raw[ends[which] : ends[which + 1]],
                Hashes(values[bounds[which] : bounds[which + 1]], offsets[bounds[which] : bounds[which + 1]])
                if self.header.has_hashes
                else None,
            )
            for which, row in enumerate(rows)
        ]

    def _object(self, raw: bytes) -> dict[str, Any]:
        try:
            found = json.loads(raw)
        except ValueError as error:
            self.refuse(f"a block cannot be read: {error}")
        if not isinstance(found, dict):
            self.refuse("a block is not what its kind says")
        return found

    def _read(self, n_bytes: int, *, allow_less: bool = False) -> bytes:
        try:
            data = self._file.read(n_bytes)
        except OSError as error:
            raise _unreadable(self._path, error.strerror, self._user) from error
        if len(data) < n_bytes and not allow_less:
            self.refuse(f"it is cut short: it ends at byte {self._file.tell()}")
        return data

    def refuse(self, reason: str) -> NoReturn:
        """Raise `ArchiveDamaged`."""
        raise ArchiveDamaged(path=self._path, reason=reason)


@contextmanager
def reading_archive(path: Path, *, user: str) -> Iterator[ArchiveReader]:
    """Give a reader of the archive at `path`, whose header was read.

    user : for errors: who reads.

    Raises `UnreadableFile`, `ArchiveForeign`, `ArchiveTooNew` and `ArchiveDamaged`.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its writer
    except OSError as error:
        raise _unreadable(path, error.strerror, user) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _unreadable(path, "it is not a regular file", user)
    with os.fdopen(handle, "rb") as file:
        yield ArchiveReader(file, path, user)


def _unreadable(path: Path, reason: str | None, user: str) -> UnreadableFile:
    return UnreadableFile(source=str(path), reason=f"{reason} (the daemon runs as {user})")
