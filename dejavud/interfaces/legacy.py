"""What the old network clients of dejavu get to see of a recognition."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_DATA = 'No data in request. Send either form-data with key "file" or raw binary data'
NO_FILE_CHOSEN = "No data selected for uploading"
WRONG_EXTENSION = "Allowed file types are wav, mp3"
NO_CORRECT_DATA = "No correct data sent"
EXTENSIONS = (".wav", ".mp3")

WS_NO_RESULT = "No result"
WS_WANTS_BYTES = "Please send byte encoded data"
WS_FAILED = "Error getting result, please check your input"


def song_name(track: Mapping[str, Any]) -> str:
    """Return what the old programs call a track: the stem of its file, its title where there was no file."""
    path = track["path"]
    return (PurePath(path).stem if path else "") or str(track["title"])


def song(recognition: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the best match of a recognition as the old ``/upload`` gives it, None when there is none."""
    if not recognition["matches"]:
        return None
    best = recognition["matches"][0]
    track = best["track"]
    offset_s = round(best["track_start_s"] - best["query_start_s"] * best["speed"], 3)
    return {
        "id": track["id"],
        "match": song_name(track),
        "confidence": round(best["score"]),
        "offset": round(offset_s / recognition["engine"]["frame_s"]),
        "offset_seconds": offset_s,
        "file_sha1": track["file_sha1"],
        "match_time": recognition["timings"]["total_ms"] / 1000,
    }
