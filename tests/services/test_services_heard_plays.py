from __future__ import annotations

from dejavud.matching.plays import Play
from dejavud.services.heard_plays import HeardPlay


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
