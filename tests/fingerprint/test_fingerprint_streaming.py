from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import synthesize

from dejavud.fingerprint.extractor import fingerprint_query
from dejavud.fingerprint.landmarks import pair
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.streaming import STREAM_FAN_OUT, STREAM_QUARTERS, StreamExtractor, StreamPart
from dejavud.values import Hashes

PARAMS = Params()
PIECE = synthesize(5, 70.0, PARAMS.rate_hz)


def streamed(samples: np.ndarray, cuts: list[int], *, part_frames: int, is_live: bool = False) -> list[StreamPart]:
    """Return the parts of `samples`, fed in blocks that end at `cuts`."""
    extractor = StreamExtractor(PARAMS, part_frames, is_live=is_live)
    parts = [part for block in np.split(samples, sorted(cuts)) for part in extractor.feed(block)]
    return [*parts, *extractor.finish()]


def as_pairs(hashes: Hashes) -> list[tuple[int, int]]:
    """Return hashes in an order of their own, comparable."""
    return sorted(zip(hashes.offsets.tolist(), hashes.values.tolist(), strict=True))


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, len(PIECE)), max_size=8), part_frames=st.integers(70, 2500), is_live=st.booleans())
def test_parts_are_the_whole_recording_however_it_is_cut(cuts: list[int], part_frames: int, is_live: bool) -> None:  # noqa: FBT001 - an example's value
    """Depths and hashes of all parts together are, to the bit, those of the recording at once."""
    whole = fingerprint_query(PIECE, PARAMS)
    parts = streamed(PIECE, cuts, part_frames=part_frames, is_live=is_live)
    np.testing.assert_array_equal(np.concatenate([part.depths for part in parts]), whole.evidence.depths[0])
    expected = pair(whole.constellation.most_prominent(STREAM_QUARTERS), PARAMS, STREAM_FAN_OUT)
    assert as_pairs(Hashes.concatenate([part.hashes for part in parts])) == as_pairs(expected)


def test_parts_follow_one_another_and_hold_their_own_hashes() -> None:
    """Each part begins where the one before ended, and its hashes are anchored in it."""
    parts = streamed(PIECE, [], part_frames=400)
    assert [part.first_frame for part in parts] == [0, *(part.end_frame for part in parts[:-1])]
    assert {len(part.depths) for part in parts[:-1]} == {400}
    for part in parts:
        assert len(part.hashes)
        assert part.hashes.offsets.min() >= part.first_frame
        assert part.hashes.offsets.max() < part.end_frame


def test_a_live_stream_does_not_wait_for_half_a_minute() -> None:
    """After 25 s a live stream has given all but the last ten seconds or so, where a file's reader still gathers."""
    heard = PIECE[: 25 * PARAMS.rate_hz]
    live = list(StreamExtractor(PARAMS, 150, is_live=True).feed(heard))
    filed = list(StreamExtractor(PARAMS, 150).feed(heard))
    assert live[-1].end_frame > 15 * PARAMS.frames_per_s
    assert len(filed) < len(live)


@pytest.mark.parametrize("n_samples", [0, 100, PARAMS.n_fft - 1])
def test_less_than_a_frame_gives_no_part(n_samples: int) -> None:
    """What is too short for a frame is no part."""
    assert streamed(np.zeros(n_samples, np.float32), [], part_frames=100) == []


def test_memory_does_not_grow_with_the_recording() -> None:
    """Between two parts of a long recording no more than a part and what its ranking needs is kept."""
    extractor = StreamExtractor(PARAMS, 256, is_live=True)
    kept = []
    for _ in range(12):
        for _ in extractor.feed(PIECE[: 20 * PARAMS.rate_hz]):
            pass
        kept.append(sum(len(rows) for rows in extractor._picker.depths))
    assert max(kept) < 256 + 256 + 200


def test_silence_passes_in_parts_too() -> None:
    """Hours without a single peak are given in parts as they come, not kept until the end."""
    extractor = StreamExtractor(PARAMS, 512)
    silence = np.zeros(60 * PARAMS.rate_hz, np.float32)
    parts = [part for _ in range(10) for part in extractor.feed(silence)]
    assert parts[-1].end_frame > 400 * PARAMS.frames_per_s
    assert sum(len(rows) for rows in extractor._picker.depths) < 200 * PARAMS.frames_per_s
