"""Moments as people say them, in their own time zone, and texts that are safe in CSV."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavud.wire.moments import day_of, moment_of, zone_of
from dejavud.wire.play_csv import cell_of, text_of

BERLIN, UTC_NOW = zone_of("Europe/Berlin"), datetime(2026, 10, 26, 11, 0, tzinfo=UTC)


def said(text: str, now: datetime = UTC_NOW, zone: str = "Europe/Berlin") -> str:
    """Return a moment in UTC as text."""
    return moment_of(text, now, zone_of(zone)).isoformat()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-10-26T11:00:00+00:00"),
        ("today", "2026-10-25T23:00:00+00:00"),
        ("Yesterday", "2026-10-24T22:00:00+00:00"),  # of 25 hours
        ("24h", "2026-10-25T11:00:00+00:00"),
        ("1d", "2026-10-25T11:00:00+00:00"),
        ("2d", "2026-10-24T10:00:00+00:00"),  # noon there, as now
        ("1w ago", "2026-10-19T10:00:00+00:00"),
        ("90 min", "2026-10-26T09:30:00+00:00"),
        ("45s", "2026-10-26T10:59:15+00:00"),
        ("2026-10-25", "2026-10-24T22:00:00+00:00"),
        ("2026-10-25T02:30", "2026-10-25T00:30:00+00:00"),  # the first of two
        ("2026-10-25T02:30+01:00", "2026-10-25T01:30:00+00:00"),
        ("2026-03-29T02:30", "2026-03-29T01:30:00+00:00"),  # which no clock there shows
        ("2026-10-25T12:00Z", "2026-10-25T12:00:00+00:00"),
    ],
)
def test_moments_are_those_of_the_one_who_asks(text: str, expected: str) -> None:
    """Across the day on which the clocks are changed as well."""
    assert said(text) == expected


def test_a_day_is_as_long_as_it_is() -> None:
    """Of 23, 24 or 25 hours; where the clocks leave midnight out it begins at one."""
    lengths = []
    for text in ("2026-03-29", "2026-10-24", "yesterday", "2026-10-26T18:00"):
        since, until = day_of(text, UTC_NOW, BERLIN)
        lengths.append((until - since) / timedelta(hours=1))
    assert lengths == [23, 24, 25, 24]
    since, until = day_of("2026-04-24", UTC_NOW, zone_of("Africa/Cairo"))
    assert (since.isoformat(), (until - since) / timedelta(hours=1)) == ("2026-04-23T22:00:00+00:00", 23)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "24", "-1d", "999999w", "1e5h", "tomorrow", "0001-01-01"])
def test_what_is_no_moment_is_said(text: str) -> None:
    """With what is understood."""
    with pytest.raises(ValueError, match="is no moment"):
        moment_of(text, UTC_NOW, zone_of("+23:00"))


@pytest.mark.parametrize(
    "name", ["", "Berlin", "Europe", "/etc/passwd", "../UTC", "+25:00", "+1", "a" * 1000, "Europe/../UTC"]
)
def test_what_is_no_zone_is_said(name: str) -> None:
    """Nothing but the list of zones is looked into."""
    with pytest.raises(ValueError, match="is no time zone"):
        zone_of(name)


@given(st.text())
def test_every_text_comes_back_from_csv_and_none_is_a_formula(text: str) -> None:
    """Through a writer and a reader of RFC 4180."""
    cell = cell_of(text)
    assert text_of(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow([cell, "x"])
    assert next(csv.reader(io.StringIO(line.getvalue(), newline="")))[0] == cell
