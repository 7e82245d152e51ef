"""Recognitions in the shape of the old library, with true values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.fingerprint.scaling import split_offsets
from dejavud.interfaces.legacy import song_name
from dejavud.services.views import track_view
from dejavud.values import UNSCALED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dejavud.placed_hits import AnyHits
    from dejavud.services.profiles import Matching
    from dejavud.values import Alignment, ClassicQuery, Constellation, Match, QueryFingerprint, Recognition, Scale


class CountingMatcher:
    """Matches, and counts the hits that agree with each alignment: with it to the frame on either side of it.

    n_aligned : by track id, after `match`.
    """

    def __init__(self, match: Matching) -> None:
        self._match = match
        self.n_aligned: dict[int, int] = {}

    def match(
        self,
        query: QueryFingerprint | ClassicQuery,
        hits: AnyHits,
        read_constellations: Callable[[Sequence[int]], Mapping[int, Constellation]],
        n_index_frames: float,
        scales: Sequence[Scale] = (UNSCALED,),
    ) -> tuple[Alignment, ...]:
        """See `Matching`."""
        alignments = self._match(query, hits, read_constellations, n_index_frames, scales)
        for alignment in alignments:
            own = hits.track_ids == alignment.track_id
            _, frames = split_offsets(hits.query_offsets[own])
            deltas = hits.track_offsets[own] - frames
            self.n_aligned[alignment.track_id] = int(np.count_nonzero(np.abs(deltas - alignment.delta_frames) < 1))
        return alignments


def answer_of(recognition: Recognition, n_aligned: Mapping[int, int]) -> dict[str, Any]:
    """Return a recognition as the old library's file recognizer did; times in seconds."""
    timings = recognition.timings
    return {
        "total_time": timings.total_ms / 1000,
        "fingerprint_time": timings.fingerprint_ms / 1000,
        "query_time": timings.lookup_ms / 1000,
        "align_time": timings.match_ms / 1000,
        "results": [
            song_of(
                match,
                frame_s=recognition.frame_s,
                query_s=recognition.duration_s,
                n_hashes=recognition.n_hashes,
                n_aligned=n_aligned[match.track.id],
            )
            for match in recognition.matches
        ],
    }


def song_of(match: Match, *, frame_s: float, query_s: float, n_hashes: int, n_aligned: int) -> dict[str, Any]:
    """Return one match as ``results`` lists it.

    frame_s, query_s : the unit of ``offset``, and the query's length.  n_hashes : of the query.  n_aligned : of its hashes, those met where the match lies.

    The old confidences were shares of hashes that happened to be the same.  Ours are the shares of time that they stood for: how
    much of the input the song explains, and how much of the song that is.  How sure the match is is ``confidence``.
    """
    track = match.track
    offset_s = match.offset_s
    return {
        "song_id": track.id,
        "song_name": song_name(track_view(track)),
        "input_total_hashes": n_hashes,
        "fingerprinted_hashes_in_db": track.n_hashes,
        "hashes_matched_in_input": min(n_aligned, n_hashes),
        "input_confidence": round(match.coverage, 4),
        "fingerprinted_confidence": round(min(1.0, match.coverage * query_s / track.duration_s), 4),
        "offset": round(offset_s / frame_s),
        "offset_seconds": round(offset_s, 5),
        "file_sha1": track.file_sha1,
        "confidence": match.confidence,
    }
