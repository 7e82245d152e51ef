"""Quarters of an hour added up to the days and hours of a time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dejavud.index.history.plays import QUARTER_S
from dejavud.wire.moments import start_of_day

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from dejavud.index.history.plays import Group

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def by_calendar(quarters: Sequence[Group], by: str, zone: tzinfo) -> list[dict[str, Any]]:
    """Return what plays come to by "day" or "hour" of `zone`, ascending, of those in which any started.

    quarters : as `History.quarters` gives them.

    Each group has ``since`` and ``until``, in that zone: a day on which the clocks are changed has 23 or 25 hours, and the hour that they pass twice is two.
    """
    groups: dict[datetime, dict[str, Any]] = {}
    for quarter in quarters:
        started = _EPOCH + timedelta(seconds=QUARTER_S * int(quarter.key or 0))
        since = _start_of(started, by, zone)
        group = groups.setdefault(since, {"n_plays": 0, "heard_s": 0.0, "first_at": quarter.first_at})
        group["n_plays"] += quarter.n_plays
        group["heard_s"] += quarter.heard_s
        group["last_at"] = quarter.last_at
    return [_view(since, groups[since], by, zone) for since in sorted(groups)]


def _start_of(moment: datetime, by: str, zone: tzinfo) -> datetime:
    """Return when the day or hour of `moment` begins in `zone`, in UTC."""
    local = moment.astimezone(zone)
    if by == "day":
        return start_of_day(local.replace(tzinfo=None), zone)
    return moment - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


def _view(since: datetime, group: dict[str, Any], by: str, zone: tzinfo) -> dict[str, Any]:
    local = since.astimezone(zone)
    until = since + timedelta(hours=1)
    if by == "day":
        until = start_of_day(local.replace(tzinfo=None) + timedelta(days=1), zone)
    return {
        by: local.date().isoformat() if by == "day" else local.isoformat(timespec="minutes"),
        "since": local.isoformat(),
        "until": until.astimezone(zone).isoformat(),
        "n_plays": group["n_plays"],
        "heard_s": round(group["heard_s"], 3),
        "first_at": group["first_at"].isoformat(),
        "last_at": group["last_at"].isoformat(),
    }
