"""The history, over every kind of database: what is recorded is found, summed up and forgotten, and what is not meant stays."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import pytest
from history_plays import START, kept_play
from index_entries import new_track, open_kind

from dejavud.errors import IndexUnavailable
from dejavud.index.history.plays import Place, PlayFilter, as_json, of_json
from dejavud.index.open import history_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dejavud.fingerprint.params import Params
    from dejavud.index.base import Store
    from dejavud.index.history.history import History
    from dejavud.index.history.plays import KeptPlay

KINDS = ("memory", "duckdb-file", "sqlite-file", "postgresql", "mariadb")
KEPT = KINDS[1:]


@contextmanager
def opened(kind: str, folder: Path, params: Params) -> Iterator[tuple[Store, History]]:
    """Give a store of one kind and its history."""
    with open_kind(kind, folder, params) as index:
        store = cast("Store", index)
        with closing(history_of(store)) as history:
            yield store, history


@pytest.fixture(params=KINDS)
def history(request: pytest.FixtureRequest, tmp_path: Path, params: Params) -> Iterator[History]:
    """Give an empty history of each kind in turn."""
    with opened(request.param, tmp_path, params) as (_, found):
        yield found


def ids(plays: list[KeptPlay]) -> list[str]:
    """Return which plays these are, by their number alone."""
    return [play.id.partition("-")[2] for play in plays]


def paged(history: History, wanted: PlayFilter, limit: int) -> list[KeptPlay]:
    """Return all plays that `wanted` means, page by page."""
    found: list[KeptPlay] = []
    page = history.page(wanted, limit)
    while page:
        found += page
        page = history.page(wanted, limit, Place(page[-1].started_at, page[-1].id))
    return found


def test_what_was_recorded_comes_back_to_the_last_digit(history: History) -> None:
    """Every field, texts of any kind among them; what no database takes is replaced."""
    odd = kept_play(
        2, title="=1+1\n\"%_|\\'?:x 音樂 \U0001f3b5", artist="", album="a\0b", gaps=(), twins=(), listener="Küche"
    )
    plays = [kept_play(0), kept_play(1), odd]
    history.record(plays)
    assert history.page(PlayFilter(), 10) == [replace(odd, album="a\N{REPLACEMENT CHARACTER}b"), plays[1], plays[0]]
    assert history.count() == 3
    for wanted in (
        PlayFilter(words=("%_|\\'?:x", "\U0001f3b5")),
        PlayFilter(listener="Küche"),
        PlayFilter(words=("a\0b",)),
    ):
        assert ids(history.page(wanted, 10)) == ["2"]
    for nothing in (PlayFilter(listener="a\0"), PlayFilter(ids=("\ud800",))):
        assert history.page(nothing, 10) == []


def test_a_play_that_is_recorded_again_is_replaced(history: History) -> None:
    """Whatever has changed of it, where it starts too, also within one batch; it may be written twice."""
    going = kept_play(1, outcome="going", ended_at=START)
    history.record([kept_play(0), going])
    earlier = kept_play(1, started_at=START - timedelta(seconds=7))
    history.record([going, earlier])
    history.record([earlier])
    assert history.page(PlayFilter(), 10) == [kept_play(0), earlier]
    history.record([])
    assert history.count() == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (PlayFilter(ids=("0123456789-3", "nobody's")), "3"),
        (PlayFilter(ids=()), ""),
        (PlayFilter(listener="radio"), "531"),
        (PlayFilter(track_ids=(1, 3)), "5320"),
        (PlayFilter(words=("ETUDE", "1")), "41"),
        (PlayFilter(words=("artist", "etude 2")), "52"),
        (PlayFilter(words=("%",)), ""),
        (PlayFilter(words=("_tude",)), ""),
        (PlayFilter(since=START + timedelta(minutes=10), until=START + timedelta(minutes=20)), "32"),
        (PlayFilter(min_heard_s=171.25, listener="microphone"), "420"),
        (PlayFilter(min_heard_s=171.5), ""),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 10])
def test_filters_and_pages(filled: History, wanted: PlayFilter, expected: str, limit: int) -> None:
    """Whatever is asked for, newest first, the same in pages of any size; and totals agree."""
    assert ids(paged(filled, wanted, limit)) == list(expected)
    totals = filled.totals(wanted)
    assert (totals.n_plays, totals.heard_s) == (len(expected), 171.25 * len(expected))


@pytest.fixture(scope="module", params=KINDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """Give a history of six plays, of each kind in turn; for tests that only read."""
    from index_entries import drop_databases  # noqa: PLC0415 - as the fixture of every test does

    from dejavud.fingerprint.params import Params  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("history")
    with opened(request.param, folder, Params()) as (_, history):
        history.record([kept_play(number) for number in range(6)])
        yield history
    drop_databases(folder)


def test_plays_that_started_at_once_are_on_one_page_each(history: History) -> None:
    """Of two in the same microsecond none is left out or shown twice."""
    history.record([kept_play(number, started_at=START) for number in range(7)])
    assert sorted(ids(paged(history, PlayFilter(), 2))) == list("0123456")


def test_pages_under_writes_show_every_play_that_stays_once(history: History) -> None:
    """While others are recorded, refined and forgotten between two pages."""
    history.record([kept_play(number) for number in range(40)])
    seen: list[KeptPlay] = []
    page = history.page(PlayFilter(), 7)
    fresh = 40
    while page:
        seen += page
        history.record([kept_play(fresh), kept_play(fresh + 1, outcome="going")])
        history.record([kept_play(fresh + 1)])
        history.remove(PlayFilter(ids=(page[0].id, page[-1].id, f"0123456789-{(fresh - 39) % 5}")), 10)
        fresh += 2
        page = history.page(PlayFilter(), 7, Place(page[-1].started_at, page[-1].id))
    shown = ids(seen)
    assert len(shown) == len(set(shown))
    assert {str(number) for number in range(5, 40)} <= set(shown)


def test_tracks_artists_and_listeners_by_how_often_or_how_long(history: History) -> None:
    """A track is named as its last play names it; what has no artist is one group; the limit counts groups."""
    plays = [kept_play(number) for number in range(6)]
    history.record(
        [*plays, kept_play(6, heard_s=1.0), kept_play(9, title="Renamed", heard_s=2.0), kept_play(7, heard_s=900.0)]
    )
    tracks = history.top(PlayFilter(), "track", 2)
    assert [(group.key, group.n_plays, group.title) for group in tracks] == [(1, 4, "Renamed"), (2, 3, "Étude 1")]
    assert (tracks[0].first_at, tracks[0].last_at, tracks[0].heard_s) == (
        plays[0].started_at,
        kept_play(9).started_at,
        345.5,
    )
    assert [group.key for group in history.top(PlayFilter(), "track", 1, longest=True)] == [2]
    artists = history.top(PlayFilter(), "artist", 10)
    assert [(group.key, group.n_plays) for group in artists] == [(None, 4), ("Artist 1", 3), ("Artist 2", 2)]
    assert [history.n_groups(PlayFilter(), by) for by in ("track", "artist", "listener")] == [3, 3, 2]
    listeners = history.top(PlayFilter(track_ids=(3,)), "listener", 10)
    assert [(group.key, group.n_plays) for group in listeners] == [("microphone", 1), ("radio", 1)]
    assert history.top(PlayFilter(words=("nothing",)), "track", 10) == []


def test_quarters_of_an_hour_add_up(history: History) -> None:
    """Each play is in the quarter in which it started, to the microsecond."""
    at = datetime(2026, 3, 1, 12, 14, 59, 999_999, tzinfo=UTC)
    moments = (at, at + timedelta(microseconds=1), at + timedelta(minutes=15))
    history.record([kept_play(number, started_at=moment) for number, moment in enumerate(moments)])
    quarters = history.quarters(PlayFilter())
    first = int(at.timestamp()) // 900
    assert [(group.key, group.n_plays, group.heard_s) for group in quarters] == [
        (first, 1, 171.25),
        (first + 1, 2, 342.5),
    ]
    assert quarters[1].last_at == moments[2]


def test_what_a_crash_left_open_is_closed_as_it_was_known(history: History) -> None:
    """Once, and with nothing else changed; in a database that others may write to, theirs are left while they go on."""
    now = START + timedelta(minutes=30)
    own = kept_play(0, outcome="going", updated_at=now - timedelta(minutes=1))
    other = kept_play(1, daemon="elsewhere", outcome="going", updated_at=now - timedelta(minutes=1))
    stale = kept_play(2, daemon="gone", outcome="going", updated_at=now - timedelta(hours=2))
    history.record([own, other, stale, kept_play(3)])
    is_shared = history.is_shared
    assert history.close_left(now - timedelta(hours=2)) == 0
    assert history.close_left(now, "kitchen-pc") == (2 if is_shared else 3)
    closed = [replace(play, outcome="cut_off", updated_at=now) for play in (own, stale)]
    theirs = other if is_shared else replace(other, outcome="cut_off", updated_at=now)
    assert history.page(PlayFilter(), 10) == [kept_play(3), closed[1], theirs, closed[0]]
    assert history.close_left(now, "kitchen-pc") == 0


def test_the_oldest_are_forgotten_first_and_what_goes_on_is_not(history: History) -> None:
    """So many at a time as is said, of those that are meant."""
    history.record([kept_play(0, outcome="going"), *[kept_play(number) for number in range(1, 6)]])
    assert history.remove(PlayFilter(until=kept_play(5).started_at), 3) == 3
    assert ids(history.page(PlayFilter(), 10)) == list("540")
    assert history.remove(PlayFilter(until=kept_play(5).started_at), 3) == 1
    assert history.remove(PlayFilter(until=kept_play(5).started_at), 3) == 0
    assert ids(history.page(PlayFilter(), 10)) == list("50")


@pytest.mark.parametrize("kind", KEPT)
def test_the_history_stays_when_the_database_is_opened_again_or_its_tracks_go(
    kind: str, tmp_path: Path, params: Params
) -> None:
    """Neither closing, removing tracks, compacting nor looking for strays touches it."""
    with opened(kind, tmp_path, params) as (store, history):
        tracks = store.add([new_track(seed) for seed in range(3)])
        history.record([kept_play(number) for number in range(4)])
        store.remove([track.id for track in tracks])
        store.compact(lambda _done, _total: None, lambda: False)
        assert list(store.stray_ids()) == []
        history.record([kept_play(4)])
    with opened(kind, tmp_path, params) as (store, history):
        assert ids(history.page(PlayFilter(), 10)) == list("43210")
        assert history.close_left(START, "kitchen-pc") == 0
    with pytest.raises(IndexUnavailable):
        history.count()


@pytest.mark.parametrize("kind", KINDS)
def test_readers_see_whole_batches_only(kind: str, tmp_path: Path, params: Params) -> None:
    """While one thread records three plays at a time, another never counts a part of them; look-ups are not told of any change."""
    with opened(kind, tmp_path, params) as (_, history):
        counts: list[int] = []
        done = threading.Event()

        def count() -> None:
            while not done.is_set() or not counts:
                counts.append(history.totals().n_plays)

        reader = threading.Thread(target=count)
        reader.start()
        for first in range(0, 30, 3):
            history.record([kept_play(number) for number in range(first, first + 3)])
        done.set()
        reader.join()
        assert {n % 3 for n in counts} == {0}


def test_a_play_in_an_archive_is_the_same_play() -> None:
    """There and back; what is no play is not taken for one."""
    play = kept_play(1)
    assert of_json(as_json(play)) == play
    for wrong in (
        {"title": 7},
        {"started_at": "2026-01-01T00:00:00"},
        {"outcome": "lost"},
        {"track_id": 0},
        {"gaps": 1},
    ):
        with pytest.raises((ValueError, TypeError)):
            of_json({**as_json(play), **wrong})
