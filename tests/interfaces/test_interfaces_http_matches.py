"""The history over HTTP: its addresses are its commands, and CSV of any length is streamed, whole or visibly not."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from interfaces_http import serving

from dejavud.errors import IndexUnavailable
from dejavud.services.commands import Command, CommandTable
from dejavud.services.events import EventHub
from dejavud.services.history_handlers import ListPlays, SummarizePlays
from dejavud.wire.play_csv import COLUMNS, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dejavud.services.commands import Call
    from dejavud.services.uploads import UploadStore

N_PLAYS = 2500


@dataclass
class Plays:
    """A table that has a history of `N_PLAYS`; from `fails_at` on it has none."""

    fails_at: int = N_PLAYS + 1
    asked: list[Any] = field(default_factory=list)
    hub: EventHub = field(default_factory=EventHub)

    def table(self) -> CommandTable:
        """Return its commands."""
        rows = (("history.list", ListPlays, self.list), ("history.summary", SummarizePlays, self.summary))
        return CommandTable(tuple(Command(*row) for row in rows))

    async def list(self, params: ListPlays, _call: Call) -> dict[str, Any]:
        """Return a page."""
        self.asked.append(params)
        first = int(params.cursor or 0)
        if first >= self.fails_at:
            raise IndexUnavailable(reason="it is gone")
        plays = [play(number) for number in range(first, min(first + params.limit, N_PLAYS))]
        return {"plays": plays, "next": str(first + params.limit) if first + params.limit < N_PLAYS else None}

    async def summary(self, params: SummarizePlays, _call: Call) -> dict[str, Any]:
        """Return what was asked for."""
        self.asked.append(params)
        return {"by": params.by, "groups": []}


def play(number: int) -> dict[str, Any]:
    """Return a play as JSON shows it."""
    return {
        "id": f"0f-{number}",
        "listener": "kitchen",
        "source": "mic",
        "track": {"id": number, "title": '=cmd|"x"\r\n,ü', "artist": None, "album": "-1", "file_sha1": "a" * 40},
        "started_at": "2026-10-25T00:30:00+00:00",
        "ended_at": "2026-10-25T01:30:00.250000+00:00",
        **dict.fromkeys(("start_s", "end_s", "track_start_s", "track_end_s", "heard_s"), 1.5),
        "coverage": 1.0,
        "confidence": 0.999999,
        "gaps": [{"start_s": 1.0, "end_s": 2.0}],
        "twins": [4, 5],
        "outcome": "unheard",
        "daemon": "d",
        "host": "h",
    }


@pytest.fixture
def plays() -> Plays:
    """Give a history."""
    return Plays()


@pytest.fixture
async def client(plays: Plays, uploads: UploadStore) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a server of that history."""
    async with serving(plays, uploads) as (client, _):  # type: ignore[arg-type]  # of a stage it takes the table and the hub
        yield client


async def test_filters_arrive_as_the_command_takes_them(client: httpx.AsyncClient, plays: Plays) -> None:
    """Every one of them; what is none is refused in the envelope that all errors have."""
    query = "listener=kitchen&tracks=7,8&search=a+b&since=24h&min_heard_s=2.5&zone=%2B01:00&limit=2&ids=a,b"
    answer = await client.get(f"/v1/matches?{query}")
    assert (answer.status_code, len(answer.json()["plays"])) == (200, 2)
    (asked,) = plays.asked
    assert (asked.listener, asked.tracks, asked.search, asked.since) == ("kitchen", (7, 8), "a b", "24h")
    assert (asked.min_heard_s, asked.zone, asked.limit, asked.ids) == (2.5, "+01:00", 2, ("a", "b"))
    answer = await client.get("/v1/matches/summary?by=day&day=yesterday&zone=Europe/Berlin&sort=heard")
    assert (answer.status_code, plays.asked[1].day, plays.asked[1].sort) == (200, "yesterday", "heard")
    for path in ("?since=soon", "?what=1", "/summary?by=year", ".csv?zone=Nowhere", ".csv?limit=3"):
        answer = await client.get(f"/v1/matches{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request"), path


async def test_csv_is_whole_however_long_it_is(client: httpx.AsyncClient, plays: Plays) -> None:
    """Page by page; every text comes back exactly, none can be a formula, and moments are in the zone that was asked for."""
    answer = await client.get("/v1/matches.csv?zone=Europe/Berlin")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    rows = list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
    assert [row["id"] for row in rows] == [f"0f-{number}" for number in range(N_PLAYS)]
    assert len(plays.asked) == 3
    row = rows[-1]
    assert tuple(row) == COLUMNS
    assert (row["title"][0], row["album"][0]) == ("'", "'")
    assert (text_of(row["title"]), row["artist"], text_of(row["album"])) == ('=cmd|"x"\r\n,ü', "", "-1")
    assert (row["started_at"], row["ended_at"]) == ("2026-10-25T02:30:00.000+02:00", "2026-10-25T02:30:00.250+01:00")
    assert (row["n_gaps"], row["twins"], row["coverage"]) == ("1", "4 5", "1.0")
    assert b"\n" not in answer.content.replace(b"\r\n", b"")
    assert (await client.head("/v1/matches.csv")).content == b""


async def test_csv_that_is_cut_short_does_not_look_whole(client: httpx.AsyncClient, plays: Plays) -> None:
    """Where the database goes away in the middle the connection breaks; where it is away from the start there is an error."""
    plays.fails_at = 1000
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/v1/matches.csv")
    plays.fails_at = 0
    answer = await client.get("/v1/matches.csv")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "index_unavailable")
