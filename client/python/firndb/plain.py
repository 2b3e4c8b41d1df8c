"""Plain Python values as arrays: the declared type decides where a value could be several things.

Numbers and times go as what they are, and the server takes them where they fit the declared type exactly: so a value
means the same in a list, a frame and an array. A dict is a map or a struct as it was declared, and NaN is a gap where no
float was declared.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from .errors import Invalid

__all__ = ["plain"]


def plain(name: str, values: Any, declared: pa.DataType | None, missing: bool = False) -> pa.Array:
    """The column ``name`` of plain values, declared as ``declared`` if that is known.

    ``missing``: pandas' own missing values (NaN, NaT, NA) are nulls.
    """
    values = list(values)
    if declared is not None:
        shape = _shape(declared)
        values = [_at(name, row, value, shape) for row, value in enumerate(values)]
        if _needs_type(declared):
            return _typed(name, values, declared)
    try:
        return pa.array(values, from_pandas=missing)
    except (pa.ArrowException, OverflowError):
        if declared is None:
            raise
        return _typed(name, values, declared, missing)


def _typed(name: str, values: list[Any], declared: pa.DataType, missing: bool = False) -> pa.Array:
    """The values as the declared type, which pyarrow must neither cut nor round."""
    try:
        array = pa.array(values, declared, from_pandas=missing)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        for row, value in enumerate(values):
            try:
                pa.array([value], declared, from_pandas=missing)
            except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
                raise Invalid(f"row {row}, column `{name}`: {value!r} is no {declared}: {error}") from None
        raise
    if not missing:
        for row, (value, taken) in enumerate(zip(values, array.to_pylist())):
            if not _same(value, taken):
                raise Invalid(f"row {row}, column `{name}`: {value!r} does not fit {declared} exactly; give a pyarrow array")
    return array


def _same(given: Any, taken: Any) -> bool:
    """Whether a value came back as it was; what a struct lacks is null."""
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        return all(_same(given.get(name), value) for name, value in taken.items())
    if isinstance(given, (list, tuple)) and isinstance(taken, (list, tuple)):
        return len(given) == len(taken) and all(_same(*pair) for pair in zip(given, taken))
    if isinstance(given, float) and isinstance(taken, float):
        # The nearest of a narrower float is what was meant; infinity is not.
        return math.isclose(given, taken, rel_tol=1e-6, abs_tol=1e-38) or (math.isnan(given) and math.isnan(taken))
    return bool(given == taken)


def _needs_type(declared: pa.DataType) -> bool:
    """Whether plain values do not say by themselves that they are of such a type: dicts are maps or structs."""
    if pa.types.is_map(declared) or pa.types.is_struct(declared):
        return True
    lists = pa.types.is_list(declared) or pa.types.is_large_list(declared) or pa.types.is_fixed_size_list(declared)
    return bool(lists) and _needs_type(declared.value_type)


#: What becomes of a value before pyarrow sees it.
_Shape = Callable[[Any], Any]


def _shape(declared: pa.DataType) -> _Shape:
    if pa.types.is_map(declared):
        key, item = _shape(declared.key_type), _shape(declared.item_type)
        return lambda value: None if _is_gap(value) else [(key(name), item(inner)) for name, inner in _pairs(value)]
    if pa.types.is_struct(declared):
        fields = {declared.field(place).name: _shape(declared.field(place).type) for place in range(declared.num_fields)}
        return lambda value: None if _is_gap(value) else _struct(value, fields)
    if pa.types.is_list(declared) or pa.types.is_large_list(declared) or pa.types.is_fixed_size_list(declared):
        inner = _shape(declared.value_type)
        return lambda value: [inner(item) for item in value] if isinstance(value, (list, tuple)) else value
    if pa.types.is_floating(declared):
        return lambda value: value
    if pa.types.is_decimal(declared):
        return _no_gap
    if pa.types.is_timestamp(declared):
        return lambda value: _moment(_no_gap(value))
    return _no_gap


def _is_gap(value: Any) -> bool:
    """Whether there is no value: None, NaN, or what pandas writes for it."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in ("NAType", "NaTType")


def _no_gap(value: Any) -> Any:
    """NaN is a gap where no float was declared."""
    return None if _is_gap(value) else value


def _moment(value: Any) -> Any:
    """A date is its midnight."""
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.timezone.utc)
    return value


def _pairs(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and all(len(pair) == 2 for pair in value):
        return value
    raise Invalid(f"{value!r} is no map; give a dict, or a list of pairs")


def _struct(value: Any, fields: Mapping[str, _Shape]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Invalid(f"{value!r} is no struct; give a dict")
    unknown = [name for name in value if name not in fields]
    if unknown:
        named = ", ".join(f"`{name}`" for name in unknown)
        raise Invalid(f"the struct has no field {named}; its fields are {', '.join(fields)}")
    return {name: shape(value.get(name)) for name, shape in fields.items()}


def _at(name: str, row: int, value: Any, shape: _Shape) -> Any:
    try:
        return shape(value)
    except Invalid as error:
        raise Invalid(f"row {row}, column `{name}`: {error.message}") from None
