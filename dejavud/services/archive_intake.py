"""The tracks of an archive on their way into the library: what is known is passed over, the rest committed, many at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from dejavud.index.history.plays import CUT_OFF, GOING, PlayFilter
from dejavud.services.views import track_view
from dejavud.values import TrackEdit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dejavud.index.archive.layout import ArchivedTrack
    from dejavud.index.archive.reader import ArchiveReader
    from dejavud.index.base import Index
    from dejavud.index.history.history import History
    from dejavud.index.history.plays import KeptPlay
    from dejavud.services.commands import Progress
    from dejavud.services.constellations import ConstellationCache
    from dejavud.services.events import EventHub
    from dejavud.services.profiles import Profile
    from dejavud.services.workers import Workers
    from dejavud.values import NewTrack, Track

COMMIT_TRACKS = 128
COMMIT_HASHES = 2_000_000
"""What is committed together, at most, but for a track that is larger by itself."""


@dataclass(frozen=True, slots=True)
class LibraryParts:
    """What it takes to put tracks into a library."""

    index: Index
    workers: Workers
    hub: EventHub
    profile: Profile
    constellations: ConstellationCache
    history: History


class Intake:
    """Takes in one archive.

    counts : what became of its tracks, and of those that were in the library before: ``n_tracks``, ``n_bytes``, ``n_added``, ``n_known``,
        ``n_updated``, ``n_removed``; and ``n_plays``, those of the history that were not there.
    """

    def __init__(self, parts: LibraryParts, reader: ArchiveReader, progress: Progress) -> None:
        self._index, self._workers, self._hub = parts.index, parts.workers, parts.hub
        self._profile = parts.profile
        self._constellations = parts.constellations
        self._history = parts.history
        self._reader = reader
        self._progress = progress
        self._sha1s: set[str] = set()
        self._displaced: set[str] = set()
        names = ("n_tracks", "n_added", "n_known", "n_updated", "n_removed", "n_plays")
        self.counts = {**dict.fromkeys(names, 0), "n_bytes": reader.n_bytes}

    @property
    def is_whole(self) -> bool:
        """Return whether the archive holds all of a library."""
        return self._reader.header.is_whole

    async def check(self) -> None:
        """Return when the archive is known to be whole; raises `ArchiveDamaged`."""
        steps = self._reader.check()
        while (n_done := await self._workers.thread(next, steps, None)) is not None:
            await self._progress(state="checking", n_done=n_done, n_total=self._reader.n_bytes, unit="bytes")

    async def add_missing(self, *, keeps_ids: bool) -> None:
        """Commit what the library does not have.

        Where ids are kept, tracks that are there under them become what they are in the archive, and those whose id is another's, or that are
        there under another id, are left for `replace_displaced`.
        """
        blocks = self._reader.blocks()
        while (block := await self._workers.thread(next, blocks, None)) is not None:
            self.counts["n_tracks"] += len(block)
            self._sha1s.update(track.file_sha1 for track in block)
            known = await self._known(block)
            fresh = [track for track in block if track.file_sha1 not in known]
            if keeps_ids:
                await self._update(block, known)
                taken = await self._holders(fresh)
                self._displaced.update(track.file_sha1 for track in fresh if track.id in taken)
                fresh = [track for track in fresh if track.id not in taken]
            else:
                self.counts["n_known"] += len(block) - len(fresh)
            for some in _commits(fresh):
                await self._add(some, keeps_ids=keeps_ids)
                await self._tell()
            await self._tell()

    async def replace_displaced(self) -> None:
        """Have the tracks that stood in each other's way under the archive's ids; what they displace goes in the same breath."""
        if not self._displaced:
            return
        blocks = self._reader.blocks()
        while (block := await self._workers.thread(next, blocks, None)) is not None:
            for some in _commits([track for track in block if track.file_sha1 in self._displaced]):
                known, holders = await self._known(some), await self._holders(some)
                in_the_way = tuple({track.id for track in known.values()} | holders.keys())
                await self._remove(in_the_way)
                await self._add(some, keeps_ids=True)
                self._constellations.forget((*in_the_way, *(track.id for track in some)))
                await self._tell()

    async def remove_others(self, before: Sequence[Track]) -> None:
        """Take out those of the tracks that were there `before` that the archive does not hold."""
        sha1s = [track.file_sha1 for track in before if track.file_sha1 not in self._sha1s]
        for first in range(0, len(sha1s), 1000):
            find = partial(self._index.tracks, sha1s=sha1s[first : first + 1000])
            await self._remove(tuple(track.id for track in await self._workers.read(find)))
            await self._progress(state="removing", n_done=first, n_total=len(sha1s), unit="tracks")

    async def add_plays(self) -> None:
        """Keep the plays that the history does not have; those that it has may have gone on since, and none is taken from it."""
        blocks = self._reader.plays()
        while (block := await self._workers.thread(next, blocks, None)) is not None:
            wanted = PlayFilter(ids=tuple(play.id for play in block))
            known = {play.id for play in await self._workers.read(self._history.page, wanted, len(block))}
            fresh = [_ended(play) for play in block if play.id not in known]
            await self._workers.write(self._history.record, fresh)
            self.counts["n_plays"] += len(fresh)
            await self._progress(
                state="adding", n_done=self.counts["n_plays"], n_total=self.counts["n_plays"], unit="plays"
            )

    async def _known(self, tracks: Sequence[ArchivedTrack]) -> Mapping[str, Track]:
        """Return the library's tracks of the same contents, by content."""
        found = await self._workers.read(partial(self._index.tracks, sha1s=[track.file_sha1 for track in tracks]))
        return {track.file_sha1: track for track in found}

    async def _holders(self, tracks: Sequence[ArchivedTrack]) -> Mapping[int, Track]:
        """Return the library's tracks that have the ids of these, by id."""
        found = await self._workers.read(partial(self._index.tracks, ids=[track.id for track in tracks]))
        return {track.id: track for track in found}

    async def _update(self, block: Sequence[ArchivedTrack], known: Mapping[str, Track]) -> None:
        """Make the tracks that are there what they are in the archive; note those that cannot be where they are."""
        edits = {}
        for track in block:
            own = known.get(track.file_sha1)
            if own is None:
                continue
            fields = track.fields
            if (own.id, own.path, own.added_at) != (track.id, fields["path"], track.added_at):
                self._displaced.add(track.file_sha1)
                continue
            self.counts["n_known"] += 1
            change = tuple(fields[name] for name in ("title", "artist", "album", "disabled"))
            if change != (own.title, own.artist, own.album, own.disabled):
                title, artist, album, disabled = change
                edits[own.id] = TrackEdit(title, artist or "", album or "", disabled)
        if edits:
            changed = await self._workers.write(self._index.edit, edits)
            self.counts["n_updated"] += len(changed)
            for updated in changed:
                self._hub.publish("track.updated", {"track": track_view(updated)})

    async def _add(self, tracks: Sequence[ArchivedTrack], *, keeps_ids: bool) -> None:
        entries = await self._workers.thread(self._entries, tracks, keeps_ids)
        for added in await self._workers.write(self._index.add, entries):
            self.counts["n_added"] += 1
            self._hub.publish("track.added", {"track": track_view(added)})

    def _entries(self, tracks: Sequence[ArchivedTrack], keeps_ids: bool) -> list[NewTrack]:  # noqa: FBT001 - called in a thread, by position
        """Return what the index is to add, hashes derived where the archive has none."""
        derive = self._profile.track_hashes
        entries = []
        for track in tracks:
            constellation = self._reader.constellation(track)
            hashes = track.hashes if track.hashes is not None else derive(constellation) if derive else None
            if hashes is None:
                self._reader.refuse("its tracks have no hashes, and this profile cannot derive them")
            entries.append(track.entry(constellation, hashes, keeps_id=keeps_ids))
        return entries

    async def _remove(self, ids: Sequence[int]) -> None:
        for gone in await self._workers.write(self._index.remove, ids):
            self.counts["n_removed"] += 1
            self._hub.publish("track.removed", {"track": track_view(gone)})

    async def _tell(self) -> None:
        counts = self.counts
        await self._progress(
            state="adding",
            n_done=counts["n_tracks"],
            n_total=self._reader.header.n_tracks,
            unit="tracks",
            n_added=counts["n_added"],
            n_known=counts["n_known"],
        )


def _ended(play: KeptPlay) -> KeptPlay:
    """Return a play as one that nobody goes on with."""
    return replace(play, outcome=CUT_OFF) if play.outcome == GOING else play


def _commits(tracks: Sequence[ArchivedTrack]) -> Iterator[list[ArchivedTrack]]:
    """Give `tracks` as many at a time as are committed together."""
    some: list[ArchivedTrack] = []
    n_hashes = 0
    for track in tracks:
        if some and (len(some) == COMMIT_TRACKS or n_hashes + track.fields["n_hashes"] > COMMIT_HASHES):
            yield some
            some, n_hashes = [], 0
        some.append(track)
        n_hashes += track.fields["n_hashes"]
    if some:
        yield some
