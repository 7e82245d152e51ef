"""What old databases hold in their columns, in every spelling and damage that is known of."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavud.index.old_values import (
    MAX_FRAME,
    SongGatherer,
    decoded_hashes,
    decoded_offsets,
    decoded_sha1,
    decoded_title,
    derived_sha1,
)

HASH = bytes.fromhex("ff00112233445566aabb")
BITS = 0xFF00112233445566
SHA1 = hashlib.sha1(b"a file", usedforsecurity=False).digest()
BASED = base64.encodebytes(HASH)

SPELLINGS = [
    HASH,
    memoryview(HASH),
    HASH.hex(),
    HASH.hex().upper(),
    HASH.hex().encode(),
    BASED,
    BASED.decode(),
    BASED[:16],
    BASED[:14].decode(),
    BASED.strip() + b"\r\n",
]
NO_HASHES = [
    None,
    b"",
    "",
    7,
    1.5,
    HASH[:9],
    HASH + b"\0",
    "0123456789",  # ten characters are no ten bytes
    "g" * 20,
    b"*" * 16,
    BASED[:13],
    base64.b64encode(HASH + b"\1"),
    BASED[:13] + b"/==\n",  # bits where ten bytes have none
    "\N{SNOWMAN}" * 20,
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_hash_is_read_in_every_spelling(spelling: Any) -> None:  # noqa: ANN401
    """Binary, hexadecimal and base64 hashes, as bytes or text, padded or cut, are the same 64 bits."""
    decoded = decoded_hashes([spelling] * 3)
    assert decoded.is_good.tolist() == [True] * 3
    assert decoded.values.tolist() == [BITS] * 3


@pytest.mark.parametrize("value", NO_HASHES)
def test_what_is_no_hash_is_told_apart(value: Any) -> None:  # noqa: ANN401
    """What cannot be a hash is not good, alone and between others, and takes none of the others along."""
    assert decoded_hashes([value]).is_good.tolist() == [False]
    decoded = decoded_hashes([HASH, value, BASED.decode(), value, BASED])
    assert decoded.is_good.tolist() == [True, False, True, False, True]
    assert decoded.values[decoded.is_good].tolist() == [BITS] * 3


@given(st.lists(st.sampled_from(SPELLINGS + NO_HASHES), min_size=1, max_size=30))
def test_a_column_of_any_mixture_is_read_row_by_row(column: list[Any]) -> None:
    """A row's value does not depend on the rows around it."""
    decoded = decoded_hashes(column)
    for value, bits, is_good in zip(column, decoded.values, decoded.is_good, strict=True):
        alone = decoded_hashes([value])
        assert (is_good, bits if is_good else 0) == (alone.is_good[0], alone.values[0] if is_good else 0)


@given(st.binary(min_size=10, max_size=10))
def test_every_hash_survives_base64(raw: bytes) -> None:
    """Any ten bytes come back from base64 and from hexadecimal text as they do from binary."""
    expected = int.from_bytes(raw[:8])
    column = [raw, base64.encodebytes(raw), base64.b64encode(raw).decode(), raw.hex(), raw.hex().upper().encode()]
    decoded = decoded_hashes(column)
    assert decoded.is_good.all()
    assert decoded.values.tolist() == [expected] * 5


def test_offsets_are_whole_numbers_in_range() -> None:
    """Numbers, numbers as text and numbers as SQLite keeps those of numpy are offsets; nothing else is."""
    with closing(sqlite3.connect(":memory:")) as database:
        [numpys] = database.execute("SELECT ?", [np.int64(1234)]).fetchone()
    good = [0, 1, MAX_FRAME, b"17", "18", numpys, True]
    bad = [None, -1, MAX_FRAME + 1, 2**40, 2**70, "x", b"", b"\xff" * 8, float("nan"), float("inf")]
    decoded = decoded_offsets(good)
    assert decoded.values.tolist() == [0, 1, MAX_FRAME, 17, 18, 1234, 1]
    assert decoded.is_good.all()
    assert not decoded_offsets([*good, *bad]).is_good[len(good) :].any()
    assert decoded_offsets([*good, *bad]).is_good[: len(good)].all()
    assert decoded_offsets([5, 6]).values.dtype == np.int32


