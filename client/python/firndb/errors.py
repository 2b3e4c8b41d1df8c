"""The errors of FirnDB: one class for each thing that a caller can do about it.

Every error has a ``message`` for a person and a ``code`` as gRPC spells it; where a column or a row of what was sent is at
fault, they are its ``column`` and ``row``. It does not matter how it came: as the end of a call, in band inside a session,
or refused before anything was sent.
"""

from __future__ import annotations

import re
from typing import ClassVar

from .written import Written

__all__ = [
    "AlreadyExists",
    "Cancelled",
    "DataLoss",
    "DeadlineExceeded",
    "Exhausted",
    "FirnError",
    "Internal",
    "Invalid",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "Precondition",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]


class FirnError(Exception):
    """Any error of FirnDB. ``message`` says what, where and how to mend it."""

    code: ClassVar[str] = "UNKNOWN"

    #: Of a write that failed midway: what had been acknowledged before (durable and readable), else ``None``.
    written: Written | None = None

    def __init__(self, message: str, column: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        #: The column of what was sent that is at fault, if it is one.
        self.column = column
        #: The first row at fault, counted from 0, if it is a row.
        self.row = row


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


class DeadlineExceeded(FirnError, TimeoutError):
    """The call took longer than the ``timeout`` that it was given. The client goes on."""

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
        DeadlineExceeded,
        Cancelled,
        Internal,
    )
}

#: How the server, which speaks JSON, says what mends a request, and how Python says it.
_IN_PYTHON = (
    (re.compile(r'"entity":\{("[^"]+"):("[^"]+")\}'), r"select(…, entity={\1: \2})"),
    (re.compile(r'(?<!{)"(\w+)": ?("[^"]*")'), r"\1=\2"),
    (re.compile(r'"(\w+)": ?true\b'), r"\1=True"),
    (re.compile(r'"(\w+)": ?false\b'), r"\1=False"),
    (re.compile(r'\b(with|use) "as"'), r"\1 select(…, as_=…)"),
    (re.compile(r'\b(with|use) "prefix"'), r"\1 select(…, prefix=…)"),
)


def in_python(message: str) -> str:
    """A message of the server with its mends in Python's words."""
    for pattern, words in _IN_PYTHON:
        message = pattern.sub(words, message)
    return message


def from_code(code: str, message: str, column: str | None = None, row: int | None = None) -> FirnError:
    """The error for a gRPC code by name, such as ``INVALID_ARGUMENT``."""
    return _BY_CODE.get(code, FirnError)(in_python(message), column, row)
