from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dejavud.matching.plays import Play
from dejavud.services.heard_plays import HeardPlay, placed
from dejavud.values import Constellation


def record(first: int, end: int, delta: int) -> Play:
    """Return what a tracker says of a stretch of track 7."""
    return Play(7, first, end, first + delta, end + delta, 1.0, 1.0, ())


def play(*records: Play) -> HeardPlay:
    """Return a play of track 7 that a look took to lie at a shift of 5000."""
    return HeardPlay(3, 7, 5000, 100, 900, 0.99999, records=list(records))


def test_a_play_lies_where_its_record_says_and_where_it_was_taken_to_lie_before() -> None:
    """Of a track with repetitions neither the one that a look took it for nor the one that it was makes another play."""
    heard = play(record(100, 700, 600))
    assert heard.lies_at(5000)
    assert heard.lies_at(600)
    heard.lay(600)
    heard.lay(5002)
    heard.lay(600)
    assert heard.lies_at(5000)
    assert heard.lies_at(600)
    assert not heard.lies_at(900)
    assert len(heard.past) <= 2


def test_where_a_play_begins_in_its_track_is_what_its_first_record_says() -> None:
    """A track that was held for a while lies elsewhere at last than it did when it began."""
    heard = play(Play(7, 100, 900, 700, 1400, 1.0, 0.9, ((300, 400),)))
    heard.lay(500)
    assert heard.track_first_frame == 700
    assert heard.track_seen_frame == 1400


def test_a_play_is_told_from_its_tracks_first_note_to_its_last() -> None:
    """The silence that a track begins and ends with is not heard by anybody, and the rest keeps its place in the track."""
    notes = np.array([40, 300, 960])
    track = Constellation(notes, notes, 1000, np.zeros(3))
    told = placed(Play(7, 200, 1200, 0, 1000, 1.0, 0.9, ((500, 600),)), 5000, track)
    assert (told.first_frame, told.end_frame) == (5240, 6161)
    assert (told.track_first_frame, told.track_end_frame) == (40, 961)
    assert told.gaps == ((5500, 5600),)
    assert placed(record(300, 400, 0), 0, track) == record(300, 400, 0)


@pytest.mark.parametrize(
    ("is_gone", "looked", "seen", "expected"),
    [(True, 690, 700, True), (False, 690, 700, False), (True, 400, 700, False), (True, 300, 300, False)],
    ids=["gone", "drowned", "looks lost it before", "too short to be certain"],
)
def test_a_play_is_gone_when_nothing_doubts_it(is_gone: bool, looked: int, seen: int, expected: bool) -> None:  # noqa: FBT001 - parametrized
    """A play that has lasted has ended when what follows speaks against it, and looks and tracker saw it for as long."""
    heard = HeardPlay(3, 7, 0, 100, seen, 1.0, looked_frame=looked)
    assert not heard.is_gone(480, 64)
    heard.records.append(replace(record(100, seen, 0), is_gone=is_gone))
    assert heard.is_gone(480, 64) is expected
