"""Columns of pandas, of every dtype, in and out.

Out, what dtype a column has follows from its type alone and never from its rows, so that code that works on one answer
works on the next: integers and booleans are pandas' nullable ones, floats have NaN at gaps, moments NaT, text is what
this pandas calls text, all else is objects.
"""

from __future__ import annotations

from typing import Any

from ._native import Column, Table
from .plain import numpy_column, plain

__all__ = ["is_fixed", "pandas_column", "pandas_frame"]


def is_fixed(frame: Any) -> bool:
    """Whether the type of each column is that of numpy, whatever rows are looked at."""
    import numpy

    return all(isinstance(dtype, numpy.dtype) and dtype.kind in "biufmM" for dtype in frame.dtypes)


def pandas_column(name: str, series: Any, declared: Table | None) -> Column:
    """A series as a column; NaN, NaT and NA are gaps."""
    import numpy
    import pandas

    dtype = series.dtype
    if isinstance(dtype, numpy.dtype):
        return numpy_column(name, series.to_numpy(), declared, missing=True)
    if isinstance(dtype, pandas.DatetimeTZDtype):
        utc = series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return numpy_column(name, utc, declared, missing=True).moments(_unit(utc), "UTC")
    if isinstance(dtype, pandas.CategoricalDtype):
        codes = series.cat.codes.to_numpy().astype("int64")
        words = pandas_column(name, pandas.Series(series.cat.categories), declared)
        return words.at(Column.of_numpy(codes, codes < 0))
    if hasattr(dtype, "numpy_dtype") and dtype.kind in "biuf":
        return _masked_column(series, dtype)
    if hasattr(series.array, "__arrow_array__") and _is_arrow(dtype):
        return Column.take(series.array.__arrow_array__())
    if isinstance(dtype, pandas.SparseDtype):
        return pandas_column(name, series.sparse.to_dense(), declared)
    return plain(name, series.astype(object).tolist(), declared, missing=True)


def _unit(values: Any) -> str:
    import numpy

    return str(numpy.datetime_data(values.dtype)[0])


def _is_arrow(dtype: Any) -> bool:
    return hasattr(dtype, "pyarrow_dtype") or getattr(dtype, "storage", "") in ("pyarrow", "pyarrow_numpy")


def _masked_column(series: Any, dtype: Any) -> Column:
    import numpy

    if hasattr(dtype, "pyarrow_dtype"):
        return Column.take(series.array.__arrow_array__())
    gaps = series.isna().to_numpy()
    values = series.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
    return Column.of_numpy(numpy.ascontiguousarray(values), gaps, True)


def pandas_frame(table: Table, index: Any = None) -> Any:
    """A table as a frame."""
    import pandas

    names = table.column_names
    columns = dict(enumerate(map(_values, table.columns())))
    frame = pandas.DataFrame(columns, index=index, copy=False) if columns else pandas.DataFrame(index=index)
    frame.columns = names
    return frame


def _values(column: Column) -> Any:
    """What pandas makes a column of: an array of numpy, or of its own."""
    import numpy
    import pandas

    if (words := column.words()) is not None:
        return pandas.Categorical.from_codes(words[0], words[1])
    if (moment := column.moment) is not None:
        return _moments(column, moment)
    values = column.to_numpy()
    if values is None:
        return _objects(column)
    if values.dtype.kind == "f":
        if column.null_count:
            values[column.gaps()] = numpy.nan
        return values
    array = pandas.arrays.BooleanArray if values.dtype.kind == "b" else pandas.arrays.IntegerArray
    return array(values, column.gaps())


def _moments(column: Column, moment: tuple[str, str | None]) -> Any:
    import numpy
    import pandas

    unit, zone = moment
    numbers = column.to_numpy()
    values = numbers.view(f"datetime64[{unit}]")
    if column.null_count:
        values[column.gaps()] = numpy.datetime64("NaT")
    return values if zone is None else pandas.Series(values, copy=False).dt.tz_localize("UTC").dt.tz_convert(zone).array


def _is_float(values: Any) -> bool:
    return values is not None and values.dtype.kind == "f"


def _objects(column: Column) -> Any:
    import numpy
    import pandas

    values: list[Any] = column.to_pylist()
    if (elements := column.elements()) is not None and elements[1] and _is_float(inner := elements[0].to_numpy()):
        inner[elements[0].gaps()] = numpy.nan
        vectors = inner.reshape(-1, elements[1])
        values = [None if value is None else vectors[row] for row, value in enumerate(values)]
    if column.is_text:
        # What this pandas makes of text by itself: its own dtype since version 3, objects before.
        text = pandas.Series(["text"]).dtype
        return pandas.array(values, dtype=text) if text != object else _object_array(values)
    return _object_array(values)


def _object_array(values: list[Any]) -> Any:
    import numpy

    objects: Any = numpy.empty(len(values), dtype=object)
    objects[:] = values
    return objects
