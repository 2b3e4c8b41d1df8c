"""Moments, dates, times and durations of Python as the numbers that Arrow has for them, both ways.

Nothing is rounded: where Python's own class cannot hold a moment, it is :class:`FineMoment`, which keeps its nanoseconds.
"""

from __future__ import annotations

import datetime
from typing import Any

__all__ = ["EPOCH", "EPOCH_UTC", "MICROSECOND", "FineMoment"]

EPOCH = datetime.datetime(1970, 1, 1)
EPOCH_UTC = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)
_DAY_ONE = EPOCH.toordinal()


class FineMoment(datetime.datetime):
    """A moment with ``nanosecond`` (0 to 999) after its microseconds."""

    nanosecond: int = 0


def moment_number(value: Any) -> int:
    """The microseconds since 1970 of a moment (floored), or of the midnight that begins a date."""
    if hasattr(value, "to_pydatetime"):  # of pandas, whose own differences overflow
        value = value.to_pydatetime(warn=False)
    if isinstance(value, datetime.datetime):
        return (value - (EPOCH if value.tzinfo is None else EPOCH_UTC)) // MICROSECOND
    day: int = value.toordinal()
    return (day - _DAY_ONE) * 86_400_000_000


def time_number(value: datetime.time) -> int:
    """The microseconds since midnight."""
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond


def duration_number(value: datetime.timedelta) -> int:
    """The microseconds of a length of time."""
    return value // MICROSECOND


def _zone(name: str) -> datetime.tzinfo:
    if name.upper() in ("UTC", "Z", "+00:00", "ETC/UTC"):
        return datetime.timezone.utc
    if name[:1] in "+-":
        hours, _, minutes = name[1:].partition(":")
        offset = datetime.timedelta(hours=int(hours), minutes=int(minutes or 0))
        return datetime.timezone(-offset if name[0] == "-" else offset)
    import zoneinfo

    return zoneinfo.ZoneInfo(name)


def moment_of(number: int, per_second: int, zone: str | None) -> datetime.datetime:
    """The moment ``number`` units since 1970."""
    nanos = number * (1_000_000_000 // per_second)
    micros, rest = divmod(nanos, 1000)
    moment = (EPOCH if zone is None else EPOCH_UTC) + datetime.timedelta(microseconds=micros)
    if zone is not None:
        moment = moment.astimezone(_zone(zone))
    if not rest:
        return moment
    fine = FineMoment(
        moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond, moment.tzinfo
    )
    fine.nanosecond = rest
    return fine


def date_of(days: int) -> datetime.date:
    """The date ``days`` after 1970-01-01."""
    return datetime.date.fromordinal(days + _DAY_ONE)


def date_of_milliseconds(number: int) -> datetime.date:
    """The date of a moment in milliseconds."""
    return date_of(number // 86_400_000)


def time_of_microseconds(number: int) -> datetime.time:
    """The time of day ``number`` microseconds after midnight."""
    seconds, micros = divmod(number, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return datetime.time(hour, minute, second, micros)


def time_of_seconds(number: int) -> datetime.time:
    """The time of day ``number`` seconds after midnight."""
    return time_of_microseconds(number * 1_000_000)


def time_of_milliseconds(number: int) -> datetime.time:
    """The time of day ``number`` milliseconds after midnight."""
    return time_of_microseconds(number * 1_000)


def time_of_nanoseconds(number: int) -> Any:
    """The time of day ``number`` nanoseconds after midnight: the number itself where Python has no such time."""
    return number if number % 1000 else time_of_microseconds(number // 1000)


def duration_of_microseconds(number: int) -> datetime.timedelta:
    """A length of ``number`` microseconds."""
    return datetime.timedelta(microseconds=number)


def duration_of_seconds(number: int) -> datetime.timedelta:
    """A length of ``number`` seconds."""
    return datetime.timedelta(seconds=number)


def duration_of_milliseconds(number: int) -> datetime.timedelta:
    """A length of ``number`` milliseconds."""
    return datetime.timedelta(milliseconds=number)


def duration_of_nanoseconds(number: int) -> Any:
    """A length of ``number`` nanoseconds: the number itself where Python has no such length."""
    return number if number % 1000 else datetime.timedelta(microseconds=number // 1000)
