"""Columns of pandas, of every dtype, in and out.

Out, what dtype a column has follows from its type alone and never from its rows, so that code that works on one answer
works on the next: integers and booleans are pandas' nullable ones, floats have NaN at gaps, moments NaT, text is what
this pandas calls text, all else is objects.
"""

from __future__ import annotations

from typing import Any

from ._native import Column, Table
from .plain import numpy_column, plain

__all__ = ["pandas_column", "pandas_frame"]


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
    if dtype.kind == "f":
        gaps = gaps | numpy.isnan(values)
    return Column.of_numpy(numpy.ascontiguousarray(values), gaps)


def pandas_frame(table: Table, index: Any = None) -> Any:
    """A table as a frame."""
    import pandas

    names = table.column_names
    columns = {place: _series(table.column(place), index) for place in range(len(names))}
    frame = pandas.DataFrame(columns, index=index)
    frame.columns = names
    return frame


def _series(column: Column, index: Any) -> Any:
    import numpy
    import pandas

    if (words := column.words()) is not None:
        return pandas.Series(pandas.Categorical.from_codes(words[0], words[1]), index=index)
    if (moment := column.moment) is not None:
        return _moments(column, moment, index)
    values = column.to_numpy()
    if values is None:
        return _objects(column, index)
    if values.dtype.kind == "f":
        if column.null_count:
            values[column.gaps()] = numpy.nan
        return pandas.Series(values, index=index, copy=False)
    array = pandas.arrays.BooleanArray if values.dtype.kind == "b" else pandas.arrays.IntegerArray
    return pandas.Series(array(values, column.gaps()), index=index, copy=False)


def _moments(column: Column, moment: tuple[str, str | None], index: Any) -> Any:
    import numpy
    import pandas

    unit, zone = moment
    numbers = column.to_numpy()
    values = numbers.view(f"datetime64[{unit}]")
    if column.null_count:
        values[column.gaps()] = numpy.datetime64("NaT")
    series = pandas.Series(values, index=index, copy=False)
    return series if zone is None else series.dt.tz_localize("UTC").dt.tz_convert(zone)


def _is_float(values: Any) -> bool:
    return values is not None and values.dtype.kind == "f"


def _objects(column: Column, index: Any) -> Any:
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
        return pandas.Series(values, index=index, dtype=text)
    objects: Any = numpy.empty(len(values), dtype=object)
    objects[:] = values
    return pandas.Series(objects, index=index, copy=False)
