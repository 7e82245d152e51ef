"""Framing: the same segments for every way of handing over the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dejavud.fingerprint.framing import SEGMENT_FRAMES, Framer
from dejavud.fingerprint.params import Params

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

SMALL = Params(n_fft=32, hop_samples=8)


def segments(samples: Array, cuts: list[int], params: Params = SMALL) -> list[Array]:
    """Return copies of the segments of `samples` handed over in pieces."""
    framer = Framer(params)
    found = [np.array(frames) for piece in np.split(samples, cuts) for frames in framer.feed(piece)]
    return found + [np.array(frames) for frames in framer.finish()]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 9000), st.lists(st.integers(0, 9000), max_size=8))
def test_segments_do_not_depend_on_the_blocks(n_samples: int, cuts: list[int]) -> None:
    """Blocks of any length, empty ones too, give the segments of the whole: every frame once, in order."""
    samples = np.arange(n_samples, dtype=np.float32)
    found = segments(samples, sorted(min(cut, n_samples) for cut in cuts))
    starts = [int(frame[0]) for frames in found for frame in frames]
    assert starts == [SMALL.hop_samples * i for i in range(SMALL.n_frames(n_samples))]
    assert [len(frames) for frames in found[:-1]] == [SEGMENT_FRAMES] * (len(found) - 1)
    for frames in found:
        np.testing.assert_array_equal(frames - frames[:, :1], np.tile(np.arange(SMALL.n_fft), (len(frames), 1)))


@pytest.mark.parametrize("n_samples", [0, 1, 31])
def test_less_than_a_frame_is_dropped(n_samples: int) -> None:
    """Samples short of one frame make no segment."""
    assert segments(np.ones(n_samples, np.float32), []) == []


def test_memory_does_not_grow_with_the_recording() -> None:
    """However much was fed, less than two segments of samples are kept."""
    framer = Framer(SMALL)
    for _ in range(200):
        for _frames in framer.feed(np.zeros(1000, np.float32)):
            pass
        assert sum(len(block) for block in framer._pending) < 2 * SEGMENT_FRAMES * SMALL.hop_samples
