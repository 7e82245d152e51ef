"""The database as the old library showed it: songs, and the meetings of hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavud.api.fingerprints import hashes_of, meetings, meetings_by_song
from dejavud.errors import InvalidRequest
from dejavud.interfaces.legacy import song_name
from dejavud.services.views import track_view

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Sequence
    from typing import NoReturn

    from dejavud.index.base import Index
    from dejavud.values import Track

_PAGE_TRACKS = 1000


class SongDatabase:
    """The ``db`` of a `Dejavu`."""

    def __init__(self, index: Index, writing: threading.Lock, hash_bits: int) -> None:
        self._index = index
        self._writing = writing
        self._hash_bits = hash_bits

    def get_num_songs(self) -> int:
        """Return how many songs there are."""
        return self._index.statistics().n_tracks

    def get_num_fingerprints(self) -> int:
        """Return how many hashes are stored."""
        return self._index.statistics().n_postings

    def get_songs(self) -> list[dict[str, Any]]:
        """Return every song: song_id, song_name, file_sha1, total_hashes, date_created; in ascending order of id."""
        songs: list[dict[str, Any]] = []
        page: Sequence[Track] = self._index.tracks(limit=_PAGE_TRACKS)
        while page:
            songs += map(_song, page)
            page = self._index.tracks(limit=_PAGE_TRACKS, after_id=page[-1].id)
        return songs

    def get_song_by_id(self, song_id: int) -> dict[str, Any] | None:
        """Return one song as `get_songs` does, None where there is none of this id."""
        found = self._index.tracks(ids=(song_id,))
        return _song(found[0]) if found else None

    def delete_songs_by_id(self, song_ids: Sequence[int]) -> list[int]:
        """Delete songs with their hashes, and return the ids of those that were there."""
        with self._writing:
            return [track.id for track in self._index.remove(tuple(song_ids))]

    def empty(self) -> None:
        """Delete every song."""
        self.delete_songs_by_id([song["song_id"] for song in self.get_songs()])

    def return_matches(self, hashes: Iterable[tuple[str, int]]) -> tuple[list[tuple[int, int]], dict[int, int]]:
        """Return where (hash, offset) pairs are met: (song_id, offset difference) of each meeting, and how many each song has.

        Raises `InvalidRequest` for what are no such pairs.
        """
        hits = self._index.lookup(hashes_of(hashes, self._hash_bits))
        return meetings(hits), meetings_by_song(hits)

    def insert_song(self, *_song: object) -> NoReturn:
        """Raise `InvalidRequest`: a song without its hashes does not exist here."""
        _refuse("insert_song")

    def insert_hashes(self, *_hashes: object) -> NoReturn:
        """Raise `InvalidRequest`: hashes without their song do not exist here."""
        _refuse("insert_hashes")


def _song(track: Track) -> dict[str, Any]:
    return {
        "song_id": track.id,
        "song_name": song_name(track_view(track)),
        "file_sha1": track.file_sha1,
        "total_hashes": track.n_hashes,
        "date_created": track.added_at,
    }


def _refuse(call: str) -> NoReturn:
    reason = (
        f"{call} would store half a song: a song, its hashes and what they are verified against are stored together, from its audio: "
        f"use fingerprint_file(path, song_name)"
    )
    raise InvalidRequest(reason=reason)
