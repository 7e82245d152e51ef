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


def decoded_hashes(column: Sequence[Any]) -> Decoded:
    """Return the first 64 bits of each hash, uint64.

    column : ten bytes each, or as text 20 hexadecimal digits, or base64 with or without its padding and line end; text may be bytes as well.
    """
    characters, lengths = _flattened(column)
    values, is_good = np.zeros(len(column), np.uint64), np.zeros(len(column), bool)
    starts = np.cumsum(lengths) - lengths
    for length in np.unique(lengths).tolist():  # there is one, where nothing is wrong
        decode = _DECODERS.get(length)
        if decode is not None:
            here = np.flatnonzero(lengths == length)
            rows = characters[starts[here, None] + np.arange(length)] if len(here) < len(column) else characters
            values[here], is_good[here] = decode(rows.reshape(-1, length))
    return Decoded(values, is_good)


def _flattened(column: Sequence[Any]) -> tuple[Array, Array]:
    """Return all bytes of a column one after the other, uint8, and how many each row has; none where it holds neither bytes nor text."""
    try:
        if isinstance(column[0], str):
            data, lengths = "".join(column).encode("ascii"), _lengths(column)
            lengths = np.where(lengths == _N_BYTES, -1, lengths)
            if (lengths > 0).all():
                return np.frombuffer(data, np.uint8), lengths
        else:
            return np.frombuffer(b"".join(column), np.uint8), _lengths(column)
    except (TypeError, UnicodeEncodeError):
        pass  # a column of several kinds: row by row
    rows = [_text_or_bytes(value) for value in column]
    return np.frombuffer(b"".join(rows), np.uint8), _lengths(rows)


def _lengths(column: Sequence[Any]) -> Array:
    return np.fromiter(map(len, column), np.int64, len(column))


def _text_or_bytes(value: object) -> bytes:
    """Return the bytes of one hash; none for what can be no hash, such as ten characters of text."""
    if isinstance(value, str):
        return b"" if len(value) == _N_BYTES else value.encode("ascii", "replace")
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""


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


_DECODERS: dict[int, Callable[[Array], tuple[Array, Array]]] = {
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
    n_bad, n_repeated : rows that could not be read, and rows that came before.
    """

    id: int
    hashes: Hashes
    n_bad: int
    n_repeated: int


class SongGatherer:
    """Rows of fingerprints, in order of song, to one song after the other.

    n_open : rows so far of the song that is not over yet.
    """

    def __init__(self) -> None:
        self.n_open = 0
        self._song_id: int | None = None
        self._parts: list[tuple[Array, Array]] = []

    def feed(self, rows: Sequence[tuple[Any, Any, Any]]) -> Iterator[GatheredSong]:
        """Take the next rows, (song, hash, offset); yield the songs that are over with them."""
        song_column, hash_column, offset_column = zip(*rows, strict=True)
        hashes, offsets = decoded_hashes(hash_column), decoded_offsets(offset_column)
        is_good = hashes.is_good & offsets.is_good
        songs = np.array(song_column, dtype=np.int64)
        bounds = [0, *(np.flatnonzero(np.diff(songs)) + 1).tolist(), len(songs)]
        for start, end in pairwise(bounds):
            if songs[start] != self._song_id:
                yield from self.finish()
                self._song_id = int(songs[start])
            good = is_good[start:end]
            self._parts.append((hashes.values[start:end][good], offsets.values[start:end][good]))
            self.n_open += end - start

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
    raw = value.encode("ascii", "replace") if isinstance(value, str) else _text_or_bytes(value)
    text = raw.rstrip(b"=\r\n\0 ")
    sha1 = raw if len(raw) == _SHA1_BYTES else _unhexed(text) or _unbased(text)
    if sha1 is None or len(sha1) != _SHA1_BYTES or not any(sha1[_N_BYTES:]) or _is_hex(sha1):
        return None
    return sha1.hex()


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
