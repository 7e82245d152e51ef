"""Finding, changing and removing tracks through the command table's own commands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio
from index_entries import new_track, sha1_of
from service_parts import published

from dejavud.errors import InvalidRequest, NothingSelected, PageNotFound, TrackNotFound
from dejavud.index.memory import MemoryIndex
from dejavud.services.clients import LOCAL
from dejavud.services.commands import Call, Command, CommandTable
from dejavud.services.events import EventHub
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.library import Library
from dejavud.services.track_handlers import TrackHandlers

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = (
    ("Étude", "Chopin", "Op. 10", "/music/chopin/1.ogg"),
    ("Nocturne", "Chopin", "Op. 9", "/music/chopin/2.ogg"),
    ("nocturnes", "Debussy", None, "/music/debussy/1.ogg"),
    ("Élégie", None, None, None),
    ("Straße", "Ñu", "Op. 10", "/music/ñu/1.ogg"),
)
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class Bench:
    """The commands about tracks over an index of five."""

    def __init__(self) -> None:
        self.index, self.hub = MemoryIndex(), EventHub()
        self.events = published(self.hub)
        self.index.add(
            [
                new_track(
                    seed,
                    title=title,
                    artist=artist,
                    album=album,
                    path=path,
                    duration_s=100.0 - seed,
                    added_at=BEGINNING + timedelta(days=seed),
                )
                for seed, (title, artist, album, path) in enumerate(NAMES, 1)
            ]
        )
        rows = TrackHandlers(Library(self.index, InlineWorkers(), self.hub)).rows()
        self.table = CommandTable(tuple(Command(*row) for row in rows))

    def ask(self, command: str, **params: object) -> dict[str, Any]:
        """Return the result of a command."""

        async def call() -> dict[str, Any]:
            return await self.table.call(command, params, Call(client=LOCAL))

        return trio.run(call)

    def ids(self, **params: object) -> list[int]:
        """Return the ids that ``tracks.list`` gives."""
        return [track["id"] for track in self.ask("tracks.list", **params)["tracks"]]


@pytest.fixture
def bench() -> Bench:
    """Give a library of five tracks."""
    return Bench()


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"search": "nocturne"}, [2, 3]),
        ({"search": "ETUDE"}, [1]),
        ({"search": "elégie"}, [4]),
        ({"search": "nocturne chopin"}, [2]),
        ({"search": "  op.  10 "}, [1, 5]),
        ({"search": "strasse nu"}, [5]),
        ({"search": "debussy/1"}, [3]),
        ({"search": "nothing"}, []),
        ({"artist": "CHOPIN"}, [1, 2]),
        ({"artist": "nu"}, [5]),
        ({"artist": ""}, [4]),
        ({"artist": "chop"}, []),
        ({"album": "op. 10"}, [1, 5]),
        ({"path": "/music/chopin/"}, [1, 2]),
        ({"path": "/Music/"}, []),
        ({"added_after": "2026-01-04"}, [4, 5]),
        ({"added_before": "2026-01-04"}, [1, 2]),
        ({"added_after": "2026-01-02T01:00:00+01:00", "added_before": "2026-01-05"}, [2, 3]),
        ({"ids": [5, 1, 99]}, [1, 5]),
        ({"ids": []}, []),
        ({"sha1s": [sha1_of(2).upper(), sha1_of(77)]}, [2]),
        ({"ids": [1, 2, 3], "search": "nocturne"}, [2, 3]),
        ({"state": "disabled"}, []),
    ],
)
def test_tracks_are_found(bench: Bench, params: dict[str, Any], ids: list[int]) -> None:
    """Words match anywhere whatever their case and accents, names match whole, everything that is given holds together."""
    assert bench.ids(**params) == ids
    assert bench.ask("tracks.list", **params)["n_total"] == len(ids)


@pytest.mark.parametrize(
    ("sort", "ids"),
    [
        ("id", [1, 2, 3, 4, 5]),
        ("title", [4, 1, 2, 3, 5]),
        ("artist", [1, 2, 3, 5, 4]),
        ("album", [1, 5, 2, 3, 4]),
        ("duration", [5, 4, 3, 2, 1]),
        ("added", [1, 2, 3, 4, 5]),
    ],
)
def test_tracks_are_sorted(bench: Bench, sort: str, ids: list[int]) -> None:
    """By folded text, ties by id; reversed the same backwards, but what has no name comes last both ways."""
    assert bench.ids(sort=sort) == ids
    nameless = {"artist": [4], "album": [3, 4]}.get(sort, [])
    named = [track_id for track_id in ids if track_id not in nameless]
    assert bench.ids(sort=sort, reverse=True) == named[::-1] + nameless[::-1]


@pytest.mark.parametrize("sort", ["id", "title", "artist", "album", "duration", "added"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("search", ["", "o"])
def test_pages_follow_each_other_while_tracks_come_and_go(
    bench: Bench, sort: str, search: str, *, reverse: bool
) -> None:
    """No track that stays is left out or told twice, wherever others appear and vanish between two pages."""
    expected = bench.ids(sort=sort, reverse=reverse, search=search)
    seen: list[int] = []
    cursor = None
    for step in range(10):
        page = bench.ask("tracks.list", sort=sort, reverse=reverse, search=search, limit=2, cursor=cursor)
        seen += [track["id"] for track in page["tracks"]]
        cursor = page["next"]
        bench.index.add([new_track(100 + step, title=f"o{step}", artist="o", album="o", path="o")])
        if step == 0:
            bench.index.remove([seen[0]])
        if cursor is None:
            break
    else:
        pytest.fail("no end")
    assert [track_id for track_id in seen if track_id <= 5] == expected
    assert len(seen) == len(set(seen))


def test_the_pages_of_older_clients_go_on(bench: Bench) -> None:
    """``after_id`` walks by id, with a filter too, and ends with null."""
    first = bench.ask("tracks.list", limit=2)
    assert (first["next_after_id"], [track["id"] for track in first["tracks"]]) == (2, [1, 2])
    assert bench.ids(limit=2, after_id=2) == [3, 4]
    assert bench.ask("tracks.list", limit=2, after_id=4)["next_after_id"] is None
    assert bench.ids(after_id=1, search="nocturne", limit=1) == [2]
    assert bench.ask("tracks.list", sort="title", limit=2)["next_after_id"] is None


def test_a_search_knows_of_every_change(bench: Bench) -> None:
    """What is kept of a track for searching follows its edits, by whomever, removals and additions."""
    assert bench.ids(search="nocturne") == [2, 3]
    bench.ask("tracks.edit", ids=[2], title="Waltz")
    assert (bench.ids(search="nocturne"), bench.ids(search="waltz")) == ([3], [2])
    bench.index.remove([3])
    bench.index.add([new_track(9, title="Nocturne")])
    assert bench.ids(search="nocturne") == [6]


@pytest.mark.parametrize(
    "params",
    [
        {"cursor": "x"},
        {"cursor": "eyJhIjogMX0="},
        {"cursor": "W10="},
        {"sort": "length"},
        {"state": "off"},
        {"added_after": "yesterday"},
        {"added_before": "2026-13-01"},
        {"limit": 0},
        {"limit": 1001},
        {"ids": [-1]},
        {"sha1s": ["xyz"]},
    ],
)
def test_wrong_questions_are_told(bench: Bench, params: dict[str, Any]) -> None:
    """Each parameter that cannot be is refused by name."""
    with pytest.raises((InvalidRequest, PageNotFound), match=next(iter(params))):
        bench.ask("tracks.list", **params)


def test_a_number_to_go_on_after_holds_in_any_order(bench: Bench) -> None:
    """In order of id it is a place, in any other it leaves out what has a lower number."""
    by_title = [track["id"] for track in bench.ask("tracks.list", sort="title", reverse=True)["tracks"]]
    told = bench.ask("tracks.list", sort="title", reverse=True, after_id=2)
    assert [track["id"] for track in told["tracks"]] == [track_id for track_id in by_title if track_id > 2]
    assert told["next_after_id"] is None
    assert {track["id"] for track in bench.ask("tracks.list", after_id=2)["tracks"]} == set(by_title) - {1, 2}


def test_a_cursor_of_another_order_is_refused(bench: Bench) -> None:
    """It would name a place that means nothing there."""
    cursor = bench.ask("tracks.list", sort="title", limit=2)["next"]
    assert bench.ids(sort="title", limit=2, cursor=cursor) == [2, 3]
    for other in ({"sort": "artist"}, {"sort": "title", "reverse": True}, {}):
        with pytest.raises(PageNotFound, match="cursor"):
            bench.ask("tracks.list", limit=2, cursor=cursor, **other)


def test_tracks_are_edited_by_number_and_content(bench: Bench) -> None:
    """What is given changes, "" takes away, the rest stays; each track leaves as an event, once."""
    told = bench.ask("tracks.edit", ids=[1, 99, 1], sha1s=[sha1_of(2), sha1_of(1)], artist="", album="Works")
    assert [(each["id"], each["title"], each["artist"], each["album"]) for each in told["updated"]] == [
        (1, "Étude", None, "Works"),
        (2, "Nocturne", None, "Works"),
    ]
    assert told["n_updated"] == 2
    assert [(event.topic, event.data["track"]["id"]) for event in bench.events] == [
        ("track.updated", 1),
        ("track.updated", 2),
    ]


def test_tracks_are_disabled_and_enabled(bench: Bench) -> None:
    """By filter, by number: listed with their state, found by it, in no look-up."""
    assert bench.ask("tracks.disable", artist="chopin")["n_updated"] == 2
    assert (bench.ids(state="disabled"), bench.ids(state="enabled")) == ([1, 2], [3, 4, 5])
    assert bench.ids() == [1, 2, 3, 4, 5]
    hits = bench.index.lookup(new_track(1).hashes)
    assert set(hits.track_ids.tolist()) == {3, 4, 5}
    assert bench.ask("tracks.enable", ids=[2])["updated"][0]["disabled"] is False
    assert bench.ask("tracks.get", id=1)["track"]["disabled"] is True


@pytest.mark.parametrize(
    ("chosen", "removed"),
    [
        ({"ids": [2, 99]}, [2]),
        ({"sha1s": [sha1_of(3)]}, [3]),
        ({"path": "/music/chopin/"}, [1, 2]),
        ({"search": "op. 10", "artist": "Chopin"}, [1]),
        ({"state": "all"}, [1, 2, 3, 4, 5]),
    ],
)
def test_tracks_are_removed(bench: Bench, chosen: dict[str, Any], removed: list[int]) -> None:
    """Those that are chosen, and an event for each after it is gone."""
    told = bench.ask("tracks.remove", **chosen)
    assert [track["id"] for track in told["removed"]] == removed
    assert [(event.topic, event.data["track"]["id"]) for event in bench.events] == [
        ("track.removed", track_id) for track_id in removed
    ]
    assert bench.ids() == [track_id for track_id in range(1, 6) if track_id not in removed]


@pytest.mark.parametrize("command", ["tracks.remove", "tracks.disable", "tracks.enable"])
@pytest.mark.parametrize("params", [{}, {"search": "  "}, {"state": ""}])
def test_all_tracks_have_to_be_asked_for(bench: Bench, command: str, params: dict[str, Any]) -> None:
    """A request that forgot to say which tracks changes none."""
    with pytest.raises(NothingSelected, match="which tracks"):
        bench.ask(command, **params)
    assert bench.events == []


@pytest.mark.parametrize(
    "params",
    [{"title": "x"}, {"ids": [1]}, {"ids": [1], "title": " "}, {"ids": [1], "title": None}, {"ids": [1], "path": "x"}],
)
def test_wrong_edits_change_nothing(bench: Bench, params: dict[str, Any]) -> None:
    """Without tracks, without a change, with an empty title or a field that cannot be changed."""
    with pytest.raises(InvalidRequest):
        bench.ask("tracks.edit", **params)
    assert bench.events == []


def test_a_large_library_is_changed_in_parts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be written beside it waits for one part only, and every track is changed once."""
    monkeypatch.setattr("dejavud.services.library.BATCH_TRACKS", 2)
    n_tracks: list[int] = []
    edit: Callable[..., Any] = bench.index.edit
    monkeypatch.setattr(bench.index, "edit", lambda edits: (n_tracks.append(len(edits)), edit(edits))[1])
    assert bench.ask("tracks.disable", state="all")["n_updated"] == 5
    assert n_tracks == [2, 2, 1]


def test_a_track_that_is_not_there_is_told(bench: Bench) -> None:
    """By its number."""
    with pytest.raises(TrackNotFound, match="99"):
        bench.ask("tracks.get", id=99)
