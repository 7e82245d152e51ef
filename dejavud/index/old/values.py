"""What stands in the columns of an old dejavu database, as ours: hashes in three spellings, offsets, contents, names.

Columns of millions of rows are decoded as arrays; what no generation of dejavu wrote is told apart, not raised.
"""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.values import Hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

MAX_FRAME = (1 << 24) - 1
"""Nine days at 44.1 kHz; an offset past it is damage."""

_N_BYTES = 10
_N_KEPT = 8
_N_HEX = 2 * _N_BYTES
_N_BASE64 = 14
"""Characters that carry the ten bytes; ``==`` and a line end may follow, and MySQL's column of 16 characters cuts the last off."""
_SHA1_BYTES = 20
_MAX_TITLE = 500


def _digits(alphabet: str) -> Array:
    """Return uint8 [256]: what each character stands for, 255 for those that stand for nothing."""
    table = np.full(256, 255, np.uint8)
    table[np.frombuffer(alphabet.encode(), np.uint8)] = np.arange(len(alphabet))
    return table


_COMMA = ord(",")
_HEX = np.minimum(_digits("0123456789abcdef"), _digits("0123456789ABCDEF"))
_BASE64 = _digits(string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/")
_ENDING = np.isin(np.arange(256), np.frombuffer(b"=\r\n", np.uint8))


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A column, and which of its rows could be read; the others hold nothing that means anything.

    values, is_good : parallel, [n].
    """

    values: Array
    is_good: Array


@dataclass(frozen=True, slots=True, eq=False)
class DecodedGroups:
    """The hashes of a column whose rows hold many.

    hashes : of all rows, one after the other.
    n_hashes : int64 [n_rows], how many are of each.
    """

    hashes: Decoded
    n_hashes: Array


def decoded_hashes(column: Sequence[bytes | None]) -> DecodedGroups:
    """Return the first 64 bits of each hash, uint64.

    column : rows of hashes, each as the hexadecimal digits of what is stored, with commas between; None has none.  Stored are ten bytes, or as
    text their 20 hexadecimal digits, or base64 with or without its padding and line end.
    """
    rows = [row for row in column if row is not None]
    characters = np.frombuffer(b",".join(rows) + b",", np.uint8)
    n_digits = np.diff(np.flatnonzero(characters == _COMMA), prepend=-1) - 1 if rows else np.empty(0, np.int64)
    ends = np.cumsum([0 if row is None else len(row) + 1 for row in column])
    n_hashes = np.diff(np.searchsorted(np.cumsum(n_digits + 1), ends, side="right"), prepend=0)
    return DecodedGroups(_decoded(characters, n_digits), n_hashes)


def _decoded(characters: Array, n_digits: Array) -> Decoded:
    """Return what is spelled in `characters`: so many digits of each hash, and one more character."""
    values, is_good = np.zeros(len(n_digits), np.uint64), np.zeros(len(n_digits), bool)
    starts = np.cumsum(n_digits + 1) - n_digits - 1
    for width in np.unique(n_digits).tolist():  # there is one, where nothing is wrong
        decode = _DECODERS.get(width / 2)
        if decode is not None:
            here = np.flatnonzero(n_digits == width)
            if len(here) == len(n_digits):
                digits = _HEX[characters.reshape(-1, width + 1)[:, :width]]
            else:
                digits = _HEX[characters[starts[here, None] + np.arange(width)]]
            values[here], is_good[here] = decode((digits[:, ::2] << 4) | digits[:, 1::2])
    return Decoded(values, is_good)


def _from_binary(rows: Array) -> tuple[Array, Array]:
    return _leading_bits(rows), np.ones(len(rows), bool)


def _from_hex(rows: Array) -> tuple[Array, Array]:
    digits = _HEX[rows]
    return _leading_bits((digits[:, ::2] << 4) | (digits[:, 1::2] & 15)), np.all(digits < 16, axis=1)  # noqa: PLR2004 - hexadecimal


def _from_base64(rows: Array) -> tuple[Array, Array]:
    sixes = _BASE64[rows[:, :_N_BASE64]]
    is_good = np.all(sixes < 64, axis=1) & np.all(_ENDING[rows[:, _N_BASE64:]], axis=1)  # noqa: PLR2004 - base64
    is_good &= (sixes[:, -1] & 15) == 0  # ten bytes leave four bits of the last character unused
    values = (sixes[:, 10] >> 2).astype(np.uint64)
    for place in range(10):
        values |= sixes[:, place].astype(np.uint64) << np.uint64(58 - 6 * place)
    return values, is_good


def _leading_bits(rows: Array) -> Array:
    return np.ascontiguousarray(rows[:, :_N_KEPT]).view(">u8").ravel().astype(np.uint64)


_DECODERS: dict[float, Callable[[Array], tuple[Array, Array]]] = {
    _N_BYTES: _from_binary,
    _N_HEX: _from_hex,
    **dict.fromkeys(range(_N_BASE64, _N_BASE64 + 5), _from_base64),
}


def decoded_offsets(column: Sequence[Any]) -> Decoded:
    """Return the frames of the anchors, int32; those below 0 or past `MAX_FRAME` are not good."""
    try:
        wide = np.array(column, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        wide = np.array([_whole_number(value) for value in column], dtype=np.int64)
    is_good = (wide >= 0) & (wide <= MAX_FRAME)
    return Decoded(np.where(is_good, wide, 0).astype(np.int32), is_good)


def _whole_number(value: Any) -> int:  # noqa: ANN401 - whatever stands there
    """Return an offset, -1 for what is none.  SQLite keeps a number of numpy's as the eight bytes that it is in memory."""
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        if len(raw) == np.dtype(np.int64).itemsize and not raw.isdigit():
            return int.from_bytes(raw, "little", signed=True)
        value = raw.decode("ascii", "replace")
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return -1
    return number if -1 <= number <= MAX_FRAME else -1


@dataclass(frozen=True, slots=True)
class GatheredSong:
    """All of a song's fingerprints.

    hashes : each (hash, offset) once; there may be none.
    n_bad, n_repeated : fingerprints that could not be read, and those that had come before.
    """

    id: int
    hashes: Hashes
    n_bad: int
    n_repeated: int


class SongGatherer:
    """Rows of fingerprints, those of one offset of a song in each, in order of song, to one song after the other.

    n_open : fingerprints so far of the song that is not over yet.
    """

    def __init__(self) -> None:
        self.n_open = 0
        self._song_id: int | None = None
        self._parts: list[tuple[Array, Array]] = []

    def feed(self, rows: Sequence[tuple[Any, Any, Any, Any]]) -> Iterator[GatheredSong]:
        """Take the next rows, (song, offset, fingerprints, hashes as for `decoded_hashes`); yield the songs that are over with them."""
        song_column, offset_column, count_column, hash_column = zip(*rows, strict=True)
        groups, offsets = decoded_hashes(hash_column), decoded_offsets(offset_column)
        frames = np.repeat(offsets.values, groups.n_hashes)
        is_good = groups.hashes.is_good & np.repeat(offsets.is_good, groups.n_hashes)
        songs, n_rows = np.array(song_column, np.int64), np.array(count_column, np.int64)
        ends = np.append(0, np.cumsum(groups.n_hashes))
        bounds = [0, *(np.flatnonzero(np.diff(songs)) + 1).tolist(), len(songs)]
        for start, end in pairwise(bounds):
            if songs[start] != self._song_id:
                yield from self.finish()
                self._song_id = int(songs[start])
            here = slice(ends[start], ends[end])
            good = is_good[here]
            self._parts.append((groups.hashes.values[here][good], frames[here][good]))
            self.n_open += int(n_rows[start:end].sum())

    def finish(self) -> Iterator[GatheredSong]:
        """Yield the song that was fed last, if there is one; no more of its rows follow."""
        if self._song_id is not None:
            values, offsets = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
            self._parts.clear()
            hashes = _distinct(values, offsets)
            song = GatheredSong(self._song_id, hashes, self.n_open - len(values), len(values) - len(hashes))
            self._song_id, self.n_open = None, 0
            yield song


def _distinct(values: Array, offsets: Array) -> Hashes:
    """Return each (hash, offset) once, in their order."""
    order = np.lexsort((offsets, values))
    values, offsets = values[order], offsets[order]
    is_first = np.ones(len(values), bool)
    is_first[1:] = (np.diff(values) != 0) | (np.diff(offsets) != 0)
    return Hashes(values[is_first], offsets[is_first])


def decoded_sha1(value: object) -> str | None:
    """Return the SHA1 of a song's file, 40 lower-case hexadecimal digits; None where the column does not hold all of it.

    It does as 20 bytes, as 40 hexadecimal digits or as base64 with or without padding and line end.  A column that was too short
    has cut it, and zeros have filled it up.
    """
    raw = value.encode("ascii", "replace") if isinstance(value, str) else _bytes(value)
    text = raw.rstrip(b"=\r\n\0 ")
    sha1 = raw if len(raw) == _SHA1_BYTES else _unhexed(text) or _unbased(text)
    if sha1 is None or len(sha1) != _SHA1_BYTES or not any(sha1[_N_BYTES:]) or _is_hex(sha1):
        return None
    return sha1.hex()


def _bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""


def _is_hex(text: bytes) -> bool:
    return set(text) <= set(string.hexdigits.encode())


def _unhexed(text: bytes) -> bytes | None:
    return bytes.fromhex(text.decode()) if len(text) == 2 * _SHA1_BYTES and _is_hex(text) else None


def _unbased(text: bytes) -> bytes | None:
    n_characters = 27  # of 20 bytes
    sixes = _BASE64[np.frombuffer(text, np.uint8)]
    if len(text) != n_characters or (sixes > 63).any():  # noqa: PLR2004 - base64
        return None
    return np.packbits(np.unpackbits(sixes[:, None], axis=1)[:, 2:].ravel()[: 8 * _SHA1_BYTES]).tobytes()


def decoded_title(value: object, song_id: int) -> str:
    """Return a song's name: of bytes as UTF-8, or as Latin-1 where they are not; cut at 500 characters; never empty."""
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value).rstrip(b"\0")
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            value = raw.decode("latin-1")
    name = "" if value is None else str(value).strip()
    if len(name) > _MAX_TITLE:
        name = name[: _MAX_TITLE - 1] + "…"
    return name or f"song {song_id}"


def derived_sha1(title: str, n_rows: int, max_offset: Any, sum_offsets: Any) -> str:  # noqa: ANN401 - as counted
    """Return what stands for the SHA1 of a song whose file's is not known: the same whenever it is read, and not the SHA1 of any file.

    It is made of what the server counts without sending a row, so that a song that is there already need not be read to be known.

    n_rows, max_offset, sum_offsets : of its fingerprints, as the database counted them.
    """
    figures = (n_rows, max_offset or 0, sum_offsets or 0)
    text = "\0".join(("dejavu song", title, *(str(int(figure)) for figure in figures)))
    return hashlib.sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
