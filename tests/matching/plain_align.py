"""How dejavu aligned matches, the plain way, step by step as its description goes: what ours must equal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Pairs = Iterable[tuple[object, int]]
    """(hash, offset)."""
    Stored = Mapping[object, list[tuple[int, int]]]
    """By hash: (song, offset)."""


def stored_by_hash(songs: Mapping[int, Pairs]) -> Stored:
    """Return the table of fingerprints of a database."""
    table: dict[object, list[tuple[int, int]]] = {}
    for song, pairs in songs.items():
        for hash_, offset in pairs:
            table.setdefault(hash_, []).append((song, offset))
    return table


def plain_matches_2020(query: Pairs, stored: Stored) -> list[tuple[int, int]]:
    """Return (song, difference) of every offset at which the query has a hash with every posting of it."""
    offsets: dict[object, list[int]] = {}
    for hash_, offset in query:
        offsets.setdefault(hash_, []).append(offset)
    return [
        (song, offset - asked)
        for hash_, asked_at in offsets.items()
        for song, offset in stored.get(hash_, [])
        for asked in asked_at
    ]


def plain_matches_before(channels: Iterable[Pairs], stored: Stored) -> list[tuple[int, int]]:
    """Return (song, difference) channel after channel; of a hash that comes again only the last offset was kept."""
    found = []
    for pairs in channels:
        last = dict(sorted(pairs, key=lambda pair: pair[1]))
        found += [(song, offset - asked) for hash_, asked in last.items() for song, offset in stored.get(hash_, [])]
    return found


def plain_align(matches: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return (song, difference, how many agree) of each song's best, the best song first; the lower of equals first."""
    best: dict[int, tuple[int, int]] = {}
    for (song, difference), n_agreeing in sorted(Counter(matches).items()):
        if song not in best or n_agreeing > best[song][1]:
            best[song] = (difference, n_agreeing)
    ranked = sorted(best.items(), key=lambda item: -item[1][1])
    return [(song, difference, n_agreeing) for song, (difference, n_agreeing) in ranked]
