"""When plays of a listener started by the wall clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, slots=True)
class _Told:
    """A play as it was when it was first told: where it starts on the listener's clock, and by the wall clock."""

    start_s: float
    started_at: datetime


class PlayTimes:
    """Says of each play when it started, and says the same again.

    The listener's clock is laid to the wall clock's where a play is first told.  Sound that comes faster than it plays, from a file or a sender, moves it
    from play to play; those that follow each other there do so in what is said.
    """

    def __init__(self) -> None:
        self._told: dict[int, _Told] = {}
        self._latest: _Told | None = None

    def started_at(self, play_id: int, start_s: float, heard_s: float, ago_s: float) -> datetime:
        """Return when a play started.

        start_s : where on the listener's clock, as far as it is known now.  heard_s, ago_s : up to where it has been heard, and how long ago that was; they
        count for a play that is new.
        """
        told = self._told.get(play_id)
        if told is None:
            told = _Told(start_s, datetime.now(UTC) - timedelta(seconds=max(0.0, heard_s - start_s + ago_s)))
            if self._latest is not None and self._latest.start_s <= start_s:
                told = _Told(start_s, max(told.started_at, self._latest.started_at))
            self._told[play_id] = self._latest = told
        return told.started_at + timedelta(seconds=start_s - told.start_s)

    def keep(self, play_ids: Collection[int]) -> None:
        """Forget all but these."""
        self._told = {play_id: told for play_id, told in self._told.items() if play_id in play_ids}
