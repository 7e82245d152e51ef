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

from dejavud.index.old.values import (
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
    HASH.hex().encode(),
    HASH.hex().upper().encode(),
    BASED,
    BASED[:16],
    BASED[:14],
    BASED.strip() + b"\r\n",
]
NO_HASHES = [
    b"",
    HASH[:9],
    HASH + b"\0",
    b"g" * 20,
    b"*" * 16,
    BASED[:13],
    base64.b64encode(HASH + b"\1"),
    BASED[:13] + b"/==\n",  # bits where ten bytes have none
    "\N{SNOWMAN}".encode() * 5,
    b",,,,,,,,,",
]


def joined(*stored: bytes) -> bytes:
    """Return what a server makes of the hashes of one row."""
    return b",".join(value.hex().encode() for value in stored)


@pytest.mark.parametrize("stored", SPELLINGS)
def test_a_hash_is_read_in_every_spelling(stored: bytes) -> None:
    """Binary, hexadecimal and base64 hashes, padded or cut, are the same 64 bits, in whatever case the server spells their bytes."""
    groups = decoded_hashes([joined(stored, stored), joined(stored).upper()])
    assert groups.n_hashes.tolist() == [2, 1]
    assert groups.hashes.is_good.tolist() == [True] * 3
    assert groups.hashes.values.tolist() == [BITS] * 3


@pytest.mark.parametrize("value", NO_HASHES)
def test_what_is_no_hash_is_told_apart(value: bytes) -> None:
    """What cannot be a hash is not good, alone and between others, and takes none of the others along."""
    assert decoded_hashes([joined(value)]).hashes.is_good.tolist() == [False]
    groups = decoded_hashes([joined(HASH, value, BASED), None, joined(value), joined(BASED)])
    assert groups.n_hashes.tolist() == [3, 0, 1, 1]
    assert groups.hashes.is_good.tolist() == [True, False, True, False, True]
    assert groups.hashes.values[groups.hashes.is_good].tolist() == [BITS] * 3


@given(
    st.lists(
        st.one_of(st.none(), st.lists(st.sampled_from(SPELLINGS + NO_HASHES), min_size=1, max_size=6)), max_size=10
    )
)
def test_a_column_of_any_mixture_is_read_hash_by_hash(rows: list[list[bytes] | None]) -> None:
    """What a hash is read as does not depend on those around it, nor on how many a row holds."""
    groups = decoded_hashes([None if row is None else joined(*row) for row in rows])
    assert groups.n_hashes.tolist() == [0 if row is None else len(row) for row in rows]
    flat = [value for row in rows if row for value in row]
    for value, bits, is_good in zip(flat, groups.hashes.values, groups.hashes.is_good, strict=True):
        assert is_good == (value in SPELLINGS)
        assert bits == BITS or not is_good


@given(st.binary(min_size=10, max_size=10))
def test_every_hash_survives_base64(raw: bytes) -> None:
    """Any ten bytes come back from base64 and from hexadecimal text as they do from binary."""
    spellings = (raw, base64.encodebytes(raw), base64.b64encode(raw), raw.hex().encode(), raw.hex().upper().encode())
    decoded = decoded_hashes([joined(*spellings)]).hashes
    assert decoded.is_good.all()
    assert decoded.values.tolist() == [int.from_bytes(raw[:8])] * 5


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


def gathered(
    rows: list[tuple[int, int, int, bytes | None]], size: int
) -> list[tuple[int, list[tuple[int, int]], int, int]]:
    """Return the songs that come of rows, fed so many at a time."""
    gatherer = SongGatherer()
    songs = [song for start in range(0, len(rows), size) for song in gatherer.feed(rows[start : start + size])]
    songs += gatherer.finish()
    assert gatherer.n_open == 0
    return [
        (s.id, list(zip(s.hashes.values.tolist(), s.hashes.offsets.tolist(), strict=True)), s.n_bad, s.n_repeated)
        for s in songs
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_songs_do_not_depend_on_how_rows_arrive(size: int) -> None:
    """However rows are cut into batches: each song whole, what repeats counted once, what is damaged counted."""
    one, two = HASH, bytes(10)
    rows = [
        (3, 1, 4, joined(one, two, one)),  # and one that is NULL
        (3, 2, 1, joined(b"short")),
        (4, 1, 2, None),
        (9, 1, 1, joined(one)),
        (9, 2, 2, joined(one, one)),
        (9, -1, 2, joined(one, two)),
    ]
    assert gathered(rows, size) == [(3, [(0, 1), (BITS, 1)], 2, 1), (4, [], 2, 0), (9, [(BITS, 1), (BITS, 2)], 2, 1)]
    assert list(SongGatherer().finish()) == []
