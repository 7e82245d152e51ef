from __future__ import annotations

import numpy as np
import pytest
from matching_library import PARAMS, TRACK_S, constellation_of, library

from dejavud.fingerprint.extractor import fingerprint_query, track_hashes
from dejavud.index.memory import MemoryIndex
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.values import Constellation, NewTrack

START_S = 12.0


def relative(share: float) -> Constellation:
    """Return a track that has `share` of another's peaks, scattered over all of it, and the others beside them, as two pieces in one key have."""
    rng = np.random.default_rng(11)
    piece = constellation_of(library().audio[0])
    beside = np.clip(piece.bins + rng.choice([-3, -2, 2, 3], len(piece)), PARAMS.bin_min, PARAMS.bin_max - 1)
    bins = np.where(rng.random(len(piece)) < share, piece.bins, beside)
    order = np.lexsort((bins, piece.frames))
    return Constellation(piece.frames[order], bins[order], piece.n_frames, piece.quarters[order])


@pytest.mark.parametrize(("share", "is_named"), [(0.2, False), (0.5, True)])
def test_a_piece_that_shares_a_few_sounds_is_not_the_piece(share: float, is_named: bool) -> None:  # noqa: FBT001 - a case
    """A clean clip shows the whole of what it is: a track of which it shows a fifth is related to it at most, however exactly."""
    constellation, index = relative(share), MemoryIndex()
    index.add(
        [NewTrack("Relative", None, None, None, "b" * 40, TRACK_S, constellation, track_hashes(constellation, PARAMS))]
    )
    query = fingerprint_query(library().clip(1, START_S, 5.0), PARAMS)
    hits = index.lookup(query.hashes)
    sure = MatchRules(min_confidence=0.9999)
    found = Matcher(PARAMS, sure).match(query, hits, index.constellations, constellation.n_frames)
    assert [answer.track_id for answer in found] == [1] * is_named
