"""Values as JSON objects: the shapes that every transport shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dejavud.values import Match, Recognition, Timings, Track


def track_view(track: Track) -> dict[str, Any]:
    """Return a track as a list or a page of it shows it."""
    return {
        **track_in_answer(track),
        "n_peaks": track.n_peaks,
        "n_hashes": track.n_hashes,
        "added_at": track.added_at.isoformat(),
        "disabled": track.disabled,
    }


def recognition_view(recognition: Recognition) -> dict[str, Any]:
    """Return a recognition as ``recognize --json``, ``/v1/recognize`` and the control socket all show it."""
    return {
        "query": {
            "source": recognition.source,
            "duration_s": round(recognition.duration_s, 3),
            "n_hashes": recognition.n_hashes,
        },
        "matches": [_match_view(match) for match in recognition.matches],
        "timings": _timings_view(recognition.timings),
        "engine": {
            "profile": recognition.profile,
            "params": recognition.params_digest,
            "frame_s": round(recognition.frame_s, 9),
        },
        "partial": list(recognition.partial),
    }


def track_in_answer(track: Track) -> dict[str, Any]:
    """Return a track as an answer that names it shows it."""
    return {
        "id": track.id,
        "title": track.title,
        "artist": track.artist,
        "album": track.album,
        "path": track.path,
        "file_sha1": track.file_sha1,
        "duration_s": round(track.duration_s, 3),
    }


def _match_view(match: Match) -> dict[str, Any]:
    return {
        "track": track_in_answer(match.track),
        "confidence": round(match.confidence, 6),
        "score": round(match.score, 2),
        "query_start_s": round(match.query_start_s, 3),
        "query_end_s": round(match.query_end_s, 3),
        "track_start_s": round(match.track_start_s, 3),
        "track_end_s": round(match.track_end_s, 3),
        "speed": round(match.speed, 4),
        "pitch": round(match.pitch, 4),
        "coverage": round(match.coverage, 3),
        "gaps": [{"start_s": round(start_s, 3), "end_s": round(end_s, 3)} for start_s, end_s in match.gaps],
        "twins": list(match.twins),
    }


def _timings_view(timings: Timings) -> dict[str, Any]:
    return {
        "decode_ms": round(timings.decode_ms, 2),
        "fingerprint_ms": round(timings.fingerprint_ms, 2),
        "lookup_ms": round(timings.lookup_ms, 2),
        "match_ms": round(timings.match_ms, 2),
        "total_ms": round(timings.total_ms, 2),
    }
