"""How fast a live source's own clock goes: audio seconds against the machine's, and how late its sound is."""

from __future__ import annotations

import numpy as np

SETTLE_S = 20.0
"""What a source sends at first it had in store: a station as much as half a minute, at once.  So long nothing is measured."""
BUCKET_S = 8.0
"""Of so much time the sound that came least late counts: all delays are of one sign."""
MAX_BUCKETS = 96
"""When there are more, two become one: hours need no more memory than minutes."""
LATELY_S = 600.0
LEAST_BUCKETS, CERTAIN_PPM = 15, 25.0
"""A drift is told when it is known from two minutes and more, and so well."""
LIVE_SPEED = 0.02
"""What goes faster or slower than by so much is no live source: it goes as fast as it is heard."""


class SourceClock:
    """The clock of one source from its opening on, which was at `opened_at_s` of the machine's.

    Another one is begun when it is opened again or loses sound.  Memory is bounded, and a note costs next to nothing.
    """

    def __init__(self, opened_at_s: float) -> None:
        self._opened_at_s = opened_at_s
        self._bucket_s = BUCKET_S
        self._buckets: list[tuple[float, float]] = []  # when, and how much ahead of the machine's clock
        self._at_s = self._ahead_s = 0.0
        self._drift_ppm: float | None = None

    def note(self, at_s: float, audio_s: float) -> None:
        """Take note that at `at_s` the source was at `audio_s` of its own clock."""
        self._ahead_s = audio_s - at_s
        if at_s - self._opened_at_s < SETTLE_S:
            return
        self._at_s = at_s
        if self._buckets and int(at_s / self._bucket_s) == int(self._buckets[-1][0] / self._bucket_s):
            self._buckets[-1] = max(self._buckets[-1], (at_s, self._ahead_s), key=lambda one: one[1])
            return
        self._drift_ppm = self._measured()
        self._buckets.append((at_s, self._ahead_s))
        if len(self._buckets) > MAX_BUCKETS:
            pairs = zip(self._buckets[::2], self._buckets[1::2], strict=False)
            self._buckets = [max(pair, key=lambda one: one[1]) for pair in pairs]
            self._bucket_s *= 2

    @property
    def drift_ppm(self) -> float | None:
        """Return how much faster than the machine's the source's clock goes, in millionths; None while that is not known."""
        return self._drift_ppm

    @property
    def lag_s(self) -> float | None:
        """Return how much later the sound now comes than at its best of late; None of a source that is not live, or is new."""
        if not self._buckets or self._is_no_clock():
            return None
        least_late = max(ahead for at, ahead in self._buckets if at > self._at_s - LATELY_S - self._bucket_s)
        return max(0.0, least_late - self._ahead_s)

    def _is_no_clock(self) -> bool:
        """Tell whether this is a source that goes as fast as it is heard."""
        if len(self._buckets) < 2:  # noqa: PLR2004 - one says nothing
            return False
        (first_s, first), (last_s, last) = self._buckets[0], self._buckets[-1]
        return abs(last - first) > max(LIVE_SPEED * (last_s - first_s), BUCKET_S)

    def _measured(self) -> float | None:
        """Return the drift by the median of all slopes (Theil and Sen), which single jumps and stalls do not move."""
        if len(self._buckets) < LEAST_BUCKETS or self._is_no_clock():
            return None
        at, ahead = np.array(self._buckets).T
        first, second = np.triu_indices(len(at), 1)
        slope = float(np.median((ahead[second] - ahead[first]) / (at[second] - at[first])))
        rest = ahead - slope * at
        spread = 1.5 * float(np.median(np.abs(rest - np.median(rest))))
        uncertain = spread / (np.std(at) * np.sqrt(len(at)))
        return slope * 1e6 if uncertain * 1e6 <= CERTAIN_PPM else None
