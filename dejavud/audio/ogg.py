"""Chained Ogg files: several streams one behind the other, each of its own rate and channels if it likes.

FFmpeg's demuxer plays a chain through only while its links are alike, so each link is given to it as a file of its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import io

_CAPTURE = b"OggS"
_HEADER_BYTES = 27
_BEGINS_STREAM = 0x02
_SEARCH_BYTES = 1 << 17
"""More than the longest page, 65 307 bytes: so much of any place in a sound file holds the beginning of a page."""


def find_links(file: io.FileIO) -> list[tuple[int, int]]:
    """Return where each link of the Ogg chain in `file` begins and ends, in bytes; empty when it is no chain.

    The usual file, of one link, costs two short reads: its last page belongs to a stream that its first pages begin.
    """
    descriptor = file.fileno()
    head = os.pread(descriptor, _SEARCH_BYTES, 0)
    if not head.startswith(_CAPTURE):
        return []
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _SEARCH_BYTES, max(size - _SEARCH_BYTES, 0))
    last = tail.rfind(_CAPTURE, 0, len(tail) - _HEADER_BYTES + len(_CAPTURE))
    if last < 0 or _serial(tail[last:]) in _first_serials(head):
        return []
    starts = _link_starts(descriptor)
    return list(zip(starts, [*starts[1:], size], strict=True)) if len(starts) > 1 else []


def _serial(page: bytes) -> bytes:
    return page[14:18]


def _page_bytes(page: bytes) -> int:
    """Return the length of the page of which `page` is at least the header and the table of segments."""
    n_segments = page[26]
    return _HEADER_BYTES + n_segments + sum(page[_HEADER_BYTES : _HEADER_BYTES + n_segments])


def _first_serials(head: bytes) -> set[bytes]:
    """Return the serial numbers of the streams that begin at the beginning."""
    serials: set[bytes] = set()
    at = 0
    while head[at : at + 4] == _CAPTURE and len(head) >= at + _HEADER_BYTES and head[at + 5] & _BEGINS_STREAM:
        serials.add(_serial(head[at:]))
        at += _page_bytes(head[at:])
    return serials


def _link_starts(descriptor: int) -> list[int]:
    """Return the positions of the pages that begin a stream after pages that do not; walks over all pages."""
    starts: list[int] = []
    at, was_beginning = 0, False
    while len(page := os.pread(descriptor, _HEADER_BYTES + 255, at)) >= _HEADER_BYTES:
        if not page.startswith(_CAPTURE):
            found = os.pread(descriptor, _SEARCH_BYTES, at).find(_CAPTURE, 1)
            at += found if found > 0 else _SEARCH_BYTES - len(_CAPTURE)
            continue
        begins = bool(page[5] & _BEGINS_STREAM)
        if begins and not was_beginning:
            starts.append(at)
        was_beginning = begins
        at += _page_bytes(page)
    return starts
