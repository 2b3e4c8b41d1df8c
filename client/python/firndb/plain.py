"""Plain Python values and numpy arrays as columns.

Numbers and times go as what they are, and the server takes them where they fit the declared type exactly: so a value
means the same in a list, a frame and an array.
"""

from __future__ import annotations

import datetime
import decimal
from typing import Any

from ._native import Column, Table
from .errors import Invalid
from .moments import EPOCH, FineMoment

__all__ = ["is_missing", "numpy_column", "plain"]

_DIGITS_MAX = 76
_ORDINARY = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, float, int, str, bytes, dict, tuple, list)


def plain(name: str, values: Any, declared: Table | None, missing: bool = False) -> Column:
    """The column ``name`` of plain values; ``declared`` has its type, if that is known.

    ``missing``: NaN is a gap, as pandas has it.
    """
    return Column.of_values(name, values if type(values) is list else list(values), declared, missing)


def is_missing(value: Any) -> bool:
    """Whether it is a gap of pandas': NaT or NA."""
    return type(value).__name__ in ("NaTType", "NAType")


def _is_ordinary(value: Any) -> bool:
    return isinstance(value, _ORDINARY)


def plain_value(value: Any) -> Any:
    """A value without what libraries wrap around it; ``None`` for a gap."""
    if is_missing(value):
        return None
    if type(value).__module__ != "numpy" and _is_ordinary(value):
        return value
    if hasattr(value, "as_py"):  # of pyarrow
        return value.as_py()
    if type(value).__module__ == "numpy":
        return _numpy_value(value)
    for method in ("tolist", "to_list"):  # of pandas, of polars
        if hasattr(value, method):
            return getattr(value, method)()
    return value


def _numpy_value(value: Any) -> Any:
    import numpy

    if isinstance(value, numpy.ndarray):
        return list(value) if value.dtype.kind in "mM" else value.tolist()
    if value.dtype.kind == "M":
        return _numpy_moment(value)
    if value.dtype.kind == "m":
        return None if numpy.isnat(value) else datetime.timedelta(microseconds=_whole(value, "timedelta64[us]"))
    if value.dtype.kind == "f":
        return float(value)
    return value.item()


def _numpy_moment(value: Any) -> Any:
    import numpy

    if numpy.isnat(value):
        return None
    micros = value.astype("datetime64[us]")
    moment = EPOCH + datetime.timedelta(microseconds=int(micros.astype("int64")))
    if micros.astype(value.dtype) == value:
        return moment
    fine = FineMoment.combine(moment.date(), moment.time())
    fine.nanosecond = _whole(value, "datetime64[ns]") % 1000
    return fine


def _whole(value: Any, dtype: str) -> int:
    """The number of units of ``dtype``, of which there must be a whole number."""
    found = value.astype(dtype)
    if found.astype(value.dtype) != value:
        raise Invalid(f"{value!r} is finer than {dtype[-3:-1]}, of which FirnDB keeps whole ones")
    return int(found.astype("int64"))


def decimal_parts(value: Any) -> tuple[str, int] | None:
    """The digits of a number with their sign, and how many of them stand behind the point; ``None`` if they are too many."""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else decimal.Decimal(value)
    if isinstance(value, int):
        return (str(value), 0) if abs(value) < 10**_DIGITS_MAX else None
    if not value.is_finite():
        return None
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits))
    if exponent > 0:
        text, exponent = text + "0" * min(exponent, _DIGITS_MAX + 1), 0
    if max(len(text), -exponent) > _DIGITS_MAX:
        return None
    return ("-" if sign else "") + text, -exponent


#: Units of numpy that are whole seconds.
_WHOLE_SECONDS = ("s", "m", "h", "D", "W", "M", "Y")


def numpy_column(name: str, values: Any, declared: Table | None, missing: bool = False) -> Column:
    """A numpy array as a column; one of two dimensions is a column of vectors."""
    import numpy

    values = numpy.asarray(values)
    if values.ndim == 2 and values.dtype.kind in "biuf":
        return numpy_column(name, values.reshape(-1), None, missing).lists(values.shape[1])
    if values.ndim != 1:
        if values.ndim == 0:
            raise Invalid(f"column `{name}`: an array without a dimension is a single value; write numpy.array([{values!r}])", name)
        return plain(name, values.tolist(), declared, missing)
    if values.dtype.kind in "mM":
        return _numpy_times(name, values)
    if values.dtype.kind not in "biuf":
        return plain(name, values.tolist(), declared, missing)
    return Column.of_numpy(_native_numbers(name, values), None, missing)


def _native_numbers(name: str, values: Any) -> Any:
    """Numbers in the machine's own byte order, of a width that Arrow has."""
    import numpy

    dtype = values.dtype.newbyteorder("=")
    if dtype.kind == "f" and dtype.itemsize == 2:
        dtype = numpy.dtype("float32")
    if dtype.kind == "f" and dtype.itemsize > 8:
        dtype = numpy.dtype("float64")
        changed = (values.astype(dtype) != values) & ~numpy.isnan(values)
        if changed.any():
            row = int(changed.argmax())
            raise Invalid(f"row {row}, column `{name}`: {values[row]!r} is no float64", name, row)
    return values if values.dtype == dtype else values.astype(dtype)


def _numpy_times(name: str, values: Any) -> Column:
    import numpy

    unit, count = numpy.datetime_data(values.dtype)
    gaps = numpy.isnat(values)
    if values.dtype.kind == "m":
        exact = values.astype("timedelta64[us]")
        _check_same(name, values, exact, gaps)
        return Column.of_numpy(numpy.ascontiguousarray(exact).view("int64"), gaps).durations()
    if unit in _WHOLE_SECONDS:
        exact, unit = values.astype("datetime64[s]"), "s"
    elif count == 1 and unit in ("ms", "us", "ns"):
        exact = values.astype(values.dtype.newbyteorder("="))
    else:
        exact, unit = values.astype("datetime64[ns]"), "ns"
    _check_same(name, values, exact, gaps)
    return Column.of_numpy(numpy.ascontiguousarray(exact).view("int64"), gaps).moments(unit, None)


def _check_same(name: str, values: Any, exact: Any, gaps: Any) -> None:
    changed = (exact != values) & ~gaps
    if changed.any():
        row = int(changed.argmax())
        raise Invalid(f"row {row}, column `{name}`: {values[row]!r} is finer or farther than FirnDB keeps", name, row)
