"""Distractors: as many as asked for, the same ones in every run, and like nothing that is asked about."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from synthetic import synthesize

from dejavud.fingerprint.extractor import TrackExtractor, track_hashes
from dejavud.fingerprint.params import Params
from dejavud.index.open import open_index
from dejavud.values import Constellation, NewTrack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.index.base import Index

PARAMS = Params()


def _benchmark(name: str) -> Any:  # noqa: ANN401 - a module
    """Return a module of benchmarks/, which is no package and not on the path of the tests."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


distractors = _benchmark("distractors")


def _entry(seed: int) -> NewTrack:
    extractor = TrackExtractor(PARAMS)
    extractor.feed(synthesize(seed, 20.0, PARAMS.rate_hz))
    constellation = extractor.finish()
    hashes = track_hashes(constellation, PARAMS)
    return NewTrack(f"piece {seed}", None, None, None, f"{seed:040x}", 20.0, constellation, hashes)


@pytest.fixture
def index() -> Iterator[Index]:
    """Give an index of two recordings."""
    with open_index("memory://", PARAMS) as opened:
        opened.add([_entry(1), _entry(2)])
        yield opened


def test_interrupted_work_is_taken_up_where_it_ended(index: Index) -> None:
    """What is there is not made again, and the whole is what one run would have made."""
    assert distractors.add_distractors(index, 2, PARAMS) == 2
    assert distractors.add_distractors(index, 5, PARAMS) == 3
    assert distractors.add_distractors(index, 5, PARAMS) == 0
    with open_index("memory://", PARAMS) as other:
        other.add([_entry(2), _entry(1)])  # fingerprinted in another order, as parallel workers do
        distractors.add_distractors(other, 5, PARAMS)
        assert {track.file_sha1 for track in index.tracks()} == {track.file_sha1 for track in other.tracks()}
    assert len(index.tracks()) == 7


def test_more_distractors_than_asked_for_are_refused(index: Index) -> None:
    """A library that is larger than the report would say is not measured."""
    distractors.add_distractors(index, 3, PARAMS)
    with pytest.raises(SystemExit, match="holds 3 distractors, of which 2 are wanted"):
        distractors.add_distractors(index, 2, PARAMS)


def test_a_distractor_does_not_meet_its_source(index: Index) -> None:
    """No alignment of a distractor with its recording has more common hashes than strangers have."""
    distractors.add_distractors(index, 4, PARAMS)
    constellations = index.constellations([track.id for track in index.tracks()])
    for source in (1, 2):
        hits = index.lookup(track_hashes(constellations[source], PARAMS))
        votes = {
            track.id: np.unique(
                (hits.track_offsets - hits.query_offsets)[hits.track_ids == track.id], return_counts=True
            )[1]
            for track in index.tracks()
        }
        own = votes.pop(source).max()
        assert own > 200
        assert max(counts.max(initial=0) for counts in votes.values()) < 0.05 * own


def test_warping_moves_the_peaks_and_keeps_their_order() -> None:
    """Frames and bins are multiplied, what leaves the band is dropped, what falls together is one peak."""
    constellation = Constellation(np.array([0, 1, 10, 10]), np.array([100, 100, 40, 400]), 20, np.array([0, 1, 2, 3]))
    moved = distractors.warped(constellation, 0.25, 1.25, PARAMS)
    assert moved.frames.tolist() == [0, 2]
    assert moved.bins.tolist() == [125, 50]
    assert moved.quarters.tolist() == [0, 2]
    assert moved.n_frames == 5
