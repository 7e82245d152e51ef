"""When plays started by the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dejavud.services.play_times import PlayTimes


def test_a_play_starts_once() -> None:
    """However often it is told, and however fast the sound came since: only what is learned of its beginning moves it, by as much."""
    times = PlayTimes()
    first = times.started_at(1, 10.0, 12.0, 0.5)
    assert (datetime.now(UTC) - first).total_seconds() == pytest.approx(2.5, abs=1.0)
    assert times.started_at(1, 10.0, 500.0, 0.0) == first
    assert times.started_at(1, 8.0, 500.0, 0.0) == first - timedelta(seconds=2)
    times.keep({1})
    assert times.started_at(1, 10.0, 900.0, 0.0) == first
    times.keep(())
    assert times.started_at(1, 9.0, 900.0, 0.0) < first - timedelta(seconds=800), "it is a new one then"


def test_what_follows_starts_later() -> None:
    """Of a file that is heard at once a play that is told late after it started is not before those that it follows; one that began earlier is."""
    times = PlayTimes()
    one = times.started_at(1, 100.0, 102.0, 0.0)
    two = times.started_at(2, 130.0, 160.0, 0.0)
    three = times.started_at(3, 160.0, 162.0, 0.0)
    assert one <= two <= three
    assert times.started_at(4, 90.0, 162.0, 0.0) < one
