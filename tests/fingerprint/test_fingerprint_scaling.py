from __future__ import annotations

import numpy as np
import pytest
from synthetic import synthesize

from dejavud.fingerprint.extractor import fingerprint_query
from dejavud.fingerprint.hashing import unpack
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.scaling import SCALE_STEP, scaled_hashes, search_scales, split_offsets
from dejavud.values import UNSCALED, Scale

PARAMS = Params()
QUERY = fingerprint_query(synthesize(5, 4.0, PARAMS.rate_hz), PARAMS)


@pytest.mark.parametrize(("search", "n_scales", "limit"), [("off", 0, 0), ("clock", 2, 0.005), ("radio", 48, 0.06)])
def test_a_search_goes_as_far_as_its_name_says(search: str, n_scales: int, limit: float) -> None:
    """The scales lie evenly to either side of the unscaled query, which is not among them."""
    scales = search_scales(search)
    assert len(scales) == len(set(scales)) == n_scales
    assert UNSCALED not in scales
    assert all(SCALE_STEP - 1e-9 <= abs(scale.pitch - 1) <= limit + 1e-9 for scale in scales)
    assert all(scale.speed in {1.0, scale.pitch} for scale in scales)


def test_every_hash_knows_its_scale() -> None:
    """Offsets split into the scale's number and a frame of the query, stretched by the speed."""
    scales = (Scale(1.05, 1.05), Scale(1.0, 0.95), Scale(0.95, 0.95))
    hashes = scaled_hashes(QUERY, scales, PARAMS)
    numbers, frames = split_offsets(hashes.offsets)
    assert set(numbers) == {0, 1, 2}
    for number, scale in enumerate(scales):
        assert frames[numbers == number].max() <= QUERY.constellation.n_frames * scale.speed + 1


def test_an_unscaled_search_asks_what_the_query_asks() -> None:
    """At scale one the moved peaks are the peaks: nearly all hashes are those of the unshifted query."""
    plain = set(QUERY.hashes.values.tolist())
    again = scaled_hashes(QUERY, (UNSCALED,), PARAMS).values
    assert np.mean([value in plain for value in again.tolist()]) > 0.99


def test_a_query_that_is_higher_is_asked_lower() -> None:
    """Peaks of a query pitched up by five per cent are moved down to where the track has them."""
    plain = unpack(scaled_hashes(QUERY, (UNSCALED,), PARAMS).values)[0]
    lower = unpack(scaled_hashes(QUERY, (Scale(1.0, 1.05),), PARAMS).values)[0]
    assert np.median(lower) == pytest.approx(np.median(plain) / 1.05, rel=0.02)


def test_a_query_without_a_frame_has_nothing_to_ask() -> None:
    """Too little audio gives no hashes at any scale."""
    assert len(scaled_hashes(fingerprint_query(np.zeros(100, np.float32), PARAMS), search_scales("radio"), PARAMS)) == 0
