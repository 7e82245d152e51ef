"""The clock of a source: its drift against the machine's, through bursts, jitter and stalls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dejavud.services.source_clock import MAX_BUCKETS, SourceClock

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S = 1.024


def clock_of(
    duration_s: float, drift_ppm: float, delay: Callable[[float], float], *, burst_s: float = 0.0
) -> SourceClock:
    """Return the clock after `duration_s` of a source that drifts, each second of which comes with a delay.

    burst_s : what it had in store at first, and sent at once.
    """
    clock = SourceClock(1000.0)
    at = 1000.0
    for n in range(1, int(duration_s / TICK_S)):
        audio_s = n * TICK_S
        made_s = max(0.0, (audio_s - burst_s) / (1 + drift_ppm * 1e-6))
        at = max(at, 1000.0 + made_s + delay(made_s))
        clock.note(at, audio_s)
    return clock


def jitter(scale_s: float) -> Callable[[float], float]:
    """Return delays of one sign, most of them short."""
    random = np.random.default_rng(2)
    return lambda _: float(random.exponential(scale_s))


@pytest.mark.parametrize("drift_ppm", [-180.0, 0.0, 60.0])
def test_the_drift_of_a_live_source_is_measured_within_minutes(drift_ppm: float) -> None:
    """After ten minutes, with jitter of a sound card or of a network, within 15 ppm; after a burst at connecting too."""
    for scale_s, burst_s in [(0.005, 0.0), (0.05, 0.0), (0.02, 30.0)]:
        clock = clock_of(600, drift_ppm, jitter(scale_s), burst_s=burst_s)
        assert clock.drift_ppm == pytest.approx(drift_ppm, abs=15)


def test_nothing_is_told_before_it_is_known() -> None:
    """In the first two minutes, and where the jitter is too great, there is no figure rather than a wrong one."""
    assert clock_of(100, 50, jitter(0.001)).drift_ppm is None
    assert clock_of(300, 50, jitter(3.0)).drift_ppm is None


def test_a_stall_in_the_middle_moves_the_drift_little() -> None:
    """A station that holds its sound back for ten seconds, once, and then sends it, drifts no more than before."""
    clock = clock_of(1200, 40, lambda made_s: max(0.0, 610 - made_s) if made_s > 600 else 0.0)
    assert clock.drift_ppm == pytest.approx(40, abs=15)


def test_the_lag_is_how_much_later_sound_comes_than_at_its_best() -> None:
    """Sound that comes three seconds late from some moment on is told so; in time, it has no lag."""
    assert clock_of(200, 0, lambda _: 0.1).lag_s == pytest.approx(0, abs=0.01)
    late = clock_of(200, 0, lambda made_s: 3.1 if made_s > 150 else 0.1)
    assert late.lag_s == pytest.approx(3, abs=0.01)
    assert SourceClock(5.0).lag_s is None


def test_what_goes_as_fast_as_it_is_heard_has_no_drift() -> None:
    """A file, and sound that is sent as fast as it is taken, are no clock."""
    clock = SourceClock(0.0)
    for n in range(4000):
        clock.note(n * 0.05, n * TICK_S)
    assert clock.drift_ppm is None
    assert clock.lag_s is None


def test_a_day_takes_no_more_memory_than_an_hour() -> None:
    """Over a day the buckets stay few, and the drift is exact."""
    clock = clock_of(86_400, 23.0, jitter(0.05))
    assert len(clock._buckets) <= MAX_BUCKETS + 1
    assert clock.drift_ppm == pytest.approx(23.0, abs=2)
