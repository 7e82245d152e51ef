"""Plays for the tests of the history, small and deterministic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dejavud.index.history.plays import KeptPlay

START = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)


def kept_play(number: int, **fields: Any) -> KeptPlay:  # noqa: ANN401 - any field of a KeptPlay
    """Return a play of three minutes that starts `number` times five minutes after `START`."""
    started_at = fields.get("started_at", START + timedelta(minutes=5 * number))
    given = {
        "id": f"0123456789-{number}",
        "daemon": "kitchen-pc",
        "host": "kitchen",
        "listener": "radio" if number % 2 else "microphone",
        "source": "https://***@example.org/live.mp3",
        "track_id": 1 + number % 3,
        "title": f"Étude {number % 3}",
        "artist": None if number % 3 == 0 else f"Artist {number % 3}",
        "album": None,
        "file_sha1": f"{number % 3:040x}",
        "started_at": started_at,
        "ended_at": started_at + timedelta(seconds=180),
        "start_s": 300.0 * number,
        "end_s": 300.0 * number + 180.0,
        "track_start_s": 0.5,
        "track_end_s": 180.5,
        "heard_s": 171.25,
        "coverage": 0.951,
        "confidence": 0.999999,
        "gaps": ((300.0 * number + 60.0, 300.0 * number + 68.75),),
        "twins": (7, 9),
        "outcome": "unheard",
        "updated_at": started_at + timedelta(seconds=190),
    }
    return KeptPlay(**{**given, **fields})