@pytest.mark.parametrize(
    "stored",
    [
        SHA1,
        memoryview(SHA1),
        SHA1.hex(),
        SHA1.hex().upper().encode(),
        base64.encodebytes(SHA1),
        base64.encodebytes(SHA1).decode(),
        base64.b64encode(SHA1).rstrip(b"="),
        SHA1.hex().encode() + b"\0\0",
    ],
)
def test_a_files_sha1_is_read_in_every_spelling(stored: Any) -> None:  # noqa: ANN401
    """Binary, hexadecimal and base64 give the file's true SHA1, in lower case."""
    assert decoded_sha1(stored) == SHA1.hex()


@pytest.mark.parametrize(
    "stored",
    [
        None,
        b"",
        "",
        SHA1[:10],
        SHA1[:10] + bytes(10),
        bytes(20),
        SHA1.hex()[:20],
        SHA1.hex().upper()[:20].encode(),
        base64.b64encode(SHA1)[:16],
        "unknown",
        "\N{SNOWMAN}" * 27,
        12,
    ],
)
def test_a_cut_sha1_is_none(stored: Any) -> None:  # noqa: ANN401
    """Where a column kept a part only, filled up or not, the SHA1 is not known: it is never made up."""
    assert decoded_sha1(stored) is None


def test_a_derived_sha1_is_the_songs_own() -> None:
    """It has the form of a SHA1, is the same for the same song, and another where anything of the song is."""
    usual = ("Étude", 100, 50, 2500)
    others = [("Etude", 100, 50, 2500), ("Étude", 101, 50, 2500), ("Étude", 100, 51, 2500), ("Étude", 100, 50, 2501)]
    known = {derived_sha1(*song) for song in (usual, *others)}
    assert len(known) == 5
    assert derived_sha1(*usual) in known
    assert all(len(sha1) == 40 and set(sha1) <= set("0123456789abcdef") for sha1 in known)
    assert derived_sha1("lone \ud800", 1, None, None) == derived_sha1("lone \ud800", 1, 0, 0.0)


@pytest.mark.parametrize(
    ("stored", "title"),
    [
        ("Étude", "Étude"),
        ("Étude".encode(), "Étude"),
        ("Étude".encode("latin-1"), "Étude"),
        (memoryview(b"A\0\0"), "A"),
        ("  spaced ", "spaced"),
        (None, "song 7"),
        ("", "song 7"),
        (b"\0", "song 7"),
        ("x" * 501, "x" * 499 + "…"),
        (12, "12"),
    ],
)
def test_a_name_is_read_in_any_encoding(stored: Any, title: str) -> None:  # noqa: ANN401
    """Text and bytes of any encoding are a title; none is empty, and none is endless."""
    assert decoded_title(stored, 7) == title


def gathered(rows: list[tuple[int, Any, int]], sizes: int) -> list[tuple[int, list[tuple[int, int]], int, int]]:
    """Return the songs that come of rows, fed so many at a time."""
    gatherer = SongGatherer()
    songs = [song for start in range(0, len(rows), sizes) for song in gatherer.feed(rows[start : start + sizes])]
    songs += gatherer.finish()
    return [
        (s.id, list(zip(s.hashes.values.tolist(), s.hashes.offsets.tolist(), strict=True)), s.n_bad, s.n_repeated)
        for s in songs
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_songs_do_not_depend_on_how_rows_arrive(size: int) -> None:
    """However rows are cut into batches: each song whole, what repeats counted once, what is damaged counted."""
    one, two = HASH, bytes(10)
    rows = [
        (3, one, 1),
        (3, two, 1),
        (3, one, 1),
        (3, b"short", 2),
        (4, None, 1),
        (9, one, 2),
        (9, one, 1),
        (9, one, 2),
    ]
    assert gathered(rows, size) == [(3, [(0, 1), (BITS, 1)], 1, 1), (4, [], 1, 0), (9, [(BITS, 1), (BITS, 2)], 0, 1)]
    assert list(SongGatherer().finish()) == []
