"""Single values as JSON, as the wire spells them: defaults of features, and keys of entities to erase.

Integers beyond 2^53 and decimals travel as strings, binary as base64, times as RFC 3339 or microseconds, dates as
ISO 8601, and the floats that JSON lacks as ``"NaN"``, ``"Infinity"``, ``"-Infinity"``.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from typing import Any

from .errors import Invalid
from .times import micros

__all__ = ["value_json"]

_EXACT_INTEGER_MAX = 2**53


def value_json(value: Any) -> Any:
    """``value`` as JSON."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if hasattr(value, "as_py"):  # a pyarrow scalar
        return value_json(value.as_py())
    if isinstance(value, int):
        return value if abs(value) <= _EXACT_INTEGER_MAX else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, datetime.datetime):
        return {"us": micros(value)}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): value_json(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [value_json(inner) for inner in value]
    if hasattr(value, "tolist"):  # a numpy scalar or array
        return value_json(value.tolist())
    raise Invalid(f"a {type(value).__name__} cannot be sent as a value: {value!r}")


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
