"""Moments as people say them: ISO 8601, "yesterday", "24h"; in the time zone of whoever asks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from functools import cache

FORMS = (
    "an ISO date or time (2026-10-25, 2026-10-25T14:30), now, today, yesterday, or so long ago: 45s, 30min, 24h, 7d, 2w"
)
"""What `moment_of` understands, for a message or a page of help."""

_AGO = re.compile(r"(\d{1,6})\s*(s|min|m|h|d|w)(?:\s+ago)?")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}
_DAYS = {"d": 1, "w": 7}
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")


@cache
def zone_of(name: str) -> tzinfo:
    """Return the time zone that `name` means: of the IANA's list (Europe/Berlin), UTC, or an offset (+01:00); raises ValueError."""
    offset = _OFFSET.fullmatch(name)
    if offset is not None and int(offset[2]) < 24 and int(offset[3]) < 60:  # noqa: PLR2004 - hours and minutes
        length = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-length if offset[1] == "-" else length)
    if name in {"UTC", "Z"}:
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - reads files, and most requests name no zone

    if _ZONE_NAME.fullmatch(name) is not None:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, OSError, ValueError):
            pass
    msg = f"{name[:80]!r} is no time zone: Europe/Berlin, UTC or +01:00 are"
    raise ValueError(msg)


def moment_of(text: str, now: datetime, zone: tzinfo) -> datetime:
    """Return the moment in UTC that `text` means in `zone` at the moment `now`; raises ValueError that says what is understood.

    A date, "today" and "yesterday" are the beginning of that day there; "7d" is the same time of day a week ago, "24h" so many hours, which
    on the day that the clocks are changed is not the same as a day.  A time that the clocks pass twice is the first of the two, and one that they leave
    out as much after the change as it is said to be after it.
    """
    said = text.strip().lower()
    there = now.astimezone(zone)
    if said == "now":
        return now.astimezone(UTC)
    if said in {"today", "yesterday"}:
        return start_of_day(there.replace(tzinfo=None) - timedelta(days=said == "yesterday"), zone)
    try:
        ago = _AGO.fullmatch(said)
        if ago is not None:
            number, unit = int(ago[1]), ago[2]
            if unit in _UNITS:
                return now.astimezone(UTC) - timedelta(seconds=number * _UNITS[unit])
            return _local(there.replace(tzinfo=None) - timedelta(days=number * _DAYS[unit]), zone)
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo is not None else _local(moment, zone)
    except (ValueError, OverflowError):
        msg = f"{text[:80]!r} is no moment: {FORMS}"
        raise ValueError(msg) from None


def day_of(text: str, now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return when the day that `text` means in `zone` begins and when the next one does; raises ValueError as `moment_of`."""
    moment = moment_of(text, now, zone)
    try:
        start = moment.astimezone(zone).replace(tzinfo=None)
        return start_of_day(start, zone), start_of_day(start + timedelta(days=1), zone)
    except OverflowError:
        msg = f"{text[:80]!r} is no day: {FORMS}"
        raise ValueError(msg) from None


def start_of_day(local: datetime, zone: tzinfo) -> datetime:
    """Return when the day of a local time begins in `zone`, in UTC: where the clocks leave midnight out, as they pass it."""
    return _local(datetime.combine(local.date(), time()), zone)


def _local(local: datetime, zone: tzinfo) -> datetime:
    """Return a local time without its zone as a moment in UTC."""
    return local.replace(tzinfo=zone).astimezone(UTC)
