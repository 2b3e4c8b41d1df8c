"""The two bounds of a read: ``as_of`` (event time) and ``known_at`` (what FirnDB had learned).

A bound is ``"latest"`` (open), a time for all rows, or a timestamp column of the request, row by row::

    as_of="decided_at"                        the column decided_at
    as_of=firndb.before("decided_at")         the same, the moment itself left out
    as_of="2013-07-01T00:00:00Z"              a time, as is any string that begins with a digit
    as_of=datetime(2013, 7, 1)                a time
    as_of=firndb.column("2013")               a column whose name looks like a time
"""

from __future__ import annotations

import dataclasses
from typing import Any, Union

from .errors import Invalid
from .times import Time, time_json

__all__ = ["Before", "Bound", "Column", "before", "bound_json", "column", "join_bound_json"]

WITHOUT_AS_OF = (
    "a join must say its `as_of`. Without it every row would be joined with the newest values there are, also those "
    "written after the moment that the row is about: the label leaks into the features, the model looks right in "
    "training and fails in production. Write as_of=\"decided_at\" to name the column that holds the moment of "
    "decision (add known_at=\"decided_at\" to leave out what was learned only later), give one time for all rows, or "
    "as_of=\"latest\" if the newest values are what you mean"
)


@dataclasses.dataclass(frozen=True)
class Column:
    """A timestamp column of the request: each row has its own bound."""

    name: str


@dataclasses.dataclass(frozen=True)
class Before:
    """An exclusive event bound: rows at the bound itself are not seen."""

    bound: Union[Column, Time]


#: What ``as_of`` and ``known_at`` take.
Bound = Union[Column, Before, Time]


def column(name: str) -> Column:
    """The timestamp column ``name`` of the request as a bound, whatever its name looks like."""
    return Column(name)


def before(bound: Bound) -> Before:
    """The event bound ``bound`` without the moment itself (for ``as_of`` only)."""
    if isinstance(bound, Before):
        return bound
    return Before(Column(bound) if isinstance(bound, str) and not _looks_like_time(bound) else bound)


def _looks_like_time(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in ("-", "+")


def bound_json(bound: Bound) -> Any:
    """A bound as the wire spells it; ``None`` for an open one, which need not be sent."""
    if isinstance(bound, Before):
        if bound.bound == "latest" or bound.bound == Column("latest"):
            raise Invalid("\"latest\" is open and has no moment to leave out; give before() a time or a column")
        if isinstance(bound.bound, Column):
            return {"column": bound.bound.name, "exclusive": True}
        return {"time": time_json(bound.bound, up=True), "exclusive": True}
    if bound is None or (isinstance(bound, str) and bound == "latest"):
        return None
    if isinstance(bound, Column):
        return {"column": bound.name}
    if isinstance(bound, str) and not _looks_like_time(bound):
        return {"column": bound}
    return time_json(bound)


def join_bound_json(as_of: Bound | None) -> Any:
    """The ``as_of`` of a join, which must be given."""
    if as_of is None:
        raise Invalid(WITHOUT_AS_OF)
    return bound_json(as_of) or "latest"
