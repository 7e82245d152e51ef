"""Whether an index is whole: every track against what it was made of, some tracks at a time, beside everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.errors import IndexDamaged
from dejavud.index.view.upkeep import PAGE_TRACKS, groups_of
from dejavud.values import Hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dejavud.index.base import Store
    from dejavud.index.postings import Postings
    from dejavud.index.view.resident import ResidentIndex
    from dejavud.placed_hits import AnyHits
    from dejavud.values import Array, Constellation, Track

PORTION_POSTINGS = 1 << 21
"""Read at a time, in some 150 MB of memory; where they are in runs of millions, fewer would be no faster to read."""
SAMPLE_HASHES = 1000
"""Of each portion, that the view is asked for as well as the store."""

DAMAGED, MISSING, MISCOUNTED, POSTINGS_DIFFER, DUPLICATE_ID, DUPLICATE_CONTENT, STRAY, VIEW_DAMAGED, VIEW_DIFFERS = (
    KINDS
) = (
    "constellation_damaged",
    "constellation_missing",
    "counts_differ",
    "postings_differ",
    "duplicate_id",
    "duplicate_content",
    "stray_rows",
    "view_damaged",
    "view_differs",
)
"""What can be wrong; see docs/operations.md."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    kind : one of `KINDS`.
    track_id : whose it is; None where it is no track's.
    """

    kind: str
    track_id: int | None
    reason: str


class Check:
    """Looks at a store, and at the view of it where there is one.  What is written meanwhile is no finding: each is looked at again.

    derive : returns the hashes of a constellation; None where the profile keeps none, and postings can only be counted.
    """

    def __init__(
        self, store: Store, view: ResidentIndex | None, derive: Callable[[Constellation], Hashes] | None
    ) -> None:
        self._store = store
        self._view = view
        self._derive = derive

    def portions(self) -> Iterator[list[Track]]:
        """Give all tracks, ascending by id, in portions to `look` at."""
        page = self._store.tracks(limit=PAGE_TRACKS)
        while page:
            yield from groups_of(page, PORTION_POSTINGS)
            page = self._store.tracks(limit=PAGE_TRACKS, after_id=page[-1].id)

    def look(self, tracks: Sequence[Track]) -> list[Finding]:
        """Return what is wrong with these tracks, which ascend by id."""
        suspects = {finding.track_id for finding in self._look(tracks)}
        if not suspects:
            return []
        again = self._store.tracks(ids=[track_id for track_id in suspects if track_id is not None])
        return [finding for group in groups_of(again, PORTION_POSTINGS) for finding in self._look(group)]

    def duplicates(self, tracks: Sequence[Track], seen: set[bytes]) -> list[Finding]:
        """Return which of these tracks there are twice; `seen` are the contents of those looked at before, and these are put into it."""
        found = []
        before = None
        for track in tracks:
            content = bytes.fromhex(track.file_sha1)
            if before is not None and track.id == before.id:
                found.append(
                    Finding(DUPLICATE_ID, track.id, f"there is more than one track of this number: {track.title}")
                )
            elif content in seen:
                same = [other.id for other in self._store.tracks(sha1s=[track.file_sha1])]
                if track.id in same[1:]:
                    found.append(Finding(DUPLICATE_CONTENT, track.id, f"it is the same file as track {same[0]}"))
            seen.add(content)
            before = track
        return found

    def strays(self) -> list[Finding]:
        """Return which postings and constellations are of no track."""
        return [
            Finding(STRAY, track_id, "there are postings or a constellation under this number, and no track")
            for track_id in self._store.stray_ids()
        ]

    def _look(self, tracks: Sequence[Track]) -> list[Finding]:
        """Return what is wrong with these tracks at first sight."""
        constellations, findings = self._constellations([track.id for track in tracks])
        postings = self._store.postings(tracks[0].id, tracks[-1].id)
        own = _by_track(postings, np.array([track.id for track in tracks]))
        broken = {finding.track_id for finding in findings}
        for track, rows in zip(tracks, own, strict=True):
            if track.id not in broken:
                findings += self._differences(track, constellations.get(track.id), rows)
        if not findings and self._view is not None:
            findings += self._compared(self._view, tracks, postings)
        return findings

    def _constellations(self, ids: Sequence[int]) -> tuple[Mapping[int, Constellation], list[Finding]]:
        """Return the constellations of these tracks, and which of them cannot be read."""
        try:
            return self._store.constellations(ids), []
        except IndexDamaged:
            found: dict[int, Constellation] = {}
            findings = []
            for track_id in ids:
                try:
                    found |= self._store.constellations([track_id])
                except IndexDamaged as error:
                    findings.append(Finding(DAMAGED, track_id, str(error.details["reason"])))
            return found, findings

    def _differences(self, track: Track, constellation: Constellation | None, own: Hashes) -> list[Finding]:
        """Return in what a track is not what it says, or not what its constellation makes it."""
        if constellation is None:
            return [Finding(MISSING, track.id, "it has no constellation")]
        if len(constellation) != track.n_peaks:
            reason = f"its constellation has {len(constellation)} peaks, not {track.n_peaks}"
            return [Finding(MISCOUNTED, track.id, reason)]
        if self._derive is not None:
            derived = self._derive(constellation)
            if not _same(own, derived):
                reason = f"its {len(own)} postings are not the {len(derived)} that its constellation makes"
                return [Finding(POSTINGS_DIFFER, track.id, reason)]
        if len(own) != track.n_hashes:
            return [Finding(MISCOUNTED, track.id, f"it has {len(own)} postings, not {track.n_hashes}")]
        return []

    def _compared(self, view: ResidentIndex, tracks: Sequence[Track], postings: Postings) -> list[Finding]:
        """Return whether the view answers otherwise than the store, for a sample of the hashes of these tracks."""
        places = np.linspace(0, max(0, len(postings) - 1), min(len(postings), SAMPLE_HASHES)).astype(np.int64)
        asked = Hashes(np.unique(postings.hashes[places]), np.zeros(len(np.unique(postings.hashes[places]))))
        shown = view.view()
        if shown is None or not len(asked):
            return []
        ids = [track.id for track in tracks if not track.disabled]
        mine, theirs = (_sorted(hits, ids) for hits in (view.lookup(asked), self._store.lookup(asked)))
        if np.array_equal(mine, theirs):
            return []
        return [
            Finding(VIEW_DIFFERS, track_id, "the resident view answers otherwise than the database")
            for track_id in np.unique(np.setxor1d(mine, theirs) >> _FRAME_BITS).tolist()
        ]


_FRAME_BITS = 32


def _by_track(postings: Postings, ids: Array) -> list[Hashes]:
    """Return the postings of each track of `ids`, which ascend, as the hashes that they were."""
    order = np.argsort(postings.track_ids, kind="stable")
    track_ids = postings.track_ids[order]
    firsts, ends = np.searchsorted(track_ids, ids), np.searchsorted(track_ids, ids, "right")
    return [
        Hashes(postings.hashes[order[first:end]], postings.frames[order[first:end]])
        for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)
    ]


def _same(one: Hashes, other: Hashes) -> bool:
    """Tell whether these are the same hashes at the same frames, in whatever order."""
    if len(one) != len(other):
        return False
    one_order, other_order = (np.lexsort((hashes.offsets, hashes.values)) for hashes in (one, other))
    return bool(
        (one.values[one_order] == other.values[other_order]).all()
        and (one.offsets[one_order] == other.offsets[other_order]).all()
    )


def _sorted(hits: AnyHits, ids: Sequence[int]) -> Array:
    """Return int64 [n]: the track and frame of each hit that is of one of `ids`, ascending."""
    own = np.isin(hits.track_ids, ids)
    both: Array = (hits.track_ids[own].astype(np.int64) << _FRAME_BITS) + hits.track_offsets[own]
    return np.sort(both)
