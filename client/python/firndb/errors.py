"""The errors of FirnDB: one class for each thing that a caller can do about it.

Every error has a ``message`` for a person and a ``code`` as gRPC spells it. It does not matter how it came: as a
status of a Flight call, in band inside an exchange, or refused by the client before anything was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pyarrow as pa
import pyarrow.flight as flight

from .written import Written

__all__ = [
    "AlreadyExists",
    "Cancelled",
    "DataLoss",
    "Exhausted",
    "FirnError",
    "Internal",
    "Invalid",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "Precondition",
    "TimedOut",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]


class FirnError(Exception):
    """Any error of FirnDB. ``message`` says what, where and how to mend it."""

    code: ClassVar[str] = "UNKNOWN"

    #: Of a write that failed midway: what had been acknowledged before (durable and readable), else ``None``.
    written: Written | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(FirnError, ValueError):
    """The request is wrong as it stands; mend it as the message says."""

    code = "INVALID_ARGUMENT"


class NotFound(FirnError, LookupError):
    """A table, entity or feature of that name does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(FirnError):
    """The name is taken by something that is declared differently."""

    code = "ALREADY_EXISTS"


class Precondition(FirnError):
    """The request is right, but the state forbids it: an unsealed table, a producer out of step."""

    code = "FAILED_PRECONDITION"


class OutOfRange(FirnError):
    """The bound lies before the horizon, or the position after what is published."""

    code = "OUT_OF_RANGE"


class Exhausted(FirnError):
    """A configured limit was met; send less, or later, or raise the limit that the message names."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(FirnError):
    """Not now: no server there, it is closing, or waiting for a position timed out. Try again."""

    code = "UNAVAILABLE"


class DataLoss(FirnError):
    """Bytes on the server's disk do not check. Run ``firn verify`` there."""

    code = "DATA_LOSS"


class Unauthenticated(FirnError):
    """No token, or one that the server does not know."""

    code = "UNAUTHENTICATED"


class PermissionDenied(FirnError):
    """The token does not allow this."""

    code = "PERMISSION_DENIED"


class Unimplemented(FirnError):
    """A reserved form or an action that this server does not know."""

    code = "UNIMPLEMENTED"


class TimedOut(FirnError):
    """The call took longer than the timeout that it was given."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(FirnError):
    """The call was cancelled."""

    code = "CANCELLED"


class Internal(FirnError):
    """A bug of the server; its log says more."""

    code = "INTERNAL"


_BY_CODE: dict[str, type[FirnError]] = {
    kind.code: kind
    for kind in (
        Invalid,
        NotFound,
        AlreadyExists,
        Precondition,
        OutOfRange,
        Exhausted,
        Unavailable,
        DataLoss,
        Unauthenticated,
        PermissionDenied,
        Unimplemented,
        TimedOut,
        Cancelled,
        Internal,
    )
}

# pyarrow keeps no gRPC code, but says which it was in the words that it puts before the server's message.
_BY_PHRASE: dict[str, type[FirnError]] = {
    "invalid argument": Invalid,
    "not found": NotFound,
    "already exists": AlreadyExists,
    "precondition failed": Precondition,
    "out-of-range": OutOfRange,
    "resource exhausted": Exhausted,
    "unavailable": Unavailable,
    "data loss": DataLoss,
    "unauthenticated": Unauthenticated,
    "unauthorized": PermissionDenied,
    "unimplemented": Unimplemented,
    "timeout": TimedOut,
    "internal": Internal,
    "aborted": Internal,
}
_RETURNED = re.compile(r"(?:Flight|gRPC) returned ([a-z -]+?) error, with message: ", re.DOTALL)
_CANCELLED = re.compile(r"(?:Flight|gRPC) cancelled call, with message: ")
_FAILED = re.compile(r"Flight RPC failed with message: ")
_CONTEXT = re.compile(r"\.? ?(?:gRPC client debug context|Client context): .*\Z", re.DOTALL)

# What pyarrow raises for an error of its own making, such as an array that it cannot convert.
_BY_CLASS: tuple[tuple[type[BaseException], type[FirnError]], ...] = (
    (flight.FlightUnavailableError, Unavailable),
    (flight.FlightTimedOutError, TimedOut),
    (flight.FlightCancelledError, Cancelled),
    (flight.FlightUnauthenticatedError, Unauthenticated),
    (flight.FlightUnauthorizedError, PermissionDenied),
    (flight.FlightInternalError, Internal),
    (pa.ArrowNotImplementedError, Unimplemented),
    (pa.ArrowKeyError, NotFound),
    (pa.ArrowInvalid, Invalid),
    (pa.ArrowTypeError, Invalid),
)


def from_code(code: str, message: str) -> FirnError:
    """The error for a gRPC code by name, such as ``INVALID_ARGUMENT``."""
    return _BY_CODE.get(code, FirnError)(message)


def from_arrow(error: BaseException) -> FirnError:
    """The error that a pyarrow exception stands for, with the server's message and nothing around it."""
    text = str(error)
    if found := _RETURNED.search(text):
        kind = _BY_PHRASE.get(found[1], FirnError)
    elif found := _CANCELLED.search(text):
        kind = Cancelled
    else:
        found = _FAILED.search(text)
        kind = next((kind for arrow, kind in _BY_CLASS if isinstance(error, arrow)), FirnError)
    message = text[found.end() :] if found else text
    return kind(_CONTEXT.sub("", message))


@contextmanager
def translated() -> Iterator[None]:
    """Turns what pyarrow raises inside the block into errors of this module."""
    try:
        yield
    except FirnError:
        raise
    except (pa.ArrowException, flight.FlightError, pa.ArrowKeyError, OSError) as error:
        raise from_arrow(error) from None
