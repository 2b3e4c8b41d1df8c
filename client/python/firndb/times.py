"""Times and durations as the wire wants them: integer microseconds UTC, and words such as ``"90s"``.

A time may be a ``datetime``, a ``date`` (its midnight), a ``pandas.Timestamp``, a ``numpy.datetime64``, an ISO 8601
string, or an ``int`` of microseconds since 1970-01-01 UTC. Naive times are UTC. A duration is a ``timedelta`` or a string such as ``"6h"``.
"""

from __future__ import annotations

import datetime
import operator
from typing import Any, Union

from .errors import Invalid

__all__ = ["Duration", "Time", "duration_text", "micros", "time_json"]

#: A point in time. ``pandas.Timestamp`` is a ``datetime``; ``numpy.datetime64`` is accepted too.
Time = Union[datetime.datetime, str, int, Any]
#: A length of time: a ``timedelta`` or ``"100ms"``, ``"90s"``, ``"15m"``, ``"2h"``, ``"30d"``.
Duration = Union[datetime.timedelta, str]

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND = datetime.timedelta(microseconds=1)
_UNITS = (
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
)


def micros(value: Any, *, up: bool = False) -> int:
    """Microseconds since 1970-01-01 UTC of a time that is not a string.

    Nanoseconds are floored, or rounded up where ``up`` is true: the first for inclusive bounds, the second for
    exclusive ones, so that no row changes sides.
    """
    if isinstance(value, bool):
        raise Invalid(f"{value} is not a time; give a datetime, an RFC 3339 string or an int of microseconds")
    if isinstance(value, datetime.datetime):
        if value != value:  # NaT
            raise Invalid("NaT is not a time; a bound must be a time, a column or \"latest\"")
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.timezone.utc)
        nanoseconds = getattr(value, "nanosecond", 0)
        moment = getattr(value, "floor")("us").to_pydatetime() if nanoseconds else value
        whole: int = (moment - _EPOCH) // _MICROSECOND
        return whole + (1 if nanoseconds and up else 0)
    if isinstance(value, datetime.date):
        return (datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.timezone.utc) - _EPOCH) // _MICROSECOND
    if type(value).__module__ == "numpy" and hasattr(value, "astype") and value.dtype.kind == "M":
        return _numpy_micros(value, up)
    try:
        return operator.index(value)
    except TypeError:
        raise Invalid(
            f"{value!r} is not a time; give a datetime, an RFC 3339 string or an int of microseconds since 1970 UTC"
        ) from None


def _numpy_micros(value: Any, up: bool) -> int:
    import numpy

    if numpy.isnat(value):
        raise Invalid("NaT is not a time; a bound must be a time, a column or \"latest\"")
    floored = value.astype("datetime64[us]")
    whole = int(floored.astype("int64"))
    return whole + 1 if up and floored.astype(value.dtype) != value else whole


def time_json(value: Time, *, up: bool = False) -> str | dict[str, int]:
    """A time as the wire spells it; a string is left for the server to read."""
    return value if isinstance(value, str) else {"us": micros(value, up=up)}


def duration_text(value: Duration) -> str:
    """A duration as the wire spells it, in the largest unit that holds it exactly."""
    if isinstance(value, str):
        return value
    if not isinstance(value, datetime.timedelta):
        raise Invalid(f"{value!r} is not a duration; give a timedelta or a string such as \"90s\" or \"6h\"")
    length = value // _MICROSECOND
    return next(f"{length // size}{unit}" for unit, size in _UNITS if length % size == 0)
