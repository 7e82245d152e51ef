"""Listeners and their plays as JSON shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from dejavud.services.views import track_in_answer

if TYPE_CHECKING:
    from dejavud.services.heard_plays import Change, HeardPlay
    from dejavud.services.listener import Listener


def listener_view(listener: Listener) -> dict[str, Any]:
    """Return a listener, and the plays that are going on."""
    return {
        "listener": listener.name,
        "source": listener.source.shown,
        "state": listener.state,
        "reason": listener.reason or None,
        "next_try_at": listener.next_try_at.isoformat() if listener.next_try_at else None,
        "format": listener.what or None,
        "level_db": _rounded(listener.level_db, 1),
        "heard_s": round(listener.hearing.params.frames_to_seconds(listener.end_frame), 3),
        "drift_ppm": _rounded(listener.clock.drift_ppm if listener.clock else None, 1),
        "lag_s": _rounded(listener.clock.lag_s if listener.clock else None, 2),
        "n_overruns": listener.n_overruns,
        "n_retries": listener.n_retries,
        "n_plays": listener.n_plays,
        "remembered": listener.remembered,
        "plays": [
            play_view(listener, play) for play in list(listener.hearing.plays) if play.track_id in listener.tracks
        ],
    }


def change_view(listener: Listener, change: Change) -> dict[str, Any]:
    """Return what has become known of a play; of one that has ended, why it did too."""
    view = play_view(listener, change.play)
    return {**view, "outcome": _outcome(listener)} if change.kind == "ended" else view


def _outcome(listener: Listener) -> str:
    """Return why plays of this listener that end now do: see `dejavud.index.history.plays.OUTCOMES`."""
    if listener.is_removed:
        return "stopped"
    if listener.paused:
        return "paused"
    if listener.is_over:
        return "source_ended"
    return "source_lost" if listener.state in ("retrying", "waiting", "starting") else "unheard"


def play_view(listener: Listener, play: HeardPlay) -> dict[str, Any]:
    """Return a play of a track that the listener has in `tracks`."""
    seconds = listener.hearing.params.frames_to_seconds
    ago_s = trio.current_time() - listener.heard_at
    started_at = listener.times.started_at(play.id, seconds(play.first_frame), seconds(listener.end_frame), ago_s)
    return {
        "listener": listener.name,
        "source": listener.source.shown,
        "play": play.id,
        "track": track_in_answer(listener.tracks[play.track_id]),
        "started_at": started_at.isoformat(),
        "start_s": round(seconds(play.first_frame), 3),
        "end_s": round(seconds(play.seen_frame), 3),
        "track_start_s": round(seconds(play.track_first_frame), 3),
        "track_end_s": round(seconds(play.track_seen_frame), 3),
        "confidence": round(play.confidence, 6),
        "coverage": round(play.coverage, 3),
        "gaps": [{"start_s": round(seconds(a), 3), "end_s": round(seconds(b), 3)} for a, b in play.gaps],
        "twins": list(play.twins),
        "exact": bool(play.records),
    }


def _rounded(value: float | None, n_digits: int) -> float | None:
    return None if value is None else round(value, n_digits)
