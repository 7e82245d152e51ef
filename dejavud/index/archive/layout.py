"""A library in one file: tracks with all their fields and their constellations, and the history, in checksummed blocks.  docs/archive.md has the layout.

Postings are not in it: they are derived from constellations, and only the hashes of profiles whose tracks have no constellation are carried.
Written and read a block at a time, so memory does not depend on the library's size.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from dejavud.errors import ParamsMismatch
from dejavud.index.entries import MAX_ID
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.fingerprint.params import HashParams
    from dejavud.values import Constellation, Hashes, Track

FORMAT = 2
"""The latest that is read.  One without a history is written as `PLAIN_FORMAT`, which earlier versions read too."""
PLAIN_FORMAT = 1
MAGIC = b"\x93DEJAVU\n"
"""No text begins so, and a transfer that changes line ends breaks it."""
MAX_BLOCK_BYTES = 1 << 30
"""What a block may unpack to; those that are written are as a rule about a hundredth of it."""

Kind = Literal[b"HEAD", b"TRKS", b"PLAY", b"TAIL"]
FRAME = struct.Struct("<4sIII")
"""Before each block: its kind, the bytes it takes, the bytes it unpacks to, and the CRC-32 of its kind, both numbers and its bytes."""
COUNT = struct.Struct("<I")
CHECKED = struct.Struct("<4sII")
_SHA1_DIGITS = 40


@dataclass(frozen=True, slots=True)
class ArchiveHeader:
    """What an archive says of itself before its tracks.

    is_whole : it holds every track of a library, not a selection.
    has_hashes : the tracks' hashes are in it, because they cannot be derived from constellations.
    n_tracks : about how many follow; the end says how many did.
    format : 2 where plays follow the tracks.
    """

    profile: str
    params_digest: str
    params: dict[str, Any]
    hash_bits: int
    is_whole: bool
    has_hashes: bool
    n_tracks: int
    made_at: str
    made_by: str
    format: int = PLAIN_FORMAT

    def check(self, params: HashParams, path: Path) -> None:
        """Raise `ParamsMismatch` where the archive's hashes would never meet those of `params`."""
        if self.params_digest != params.digest:
            raise ParamsMismatch(
                path=path,
                found_profile=self.profile,
                found=self.params_digest,
                profile=params.profile,
                expected=params.digest,
            )


@dataclass(frozen=True, slots=True)
class ArchivedTrack:
    """A track of an archive.

    constellation : as `encode_constellation` makes it.
    hashes : None where they are derived.
    """

    fields: dict[str, Any]
    constellation: bytes
    hashes: Hashes | None

    @property
    def id(self) -> int:
        """Return the number that it had."""
        return int(self.fields["id"])

    @property
    def file_sha1(self) -> str:
        """Return the identity of its content."""
        return str(self.fields["file_sha1"])

    @property
    def added_at(self) -> datetime:
        """Return when it was added."""
        return datetime.fromisoformat(self.fields["added_at"]).astimezone(UTC)

    def entry(self, constellation: Constellation, hashes: Hashes, *, keeps_id: bool) -> NewTrack:
        """Return the track as one to add."""
        own = self.fields
        texts = (own["title"], own["artist"], own["album"], own["path"])
        return NewTrack(
            *texts,
            file_sha1=self.file_sha1,
            duration_s=own["duration_s"],
            constellation=constellation,
            hashes=hashes,
            id=self.id if keeps_id else None,
            added_at=self.added_at,
            disabled=own["disabled"],
        )


_KINDS: dict[str, tuple[type, ...]] = {
    "id": (int,),
    "title": (str,),
    "artist": (str, type(None)),
    "album": (str, type(None)),
    "path": (str, type(None)),
    "file_sha1": (str,),
    "duration_s": (int, float),
    "n_peaks": (int,),
    "n_hashes": (int,),
    "added_at": (str,),
    "disabled": (bool,),
    "constellation_bytes": (int,),
}


def fields_of(track: Track, n_bytes: int) -> dict[str, Any]:
    """Return `track` as an archive has it; its packed constellation takes `n_bytes`."""
    own = {name: getattr(track, name) for name in _KINDS if name != "constellation_bytes"}
    return {**own, "added_at": track.added_at.isoformat(), "constellation_bytes": n_bytes}


def is_track(row: object) -> bool:
    """Tell whether `row` has all fields of a track, each as it can be."""
    if not isinstance(row, dict) or not all(isinstance(row.get(name), kinds) for name, kinds in _KINDS.items()):
        return False
    numbers = (row["id"], row["n_peaks"], row["n_hashes"], row["constellation_bytes"])
    is_moment = datetime.fromisoformat(row["added_at"]).tzinfo is not None
    return min(numbers) >= 0 and 0 < row["id"] <= MAX_ID and len(row["file_sha1"]) == _SHA1_DIGITS and is_moment
