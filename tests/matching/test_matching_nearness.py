from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dejavud.matching.nearness import near

PEAKS = st.lists(st.tuples(st.integers(-5, 40), st.integers(0, 480)), max_size=40)


@given(PEAKS, PEAKS)
def test_a_peak_is_near_what_is_a_frame_and_a_bin_away_at_most(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    """It says what comparing all with all says, whatever the order."""
    one, other = (np.array(peaks, int).reshape(-1, 2) for peaks in (ours, theirs))
    plain = [any(abs(f - g) <= 1 and abs(b - c) <= 1 for g, c in theirs) for f, b in ours]
    assert near(one[:, 0], one[:, 1], other[:, 0], other[:, 1]).tolist() == plain
